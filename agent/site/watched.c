#include "site/watched.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/dropbox.h"
#include "site/pending.h"
#include "site/intake.h"
#include "site/ladder.h"
#include "site/reissue.h"
#include "site/transaction.h"

#define FILES_MAX      INTAKE_FILES_AT_ONCE
#define PAIR_FILES_MAX 120             /* of one pair: leaf, key, and files with CA certificates */
#define RESCAN_MS      (5 * 60 * 1000) /* in case an event was lost */
#define UNWATCHED_MS   (10 * 1000)     /* a folder that nobody has made yet is looked for */

struct folder {
	struct watched *watched;
	struct certificate *certificate;
	const char *path; /* of the configuration */
	struct watch *watch;
	struct timer *timer, *retry; /* a look that was asked for; one after trouble of the machine */
	int64_t delay_ms;            /* before it; 0: all was well */
	bool busy, again;            /* a look is under way; something changed meanwhile */
	bool waits;                  /* to look, until less is in work */
	bool rescan;                 /* the look that was asked for is in vain where nothing changed */
	struct digest seen;          /* names, inodes, sizes and times of the files at the last look; zero: it failed */
	int fds[FILES_MAX];
	size_t n;
	struct digest leaf, content; /* of the pair on its way: SHA-256 of its leaf; see content_of */
	struct digest lacking;       /* the content that lacks a CA certificate, which may be on its way */
	struct timer *patience;      /* until that is a refusal */
	struct digest *refused; /* leaves that were refused or rolled back; contents where the chain was to blame */
	size_t nrefused;
};

struct watched {
	struct site *site;
	struct folder **folders; /* in the order of their certificates */
	size_t n;
	size_t *first; /* of each certificate; and n, behind the last */
	struct timer *rescan, *unwatched;
};

static void look_soon(void *data);

static void close_files(struct folder *f)
{
	for (size_t i = 0; i < f->n; i++)
		close(f->fds[i]);
	f->n = 0;
}

static void end_look(struct folder *f)
{
	close_files(f);
	f->busy = false;
	if (f->again)
		look_soon(f);
	f->again = false;
}

/* A pair by its content: the leaf and whatever CA certificates lie beside it. A chain that is completed makes it
 * another one. */
static struct digest content_of(const struct identify_reply *reply, const struct object *leaf)
{
	struct text all = {0};
	text_add_bytes(&all, leaf->sha256.b, sizeof leaf->sha256.b);
	for (size_t i = 0; i < reply->n; i++)
		if (reply->v[i].kind == OBJECT_CA)
			text_add_bytes(&all, reply->v[i].sha256.b, sizeof reply->v[i].sha256.b);
	struct digest d = hash_bytes(all.s, all.len);
	text_done(&all);
	return d;
}

/* Here, or before the start, or is waited for: the same content tells nothing new. */
static bool was_refused(const struct folder *f, const struct digest *digest)
{
	if (f->patience && digest_equal(&f->lacking, digest))
		return true;
	for (size_t i = 0; i < f->nrefused; i++)
		if (digest_equal(&f->refused[i], digest))
			return true;
	return digest_equal(&f->certificate->last_swap.undone, digest);
}

static void retry(void *data)
{
	struct folder *f = data;
	timer_close(f->retry);
	f->retry = NULL;
	look_soon(f);
}

static void try_again(struct folder *f, const char *why)
{
	f->delay_ms = intake_delay(f->delay_ms);
	f->seen = (struct digest){0};
	log_warning("watched-failed", "%s: %s; tried again in %lld s", f->path, why, (long long)f->delay_ms / 1000);
	if (!f->retry)
		f->retry = timer_start(f->watched->site->loop, f->delay_ms, retry, f);
}

static void on_overdue(void *data)
{
	struct folder *f = data;
	timer_close(f->patience);
	f->patience = NULL;
	look_soon(f);
}

/* The client is between two files, as it seems. */
static void wait_for_chain(struct folder *f)
{
	f->lacking = f->content;
	timer_close(f->patience);
	f->patience = timer_start(f->watched->site->loop, INTAKE_PATIENCE_MS, on_overdue, f);
}

static void on_pair(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	struct folder *f = data;
	struct certificate *c = f->certificate;
	switch (outcome) {
	case PAIR_STANDBY: /* it waits for a person */
		reissue_settled(c);
		incidents_review(c);
		break;
	case PAIR_LIVE:
	case PAIR_INSTALLED:
	case PAIR_SAME:
	case PAIR_HELD: /* it is tried again by itself */
		reissue_settled(c);
		f->delay_ms = 0;
		break;
	case PAIR_INCOMPLETE:
		wait_for_chain(f);
		break;
	case PAIR_UNPROVED:
	case PAIR_UNREAD:
		reissue_settled(c);
		try_again(f, text);
		break;
	case PAIR_REFUSED:
	case PAIR_FAILED:
		f->delay_ms = 0;
		f->refused = xrealloc(f->refused, (f->nrefused + 1) * sizeof *f->refused);
		/* a chain may still be completed; any other fault is the leaf's or its key's */
		f->refused[f->nrefused++] = strstr(text, "CHAIN_") ? f->content : f->leaf;
		audit_write(c->site->audit, "watched-refused", c->settings->name, NULL, "%s: %s%s%s", f->path, text,
			    next ? "; what to do: " : "", next ? next : "");
		reissue_refused(c, &f->leaf, text);
		break;
	}
	end_look(f);
}

static bool has_key(const struct identify_reply *reply, const struct digest *spki)
{
	for (size_t i = 0; i < reply->n; i++)
		if (reply->v[i].kind == OBJECT_KEY && digest_equal(&reply->v[i].spki, spki))
			return true;
	return false;
}

/* Does a key of ours wait for it? */
static bool waits(struct certificate *c, const struct digest *spki)
{
	const struct waiting_key *key = pending_find(c, spki);
	return key && !key->suspect;
}

/* Does a generation here hold it? Then it is live, stands by, or was live before: what was replaced or rolled back is
 * not taken again from a folder where it was left lying. */
static bool is_known(const struct certificate *c, const struct digest *leaf)
{
	struct words numbers = {0};
	bool known = false;
	AUTO_CLOSE int generations = files_open_folder(c->folder, "gen", 0, NULL);
	if (generations < 0 || files_list(generations, false, &numbers, NULL) < 0)
		return false;
	for (size_t i = 0; i < numbers.n && !known; i++) {
		struct meta meta = {0};
		if (store_read_meta(c->folder, (unsigned int)strtoul(numbers.v[i], NULL, 10), &meta, NULL) == 0)
			known = digest_equal(&meta.sha256, leaf);
		meta_done(&meta);
	}
	words_done(&numbers);
	return known;
}

/* How well a leaf's names fit: 2 covers all that is needed, 1 some, 0 none: it is for another certificate. */
static int fit_of(const struct certificate *c, const struct object *leaf)
{
	const struct words *needed = certificate_names(c);
	if (!needed->n || text_names_cover(&leaf->names, needed, NULL))
		return 2;
	for (size_t i = 0; i < needed->n; i++)
		for (size_t k = 0; k < leaf->names.n; k++)
			if (text_name_covers(leaf->names.v[k], needed->v[i]))
				return 1;
	return 0;
}

/* The leaf with its key that fits best, of these the newest, that is not known here and was not refused before; NULL:
 * nothing to do (yet). */
static const struct object *choose(struct folder *f, const struct identify_reply *reply)
{
	struct certificate *c = f->certificate;
	const struct object *best = NULL;
	int best_fit = 0;
	for (size_t i = 0; i < reply->n; i++) {
		const struct object *o = &reply->v[i];
		if (o->kind != OBJECT_LEAF || (!has_key(reply, &o->spki) && !waits(f->certificate, &o->spki)) ||
		    (c->live.number && o->not_before < c->live.not_before))
			continue;
		int fit = fit_of(c, o);
		if (fit < best_fit || fit == 0 || (best && fit == best_fit && o->not_before <= best->not_before))
			continue;
		struct digest content = content_of(reply, o);
		if (was_refused(f, &o->sha256) || was_refused(f, &content) || is_known(c, &o->sha256))
			continue;
		best = o;
		best_fit = fit;
	}
	return best;
}

/* The files that the pair needs: those with the leaf, its key, or CA certificates. */
static size_t inputs_of(const struct folder *f, const struct identify_reply *reply, const struct object *leaf,
			struct prove_input inputs[PAIR_FILES_MAX])
{
	bool taken[FILES_MAX] = {false};
	size_t n = 0;
	for (int round = 0; round < 2; round++) { /* leaf and key first: there may be too many of the others */
		for (size_t i = 0; i < reply->n && n < PAIR_FILES_MAX; i++) {
			const struct object *o = &reply->v[i];
			bool pair = digest_equal(&o->sha256, &leaf->sha256) ||
				    (o->kind == OBJECT_KEY && digest_equal(&o->spki, &leaf->spki));
			if (o->file >= f->n || taken[o->file] || (round == 0 ? !pair : o->kind != OBJECT_CA))
				continue;
			taken[o->file] = true;
			inputs[n++] = (struct prove_input){.fd = f->fds[o->file], .role = CHECK_SUBMITTED};
		}
	}
	return n;
}

static void on_identified(struct identify_reply *reply, const struct fault *fault, void *data)
{
	struct folder *f = data;
	struct prove_input inputs[PAIR_FILES_MAX];
	const struct object *leaf = reply ? choose(f, reply) : NULL;
	if (!reply)
		try_again(f, fault->text);
	if (!leaf || f->certificate->swapping) /* the end of a swap brings another look (watched_review) */
		return end_look(f);
	enum ladder_hold hold = ladder_hold(f->certificate);
	if (hold == LADDER_LEFT) { /* looked at again once the incident is over */
		f->seen = (struct digest){0};
		return end_look(f);
	}
	reissue_arrived(f->certificate, leaf->serial, leaf->not_before);
	f->leaf = leaf->sha256;
	f->content = content_of(reply, leaf);
	const struct pair_spec spec = {.certificate = f->certificate,
				       .inputs = inputs,
				       .ninputs = inputs_of(f, reply, leaf, inputs),
				       .leaf = leaf->sha256,
				       .spki = leaf->spki,
				       .standby = hold == LADDER_KEPT,
				       .automatic = true,
				       .patient = !digest_equal(&f->lacking, &f->content),
				       .origin = "watch"};
	pair_start(&spec, on_pair, f);
}

struct entry {
	char *name;
	struct timespec changed;
};

static void add_stat(struct text *t, const char *name, const struct stat *st)
{
	text_add(t, "%s\n%ju %ju %jd %jd.%ld %jd.%ld\n", name, (uintmax_t)st->st_dev, (uintmax_t)st->st_ino,
		 (intmax_t)st->st_size, (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (intmax_t)st->st_ctim.tv_sec,
		 st->st_ctim.tv_nsec);
}

static int newest_first(const void *a, const void *b)
{
	const struct timespec *x = &((const struct entry *)a)->changed, *y = &((const struct entry *)b)->changed;
	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? 1 : -1;
	return x->tv_nsec < y->tv_nsec ? 1 : x->tv_nsec > y->tv_nsec ? -1 : 0;
}

/* Opens what may be a certificate or key: regular files of a sensible size; links are followed, they are the client's
 * way. Where there are too many, those that were changed last: some clients keep every old pair beside the new one. */
static void open_files(struct folder *f, struct digest *ret_seen)
{
	struct words names = {0};
	struct text seen = {0};
	AUTO_CLOSE int folder = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 || files_list(folder, false, &names, NULL) < 0)
		return;
	struct entry *entries = xcalloc(names.n, sizeof *entries);
	size_t n = 0;
	bool unfinished = false;
	for (size_t i = 0; i < names.n; i++) {
		struct stat st;
		if (fstatat(folder, names.v[i], &st, 0) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
		    st.st_size > INTAKE_FILE_MAX)
			continue;
		entries[n++] = (struct entry){.name = names.v[i], .changed = st.st_mtim};
		add_stat(&seen, names.v[i], &st);
	}
	*ret_seen = hash_bytes(seen.s, seen.len);
	text_done(&seen);
	qsort(entries, n, sizeof *entries, newest_first);
	for (size_t i = 0; i < n && f->n < FILES_MAX; i++) {
		struct stat st;
		int fd = openat(folder, entries[i].name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
			f->fds[f->n++] = fd;
		else
			auto_close_(&fd);
		unfinished |= fd >= 0 && dropbox_is_being_written(fd);
	}
	if (unfinished) /* its close brings another look */
		close_files(f);
	free(entries);
	words_done(&names);
}

static void look(void *data)
{
	struct folder *f = data;
	timer_close(f->timer);
	f->timer = NULL;
	f->waits = staging_is_full(f->watched->site);
	if (f->waits)
		return;
	if (f->busy) {
		f->again = true;
		return;
	}
	struct digest seen = {0};
	open_files(f, &seen);
	if (!f->n)
		return;
	if (f->rescan && digest_equal(&seen, &f->seen))
		return close_files(f);
	f->seen = seen;
	f->busy = true;
	intake_identify(f->watched->site, f->fds, f->n, -1, on_identified, f);
}

static void look_soon(void *data)
{
	struct folder *f = data;
	f->rescan = false;
	if (!f->timer)
		f->timer = timer_start(f->watched->site->loop, 0, look, f);
}

void watched_go_on(struct watched *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->folders[i]->waits)
			look_soon(w->folders[i]);
}

static void rescan(void *data)
{
	struct watched *w = data;
	for (size_t i = 0; i < w->n; i++) {
		struct folder *f = w->folders[i];
		bool asked = f->timer;
		look_soon(f);
		f->rescan = !asked;
	}
}

void watched_review(struct watched *w, const struct certificate *c)
{
	for (size_t i = w->first[c->index]; i < w->first[c->index + 1]; i++)
		look_soon(w->folders[i]);
}

static void watch_folder(struct folder *f, bool first)
{
	struct fault fault = {0};
	f->watch = watch_start(f->watched->site->watcher, f->path, look_soon, f, &fault);
	if (!f->watch && first)
		log_warning("watch-failed", "%s can't be watched yet (%s): it is looked for every %d s", f->path,
			    fault.text, UNWATCHED_MS / 1000);
	if (f->watch)
		look_soon(f);
}

/* Folders that were not there when we started: their client had not run yet. */
static void watch_unwatched(void *data)
{
	struct watched *w = data;
	size_t left = 0;
	for (size_t i = 0; i < w->n; i++) {
		if (!w->folders[i]->watch)
			watch_folder(w->folders[i], false);
		left += !w->folders[i]->watch;
	}
	if (left)
		return;
	timer_close(w->unwatched);
	w->unwatched = NULL;
}

static void add_folder(struct watched *w, struct certificate *c, const char *path)
{
	struct folder *f = xcalloc(1, sizeof *f);
	*f = (struct folder){.watched = w, .certificate = c, .path = path};
	w->folders = xrealloc(w->folders, (w->n + 1) * sizeof(*w->folders));
	w->folders[w->n++] = f;
	watch_folder(f, true);
}

void watched_forget_refusals(struct watched *w)
{
	for (size_t i = 0; i < w->n; i++) {
		w->folders[i]->nrefused = 0;
		w->folders[i]->certificate->last_swap.undone = (struct digest){0};
		look_soon(w->folders[i]);
	}
}

struct watched *watched_open(struct site *site)
{
	struct watched *w = xcalloc(1, sizeof *w);
	w->site = site;
	w->first = xcalloc(site->ncertificates + 1, sizeof *w->first);
	for (size_t i = 0; i < site->ncertificates; i++) {
		struct certificate *c = site->certificates[i];
		for (size_t k = 0; k < c->settings->watch.n; k++)
			add_folder(w, c, c->settings->watch.v[k]);
		w->first[i + 1] = w->n;
	}
	if (w->n)
		w->rescan = timer_repeat(site->loop, RESCAN_MS, RESCAN_MS, rescan, w);
	for (size_t i = 0; i < w->n && !w->unwatched; i++)
		if (!w->folders[i]->watch)
			w->unwatched = timer_repeat(site->loop, UNWATCHED_MS, UNWATCHED_MS, watch_unwatched, w);
	return w;
}

void watched_close(struct watched *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n; i++) {
		struct folder *f = w->folders[i];
		for (size_t k = 0; k < f->n; k++)
			close(f->fds[k]);
		if (f->watch)
			watch_close(f->watch);
		timer_close(f->timer);
		timer_close(f->retry);
		timer_close(f->patience);
		free(f->refused);
		free(f);
	}
	timer_close(w->rescan);
	timer_close(w->unwatched);
	free(w->folders);
	free(w->first);
	free(w);
}
