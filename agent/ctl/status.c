/* status */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/show.h"
#include "ctl/watch.h"

#define WATCH_PATIENCE_MS 5000 /* a key is not answered before this */

static json_t *make_request(const char *name)
{
	json_t *request = json_pack("{ss}", "command", "status");
	if (name)
		json_object_set_new(request, "name", json_string(name));
	return request;
}

/* false: it is not in the answer */
static bool draw(const json_t *answer, const char *name, FILE *out, bool colour)
{
	const json_t *result = json_object_get(answer, "result"), *c = name ? show_find(result, name) : NULL;
	show_configuration(result, out);
	if (c)
		show_certificate(c, clock_wall(), out, colour);
	else if (!name)
		show_status(result, clock_wall(), out, colour);
	if (c || !name)
		show_waiting(result, name, out);
	return !name || c;
}

/* What the screen is to show now; an agent that is away for a moment (a restart) is no reason to stop. */
static char *render(void *data)
{
	struct ctl *ctl = data;
	struct fault fault = {0};
	json_t *answer = NULL, *request = make_request(ctl->watch_name);
	char *screen = NULL;
	size_t size;
	int status;
	FILE *out = open_memstream(&screen, &size);
	if (!out)
		abort();
	AUTO_FREE char *path = ctl_run_path(ctl, "control.sock", &status);
	status = client_call(ctl, path, request, NULL, 0, WATCH_PATIENCE_MS, &answer, &fault);
	if (status != CTL_DONE)
		fprintf(out, "%s\n", fault.text);
	else if (!draw(answer, ctl->watch_name, out, ctl->colour))
		fprintf(out, "There is no certificate %s.\n", ctl->watch_name);
	fclose(out);
	json_decref(answer);
	json_decref(request);
	return screen;
}

int command_status(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands.n ? a->operands.v[0] : NULL;
	if (name && !text_is_name(name))
		return ctl_usage(ctl, "%s can't be the name of a certificate here", name);
	if (args_has(a, OPTION_WATCH) && args_has(a, OPTION_JSON))
		return ctl_usage(ctl, "--watch is for people; it goes without --json");
	if (args_has(a, OPTION_WATCH)) {
		int status;
		AUTO_FREE char *path = ctl_run_path(ctl, "control.sock", &status);
		ctl->watch_name = name;
		ctl->progress = false;
		return path ? watch_run(ctl, render) : status;
	}
	json_t *answer = NULL, *request = make_request(name);
	int status = client_ask(ctl, a, request, NULL, 0, &answer);
	json_decref(request);
	if (!answer)
		return status;
	bool failed = json_integer_value(json_object_get(answer, "exit")) != CTL_DONE;
	if (args_has(a, OPTION_JSON) || failed) {
		status = client_print_answer(ctl, a, answer);
	} else if (!draw(answer, name, ctl->out, ctl->colour)) {
		ctl_say(ctl, "there is no certificate %s; `certswapctl status` lists them", name);
		status = CTL_FAILED;
	}
	json_decref(answer);
	return status;
}
