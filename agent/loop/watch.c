#include "loop/watch.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdint.h>
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
#define RENEW_MS  1000

/* What a watch needs to see. Each is a kernel watch, or -1. */
enum place {
	PLACE_FOLDER, /* the folder itself (through a link: its target) */
	PLACE_PARENT, /* the nearest folder above it that exists: sees it made, replaced, retargeted */
	PLACE_TARGET, /* where the path is a link: the folder that holds its target */
	PLACES
};

/* One place of one watch on its kernel watch. */
struct seat {
	struct watch *watch;
	struct row *row; /* NULL: it is on none */
	struct seat *next, **link;
};

/* The seats of a kernel watch for which the same entry of the folder matters. */
struct row {
	struct kernel_watch *kernel;
	char *name; /* "": the folder itself */
	struct seat *seats;
};

/* Two paths to one folder share it: it goes with the last seat. Thousands of folders share that of the one above them,
 * and an event there is about one of them. */
struct kernel_watch {
	int wd;
	void *rows;  /* a tree of row */
	size_t uses; /* by rows, and by who is changing from one to another */
};

struct watch {
	struct watcher *watcher;
	struct watch *next, **link;
	char *path;
	watch_cb cb;
	void *data;
	struct seat seats[PLACES];
	struct watch *next_changed, **changed; /* `changed`: NULL while there is nothing to report */
	bool stale;                            /* a kernel watch may be on the wrong folder */
	bool warned;
};

struct watcher {
	struct loop *loop;
	int fd;
	struct poller *poller;
	struct timer *turn, *renewal;
	struct watch *all;
	struct watch *changed; /* to be reported: an event costs the same however many watches there are */
	void *kernel;          /* a tree of kernel_watch */
	bool reporting, gone;  /* gone: a callback of `report` closed it */
};

/* ---- setting the kernel's watches ---- */

static int by_wd(const void *a, const void *b)
{
	int x = ((const struct kernel_watch *)a)->wd, y = ((const struct kernel_watch *)b)->wd;
	return x < y ? -1 : x > y;
}

static int by_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	return strcmp(x->name, y->name);
}

static struct kernel_watch *find_kernel(const struct watcher *watcher, int wd)
{
	const struct kernel_watch wanted = {.wd = wd};
	void *found = tfind(&wanted, &watcher->kernel, by_wd);
	return found ? *(struct kernel_watch **)found : NULL;
}

static struct row *find_row(const struct kernel_watch *k, const char *name)
{
	const struct row wanted = {.name = (char *)(uintptr_t)name};
	void *found = k ? tfind(&wanted, &k->rows, by_name) : NULL;
	return found ? *(struct row **)found : NULL;
}

static struct kernel_watch *hold_kernel(struct watcher *watcher, int wd)
{
	struct kernel_watch *k = find_kernel(watcher, wd);
	if (k) {
		k->uses++;
		return k;
	}
	k = xcalloc(1, sizeof *k);
	k->uses = 1;
	k->wd = wd;
	if (!tsearch(k, &watcher->kernel, by_wd))
		abort(); /* out of memory */
	return k;
}

static struct row *add_row(struct kernel_watch *k, const char *name)
{
	struct row *row = xcalloc(1, sizeof *row);
	*row = (struct row){.kernel = k, .name = xstrdup(name)};
	if (!tsearch(row, &k->rows, by_name))
		abort(); /* out of memory */
	k->uses++;
	return row;
}

static void free_row(void *data)
{
	struct row *row = data;
	free(row->name);
	free(row);
}

static void free_kernel(void *data)
{
	struct kernel_watch *k = data;
	tdestroy(k->rows, free_row);
	free(k);
}

/* The kernel watch goes with its last use, unless the kernel has dropped it already. */
static void drop_kernel(struct watcher *watcher, struct kernel_watch *k)
{
	if (--k->uses)
		return;
	(void)inotify_rm_watch(watcher->fd, k->wd);
	tdelete(k, &watcher->kernel, by_wd);
	free(k);
}

static void sit_down(struct seat *seat, struct kernel_watch *k, const char *name)
{
	struct row *row = find_row(k, name);
	if (!row)
		row = add_row(k, name);
	seat->row = row;
	seat->next = row->seats;
	seat->link = &row->seats;
	if (seat->next)
		seat->next->link = &seat->next;
	row->seats = seat;
}

static void stand_up(struct seat *seat)
{
	struct row *row = seat->row;
	struct kernel_watch *k = row->kernel;
	*seat->link = seat->next;
	if (seat->next)
		seat->next->link = seat->link;
	seat->row = NULL;
	if (row->seats)
		return;
	tdelete(row, &k->rows, by_name);
	free_row(row);
	drop_kernel(seat->watch->watcher, k);
}

/* Puts the place on a kernel watch, for one entry of the folder or (name "") for itself; or on none (-1). */
static void set_place(struct watch *w, enum place place, int wd, const char *name)
{
	struct seat *seat = &w->seats[place];
	if (seat->row && seat->row->kernel->wd == wd && strcmp(seat->row->name, name) == 0)
		return;
	struct kernel_watch *k = wd >= 0 ? hold_kernel(w->watcher, wd) : NULL; /* it may be the same one */
	if (seat->row)
		stand_up(seat);
	if (!k)
		return;
	sit_down(seat, k, name);
	drop_kernel(w->watcher, k);
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
	set_place(w, PLACE_PARENT, -1, "");
}

/* A replaced target folder is seen only in the folder that holds it. */
static void arm_target(struct watch *w, int *ret_error)
{
	char target[PATH_MAX];
	ssize_t n = readlink(w->path, target, sizeof target - 1);
	if (n <= 0) {
		set_place(w, PLACE_TARGET, -1, "");
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
	set_place(w, PLACE_TARGET, wd, wd < 0 ? "" : name);
}

/* Parents first: what is replaced after the look at a folder is then seen as an event. Returns 0 or an errno. */
static int arm(struct watch *w, int up)
{
	int error = 0;
	AUTO_FREE char *above = NULL;
	for (int i = 0; i < 8; i++) { /* until nothing nearer has come into being meanwhile; then events tell */
		arm_parent(w, up, &error);
		const struct row *row = w->seats[PLACE_PARENT].row;
		const char *name = row ? row->name : NULL;
		if (above && name && strcmp(above, name) == 0)
			break;
		free(above);
		above = xstrdup(name);
	}
	arm_target(w, &error);
	set_place(w, PLACE_FOLDER, add(w->watcher, w->path, &error), "");
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

static void mark_changed(struct watch *w)
{
	struct watcher *watcher = w->watcher;
	if (w->changed)
		return;
	w->next_changed = watcher->changed;
	w->changed = &watcher->changed;
	if (w->next_changed)
		w->next_changed->changed = &w->next_changed;
	watcher->changed = w;
}

static void unmark_changed(struct watch *w)
{
	if (!w->changed)
		return;
	*w->changed = w->next_changed;
	if (w->next_changed)
		w->next_changed->changed = w->changed;
	w->changed = NULL;
}

static void look_at(struct seat *seat, const struct inotify_event *e, const char *name)
{
	struct watch *w = seat->watch;
	bool named = *seat->row->name && strcmp(name, seat->row->name) == 0 && (e->mask & NAMES);
	if (e->mask & (IN_IGNORED | IN_UNMOUNT))
		stand_up(seat); /* the kernel has dropped it */
	if ((e->mask & LOST) || named) {
		w->stale = true;
		mark_changed(w);
	}
	if (seat == &w->seats[PLACE_FOLDER] &&
	    ((e->mask & CHANGES) ||
	     ((e->mask & IN_CREATE) && !w->changed && ((e->mask & IN_ISDIR) || is_complete(w, name)))))
		mark_changed(w);
}

static void report(void *data)
{
	struct watcher *watcher = data;
	timer_close(watcher->turn);
	watcher->turn = NULL;
	watcher->reporting = true;
	while (watcher->changed) {
		struct watch *w = watcher->changed;
		unmark_changed(w);
		w->cb(w->data);
	}
	watcher->reporting = false;
	if (watcher->gone)
		free(watcher);
}

static void arm_again(struct watch *w)
{
	int error = arm(w, INT_MAX);
	if (error && !w->warned)
		log_warning("watch", "%s can't be watched any more (%s); it is looked at from time to time", w->path,
			    strerror(error));
	w->warned = error != 0;
}

static void tell_row(const struct row *row, const struct inotify_event *e, const char *name)
{
	for (struct seat *seat = row ? row->seats : NULL, *next; seat; seat = next) {
		next = seat->next; /* the last one may take the row with it */
		look_at(seat, e, name);
	}
}

struct rows {
	struct row **v;
	size_t n;
};

static void note_row(const void *node, VISIT visit, void *data)
{
	struct rows *rows = data;
	if (visit == postorder || visit == leaf)
		rows->v[rows->n++] = *(struct row *const *)node;
}

/* What happens to the folder itself is for all of its seats; rows go when the kernel has dropped it. */
static void tell_all(const struct kernel_watch *k, const struct inotify_event *e)
{
	struct rows rows = {.v = xcalloc(k->uses, sizeof *rows.v)};
	twalk_r(k->rows, note_row, &rows);
	for (size_t i = 0; i < rows.n; i++)
		tell_row(rows.v[i], e, "");
	free(rows.v);
}

static void tell(struct watcher *watcher, const struct inotify_event *e, const char *name)
{
	const struct kernel_watch *k = find_kernel(watcher, e->wd);
	if (k && (e->mask & LOST))
		return tell_all(k, e);
	tell_row(find_row(k, ""), e, name);
	if (*name)
		tell_row(find_row(k, name), e, name);
}

static void dispatch(struct watcher *watcher, const char *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		struct inotify_event e;
		memcpy(&e, bytes + at, sizeof e);
		const char *name = e.len ? bytes + at + sizeof e : "";
		at += sizeof e + e.len;
		tell(watcher, &e, name);
		for (struct watch *w = e.mask & IN_Q_OVERFLOW ? watcher->all : NULL; w; w = w->next) {
			w->stale = true;
			mark_changed(w);
		}
	}
}

static void arm_and_report(struct watcher *watcher)
{
	for (struct watch *w = watcher->renewal ? NULL : watcher->changed; w; w = w->next_changed)
		if (w->stale)
			arm_again(w);
	if (watcher->changed && !watcher->turn)
		watcher->turn = timer_start(watcher->loop, 0, report, watcher);
}

static void events_came(void *data);

/* All kernel watches anew, on another descriptor; anything may have happened meanwhile. */
static void renew(void *data)
{
	struct watcher *watcher = data;
	timer_close(watcher->renewal);
	watcher->renewal = NULL;
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0) {
		watcher->renewal = timer_start(watcher->loop, RENEW_MS, renew, watcher);
		return;
	}
	for (struct watch *w = watcher->all; w; w = w->next)
		for (int i = 0; i < PLACES; i++)
			set_place(w, (enum place)i, -1, "");
	close(watcher->fd);
	watcher->fd = fd;
	watcher->poller = poller_start(watcher->loop, fd, events_came, watcher);
	for (struct watch *w = watcher->all; w; w = w->next) {
		w->stale = true;
		mark_changed(w);
	}
	arm_and_report(watcher);
}

/* No event is to be had from it any more, and it would be ready for ever. */
static void lose_descriptor(struct watcher *watcher, int error)
{
	log_error("watch", "folders can't be watched for a moment: %s", strerror(error));
	poller_close(watcher->poller);
	watcher->poller = NULL;
	watcher->renewal = timer_start(watcher->loop, RENEW_MS, renew, watcher);
}

static void events_came(void *data)
{
	struct watcher *watcher = data;
	char buf[65536];
	ssize_t n;
	for (int i = 0; i < READS_MAX && (n = read(watcher->fd, buf, sizeof buf)) > 0; i++)
		dispatch(watcher, buf, (size_t)n);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		lose_descriptor(watcher, errno);
	arm_and_report(watcher);
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
	free(w->path);
	free(w);
}

void watcher_close(struct watcher *watcher)
{
	if (!watcher)
		return;
	watcher->changed = NULL;
	while (watcher->all) {
		struct watch *w = watcher->all;
		watcher->all = w->next;
		free_watch(w);
	}
	tdestroy(watcher->kernel, free_kernel);
	timer_close(watcher->turn);
	timer_close(watcher->renewal);
	poller_close(watcher->poller);
	close(watcher->fd); /* and with it all kernel watches */
	watcher->gone = true;
	if (!watcher->reporting)
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
		w->seats[i] = (struct seat){.watch = w};
	w->link = &watcher->all;
	w->next = watcher->all;
	if (w->next)
		w->next->link = &w->next;
	watcher->all = w;
	int error = arm(w, 1);
	if (w->seats[PLACE_FOLDER].row || w->seats[PLACE_PARENT].row)
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
	for (int i = 0; i < PLACES; i++)
		set_place(watch, (enum place)i, -1, "");
	unmark_changed(watch);
	*watch->link = watch->next;
	if (watch->next)
		watch->next->link = watch->link;
	free_watch(watch);
}
