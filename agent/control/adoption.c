#include "control/adopt_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "control/adopt.h"
#include "control/life.h"
#include "swap/journal.h"

#define LOOK_AGAIN_MS 200
#define LOOK_MS       15000 /* Apache may need a second for a graceful, a loaded server more */

struct adoption *adoption_new(struct request *r, const char *name)
{
	struct adoption *a = xcalloc(1, sizeof *a);
	*a = (struct adoption){.site = r->site, .request = r, .name = xstrdup(name)};
	r->site->adoption = a;
	return a;
}

static void forget_look(struct adoption *a)
{
	places_close(a->round);
	journal_free(a->journal);
	timer_close(a->timer);
	a->round = NULL;
	a->journal = NULL;
	a->timer = NULL;
}

static void adoption_free(struct adoption *a)
{
	forget_look(a);
	if (a->hold)
		server_release_all(a->hold);
	a->site->adoption = NULL;
	json_decref(a->record);
	json_decref(a->edits);
	json_decref(a->before);
	free(a->conf_before);
	words_done(&a->files);
	text_done(&a->why);
	free(a->servers);
	free(a->asks);
	free(a->name);
	free(a);
}

void adoption_finish(struct adoption *a, int exit, const char *text, const char *next)
{
	struct request *r = a->request;
	AUTO_FREE char *said = xstrdup(text), *what = xstrdup(next);
	adoption_free(a);
	request_finish(r, exit, said, what);
}

void adopt_close(struct site *site)
{
	struct adoption *a = site->adoption;
	if (!a)
		return;
	struct request *r = a->request;
	adoption_free(a);
	request_free(r);
}

void adopt_warn(const struct site *site)
{
	struct words names = {0};
	AUTO_CLOSE int all = files_open_folder(site->folders.state, "originals", 0, NULL);
	if (all < 0 || files_list(all, false, &names, NULL) < 0)
		return;
	for (size_t i = 0; i < names.n; i++) {
		json_t *record = NULL;
		if (adopt_load(site, names.v[i], &record, NULL) == 0 &&
		    json_is_false(json_object_get(record, "taken")) && !site->adoption)
			log_warning("adopt-unfinished",
				    "%s: adopt was not ended: run certswapctl adopt again, or certswapctl release %s",
				    names.v[i], names.v[i]);
		json_decref(record);
	}
	words_done(&names);
}

bool adopt_is_at_work(const struct site *site)
{
	return site->adoption && !site->adoption->waits;
}

struct certificate *adoption_certificate(const struct adoption *a)
{
	return site_certificate(a->site, a->name);
}

/* ---- configuration ---- */

void adopt_configured(struct site *site)
{
	struct adoption *a = site->adoption;
	if (!a || !a->waits)
		return;
	a->waits = false;
	a->configured(a);
}

int adoption_reconfigure(struct adoption *a, adopt_step then, struct fault *fault)
{
	int r = site_reload(a->site, fault);
	if (r < 0)
		return r;
	if (a->hold) /* the swap of a pair that came meanwhile waits for it, and the configuration for the swap */
		server_release_all(a->hold);
	a->hold = NULL;
	a->configured = then;
	a->waits = true;
	return 0;
}

int adoption_remove_conf(const struct adoption *a, struct fault *fault)
{
	const char *path = json_string_value(json_object_get(a->record, "conf"));
	const char *slash = path ? strrchr(path, '/') : NULL;
	if (!slash)
		return 0;
	AUTO_FREE char *folder = xstrndup(path, (size_t)(slash - path));
	AUTO_CLOSE int fd = files_open_path(folder, 0, fault);
	return fd < 0 ? fd : files_remove(fd, slash + 1, fault);
}

/* ---- servers ---- */

static void held(void *data)
{
	struct adoption *a = data;
	a->next(a);
}

void adoption_hold(struct adoption *a, adopt_step then)
{
	size_t i;
	json_t *name;
	const json_t *names = json_object_get(a->record, "servers");
	a->next = then;
	a->servers = xcalloc(json_array_size(names), sizeof(*a->servers));
	for (i = 0; i < a->site->nservers; i++) /* in the order of the configuration, as every transaction */
	{
		size_t k;
		json_array_foreach(names, k,
				   name) if (strcmp(json_string_value(name), server_name(a->site->servers[i])) == 0)
			a->servers[a->nservers++] = a->site->servers[i];
	}
	a->hold = server_take_all(a->site->loop, a->servers, a->nservers, held, a);
}

static void answered(struct adoption *a)
{
	if (--a->asked == 0)
		a->next(a);
}

static void refuse(struct adoption *a, const char *output)
{
	size_t len = output ? strlen(output) : 0;
	len = len < 2000 ? len : 2000;
	while (len && (output[len - 1] == '\n' || output[len - 1] == ' '))
		len--;
	a->refused = true;
	text_add(&a->why, "%s", a->why.len ? "\n" : "");
	text_add_bytes(&a->why, output ? output : "", len);
}

static void on_test(enum server_answer answer, const char *output, void *data)
{
	struct adoption_ask *ask = data;
	if (answer == SERVER_REFUSED)
		refuse(ask->adoption, output);
	answered(ask->adoption);
}

static void go_on(void *data)
{
	struct adoption *a = data;
	timer_close(a->timer);
	a->timer = NULL;
	a->next(a);
}

static void ask_all(struct adoption *a, enum server_verb verb, server_done_cb cb, adopt_step then)
{
	a->next = then;
	a->asked = a->nservers;
	a->refused = false;
	free(a->asks);
	a->asks = xcalloc(a->nservers, sizeof *a->asks);
	for (size_t i = 0; i < a->nservers; i++) {
		a->asks[i] = (struct adoption_ask){.adoption = a, .server = a->servers[i]};
		server_ask(a->servers[i], verb, NULL, NULL, cb, &a->asks[i]);
	}
	if (!a->nservers) /* nobody to ask: the next step comes from the loop all the same */
		a->timer = timer_start(a->site->loop, 0, go_on, a);
}

static void configtest(struct adoption *a)
{
	if (a->refused) /* the rehearsal, which asks more, has refused it */
		return a->then(a);
	ask_all(a, SERVER_CONFIGTEST, on_test, a->then);
}

void adoption_test(struct adoption *a, adopt_step then)
{
	a->then = then;
	ask_all(a, SERVER_REHEARSE, on_test, configtest);
}

/* ---- the wire ---- */

static size_t count_in_order(const struct adoption *a)
{
	size_t n = 0;
	const struct certificate *c = adoption_certificate(a);
	for (size_t i = 0; c && i < c->nserved; i++) {
		const struct digest *shown = &c->served[i].sha256;
		n += a->releasing ? !digest_is_zero(shown) : digest_equal(shown, &c->live.sha256);
	}
	return n;
}

static void look(struct adoption *a, places_cb cb)
{
	struct certificate *c = adoption_certificate(a);
	forget_look(a);
	a->journal = journal_new(0, 1, 0);
	a->journal->certificates[0].old_key = places_key(c->live.key_type);
	places_list(a->journal, &c);
	a->round = places_look(a->site, a->journal, &c, PLACES_BASELINE, 0, cb, a);
}

static void on_first_look(const struct places_verdict *verdict, void *data)
{
	struct adoption *a = data;
	(void)verdict; /* a baseline judges nothing */
	a->round = NULL;
	a->showed = count_in_order(a);
	if (!a->showed && !a->wide && adoption_certificate(a)->elsewhere) { /* then at the host's other addresses */
		a->wide = true;
		return look(a, on_first_look);
	}
	a->next(a);
}

void adoption_look(struct adoption *a, adopt_step then)
{
	a->next = then;
	a->wide = false;
	look(a, on_first_look);
}

static void look_again(void *data);

static void on_look(const struct places_verdict *verdict, void *data)
{
	struct adoption *a = data;
	(void)verdict;
	a->round = NULL;
	if (count_in_order(a) >= a->showed)
		return a->next(a);
	if (clock_monotonic_us() < a->deadline_us) {
		forget_look(a);
		a->timer = timer_start(a->site->loop, LOOK_AGAIN_MS, look_again, a);
		return;
	}
	refuse(a, "after the reload not every place shows the certificate that it showed before");
	a->next(a);
}

static void look_again(void *data)
{
	look(data, on_look);
}

static void on_reload(enum server_answer answer, const char *output, void *data)
{
	struct adoption_ask *ask = data;
	if (answer == SERVER_REFUSED || answer == SERVER_BROKEN)
		refuse(ask->adoption, output);
	answered(ask->adoption);
}

static void on_alive(enum server_answer answer, const char *output, void *data)
{
	struct adoption_ask *ask = data;
	(void)output;
	if (answer == SERVER_REFUSED) /* it does not run: its start reads the files */
		return answered(ask->adoption);
	ask->adoption->reloaded = true;
	server_ask(ask->server, SERVER_RELOAD, NULL, NULL, on_reload, ask);
}

static void look_after_reload(struct adoption *a)
{
	a->next = a->then;
	if (a->refused || !a->reloaded || !adoption_certificate(a))
		return a->next(a);
	a->deadline_us = clock_monotonic_us() + (int64_t)LOOK_MS * 1000;
	look(a, on_look);
}

void adoption_reload(struct adoption *a, adopt_step then)
{
	a->then = then;
	ask_all(a, SERVER_ALIVE, on_alive, look_after_reload);
}
