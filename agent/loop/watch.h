/* Folders watched by inotify(7), directly (libuv's file events miss close-after-write and overflow). A report says that
 * a folder may have changed, never what changed: the owner looks at the folder and judges by content. Reports come at
 * IN_CLOSE_WRITE, IN_MOVED_TO, IN_MOVED_FROM, IN_DELETE, IN_CREATE of links and folders (not of regular files: these
 * report when they are closed), after a queue overflow (every folder), and when the folder itself was replaced: the
 * watch is set again on the new one, by path. */
#ifndef LOOP_WATCH_H
#define LOOP_WATCH_H
#include "loop/loop.h"
#include "base/fault.h"

struct watcher;                                                      /* one inotify instance for the process */
struct watcher *watcher_new(struct loop *loop, struct fault *fault); /* NULL: no inotify instance to be had */
void watcher_close(struct watcher *watcher);                         /* and all of its watches */

struct watch;
typedef void (*watch_cb)(void *data);
/* Watches the folder `path` (and its parent, to see it replaced or made). A path that does not exist yet is fine: a
 * report comes when it is made. Reports within one turn of the loop are one. NULL and fault when neither folder nor
 * parent can be watched. */
struct watch *watch_start(struct watcher *watcher, const char *path, watch_cb cb, void *data, struct fault *fault);
void watch_close(struct watch *watch);
#endif
