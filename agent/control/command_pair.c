#include "control/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "site/audit.h"
#include "site/certificate.h"
#include "site/intake.h"
#include "site/pair.h"
#include "site/standby.h"
#include "swap/store.h"
#include "wire/finding.h"

/* ---- files ---- */

static void on_intake_done(int exit, const char *text, const char *next, void *data)
{
	request_finish(data, exit, text, next);
}

static int read_accepted(const struct request *r, struct intake_spec *spec, struct fault *fault)
{
	size_t i;
	json_t *v;
	struct text why = {0};
	json_array_foreach(json_object_get(r->arguments, "accept"), i, v)
	{
		enum finding_code code;
		const char *name = json_string_value(json_object_get(v, "code")),
			   *reason = json_string_value(json_object_get(v, "why"));
		if (!name || finding_parse(name, &code) < 0 || !reason || !*reason) {
			text_done(&why);
			return fault_set(fault, -EINVAL,
					 "--accept takes a finding's code and --why TEXT: %.40s is not one",
					 name ? name : "?");
		}
		if (!finding_can_be_accepted(code)) {
			text_done(&why);
			return fault_set(fault, -EPERM,
					 "%s can't be let pass: such a pair would not work, or must never come back",
					 name);
		}
		words_add(&spec->accepted, name);
		text_add(&why, "%s%s: %s", why.len ? "; " : "", name, reason);
	}
	spec->why = why.s;
	return 0;
}

static void take_files(struct request *r, struct certificate *c, bool standby)
{
	struct fault fault = {0};
	const json_t *files = json_object_get(r->arguments, "files");
	bool passwords = json_is_true(json_object_get(r->arguments, "passwords"));
	size_t n = json_array_size(files);
	if (!n || r->nfds != n + passwords)
		return request_finish(r, 2, "no files were handed over", NULL);
	struct intake_spec spec = {
		.certificate = c, .standby = standby, .origin = standby ? "standby" : "submit", .n = n};
	if (read_accepted(r, &spec, &fault) < 0) {
		words_done(&spec.accepted);
		return request_finish(r, 2, fault.text, NULL);
	}
	spec.fds = r->fds;
	spec.passwords = passwords ? r->fds[n] : -1;
	spec.labels = xcalloc(n, sizeof(*spec.labels));
	for (size_t i = 0; i < n; i++) {
		const char *label = json_string_value(json_array_get(files, i));
		spec.labels[i] = text_printable(xstrdup(label ? label : "?"));
	}
	request_wait(r);
	intake_submit(r->site, &spec, on_intake_done, r);
	for (size_t i = 0; i < n; i++)
		free(spec.labels[i]);
	free(spec.labels);
	free(r->fds); /* the descriptors are the set's now */
	r->fds = NULL;
	r->nfds = 0;
}

void command_submit(struct request *r)
{
	struct certificate *c = NULL;
	if (request_argument(r, "name") && !(c = request_certificate(r)))
		return;
	take_files(r, c, false);
}

static void drop_standby(struct request *r, struct certificate *c)
{
	struct fault fault = {0};
	if (!c->standby.number)
		return request_finish(r, 1, "there is no standby pair", NULL);
	if (store_set_standby(c->folder, 0, &fault) < 0)
		return request_finish(r, 1, fault.text, NULL);
	certificate_refresh(c);
	audit_write(r->site->audit, "standby-dropped", c->settings->name, NULL, "dropped by a person");
	request_finish(r, 0, "the standby pair is dropped", NULL);
	standby_changed(c);
}

void command_standby(struct request *r)
{
	struct certificate *c = request_certificate(r);
	if (!c)
		return;
	if (json_is_true(json_object_get(r->arguments, "drop")))
		return drop_standby(r, c);
	take_files(r, c, true);
}

/* ---- swaps by hand ---- */

static void on_pair_done(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	request_finish(data, outcome == PAIR_LIVE || outcome == PAIR_SAME ? 0 : 1, text, next);
}

static void swap_to(struct request *r, struct certificate *c, unsigned int number)
{
	struct fault fault = {0};
	struct meta meta = {0};
	if (c->live.number == number)
		return request_finish(r, 0, "that generation is live already", NULL);
	if (store_read_meta(c->folder, number, &meta, &fault) < 0)
		return request_finish(r, 1, fault.text, "certswapctl status NAME; ls STATE/certificates/NAME/gen");
	meta_done(&meta);
	request_wait(r);
	pair_swap_generation(c, number, on_pair_done, r);
}

void command_swap(struct request *r)
{
	struct certificate *c = request_certificate(r);
	const char *to = request_argument(r, "to");
	if (!c)
		return;
	if (!to || strcmp(to, "standby") == 0)
		return c->standby.number ? swap_to(r, c, c->standby.number)
					 : request_finish(r, 1, "there is no standby pair",
							  "certswapctl standby NAME FILE... makes one");
	unsigned int number = (unsigned int)strtoul(to, NULL, 10);
	if (!number)
		return request_finish(r, 2, "--to takes standby or the number of a generation", NULL);
	swap_to(r, c, number);
}

/* The newest generation older than the live one. */
void command_rollback(struct request *r)
{
	struct certificate *c = request_certificate(r);
	if (!c)
		return;
	for (unsigned int number = c->live.number; number-- > 1;) {
		struct meta meta = {0};
		if (number == c->standby.number || store_read_meta(c->folder, number, &meta, NULL) < 0)
			continue;
		meta_done(&meta);
		return swap_to(r, c, number);
	}
	request_finish(r, 1, "there is no older generation to go back to", NULL);
}
