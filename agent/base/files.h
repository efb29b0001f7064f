/* Files, always relative to an open folder; reads never follow a symbolic link in the last component; durable where it
 * says so: when a durable function returns 0, a power cut does not undo it (data, name and folder are synced).
 * Everything returns 0 (or a descriptor) or negative errno and fills `fault`. Used by certswapd and certswapctl. */
#ifndef BASE_FILES_H
#define BASE_FILES_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/fault.h"
#include "base/hash.h"

/* Opens the folder `name` below dirfd (AT_FDCWD: an ordinary path), making it first with `mode` where it is missing;
 * made durably. mode 0 = do not make. Parents are not made. Returns a descriptor. */
int files_open_folder(int dirfd, const char *name, mode_t mode, struct fault *fault);
/* The same for a path with missing parents (those are made with 0755). */
int files_open_path(const char *path, mode_t mode, struct fault *fault);

/* Reads a regular file of at most `max` bytes; *ret_bytes gets a NUL behind it and belongs to the caller.
 * -EFBIG: larger. -EINVAL: not a regular file. */
int files_read(int dirfd, const char *name, size_t max, char **ret_bytes, size_t *ret_len, struct fault *fault);

/* Makes a new file (-EEXIST where there is one), durable with its name. */
int files_create(int dirfd, const char *name, const void *bytes, size_t len, mode_t mode, struct fault *fault);
/* Puts a file in the place of what was there, in one durable step. */
int files_replace(int dirfd, const char *name, const void *bytes, size_t len, mode_t mode, struct fault *fault);
/* Appends in one write and syncs. */
int files_append(int fd, const void *bytes, size_t len, struct fault *fault);
int files_append_soon(int fd, const void *bytes, size_t len, struct fault *fault); /* the caller syncs */

/* The disk begins to write what the file holds: fsync of several files, after this for each, costs little more than of
 * one. No promise. */
void files_begin_sync(int fd);

/* Makes, or puts in place of another, a symbolic link; durable. */
int files_link(int dirfd, const char *name, const char *target, struct fault *fault);
/* The target of a symbolic link in buf (NUL-terminated). -ENOENT: nothing there; -EINVAL: there, but no link. */
int files_read_link(int dirfd, const char *name, char *buf, size_t size, struct fault *fault);
/* Exchanges two names in one step (renameat2 RENAME_EXCHANGE) and syncs the folder. -EINVAL, -ENOSYS, -EXDEV: the
 * filesystem can't. */
int files_exchange(int dirfd, const char *a, const char *b, struct fault *fault);
/* Moves without ever replacing (RENAME_NOREPLACE); both folders synced. -EEXIST: the new name is taken. */
int files_move(int from, const char *name, int to, const char *new_name, struct fault *fault);

int files_remove(int dirfd, const char *name, struct fault *fault);      /* a missing file is fine */
int files_remove_tree(int dirfd, const char *name, struct fault *fault); /* stays on one filesystem, follows no link */
int files_sync_folder(int dirfd, struct fault *fault);

/* Names in a folder, without "." and "..", sorted; names that begin with '.' only if hidden. */
struct words;
int files_list(int dirfd, bool hidden, struct words *ret, struct fault *fault);
#endif
