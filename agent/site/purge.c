#include "site/purge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/incident.h"
#include "site/intake.h"
#include "swap/store.h"

#define DAY_MS        (24 * 3600 * 1000LL)
#define FILES_A_ROUND 100

/* One generation that may go if no configuration names it. */
struct doomed {
	struct certificate *certificate;
	unsigned int number;
};
struct purge {
	struct site *site;
	struct timer *daily, *turn;
	bool busy, again;
	struct doomed *v; /* of this round */
	size_t n, at, server;
	char *path;            /* of the generation that is asked about */
	struct words rejected; /* folder/file, all of them */
	size_t next_rejected;
	struct words batch; /* those of `rejected` that a worker looks into */
};

static void turn_soon(struct purge *p);
static void look_at_rejected(struct purge *p);

static bool is_refused_for_good(const struct site *site, const struct digest *spki)
{
	for (size_t i = 0; i < site->denied.n; i++) {
		const struct denial *d = &site->denied.v[i];
		if (d->is_key && d->confirmed && digest_equal(&d->digest, spki))
			return true;
	}
	return false;
}

static bool any_for_good(const struct site *site)
{
	for (size_t i = 0; i < site->denied.n; i++)
		if (site->denied.v[i].is_key && site->denied.v[i].confirmed)
			return true;
	return false;
}

/* Is the replacement proved, and everything about it over? */
static bool is_settled(const struct certificate *c)
{
	return c->live.number && !c->trouble && !c->transaction && !c->swapping && !c->ready.number &&
	       !incident_of(c) && !is_refused_for_good(c->site, &c->live.spki);
}

static void find_doomed(struct purge *p, struct certificate *c)
{
	struct words numbers = {0};
	AUTO_CLOSE int generations = files_open_folder(c->folder, "gen", 0, NULL);
	if (generations < 0 || files_list(generations, false, &numbers, NULL) < 0)
		return;
	for (size_t i = 0; i < numbers.n; i++) {
		struct meta meta = {0};
		unsigned int number = (unsigned int)strtoul(numbers.v[i], NULL, 10);
		bool linked = number == c->live.number || number == c->standby.number ||
			      store_link_number(c->folder, "next", NULL) == (int)number;
		if (number && !linked && store_read_meta(c->folder, number, &meta, NULL) == 0 &&
		    is_refused_for_good(c->site, &meta.spki)) {
			p->v = xrealloc(p->v, (p->n + 1) * sizeof *p->v);
			p->v[p->n++] = (struct doomed){.certificate = c, .number = number};
		}
		meta_done(&meta);
	}
	words_done(&numbers);
}

static void remove_doomed(struct purge *p)
{
	struct fault fault = {0};
	const struct doomed *d = &p->v[p->at];
	if (!is_settled(d->certificate)) /* while the servers were asked, something began */
		return;
	if (store_remove(d->certificate->folder, d->number, &fault) < 0)
		return log_warning("purge-failed", "%s", fault.text);
	audit_write(p->site->audit, "generation-removed", d->certificate->settings->name,
		    json_pack("{sI}", "generation", (json_int_t)d->number),
		    "generation %u is removed: its key is refused for good, and nothing names it", d->number);
}

static void next_doomed(struct purge *p)
{
	p->at++;
	p->server = 0;
	p->busy = false;
	turn_soon(p);
}

static void on_named(enum server_answer answer, const char *output, void *data)
{
	struct purge *p = data;
	const struct doomed *d = &p->v[p->at];
	bool not_named = answer == SERVER_REFUSED || answer == SERVER_NO_HOOK;
	if (not_named) {
		p->server++;
		p->busy = false;
		return turn_soon(p);
	}
	audit_write(p->site->audit, "generation-kept", d->certificate->settings->name,
		    json_pack("{sI}", "generation", (json_int_t)d->number),
		    "generation %u has a key that is refused for good, but is kept: %s %s%.200s", d->number,
		    server_name(p->site->servers[p->server]),
		    answer == SERVER_DONE ? "names it in its configuration" : "can't tell whether it names it: ",
		    answer == SERVER_DONE ? "" : output);
	next_doomed(p);
}

/* ---- rejected/ ---- */

static void list_rejected(struct purge *p)
{
	struct words folders = {0};
	if (files_list(p->site->folders.rejected, false, &folders, NULL) < 0)
		return;
	for (size_t i = 0; i < folders.n; i++) {
		struct words files = {0};
		AUTO_CLOSE int folder = files_open_folder(p->site->folders.rejected, folders.v[i], 0, NULL);
		if (folder >= 0 && files_list(folder, false, &files, NULL) == 0)
			for (size_t k = 0; k < files.n; k++) {
				AUTO_FREE char *path = xasprintf("%s/%s", folders.v[i], files.v[k]);
				if (strcmp(files.v[k], "why.txt") != 0)
					words_add(&p->rejected, path);
			}
		words_done(&files);
	}
	words_done(&folders);
}

/* The content is overwritten before its last name goes; why.txt stays. */
static void wipe_rejected(struct purge *p, const char *path)
{
	static const char zeros[4096];
	struct stat st;
	int fd = openat(p->site->folders.rejected, path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1) {
		for (off_t at = 0; at < st.st_size; at += (off_t)sizeof zeros)
			if (pwrite(fd, zeros, sizeof zeros, at) < 0)
				break;
		(void)fsync(fd);
	}
	auto_close_(&fd);
	if (unlinkat(p->site->folders.rejected, path, 0) < 0)
		return log_warning("purge-failed", "rejected/%s: %s", path, strerror(errno));
	audit_write(p->site->audit, "rejected-removed", NULL, json_pack("{ss}", "file", path),
		    "a refused file is removed: it held a key that is refused for good");
}

static void on_identified(struct identify_reply *reply, const struct fault *fault, void *data)
{
	struct purge *p = data;
	if (!reply)
		log_warning("purge-failed", "rejected/: %s", fault->text);
	for (size_t i = 0; reply && i < reply->n; i++) {
		const struct object *o = &reply->v[i];
		bool first = true; /* one file may hold the key more than once */
		for (size_t k = 0; k < i; k++)
			first &= reply->v[k].file != o->file || reply->v[k].kind != OBJECT_KEY;
		if (o->kind == OBJECT_KEY && first && o->file < p->batch.n && is_refused_for_good(p->site, &o->spki))
			wipe_rejected(p, p->batch.v[o->file]);
	}
	words_done(&p->batch);
	p->busy = false;
	turn_soon(p);
}

static void look_at_rejected(struct purge *p)
{
	int fds[FILES_A_ROUND];
	size_t n = 0;
	while (p->next_rejected < p->rejected.n && n < FILES_A_ROUND) {
		const char *path = p->rejected.v[p->next_rejected++];
		int fd = openat(p->site->folders.rejected, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		fds[n++] = fd;
		words_add(&p->batch, path);
	}
	if (!n)
		return;
	p->busy = true;
	intake_identify(p->site, fds, n, -1, on_identified, p);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

/* ---- rounds ---- */

static void begin_round(struct purge *p)
{
	p->again = false;
	free(p->v);
	p->v = NULL;
	p->n = p->at = p->server = 0;
	words_done(&p->rejected);
	p->next_rejected = 0;
	if (!any_for_good(p->site))
		return;
	for (size_t i = 0; i < p->site->ncertificates; i++)
		if (is_settled(p->site->certificates[i]))
			find_doomed(p, p->site->certificates[i]);
	list_rejected(p);
}

static void turn(void *data)
{
	struct purge *p = data;
	timer_close(p->turn);
	p->turn = NULL;
	if (p->busy)
		return;
	if (p->again)
		begin_round(p);
	if (p->at >= p->n)
		return look_at_rejected(p);
	if (p->server == p->site->nservers) {
		remove_doomed(p);
		return next_doomed(p);
	}
	const struct doomed *d = &p->v[p->at];
	p->busy = true;
	free(p->path);
	p->path = xasprintf("%s/certificates/%s/gen/%06u", p->site->settings->state_dir, d->certificate->settings->name,
			    d->number);
	server_ask(p->site->servers[p->server], SERVER_NAMED, p->path, NULL, on_named, p);
}

static void turn_soon(struct purge *p)
{
	if (!p->turn)
		p->turn = timer_start(p->site->loop, 0, turn, p);
}

void purge_soon(struct site *site)
{
	if (!site->purge)
		return;
	site->purge->again = true;
	turn_soon(site->purge);
}

static void day_begins(void *data)
{
	struct purge *p = data;
	purge_soon(p->site);
}

struct purge *purge_open(struct site *site)
{
	struct purge *p = xcalloc(1, sizeof *p);
	p->site = site;
	p->again = true;
	p->daily = timer_repeat(site->loop, DAY_MS, DAY_MS, day_begins, p);
	turn_soon(p);
	return p;
}

void purge_close(struct purge *p)
{
	if (!p)
		return;
	timer_close(p->daily);
	timer_close(p->turn);
	words_done(&p->rejected);
	words_done(&p->batch);
	free(p->path);
	free(p->v);
	free(p);
}
