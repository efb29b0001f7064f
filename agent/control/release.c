/* release NAME: each link becomes a regular file with the content of live, the directives are put back, and the
 * certificate leaves the configuration. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "control/adopt_parts.h"
#include "site/audit.h"
#include "control/commands.h"
#include "site/prove.h"

#define SOURCES_MAX  8
#define SWAP_LOOK_MS 100

static void released(struct adoption *a)
{
	struct fault fault = {0};
	if (adopt_forget(a->site, a->name, &fault) < 0)
		return adoption_finish(a, 1, fault.text, "run release again");
	AUTO_FREE char *text = xasprintf("%s is released: %s", a->name,
					 a->original ? "its files are what they were before"
						     : "its files are regular files with the pair that was live");
	AUTO_FREE char *next =
		xasprintf("its generations stay in %s/certificates/%s: remove that folder when nothing reads it",
			  a->site->settings->state_dir, a->name);
	audit_write(a->site->audit, "released", a->name, NULL, "%s", text);
	AUTO_FREE char *all = xasprintf("%s; %s", text, next);
	adoption_finish(a, 0, all, NULL);
}

static void reloaded(struct adoption *a)
{
	struct fault fault = {0};
	if (a->refused)
		return adoption_finish(a, 1, a->why.s, "mend it, then run release again");
	if (adoption_remove_conf(a, &fault) < 0 || adoption_reconfigure(a, released, &fault) < 0)
		adoption_finish(a, 1, fault.text, "run release again");
}

static void tested_again(struct adoption *a)
{
	adoption_finish(a, 1, a->why.s,
			"the directives are as they were before release; mend it, then run release again");
}

static void tested(struct adoption *a)
{
	struct fault fault = {0};
	if (!a->refused)
		return adoption_reload(a, reloaded);
	if (!a->files.n)
		return adoption_finish(a, 1, a->why.s, "mend it, then run release again");
	if (adopt_reedit(a->site, a->record, &fault) < 0)
		text_add(&a->why, "\n%s", fault.text);
	adoption_test(a, tested_again);
}

static void give_back(struct adoption *a)
{
	struct fault fault = {0};
	if (adopt_unedit(a->site, a->record, &a->files, &fault) < 0 ||
	    adopt_give_back(a->site, a->record, a->original, &fault) < 0)
		return adoption_finish(a, 1, fault.text, "run release again");
	adoption_test(a, tested);
}

static void looked(struct adoption *a)
{
	adoption_hold(a, give_back);
}

static void go_on(struct adoption *a)
{
	const struct certificate *c = adoption_certificate(a);
	if (c && c->live.number)
		return adoption_look(a, looked);
	adoption_hold(a, give_back);
}

/* What the web server will read from now on must be good: never a denied key, never a pair that does not work. */
static void on_proved(const struct check_reply *reply, unsigned int number, const struct fault *fault, void *data)
{
	struct adoption *a = data;
	(void)number;
	const struct finding *worst = reply ? findings_worst(&reply->findings) : NULL;
	if (reply && !findings_block(&reply->findings) && !fault->code)
		return go_on(a);
	AUTO_FREE char *text = xasprintf("not released: the pair that %s would not be good: %s",
					 a->original ? "was there before" : "the configuration would name again",
					 reply && worst ? worst->text : fault->text);
	adoption_finish(a, 1, text,
			a->original ? "release without --original leaves the pair that is live now"
				    : "let the ACME client renew first, then run release again");
}

/* Opens what is to be proved: the kept originals, or the files of the ACME client. */
static size_t open_sources(const struct adoption *a, struct prove_input inputs[SOURCES_MAX])
{
	size_t i, n = 0;
	json_t *o;
	AUTO_CLOSE int folder = adopt_folder(a->site, a->name, NULL);
	const json_t *list = json_object_get(a->record, a->original ? "links" : "sources");
	json_array_foreach(list, i, o)
	{
		const char *path = json_string_value(a->original ? json_object_get(o, "saved") : o);
		int fd = path && n < SOURCES_MAX ? openat(folder, path, O_RDONLY | O_CLOEXEC) : -1;
		if (fd >= 0)
			inputs[n++] = (struct prove_input){.fd = fd, .role = CHECK_SUBMITTED};
	}
	return n;
}

static void prove_sources(struct adoption *a, struct certificate *c)
{
	struct prove_input inputs[SOURCES_MAX];
	size_t n = open_sources(a, inputs);
	const struct prove_spec spec = {.inputs = inputs, .ninputs = n, .origin = "", .only_check = true};
	prove_start(c, &spec, on_proved, a);
	for (size_t i = 0; i < n; i++)
		close(inputs[i].fd);
}

static void wait_for_swap(void *data)
{
	struct adoption *a = data;
	struct certificate *c = adoption_certificate(a);
	timer_close(a->timer);
	a->timer = NULL;
	if (c && (c->swapping || c->ready.number)) {
		a->timer = timer_start(a->site->loop, SWAP_LOOK_MS, wait_for_swap, a);
		return;
	}
	if (c && c->live.number && (a->original || json_array_size(json_object_get(a->record, "edits"))))
		return prove_sources(a, c);
	go_on(a);
}

void command_release(struct request *r)
{
	struct fault fault = {0};
	json_t *record = NULL;
	const char *name = request_argument(r, "name"), *why = request_argument(r, "why");
	bool original = json_is_true(json_object_get(r->arguments, "original"));
	struct certificate *c = name && text_is_name(name) ? site_certificate(r->site, name) : NULL;
	if (!name || !text_is_name(name) || (original && !why))
		return request_finish(r, 2, "the name of a certificate is needed, and --why with --original", NULL);
	if (r->site->adoption)
		return request_finish(r, 1, "another adopt or release is under way", "try again when it has ended");
	if (c && c->transaction && !c->swapping)
		return request_finish(r, 1, "a swap of it could not be ended",
				      "certswapctl status; then run release again");
	int code = adopt_load(r->site, name, &record, &fault);
	if (code < 0) {
		AUTO_FREE char *text = code == -ENOENT ? xasprintf("%s was not adopted", name) : xstrdup(fault.text);
		return request_finish(r, 1, text, "certswapctl status lists the certificates");
	}
	struct adoption *a = adoption_new(r, name);
	a->record = record;
	a->releasing = true;
	a->original = original;
	audit_write(r->site->audit, "release", name, NULL, "release%s%s", original ? " --original: " : "",
		    original ? why : "");
	request_wait(r);
	wait_for_swap(a);
}
