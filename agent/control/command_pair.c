#include "control/commands.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "site/audit.h"
#include "site/certificate.h"
#include "site/intake.h"
#include "site/pair.h"
#include "site/standby.h"
#include "swap/store.h"

#define GENERATIONS_SEEN 32 /* of the newest; five are kept, and those that a link or a journal names */

/* ---- files ---- */

static void on_intake_done(int exit, const char *text, const char *next, void *data)
{
	request_finish(data, exit, text, next);
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
	if (request_accepted(r, &spec.accepted, &spec.why, &fault) < 0)
		return request_finish(r, 2, fault.text, NULL);
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

/* Proves a generation that is here and swaps it in; on_done: on_pair_done or what ends with it. */
static void start_swap(struct request *r, struct certificate *c, unsigned int number, pair_cb on_done)
{
	struct fault fault = {0};
	struct words accepted = {0};
	AUTO_FREE char *why = NULL;
	if (request_accepted(r, &accepted, &why, &fault) < 0)
		return request_finish(r, 2, fault.text, NULL);
	request_wait(r);
	pair_swap_generation(c, number, &accepted, why, on_done, r);
	words_done(&accepted);
}

static void swap_to(struct request *r, struct certificate *c, unsigned int number)
{
	struct fault fault = {0};
	struct meta meta = {0};
	if (c->live.number == number)
		return request_finish(r, 0, "that generation is live already", NULL);
	int result = store_read_meta(c->folder, number, &meta, &fault);
	if (result == -ENOENT) {
		AUTO_FREE char *text = xasprintf("%s has no generation %u", c->settings->name, number);
		AUTO_FREE char *next = xasprintf("ls %s/certificates/%s/gen shows those that are kept",
						 r->site->settings->state_dir, c->settings->name);
		return request_finish(r, 1, text, next);
	}
	if (result < 0)
		return request_finish(r, 1, fault.text, NULL);
	meta_done(&meta);
	start_swap(r, c, number, on_pair_done);
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
	char *end;
	unsigned long number = strtoul(to, &end, 10);
	if (*to < '0' || *to > '9' || *end || !number || number > UINT_MAX)
		return request_finish(r, 2, "--to takes standby or the number of a generation", NULL);
	swap_to(r, c, (unsigned int)number);
}

static bool is_kept(const struct certificate *c, unsigned int number)
{
	struct meta meta = {0};
	if (number == c->standby.number || store_read_meta(c->folder, number, &meta, NULL) < 0)
		return false;
	bool good = !digest_equal(&meta.sha256, &c->live.sha256) && !store_changed_files(c->folder, &meta);
	meta_done(&meta);
	return good;
}

/* That one; or where somebody wrote over it, the one that was made to restore it (site/neighbour.h), which may be newer
 * than what is live now. 0: neither is kept. */
static unsigned int kept_of(const struct certificate *c, unsigned int number)
{
	unsigned int numbers[GENERATIONS_SEEN], found = 0;
	struct meta wanted = {0};
	if (is_kept(c, number))
		return number;
	if (store_read_meta(c->folder, number, &wanted, NULL) < 0)
		return 0;
	size_t n = store_list_newest(c->folder, numbers, ARRAY_SIZE(numbers));
	for (size_t i = 0; i < n && !found; i++) {
		struct meta meta = {0};
		if (!is_kept(c, numbers[i]) || store_read_meta(c->folder, numbers[i], &meta, NULL) < 0)
			continue;
		found = digest_equal(&meta.sha256, &wanted.sha256) ? numbers[i] : 0;
		meta_done(&meta);
	}
	meta_done(&wanted);
	return found;
}

/* The one that the last swap replaced; after a rollback, or where that is gone, the newest that is older than the live
 * one. 0: there is none. */
static unsigned int before_live(const struct certificate *c)
{
	const struct last_swap *last = &c->last_swap;
	unsigned int replaced = last->from && last->to == c->live.number ? kept_of(c, last->from) : 0;
	if (replaced)
		return replaced;
	for (unsigned int number = c->live.number; number-- > 1;)
		if (is_kept(c, number))
			return number;
	return 0;
}

static void on_back(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	struct request *r = data;
	struct certificate *c = site_certificate(r->site, request_argument(r, "name"));
	if (c && outcome == PAIR_LIVE) { /* a second rollback goes further back, not forward again */
		AUTO_FREE char *reason = xstrdup(c->last_swap.reason);
		struct last_swap last = c->last_swap;
		last.from = 0;
		last.reason = reason;
		certificate_set_last_swap(c, &last);
	}
	on_pair_done(outcome, text, next, r);
}

void command_rollback(struct request *r)
{
	struct certificate *c = request_certificate(r);
	if (!c)
		return;
	unsigned int number = before_live(c);
	if (!number)
		return request_finish(r, 1, "there is no older generation to go back to", NULL);
	start_swap(r, c, number, on_back);
}
