#include "loop/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"

/* One mask for all, because two paths to one folder share one kernel watch and the last mask would win. */
#define CHANGES   (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)
#define NAMES     (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)
#define FOLDER    (IN_DELETE_SELF | IN_MOVE_SELF)
#define LOST      (FOLDER | IN_IGNORED | IN_UNMOUNT)
#define MASK      (CHANGES | IN_CREATE | FOLDER | IN_ONLYDIR | IN_EXCL_UNLINK)
#define READS_MAX 32 /* of 64 KiB, in one turn */

/* What a watch needs to see. Each is a kernel watch, or -1. */
enum place {
	PLACE_FOLDER, /* the folder itself (through a link: its target) */
	PLACE_PARENT, /* the nearest folder above it that exists: sees it made, replaced, retargeted */
	PLACE_TARGET, /* where the path is a link: the folder that holds its target */
	PLACES
};

struct watch {
	struct watcher *watcher;
	struct watch *next, **link;
	char *path;
	watch_cb cb;
	void *data;
	int wd[PLACES];
	char *name[PLACES]; /* in PARENT and TARGET: the entry that matters */
	bool stale;         /* a kernel watch may be on the wrong folder */
	bool changed;       /* to be reported */
	bool warned;
};

struct watcher {
	struct loop *loop;
	int fd;
	struct poller *poller;
	struct timer *turn;
	struct watch *all;
	struct watch *cursor; /* the next to be looked at by `report`, kept right by watch_close */
	bool *closed;         /* tells `report` that a callback closed all */
};

/* ---- setting the kernel's watches ---- */

static bool in_use(const struct watcher *watcher, int wd)
{
	for (const struct watch *w = watcher->all; w; w = w->next)
		for (int i = 0; i < PLACES; i++)
			if (w->wd[i] == wd)
				return true;
	return false;
}

/* Puts the place on another kernel watch; the old one goes if nobody else needs it. */
static void set_place(struct watch *w, enum place place, int wd, const char *name)
{
	int old = w->wd[place];
	w->wd[place] = wd;
	char *copy = xstrdup(name);
	free(w->name[place]);
	w->name[place] = copy;
	if (old >= 0 && old != wd && !in_use(w->watcher, old))
		(void)inotify_rm_watch(w->watcher->fd, old); /* the kernel may have dropped it already */
}

/* A kernel watch, -1 where there is no such folder; other failures go to *ret_error. */
static int add(struct watcher *watcher, const char *path, int *ret_error)
{
	int wd = inotify_add_watch(watcher->fd, path, MASK);
	if (wd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		*ret_error = errno;
	return wd;
}

/* Cuts the last component off, in place, and returns it; NULL at the root or with none left. */
static char *cut(char *path)
{
	char *slash = strrchr(path, '/');
	if (!slash || !slash[1])
		return NULL;
	if (slash == path) { /* "/name": the parent is "/" */
		memmove(slash + 2, slash + 1, strlen(slash + 1) + 1);
		slash[1] = '\0';
		return slash + 2;
	}
	*slash = '\0';
	return slash + 1;
}

/* Watches the nearest folder above the path that exists. `up`: how many levels it may go. */
static void arm_parent(struct watch *w, int up, int *ret_error)
{
	AUTO_FREE char *path = xmalloc(strlen(w->path) + 2);
	strcpy(path, w->path);
	for (const char *name; up > 0 && (name = cut(path)); up--) {
		int wd = add(w->watcher, path, ret_error);
		if (wd >= 0) {
			set_place(w, PLACE_PARENT, wd, name);
			return;
		}
	}
	set_place(w, PLACE_PARENT, -1, NULL);
}

/* A replaced target folder is seen only in the folder that holds it. */
static void arm_target(struct watch *w, int *ret_error)
{
	char target[PATH_MAX];
	ssize_t n = readlink(w->path, target, sizeof target - 1);
	if (n <= 0) {
		set_place(w, PLACE_TARGET, -1, NULL);
		return;
	}
	target[n] = '\0';
	while (n > 1 && target[n - 1] == '/')
		target[--n] = '\0';
	AUTO_FREE char *path = xmalloc(strlen(w->path) + (size_t)n + 3);
	strcpy(path, w->path);
	(void)cut(path);
	if (*target == '/')
		strcpy(path, target);
	else
		strcat(strcat(path, "/"), target);
	const char *name = cut(path);
	int wd = name ? add(w->watcher, path, ret_error) : -1;
	set_place(w, PLACE_TARGET, wd, wd < 0 ? NULL : name);
}

/* Parents first: what is replaced after the look at a folder is then seen as an event. Returns 0 or an errno. */
static int arm(struct watch *w, int up)
{
	int error = 0;
	AUTO_FREE char *above = NULL;
	for (int i = 0; i < 8; i++) { /* until nothing nearer has come into being meanwhile; then events tell */
		arm_parent(w, up, &error);
		if (above && w->name[PLACE_PARENT] && strcmp(above, w->name[PLACE_PARENT]) == 0)
			break;
		free(above);
		above = xstrdup(w->name[PLACE_PARENT]);
	}
	arm_target(w, &error);
	set_place(w, PLACE_FOLDER, add(w->watcher, w->path, &error), NULL);
	w->stale = false;
	return error;
}

/* ---- events ---- */

/* A new name tells nothing of a regular file that is still being written, but all of a link, hard or symbolic. */
static bool is_complete(const struct watch *w, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", w->path, name);
	struct stat st;
	return lstat(path, &st) == 0 && (S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode) || st.st_nlink > 1);
}

static void look_at(struct watch *w, const struct inotify_event *e, const char *name)
{
	for (int i = 0; i < PLACES; i++) {
		if (w->wd[i] != e->wd)
			continue;
		if (e->mask & (IN_IGNORED | IN_UNMOUNT))
			w->wd[i] = -1; /* the kernel has dropped it */
		bool named = w->name[i] && strcmp(name, w->name[i]) == 0 && (e->mask & NAMES);
		if ((e->mask & LOST) || named)
			w->stale = w->changed = true;
		if (i == PLACE_FOLDER && ((e->mask & CHANGES) || ((e->mask & IN_CREATE) && !w->changed &&
								  ((e->mask & IN_ISDIR) || is_complete(w, name)))))
			w->changed = true;
	}
}

static void report(void *data)
{
	struct watcher *watcher = data;
	bool closed = false;
	timer_close(watcher->turn);
	watcher->turn = NULL;
	watcher->closed = &closed;
	watcher->cursor = watcher->all;
	while (!closed && watcher->cursor) {
		struct watch *w = watcher->cursor;
		watcher->cursor = w->next;
		if (!w->changed)
			continue;
		w->changed = false;
		w->cb(w->data);
	}
	if (!closed)
		watcher->closed = NULL;
}

static void arm_again(struct watch *w)
{
	int error = arm(w, INT_MAX);
	if (error && !w->warned)
		log_warning("watch", "%s can't be watched any more (%s); it is looked at from time to time", w->path,
			    strerror(error));
	w->warned = error != 0;
}

static void dispatch(struct watcher *watcher, const char *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		struct inotify_event e;
		memcpy(&e, bytes + at, sizeof e);
		const char *name = e.len ? bytes + at + sizeof e : "";
		at += sizeof e + e.len;
		for (struct watch *w = watcher->all; w; w = w->next) {
			if (e.mask & IN_Q_OVERFLOW)
				w->stale = w->changed = true;
			else
				look_at(w, &e, name);
		}
	}
}

static void events_came(void *data)
{
	struct watcher *watcher = data;
	char buf[65536];
	ssize_t n;
	for (int i = 0; i < READS_MAX && (n = read(watcher->fd, buf, sizeof buf)) > 0; i++)
		dispatch(watcher, buf, (size_t)n);
	bool any = false;
	for (struct watch *w = watcher->all; w; w = w->next) {
		if (w->stale)
			arm_again(w);
		any |= w->changed;
	}
	if (any && !watcher->turn)
		watcher->turn = timer_start(watcher->loop, 0, report, watcher);
}

/* ---- the objects ---- */

struct watcher *watcher_new(struct loop *loop, struct fault *fault)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0) {
		fault_errno(fault, errno, "folders can't be watched (see sysctl fs.inotify.max_user_instances)");
		return NULL;
	}
	struct watcher *watcher = xcalloc(1, sizeof *watcher);
	watcher->loop = loop;
	watcher->fd = fd;
	watcher->poller = poller_start(loop, fd, events_came, watcher);
	return watcher;
}

static void free_watch(struct watch *w)
{
	for (int i = 0; i < PLACES; i++)
		free(w->name[i]);
	free(w->path);
	free(w);
}

void watcher_close(struct watcher *watcher)
{
	if (!watcher)
		return;
	if (watcher->closed)
		*watcher->closed = true;
	while (watcher->all) {
		struct watch *w = watcher->all;
		watcher->all = w->next;
		free_watch(w);
	}
	timer_close(watcher->turn);
	poller_close(watcher->poller);
	close(watcher->fd); /* and with it all kernel watches */
	free(watcher);
}

struct watch *watch_start(struct watcher *watcher, const char *path, watch_cb cb, void *data, struct fault *fault)
{
	struct watch *w = xcalloc(1, sizeof *w);
	w->watcher = watcher;
	w->path = *path == '/' ? xstrdup(path) : xasprintf("./%s", path);
	for (size_t len = strlen(w->path); len > 1 && w->path[len - 1] == '/';)
		w->path[--len] = '\0';
	w->cb = cb;
	w->data = data;
	for (int i = 0; i < PLACES; i++)
		w->wd[i] = -1;
	w->link = &watcher->all;
	w->next = watcher->all;
	if (w->next)
		w->next->link = &w->next;
	watcher->all = w;
	int error = arm(w, 1);
	if (w->wd[PLACE_FOLDER] >= 0 || w->wd[PLACE_PARENT] >= 0)
		return w;
	if (error == ENOSPC)
		fault_errno(fault, error, "%s can't be watched (see sysctl fs.inotify.max_user_watches)", path);
	else
		fault_errno(fault, error ? error : ENOENT, "%s can't be watched: neither it nor its folder", path);
	watch_close(w);
	return NULL;
}

void watch_close(struct watch *watch)
{
	if (!watch)
		return;
	struct watcher *watcher = watch->watcher;
	for (int i = 0; i < PLACES; i++)
		set_place(watch, (enum place)i, -1, NULL);
	if (watcher->cursor == watch)
		watcher->cursor = watch->next;
	*watch->link = watch->next;
	if (watch->next)
		watch->next->link = watch->link;
	free_watch(watch);
}
