#include "control/adopt_files.h"

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
#include "control/adopt_disk.h"
#include "swap/record.h"

#define ATTRIBUTES_MAX 4096
#define VALUE_MAX      4096
#define ACL            "system.posix_acl_access"
#define ACL_DEFAULT    "system.posix_acl_default"

const char *adopt_member(const json_t *o, const char *key)
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
	AUTO_CLOSE int folder = adopt_folder(site, adopt_member(record, "name"), fault);
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

int adopt_open_parent(const char *path, const char **ret_base, struct fault *fault)
{
	const char *slash = strrchr(path, '/');
	if (!slash || !slash[1])
		return fault_set(fault, -EINVAL, "%s is no path of a file", path);
	AUTO_FREE char *folder = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
	*ret_base = slash + 1;
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? fault_errno(fault, errno, "can't open %s", folder) : fd;
}

char *adopt_fresh_name(const char *base)
{
	return xasprintf(".%s.certswap", base);
}

int adopt_may_write(int parent, const char *path, struct fault *fault)
{
	if (faccessat(parent, ".", W_OK, 0) == 0 || errno != EROFS)
		return 0;
	return fault_set(fault, -EROFS,
			 "the folder of %s is read-only, or certswapd.service is not let in: systemctl edit certswapd: "
			 "[Service] ReadWritePaths=%.*s, then systemctl restart certswapd",
			 path, (int)(strrchr(path, '/') - path), path);
}

/* What a path holds, links followed; *ret_st of the file itself. */
int adopt_read_path(const char *path, char **ret_bytes, size_t *ret_len, struct stat *ret_st, struct fault *fault)
{
	AUTO_FREE char *real = realpath(path, NULL);
	if (!real || stat(real, ret_st) < 0)
		return fault_errno(fault, errno, "can't open %s", path);
	return files_read(AT_FDCWD, real, ADOPT_FILE_MAX, ret_bytes, ret_len, fault);
}

/* 1, 0, or negative errno: it can't be told now. */
static int is_our_link(int folder, const char *base, const char *target, struct fault *fault)
{
	char now[PATH_MAX];
	int r = files_read_link(folder, base, now, sizeof now, fault);
	if (r == -EINVAL || r == -ENOENT || r == -ENAMETOOLONG) /* a file, none, or a link that is none of ours */
		return 0;
	return r < 0 ? r : strcmp(now, target) == 0;
}

/* Attributes that decide who reads a file (ACL, label ...), as { name: hex }. */
json_t *adopt_attributes(const char *path)
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
int adopt_make_like(int folder, const char *name, const char *bytes, size_t len, const json_t *like,
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
		return is_our_link(folder, name, link, NULL) > 0;
	if (files_read(folder, name, ADOPT_FILE_MAX, &now, &n, NULL) < 0)
		return false;
	bool same = n == len && memcmp(now, bytes, n) == 0;
	free_secret(now, n);
	return same;
}

/* Exchanges `fresh` with `base` and looks at what came out: where it is not what was seen before, somebody wrote in the
 * same moment, and theirs is put back. `fresh` is gone afterwards. */
int adopt_put_in_place(int folder, const char *fresh, const char *base, const char *link, const char *bytes, size_t len,
		       struct fault *fault)
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

/* What a crash left beside a path: the new one, or what the new one took the place of. */
static int sweep_beside(const char *path, struct fault *fault)
{
	const char *base;
	AUTO_CLOSE int parent = adopt_open_parent(path, &base, fault);
	if (parent < 0)
		return parent;
	AUTO_FREE char *fresh = adopt_fresh_name(base);
	struct stat st;
	if (fstatat(parent, fresh, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	return files_remove(parent, fresh, fault);
}

/* Of all paths of the record. */
static int sweep(const json_t *record, struct fault *fault)
{
	size_t i;
	json_t *o;
	json_array_foreach(json_object_get(record, "links"), i, o)
	{
		int r = sweep_beside(adopt_member(o, "path"), fault);
		if (r < 0)
			return r;
	}
	json_array_foreach(json_object_get(record, "edits"), i, o)
	{
		AUTO_FREE char *real = realpath(adopt_member(o, "path"), NULL);
		int r = real ? sweep_beside(real, fault) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- links ---- */

static int keep_one(const struct site *site, int folder, const char *name, json_t *link, struct fault *fault)
{
	char *bytes, now[PATH_MAX];
	size_t len;
	struct stat st;
	const char *path = adopt_member(link, "path"), *base;
	AUTO_FREE char *target = adopt_target(site, name, adopt_member(link, "file"));
	AUTO_CLOSE int parent = adopt_open_parent(path, &base, fault);
	if (parent < 0)
		return parent;
	int ours = is_our_link(parent, base, target, fault);
	if (ours)
		return ours < 0 ? ours : 0;
	int r = adopt_may_write(parent, path, fault);
	r = r < 0 ? r : adopt_read_path(path, &bytes, &len, &st, fault);
	if (r < 0)
		return r;
	const char *was = files_read_link(parent, base, now, sizeof now, NULL) == 0 ? now : "";
	r = files_replace(folder, adopt_member(link, "file"), bytes, len, 0600, fault);
	free_secret(bytes, len);
	json_object_set_new(link, "saved", json_string(adopt_member(link, "file")));
	json_object_set_new(link, "was_link", json_string(was));
	json_object_set_new(link, "mode", json_integer(st.st_mode & 07777));
	json_object_set_new(link, "uid", json_integer(st.st_uid));
	json_object_set_new(link, "gid", json_integer(st.st_gid));
	json_object_set_new(link, "attributes", adopt_attributes(path));
	return r;
}

int adopt_keep(const struct site *site, json_t *record, struct fault *fault)
{
	size_t i;
	json_t *link;
	AUTO_CLOSE int folder = adopt_folder(site, adopt_member(record, "name"), fault);
	if (folder < 0)
		return folder;
	json_array_foreach(json_object_get(record, "links"), i, link)
	{
		int r = keep_one(site, folder, adopt_member(record, "name"), link, fault);
		if (r < 0)
			return r;
	}
	return adopt_save(site, record, fault);
}

static int take_one(const struct site *site, int folder, const char *name, const json_t *link, struct fault *fault)
{
	char *bytes;
	size_t len;
	const char *path = adopt_member(link, "path"), *base;
	AUTO_FREE char *target = adopt_target(site, name, adopt_member(link, "file"));
	AUTO_CLOSE int parent = adopt_open_parent(path, &base, fault);
	if (parent < 0)
		return parent;
	int ours = is_our_link(parent, base, target, fault);
	if (ours)
		return ours < 0 ? ours : 0;
	AUTO_FREE char *fresh = adopt_fresh_name(base);
	if ((unlinkat(parent, fresh, 0) < 0 && errno != ENOENT) || symlinkat(target, parent, fresh) < 0)
		return fault_errno(fault, errno, "can't make a link beside %s", path);
	int r = files_read(folder, adopt_member(link, "saved"), ADOPT_FILE_MAX, &bytes, &len, fault);
	if (r < 0)
		return r;
	r = adopt_put_in_place(parent, fresh, base, adopt_member(link, "was_link"), bytes, len, fault);
	free_secret(bytes, len);
	return r < 0 ? fault_prefix(fault, r, "%s", path) : 0;
}

int adopt_take(const struct site *site, const json_t *record, struct fault *fault)
{
	size_t i;
	json_t *link;
	AUTO_CLOSE int folder = adopt_folder(site, adopt_member(record, "name"), fault);
	int r = folder < 0 ? folder : sweep(record, fault);
	json_array_foreach(json_object_get(record, "links"), i, link) if (r == 0) r =
		take_one(site, folder, adopt_member(record, "name"), link, fault);
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
	const char *path = adopt_member(link, "path"), *base;
	AUTO_FREE char *target = adopt_target(site, name, adopt_member(link, "file"));
	AUTO_CLOSE int parent = adopt_open_parent(path, &base, fault);
	if (parent < 0)
		return parent;
	int ours = is_our_link(parent, base, target, fault);
	if (ours <= 0) /* never taken, or somebody else's by now */
		return ours;
	int r = adopt_may_write(parent, path, fault);
	if (r == 0)
		r = original ? files_read(folder, adopt_member(link, "saved"), ADOPT_FILE_MAX, &bytes, &len, fault)
			     : adopt_read_path(target, &bytes, &len, &st, fault);
	if (r < 0)
		return r;
	AUTO_FREE char *fresh = adopt_fresh_name(base);
	r = adopt_make_like(parent, fresh, bytes, len, link, fault);
	free_secret(bytes, len);
	if (r == 0)
		r = adopt_put_in_place(parent, fresh, base, target, "", 0, fault);
	if (r < 0)
		(void)unlinkat(parent, fresh, 0);
	return r < 0 ? fault_prefix(fault, r, "%s", path) : 0;
}

int adopt_give_back(const struct site *site, const json_t *record, bool original, struct fault *fault)
{
	size_t i;
	json_t *link;
	AUTO_CLOSE int folder = adopt_folder(site, adopt_member(record, "name"), fault);
	int r = folder < 0 ? folder : 0;
	json_array_foreach(json_object_get(record, "links"), i, link) if (r == 0) r =
		give_back_one(site, folder, adopt_member(record, "name"), link, original, fault);
	return r < 0 ? r : sweep(record, fault);
}
