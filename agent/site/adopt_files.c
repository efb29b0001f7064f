#include "site/adopt_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "swap/record.h"

#define ATTRIBUTES_MAX 4096
#define VALUE_MAX      4096
#define ACL            "system.posix_acl_access"
#define ACL_DEFAULT    "system.posix_acl_default"

static const char *member(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

/* ---- the record ---- */

int adopt_folder(const struct site *site, const char *name, struct fault *fault)
{
	AUTO_CLOSE int all = files_open_folder(site->folders.state, "originals", 0700, fault);
	return all < 0 ? all : files_open_folder(all, name, 0700, fault);
}

int adopt_load(const struct site *site, const char *name, json_t **ret, struct fault *fault)
{
	AUTO_FREE char *path = xasprintf("originals/%s", name);
	AUTO_CLOSE int folder = files_open_folder(site->folders.state, path, 0, fault);
	return folder < 0 ? folder : record_load(folder, ADOPT_RECORD, ret, fault);
}

int adopt_save(const struct site *site, const json_t *record, struct fault *fault)
{
	AUTO_CLOSE int folder = adopt_folder(site, member(record, "name"), fault);
	return folder < 0 ? folder : record_save(folder, ADOPT_RECORD, record, fault);
}

int adopt_forget(const struct site *site, const char *name, struct fault *fault)
{
	AUTO_CLOSE int all = files_open_folder(site->folders.state, "originals", 0700, fault);
	return all < 0 ? all : files_remove_tree(all, name, fault);
}

char *adopt_target(const struct site *site, const char *name, const char *file)
{
	return xasprintf("%s/certificates/%s/live/%s", site->settings->state_dir, name, file);
}

/* ---- one path ---- */

/* Folder and last component of an absolute path; the folder's descriptor, or negative errno. */
static int open_parent(const char *path, const char **ret_base, struct fault *fault)
{
	const char *slash = strrchr(path, '/');
	if (!slash || !slash[1])
		return fault_set(fault, -EINVAL, "%s is no path of a file", path);
	AUTO_FREE char *folder = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
	*ret_base = slash + 1;
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? fault_errno(fault, errno, "can't open %s", folder) : fd;
}

/* What a path holds, links followed; *ret_st of the file itself. */
static int read_path(const char *path, char **ret_bytes, size_t *ret_len, struct stat *ret_st, struct fault *fault)
{
	AUTO_FREE char *real = realpath(path, NULL);
	if (!real || stat(real, ret_st) < 0)
		return fault_errno(fault, errno, "can't open %s", path);
	return files_read(AT_FDCWD, real, ADOPT_FILE_MAX, ret_bytes, ret_len, fault);
}

static bool is_our_link(int folder, const char *base, const char *target)
{
	char now[PATH_MAX];
	return files_read_link(folder, base, now, sizeof now, NULL) == 0 && strcmp(now, target) == 0;
}

/* Attributes that decide who reads a file (ACL, label ...), as { name: hex }. */
static json_t *read_attributes(const char *path)
{
	char names[ATTRIBUTES_MAX], value[VALUE_MAX], hex[2 * VALUE_MAX + 1];
	json_t *o = json_object();
	ssize_t n = listxattr(path, names, sizeof names);
	for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		ssize_t len = getxattr(path, name, value, sizeof value);
		if (len < 0)
			continue;
		text_hex(value, (size_t)len, hex);
		json_object_set_new(o, name, json_string(hex));
	}
	return o;
}

/* A new file like another one: content, owner, mode, attributes; its name is not in place yet. */
static int make_like(int folder, const char *name, const char *bytes, size_t len, const json_t *like,
		     struct fault *fault)
{
	const char *key;
	json_t *hex;
	struct stat st;
	(void)unlinkat(folder, name, 0);
	int r = files_create(folder, name, bytes, len, 0600, fault);
	if (r < 0)
		return r;
	AUTO_CLOSE int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	uid_t uid = (uid_t)json_integer_value(json_object_get(like, "uid"));
	gid_t gid = (gid_t)json_integer_value(json_object_get(like, "gid"));
	mode_t mode = (mode_t)json_integer_value(json_object_get(like, "mode"));
	if (fd < 0 || fstat(fd, &st) < 0 || ((st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0) ||
	    fchmod(fd, mode) < 0)
		return fault_errno(fault, errno, "can't give %s its owner and mode", name);
	json_object_foreach(json_object_get(like, "attributes"), key, hex)
	{
		char value[VALUE_MAX];
		size_t n = strlen(json_string_value(hex)) / 2;
		if (n > sizeof value || text_unhex(json_string_value(hex), value, n) < 0 ||
		    fsetxattr(fd, key, value, n, 0) < 0)
			return fault_errno(fault, errno, "can't give %s its attribute %s", name, key);
	}
	return fsync(fd) < 0 ? fault_errno(fault, errno, "can't write %s", name) : 0;
}

/* Is what stands at `name` what was seen before: a link to `link` (where that is set), else these bytes? */
static bool is_as_seen(int folder, const char *name, const char *link, const char *bytes, size_t len)
{
	char *now;
	size_t n;
	if (*link)
		return is_our_link(folder, name, link);
	if (files_read(folder, name, ADOPT_FILE_MAX, &now, &n, NULL) < 0)
		return false;
	bool same = n == len && memcmp(now, bytes, n) == 0;
	free_secret(now, n);
	return same;
}

/* Exchanges `fresh` with `base` and looks at what came out: where it is not what was seen before, somebody wrote in the
 * same moment, and theirs is put back. `fresh` is gone afterwards. */
static int put_in_place(int folder, const char *fresh, const char *base, const char *link, const char *bytes,
			size_t len, struct fault *fault)
{
	int r = files_exchange(folder, fresh, base, fault);
	if (r == -EINVAL || r == -ENOSYS || r == -EXDEV) { /* the filesystem can't: look first */
		if (!is_as_seen(folder, base, link, bytes, len))
			return fault_set(fault, -ESTALE, "%s was changed by somebody else in this moment", base);
		r = renameat(folder, fresh, folder, base) < 0 ? -errno : files_sync_folder(folder, fault);
		return r;
	}
	if (r < 0)
		return r;
	if (is_as_seen(folder, fresh, link, bytes, len))
		return files_remove(folder, fresh, fault);
	r = files_exchange(folder, fresh, base, fault);
	(void)files_remove(folder, fresh, NULL);
	return r < 0 ? r : fault_set(fault, -ESTALE, "%s was changed by somebody else in this moment", base);
}

/* ---- links ---- */

static int keep_one(const struct site *site, int folder, const char *name, json_t *link, struct fault *fault)
{
	char *bytes, now[PATH_MAX];
	size_t len;
	struct stat st;
	const char *path = member(link, "path"), *base;
	AUTO_FREE char *target = adopt_target(site, name, member(link, "file"));
	AUTO_CLOSE int parent = open_parent(path, &base, fault);
	if (parent < 0)
		return parent;
	if (is_our_link(parent, base, target))
		return 0;
	int r = read_path(path, &bytes, &len, &st, fault);
	if (r < 0)
		return r;
	const char *was = files_read_link(parent, base, now, sizeof now, NULL) == 0 ? now : "";
	r = files_replace(folder, member(link, "file"), bytes, len, 0600, fault);
	free_secret(bytes, len);
	json_object_set_new(link, "saved", json_string(member(link, "file")));
	json_object_set_new(link, "was_link", json_string(was));
	json_object_set_new(link, "mode", json_integer(st.st_mode & 07777));
	json_object_set_new(link, "uid", json_integer(st.st_uid));
	json_object_set_new(link, "gid", json_integer(st.st_gid));
	json_object_set_new(link, "attributes", read_attributes(path));
	return r;
}

int adopt_keep(const struct site *site, json_t *record, struct fault *fault)
{
	size_t i;
	json_t *link;
	AUTO_CLOSE int folder = adopt_folder(site, member(record, "name"), fault);
	if (folder < 0)
		return folder;
	json_array_foreach(json_object_get(record, "links"), i, link)
	{
		int r = keep_one(site, folder, member(record, "name"), link, fault);
		if (r < 0)
			return r;
	}
	return adopt_save(site, record, fault);
}

static int take_one(const struct site *site, int folder, const char *name, const json_t *link, struct fault *fault)
{
	char *bytes;
	size_t len;
	const char *path = member(link, "path"), *base;
	AUTO_FREE char *target = adopt_target(site, name, member(link, "file"));
	AUTO_CLOSE int parent = open_parent(path, &base, fault);
	if (parent < 0)
		return parent;
	if (is_our_link(parent, base, target))
		return 0;
	AUTO_FREE char *fresh = xasprintf(".%s.certswap", base);
	if ((unlinkat(parent, fresh, 0) < 0 && errno != ENOENT) || symlinkat(target, parent, fresh) < 0)
		return fault_errno(fault, errno, "can't make a link beside %s", path);
	int r = files_read(folder, member(link, "saved"), ADOPT_FILE_MAX, &bytes, &len, fault);
	if (r < 0)
		return r;
	r = put_in_place(parent, fresh, base, member(link, "was_link"), bytes, len, fault);
	free_secret(bytes, len);
	return r < 0 ? fault_prefix(fault, r, "%s", path) : 0;
}

int adopt_take(const struct site *site, const json_t *record, struct fault *fault)
{
	size_t i;
	json_t *link;
	AUTO_CLOSE int folder = adopt_folder(site, member(record, "name"), fault);
	int r = folder < 0 ? folder : 0;
	json_array_foreach(json_object_get(record, "links"), i, link) if (r == 0) r =
		take_one(site, folder, member(record, "name"), link, fault);
	return r;
}

/* Who may read the key must reach it too: in a folder that is the right to search. */
static void let_readers_search(char *acl, size_t len)
{
	for (size_t at = 4; at + 8 <= len; at += 8) /* acl(5): a version, then tag, permissions, id; little-endian */
		if (acl[at + 2] & 4)
			acl[at + 2] |= 1;
}

int adopt_keep_readers(const struct certificate *c, const char *key, struct fault *fault)
{
	char acl[VALUE_MAX];
	ssize_t len = getxattr(key, ACL, acl, sizeof acl);
	if (len <= 4)
		return 0;
	let_readers_search(acl, (size_t)len);
	AUTO_CLOSE int generations = files_open_folder(c->folder, "gen", 0711, fault);
	if (generations < 0)
		return generations;
	if (fsetxattr(generations, ACL_DEFAULT, acl, (size_t)len, 0) < 0)
		return fault_errno(fault, errno, "can't keep the ACL of %s", key);
	return 0;
}

static int give_back_one(const struct site *site, int folder, const char *name, const json_t *link, bool original,
			 struct fault *fault)
{
	char *bytes;
	size_t len;
	struct stat st;
	const char *path = member(link, "path"), *base;
	AUTO_FREE char *target = adopt_target(site, name, member(link, "file"));
	AUTO_CLOSE int parent = open_parent(path, &base, fault);
	if (parent < 0)
		return parent;
	if (!is_our_link(parent, base, target)) /* never taken, or somebody else's by now */
		return 0;
	int r = original ? files_read(folder, member(link, "saved"), ADOPT_FILE_MAX, &bytes, &len, fault)
			 : read_path(target, &bytes, &len, &st, fault);
	if (r < 0)
		return r;
	AUTO_FREE char *fresh = xasprintf(".%s.certswap", base);
	r = make_like(parent, fresh, bytes, len, link, fault);
	free_secret(bytes, len);
	if (r == 0)
		r = put_in_place(parent, fresh, base, target, "", 0, fault);
	if (r < 0)
		(void)unlinkat(parent, fresh, 0);
	return r < 0 ? fault_prefix(fault, r, "%s", path) : 0;
}

int adopt_give_back(const struct site *site, const json_t *record, bool original, struct fault *fault)
{
	size_t i;
	json_t *link;
	AUTO_CLOSE int folder = adopt_folder(site, member(record, "name"), fault);
	int r = folder < 0 ? folder : 0;
	json_array_foreach(json_object_get(record, "links"), i, link) if (r == 0) r =
		give_back_one(site, folder, member(record, "name"), link, original, fault);
	return r;
}

/* ---- edits ---- */

/* A file of a web server's configuration, as it was read. */
struct opened {
	char *real, *bytes;
	size_t len;
	json_t *like;
};

static void opened_done(struct opened *o)
{
	free(o->real);
	free(o->bytes);
	json_decref(o->like);
}

static int open_for_edit(const char *path, struct opened *ret, struct fault *fault)
{
	struct stat st;
	*ret = (struct opened){.real = realpath(path, NULL)};
	if (!ret->real)
		return fault_errno(fault, errno, "can't open %s", path);
	int r = read_path(ret->real, &ret->bytes, &ret->len, &st, fault);
	ret->like =
		json_pack("{sI, sI, sI, so}", "mode", (json_int_t)(st.st_mode & 07777), "uid", (json_int_t)st.st_uid,
			  "gid", (json_int_t)st.st_gid, "attributes", read_attributes(ret->real));
	return r;
}

static int write_edited(const struct opened *o, const struct text *new, struct fault *fault)
{
	const char *base;
	AUTO_CLOSE int parent = open_parent(o->real, &base, fault);
	if (parent < 0)
		return parent;
	AUTO_FREE char *fresh = xasprintf(".%s.certswap", base);
	int r = make_like(parent, fresh, new->s ? new->s : "", new->len, o->like, fault);
	if (r == 0)
		r = put_in_place(parent, fresh, base, "", o->bytes, o->len, fault);
	if (r < 0)
		(void)unlinkat(parent, fresh, 0);
	return r;
}

/* Copies o up to each edit and the edit; the edits of one file come in their order. */
static int apply(const struct opened *o, const json_t *edits, const char *path, struct text *new, struct fault *fault)
{
	size_t i, at = 0;
	json_t *edit;
	json_array_foreach(edits, i, edit)
	{
		const char *old = member(edit, "old");
		size_t from = (size_t)json_integer_value(json_object_get(edit, "from")), len = strlen(old);
		if (strcmp(member(edit, "path"), path) != 0)
			continue;
		if (from < at || from + len > o->len || memcmp(o->bytes + from, old, len) != 0)
			return fault_set(fault, -ESTALE, "%s was changed since it was read: run adopt again", path);
		text_add_bytes(new, o->bytes + at, from - at);
		text_add(new, "%s", member(edit, "new"));
		at = from + len;
	}
	text_add_bytes(new, o->bytes + at, o->len - at);
	return 0;
}

static char *backup_name(const char *what, const char *real)
{
	char hex[DIGEST_HEX];
	struct digest digest = hash_bytes(real, strlen(real));
	return xasprintf("%s-%.8s", what, digest_text(&digest, hex));
}

/* The whole file: before adopt ("configuration", kept once), for a person, as the undoing goes by the edits; before
 * release ("release"). */
static int keep_backup(const struct site *site, const json_t *record, const struct opened *o, const char *what,
		       struct fault *fault)
{
	AUTO_CLOSE int folder = adopt_folder(site, member(record, "name"), fault);
	AUTO_FREE char *name = backup_name(what, o->real);
	bool once = strcmp(what, "configuration") == 0;
	if (folder < 0 || (once && faccessat(folder, name, F_OK, 0) == 0))
		return folder < 0 ? folder : 0;
	return files_replace(folder, name, o->bytes, o->len, 0600, fault);
}

int adopt_edit(const struct site *site, const json_t *record, const json_t *edits, const char *path,
	       struct fault *fault)
{
	struct opened o;
	struct text new = {0};
	int r = open_for_edit(path, &o, fault);
	if (r == 0)
		r = keep_backup(site, record, &o, "configuration", fault);
	if (r == 0)
		r = apply(&o, edits, path, &new, fault);
	if (r == 0)
		r = write_edited(&o, &new, fault);
	text_done(&new);
	opened_done(&o);
	return r;
}

/* The edit of this path whose `new` stands at `at`; NULL: none. Where several have the same, they come in their order.
 */
static const json_t *edit_at(const json_t *edits, const char *path, const char *at, size_t left, struct words *used)
{
	size_t i;
	json_t *edit;
	const json_t *found = NULL;
	json_array_foreach(edits, i, edit)
	{
		char mark[24];
		const char *new = member(edit, "new");
		snprintf(mark, sizeof mark, "%zu", i);
		if (strcmp(member(edit, "path"), path) != 0 || strlen(new) > left || memcmp(at, new, strlen(new)) != 0)
			continue;
		found = edit;
		if (words_has(used, mark))
			continue;
		words_add(used, mark);
		break;
	}
	return found;
}

static int unedit_one(const struct site *site, const json_t *record, const char *path, struct words *ret_files,
		      struct fault *fault)
{
	struct opened o;
	struct text new = {0};
	struct words used = {0};
	const json_t *edits = json_object_get(record, "edits");
	bool changed = false;
	int r = open_for_edit(path, &o, fault);
	for (size_t at = 0; r == 0 && at < o.len;) {
		const json_t *edit = edit_at(edits, path, o.bytes + at, o.len - at, &used);
		if (edit)
			text_add(&new, "%s", member(edit, "old"));
		else
			text_add_bytes(&new, o.bytes + at, 1);
		at += edit ? strlen(member(edit, "new")) : 1;
		changed |= edit != NULL;
	}
	if (r == 0 && changed)
		r = keep_backup(site, record, &o, "release", fault);
	if (r == 0 && changed)
		r = write_edited(&o, &new, fault);
	if (r == 0 && changed)
		words_add(ret_files, path);
	words_done(&used);
	text_done(&new);
	opened_done(&o);
	return r;
}

int adopt_unedit(const struct site *site, const json_t *record, struct words *ret_files, struct fault *fault)
{
	size_t i;
	json_t *edit;
	struct words seen = {0};
	const json_t *edits = json_object_get(record, "edits");
	int r = 0;
	json_array_foreach(edits, i, edit)
	{
		const char *path = member(edit, "path");
		if (r == 0 && !words_has(&seen, path)) {
			words_add(&seen, path);
			r = unedit_one(site, record, path, ret_files, fault);
		}
	}
	words_done(&seen);
	return r;
}

static int reedit_one(int folder, const char *path, struct fault *fault)
{
	struct opened o;
	char *bytes;
	size_t len;
	int r = open_for_edit(path, &o, fault);
	AUTO_FREE char *name = r == 0 ? backup_name("release", o.real) : NULL;
	if (r == 0 && (r = files_read(folder, name, ADOPT_FILE_MAX, &bytes, &len, fault)) == 0) {
		const struct text was = {.s = bytes, .len = len};
		r = write_edited(&o, &was, fault);
		free(bytes);
	}
	opened_done(&o);
	return r;
}

int adopt_reedit(const struct site *site, const json_t *record, struct fault *fault)
{
	size_t i;
	json_t *edit;
	struct words seen = {0};
	AUTO_CLOSE int folder = adopt_folder(site, member(record, "name"), fault);
	int r = folder < 0 ? folder : 0;
	json_array_foreach(json_object_get(record, "edits"), i, edit)
	{
		const char *path = member(edit, "path");
		if (r == 0 && !words_has(&seen, path)) {
			words_add(&seen, path);
			r = reedit_one(folder, path, fault);
		}
	}
	words_done(&seen);
	return r;
}
