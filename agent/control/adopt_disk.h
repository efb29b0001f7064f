/* Paths outside of STATE, as adopt and release touch them. For adopt_files.c and adopt_edit.c alone. */
#ifndef SITE_ADOPT_DISK_H
#define SITE_ADOPT_DISK_H
#include <jansson.h>
#include <sys/stat.h>

#include "base/fault.h"

const char *adopt_member(const json_t *o, const char *key); /* a text of the record; "" where there is none */
/* Opens the folder of an absolute path; *ret_base is its last component. A descriptor, or negative errno. */
int adopt_open_parent(const char *path, const char **ret_base, struct fault *fault);
/* The name of what is made beside a path, and then exchanged with it; the caller's. */
char *adopt_fresh_name(const char *base);
/* -EROFS, with what to do, where the folder of `path` can't be written; else 0. */
int adopt_may_write(int parent, const char *path, struct fault *fault);
/* What a path holds, links followed, and what it is; the caller's. */
int adopt_read_path(const char *path, char **ret_bytes, size_t *ret_len, struct stat *ret_st, struct fault *fault);
/* The attributes that decide who reads a file (ACL, label ...), as { name: hex }; the caller's. */
json_t *adopt_attributes(const char *path);
/* A new file `name` with the "uid", "gid", "mode" and "attributes" of `like`; not in place yet. */
int adopt_make_like(int folder, const char *name, const char *bytes, size_t len, const json_t *like,
		    struct fault *fault);
/* Exchanges `fresh` with `base` and looks at what came out: where it is not what was seen before (a link to `link`, or
 * these bytes), somebody wrote in the same moment, and theirs is put back: -ESTALE. `fresh` is gone afterwards. */
int adopt_put_in_place(int folder, const char *fresh, const char *base, const char *link, const char *bytes, size_t len,
		       struct fault *fault);
#endif
