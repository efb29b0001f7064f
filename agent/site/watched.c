#include "site/watched.h"

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
#include "site/intake.h"

#define FILES_MAX 64
#define RESCAN_MS (5 * 60 * 1000) /* in case an event was lost */

struct folder {
	struct watched *watched;
	struct certificate *certificate;
	const char *path; /* of the configuration */
	struct watch *watch;
	struct timer *timer;
	bool busy, again; /* a look is under way; something changed meanwhile */
	int fds[FILES_MAX];
	size_t n;
	struct digest trying;   /* the leaf on its way */
	struct digest *refused; /* leaves that were refused or rolled back */
	size_t nrefused;
};

struct watched {
	struct site *site;
	struct folder **folders;
	size_t n;
	struct timer *rescan;
};

static void look_soon(void *data);

static void end_look(struct folder *f)
{
	for (size_t i = 0; i < f->n; i++)
		close(f->fds[i]);
	f->n = 0;
	f->busy = false;
	if (f->again)
		look_soon(f);
	f->again = false;
}

static bool was_refused(const struct folder *f, const struct digest *leaf)
{
	for (size_t i = 0; i < f->nrefused; i++)
		if (digest_equal(&f->refused[i], leaf))
			return true;
	return false;
}

static void on_pair(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	struct folder *f = data;
	struct certificate *c = f->certificate;
	switch (outcome) {
	case PAIR_LIVE:
	case PAIR_INSTALLED:
	case PAIR_STANDBY:
	case PAIR_SAME:
	case PAIR_HELD: /* it is tried again by itself */
		break;
	case PAIR_REFUSED:
	case PAIR_FAILED:
		f->refused = xrealloc(f->refused, (f->nrefused + 1) * sizeof *f->refused);
		f->refused[f->nrefused++] = f->trying;
		audit_write(c->site->audit, "watched-refused", c->settings->name, NULL, "%s: %s%s%s", f->path, text,
			    next ? "; what to do: " : "", next ? next : "");
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

/* The newest leaf with its key that is neither live, nor standby, nor refused before; NULL: nothing to do (yet). */
static const struct object *choose(const struct folder *f, const struct identify_reply *reply)
{
	const struct certificate *c = f->certificate;
	const struct object *best = NULL;
	for (size_t i = 0; i < reply->n; i++) {
		const struct object *o = &reply->v[i];
		if (o->kind != OBJECT_LEAF || !has_key(reply, &o->spki) || was_refused(f, &o->sha256))
			continue;
		if (digest_equal(&o->sha256, &c->live.sha256) || digest_equal(&o->sha256, &c->standby.sha256))
			continue;
		if (c->live.number && o->not_before < c->live.not_before)
			continue; /* what the client left lying from before */
		if (!best || o->not_before > best->not_before)
			best = o;
	}
	return best;
}

static void on_identified(struct identify_reply *reply, const struct fault *fault, void *data)
{
	struct folder *f = data;
	struct prove_input inputs[FILES_MAX];
	const struct object *leaf = reply ? choose(f, reply) : NULL;
	if (!reply)
		log_warning("watched-failed", "%s: %s", f->path, fault->text);
	if (!leaf || f->certificate->swapping) /* the end of a swap brings another look (watched_review) */
		return end_look(f);
	f->trying = leaf->sha256;
	for (size_t i = 0; i < f->n; i++)
		inputs[i] = (struct prove_input){.fd = f->fds[i], .role = CHECK_SUBMITTED};
	const struct pair_spec spec = {.certificate = f->certificate,
				       .inputs = inputs,
				       .ninputs = f->n,
				       .leaf = leaf->sha256,
				       .automatic = true,
				       .origin = "watch"};
	pair_start(&spec, on_pair, f);
}

/* Opens what may be a certificate or key: regular files of a sensible size; links are followed, they are the client's
 * way. */
static void open_files(struct folder *f)
{
	struct words names = {0};
	AUTO_CLOSE int folder = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 || files_list(folder, false, &names, NULL) < 0)
		return;
	for (size_t i = 0; i < names.n && f->n < FILES_MAX; i++) {
		struct stat st;
		int fd = openat(folder, names.v[i], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= INTAKE_FILE_MAX)
			f->fds[f->n++] = fd;
		else
			close(fd);
	}
	words_done(&names);
}

static void look(void *data)
{
	struct folder *f = data;
	timer_close(f->timer);
	f->timer = NULL;
	if (f->busy) {
		f->again = true;
		return;
	}
	open_files(f);
	if (!f->n)
		return;
	f->busy = true;
	intake_identify(f->watched->site, f->fds, f->n, -1, on_identified, f);
}

static void look_soon(void *data)
{
	struct folder *f = data;
	if (!f->timer)
		f->timer = timer_start(f->watched->site->loop, 0, look, f);
}

static void rescan(void *data)
{
	struct watched *w = data;
	for (size_t i = 0; i < w->n; i++)
		look_soon(w->folders[i]);
}

void watched_review(struct watched *w, const struct certificate *c)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->folders[i]->certificate == c)
			look_soon(w->folders[i]);
}

static int add_folder(struct watched *w, struct certificate *c, const char *path, struct fault *fault)
{
	struct folder *f = xcalloc(1, sizeof *f);
	*f = (struct folder){.watched = w, .certificate = c, .path = path};
	w->folders = xrealloc(w->folders, (w->n + 1) * sizeof(*w->folders));
	w->folders[w->n++] = f;
	f->watch = watch_start(w->site->watcher, path, look_soon, f, fault);
	if (!f->watch)
		return fault->code ? fault->code : -EIO;
	look_soon(f);
	return 0;
}

struct watched *watched_open(struct site *site, struct fault *fault)
{
	struct watched *w = xcalloc(1, sizeof *w);
	w->site = site;
	for (size_t i = 0; i < site->ncertificates; i++) {
		struct certificate *c = site->certificates[i];
		for (size_t k = 0; k < c->settings->watch.n; k++) {
			if (add_folder(w, c, c->settings->watch.v[k], fault) == 0)
				continue;
			(void)fault_prefix(fault, fault->code, "%s", c->settings->watch.v[k]);
			watched_close(w);
			return NULL;
		}
	}
	if (w->n)
		w->rescan = timer_repeat(site->loop, RESCAN_MS, RESCAN_MS, rescan, w);
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
		free(f->refused);
		free(f);
	}
	timer_close(w->rescan);
	free(w->folders);
	free(w);
}
