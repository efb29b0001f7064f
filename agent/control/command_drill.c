#include "control/commands.h"

#include "base/memory.h"
#include "site/certificate.h"
#include "control/drill.h"

static void on_step(const char *what, void *data)
{
	request_send(data, json_pack("{ss}", "progress", what));
}

static void on_done(json_t *result, void *data)
{
	struct request *r = data;
	size_t stopped = json_array_size(json_object_get(result, "stopped_by"));
	r->site->drills--;
	request_finish_exit(r, stopped ? 1 : 0, json_incref(result));
}

void command_drill(struct request *r)
{
	struct certificate *c = request_certificate(r);
	const char *letter = request_argument(r, "case");
	if (!c)
		return;
	const struct revocation_case *rule = policy_case(letter ? *letter : 'c');
	if (!rule || (letter && letter[1]))
		return request_finish(r, 2, "--case is one of the letters a to p", NULL);
	const struct drill_spec spec = {
		.certificate = c, .rule = rule, .live = json_is_true(json_object_get(r->arguments, "live"))};
	r->site->drills++;
	request_wait(r);
	drill_start(&spec, on_step, on_done, r);
}
