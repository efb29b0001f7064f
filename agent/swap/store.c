#include "swap/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "swap/record.h"

#define LINK_MAX_LENGTH 256
#define FILE_MAX_BYTES  (4 * 1024 * 1024)
#define EXCHANGE_ROUNDS 8

#define ACL_USER_OBJ_TAG  0x01
#define ACL_GROUP_OBJ_TAG 0x04
#define ACL_OTHER_TAG     0x20

const char *const store_file_name[STORE_FILES] = {"cert.pem", "chain.pem", "fullchain.pem", "privkey.pem",
						  "combined.pem"};
static const bool holds_key[STORE_FILES] = {[3] = true, [4] = true};

const char *store_generation_path(unsigned int number, char *buf)
{
	snprintf(buf, 32, "gen/%06u", number);
	return buf;
}

/* The number in "gen/000007"; 0: not a target of ours. */
static unsigned int target_number(const char *target)
{
	unsigned int number;
	char again[32];
	if (sscanf(target, "gen/%9u", &number) != 1 || !number)
		return 0;
	return strcmp(store_generation_path(number, again), target) == 0 ? number : 0;
}

int store_link_number(int folder, const char *link, struct fault *fault)
{
	char target[LINK_MAX_LENGTH];
	int r = files_read_link(folder, link, target, sizeof target, fault);
	if (r == -ENOENT)
		return 0;
	if (r == -ENAMETOOLONG) /* none of ours is so long */
		return fault_set(fault, -EINVAL, "%s points to no generation", link);
	if (r < 0)
		return r;
	unsigned int number = target_number(target);
	return number ? (int)number
		      : fault_set(fault, -EINVAL, "%s points to %s, which is no generation", link, target);
}

static int open_generations(int folder, struct fault *fault)
{
	return files_open_folder(folder, "gen", 0711, fault);
}

/* The number of a folder of gen/; 0: not one of ours. */
static unsigned int folder_number(const char *name)
{
	AUTO_FREE char *target = xasprintf("gen/%s", name);
	return target_number(target);
}

/* Our folders of gen/, the oldest first; somebody else's are left alone. */
static int list_generations(int generations, struct words *ret, struct fault *fault)
{
	struct words names = {0};
	int r = files_list(generations, false, &names, fault);
	for (size_t i = 0; i < names.n; i++)
		if (folder_number(names.v[i]))
			words_add(ret, names.v[i]);
	words_done(&names);
	return r;
}

static const char *const links[] = {"live", "standby", "next"};

/* Does a link name this generation? */
static bool is_named(int folder, unsigned int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (store_link_number(folder, links[i], NULL) == (int)number)
			return true;
	return false;
}

/* The same before it is removed: a link that can't be read now may name it. */
static bool may_be_named(int folder, unsigned int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		int named = store_link_number(folder, links[i], NULL);
		if (named == (int)number || (named < 0 && named != -EINVAL))
			return true;
	}
	return false;
}

/* Above `above` and all that are there, and not what a link names already: that may be somebody else's, and any number.
 */
static unsigned int next_number(int generations, int folder, unsigned int above)
{
	struct words names = {0};
	unsigned int highest = above;
	(void)list_generations(generations, &names, NULL); /* an unreadable folder shows when the next one is made */
	for (size_t i = 0; i < names.n; i++) {
		unsigned int n = folder_number(names.v[i]);
		highest = n > highest ? n : highest;
	}
	words_done(&names);
	do
		highest++;
	while (is_named(folder, highest));
	return highest;
}

int store_begin(int folder, unsigned int above, unsigned int *ret_number, int ret_fds[STORE_FILES], struct fault *fault)
{
	AUTO_CLOSE int generations = open_generations(folder, fault);
	if (generations < 0)
		return generations;
	unsigned int number = next_number(generations, folder, above);
	char name[16];
	snprintf(name, sizeof name, "%06u", number);
	if (mkdirat(generations, name, 0700) < 0) /* store_seal makes it durable */
		return fault_errno(fault, errno, "can't make generation %u", number);
	AUTO_CLOSE int generation = files_open_folder(generations, name, 0, fault);
	if (generation < 0)
		return generation;
	for (int i = 0; i < STORE_FILES; i++) {
		ret_fds[i] = openat(generation, store_file_name[i], O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
				    0600);
		if (ret_fds[i] >= 0)
			continue;
		int error = errno;
		while (i-- > 0)
			close(ret_fds[i]);
		(void)store_remove(folder, number, NULL);
		return fault_errno(fault, error, "can't make a file of generation %u", number);
	}
	*ret_number = number;
	return 0;
}

/* An ACL as the kernel stores it: a version, then entries (linux/posix_acl_xattr.h). Its entries for owner, group and
 * others are what `mode` says; the named ones and their mask stay as they are. */
static void fit_acl(unsigned char *acl, size_t len, mode_t mode)
{
	for (size_t at = 4; at + 8 <= len; at += 8) {
		unsigned int tag = acl[at] | (unsigned int)acl[at + 1] << 8;
		if (tag == ACL_USER_OBJ_TAG)
			acl[at + 2] = (unsigned char)(mode >> 6 & 7);
		else if (tag == ACL_GROUP_OBJ_TAG)
			acl[at + 2] = (unsigned char)(mode >> 3 & 7);
		else if (tag == ACL_OTHER_TAG)
			acl[at + 2] = (unsigned char)(mode & 7);
	}
}

/* Who could read the file of the live generation by its ACL or label can read the new one. Neither is needed to serve:
 * where one can't be copied, that is no reason to refuse the pair, and the wire tells. */
static void copy_access(int from, int to, mode_t mode)
{
	static const char *const names[] = {"security.selinux", "system.posix_acl_access"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		unsigned char value[4096];
		ssize_t n = fgetxattr(from, names[i], value, sizeof value);
		if (n <= 0)
			continue;
		if (i == 1)
			fit_acl(value, (size_t)n, mode);
		if (fsetxattr(to, names[i], value, (size_t)n, 0) < 0)
			log_warning("access", "%s of the live generation can't be copied: %s", names[i],
				    strerror(errno));
	}
}

static void copy_live_access(int folder, const char *file, int to, mode_t mode)
{
	int live = store_link_number(folder, "live", NULL);
	AUTO_CLOSE int from = live > 0 ? store_open_file(folder, (unsigned int)live, file, NULL) : -1;
	if (from >= 0)
		copy_access(from, to, mode);
}

static int settle_file(int folder, int fd, int which, const struct store_owner *owner)
{
	mode_t mode = holds_key[which] ? owner->mode : (owner->mode | 0444);
	if (geteuid() == 0 && fchown(fd, owner->uid, owner->gid) < 0)
		return -errno;
	if (fchmod(fd, mode) < 0)
		return -errno;
	copy_live_access(folder, store_file_name[which], fd, mode);
	files_begin_sync(fd);
	return 0;
}

static int sync_files(const int fds[STORE_FILES])
{
	for (int i = 0; i < STORE_FILES; i++)
		if (fsync(fds[i]) < 0)
			return -errno;
	return 0;
}

int store_remove(int folder, unsigned int number, struct fault *fault)
{
	if (may_be_named(folder, number))
		return fault_set(fault, -EBUSY, "generation %u is in use", number);
	AUTO_CLOSE int generations = open_generations(folder, fault);
	if (generations < 0)
		return generations;
	char name[16];
	snprintf(name, sizeof name, "%06u", number);
	return files_remove_tree(generations, name, fault);
}

int store_open_file(int folder, unsigned int number, const char *file, struct fault *fault)
{
	char path[32], *whole;
	whole = xasprintf("%s/%s", store_generation_path(number, path), file);
	int fd = openat(folder, whole,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); /* a pipe may stand there */
	int r = fd < 0 ? fault_errno(fault, errno, "can't open %s", whole) : fd;
	free(whole);
	return r;
}

/* The digest of what a descriptor holds; zero where that is none of our files. 0 or negative errno. */
static int hash_file(int fd, struct digest *ret)
{
	struct stat st;
	*ret = (struct digest){0};
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES)
		return 0;
	char *bytes = xmalloc((size_t)st.st_size);
	ssize_t n;
	do
		n = pread(fd, bytes, (size_t)st.st_size, 0);
	while (n < 0 && errno == EINTR);
	int r = n < 0 ? -errno : 0;
	if (n == st.st_size)
		*ret = hash_bytes(bytes, (size_t)n);
	free_secret(bytes, (size_t)st.st_size);
	return r;
}

unsigned int store_changed_files(int folder, const struct meta *meta)
{
	unsigned int changed = 0;
	for (unsigned int i = 0; i < STORE_FILES; i++) {
		AUTO_CLOSE int fd = store_open_file(folder, meta->number, store_file_name[i], NULL);
		struct digest d = {0};
		int r = fd < 0 ? fd : hash_file(fd, &d);
		if (r < 0 && fault_may_pass(r))
			return STORE_UNREADABLE;
		changed |= digest_equal(&d, &meta->files[i]) ? 0 : 1u << i;
	}
	return changed;
}

int store_seal(int folder, unsigned int number, const int fds[STORE_FILES], const struct meta *meta,
	       const struct store_owner *owner, struct fault *fault)
{
	char path[32];
	AUTO_CLOSE int generation = files_open_folder(folder, store_generation_path(number, path), 0, fault);
	if (generation < 0)
		return generation;
	for (int i = 0; i < STORE_FILES; i++) {
		int r = settle_file(folder, fds[i], i, owner);
		if (r < 0)
			return fault_errno(fault, r, "can't finish %s/%s", path, store_file_name[i]);
	}
	mode_t reach = 0700 | ((owner->mode & 0040) ? 0050 : 0); /* a group that may read the key must reach it */
	if ((geteuid() == 0 && fchown(generation, owner->uid, owner->gid) < 0) || fchmod(generation, reach) < 0)
		return fault_errno(fault, errno, "can't give %s its owner", path);
	int r = sync_files(fds);
	if (r < 0)
		return fault_errno(fault, r, "can't finish %s", path);
	AUTO_CLOSE int generations = open_generations(folder, fault);
	r = generations < 0 ? generations : files_sync_folder(generation, fault);
	if (r == 0)
		r = files_sync_folder(generations, fault);
	struct meta sealed = *meta;
	struct digest files[STORE_FILES];
	for (int i = 0; r == 0 && i < STORE_FILES; i++)
		if ((r = hash_file(fds[i], &files[i])) < 0)
			fault_errno(fault, r, "can't finish %s/%s", path, store_file_name[i]);
	sealed.files = files;
	return r < 0 ? r : meta_save(generation, &sealed, fault); /* last: it makes the generation exist */
}

int store_read_meta(int folder, unsigned int number, struct meta *ret, struct fault *fault)
{
	char path[32];
	AUTO_CLOSE int generation = files_open_folder(folder, store_generation_path(number, path), 0, fault);
	if (generation < 0)
		return generation;
	int r = meta_load(generation, ret, fault);
	return r < 0 ? fault_prefix(fault, r, "%s", path) : 0;
}

int store_set_standby(int folder, unsigned int number, struct fault *fault)
{
	char path[32];
	if (!number)
		return files_remove(folder, "standby", fault);
	return files_link(folder, "standby", store_generation_path(number, path), fault);
}

/* Gives back what came out of an exchange and is not ours: exchanged again until what comes out is what was put in
 * last. A stranger may be at work all the while; after a few rounds it is left, and the next look goes on. Ends with
 * `next` being ours and removed. */
static int give_back(int folder, const char *put_in, struct fault *fault)
{
	char came_out[LINK_MAX_LENGTH], last[LINK_MAX_LENGTH];
	snprintf(last, sizeof last, "%s", put_in);
	for (int round = 0; round < EXCHANGE_ROUNDS; round++) {
		char stranger[LINK_MAX_LENGTH] = "";
		(void)files_read_link(folder, "next", stranger, sizeof stranger,
				      NULL); /* a file that is no link has no target: "" */
		int r = files_exchange(folder, "live", "next", fault);
		if (r < 0)
			return r;
		r = files_read_link(folder, "next", came_out, sizeof came_out, NULL);
		if (r == 0 && strcmp(came_out, last) == 0)
			return files_remove(folder, "next", fault);
		snprintf(last, sizeof last, "%s",
			 stranger); /* yet another came: it is newer, and is given back in turn */
	}
	return fault_set(fault, -EAGAIN, "somebody changes the link live again and again");
}

/* One exchange of live with next and the look at what came out. next names `to` before. */
static int exchange_and_look(int folder, unsigned int from, unsigned int to, bool *ret_foreign, struct fault *fault)
{
	char ours[32];
	int r = files_exchange(folder, "live", "next", fault);
	if (r < 0)
		return r;
	int came_out = store_link_number(folder, "next", fault);
	if (came_out == (int)from) /* where a power cut brings it back, store_look ends it */
		return unlinkat(folder, "next", 0) < 0 && errno != ENOENT
			       ? fault_errno(fault, errno, "can't remove next")
			       : 0;
	if (came_out < 0 && came_out != -EINVAL) /* not known whose it is: store_look ends it */
		return came_out;
	*ret_foreign = true; /* somebody replaced the link between our look and the exchange: give it back */
	return give_back(folder, store_generation_path(to, ours), fault);
}

/* For a filesystem without RENAME_EXCHANGE: the look was just before, the window is the rename itself. */
static int rename_over(int folder, struct fault *fault)
{
	if (renameat(folder, "next", folder, "live") < 0)
		return fault_errno(fault, errno, "can't rename next to live");
	return files_sync_folder(folder, fault);
}

int store_exchange(int folder, unsigned int from, unsigned int to, bool *ret_foreign, struct fault *fault)
{
	char path[32];
	enum txn_disk disk;
	*ret_foreign = false;
	int r = store_look(folder, from, to, &disk, fault);
	if (r < 0 || disk == TXN_DISK_NEW)
		return r;
	if (disk == TXN_DISK_FOREIGN) {
		*ret_foreign = true;
		return 0;
	}
	store_generation_path(to, path);
	if (!from) {
		if (symlinkat(path, folder, "live") == 0)
			return files_sync_folder(folder, fault);
		*ret_foreign = errno == EEXIST;
		return *ret_foreign ? 0 : fault_errno(fault, errno, "can't make the link live");
	}
	/* store_look has seen that no stranger's link has this name; the exchange makes it durable */
	if (symlinkat(path, folder, "next") < 0)
		return fault_errno(fault, errno, "can't make link next");
	r = exchange_and_look(folder, from, to, ret_foreign, fault);
	return r == -EINVAL || r == -ENOSYS || r == -EXDEV ? rename_over(folder, fault) : r;
}

/* Ends an exchange that a crash or an error cut off before its look: live is ours already, next holds what came out. A
 * stranger's link under the name next is given back, never removed. Where live is a stranger's (-EINVAL) or missing
 * (0), next goes if it is ours: the giving back was cut off. */
static int finish_look(int folder, unsigned int old, unsigned int new, int live, struct fault *fault)
{
	char target[LINK_MAX_LENGTH], ours[32];
	int r = files_read_link(folder, "next", target, sizeof target, fault);
	if (r == -ENOENT)
		return live;
	if (r < 0 && r != -EINVAL && r != -ENAMETOOLONG) /* not known whose it is */
		return r;
	unsigned int came_out = r < 0 ? 0 : target_number(target);
	if (came_out && (came_out == old || came_out == new)) {
		r = files_remove(folder, "next", fault);
		return r < 0 ? r : live;
	}
	if (live != (int)old && live != (int)new)
		return live; /* two strangers: neither is ours to remove */
	r = give_back(folder, store_generation_path((unsigned int)live, ours), fault);
	return r < 0 ? r : -EINVAL;
}

int store_look(int folder, unsigned int old, unsigned int new, enum txn_disk *ret, struct fault *fault)
{
	int live = store_link_number(folder, "live", fault);
	if (live == 0 && old == 0) {
		*ret = TXN_DISK_OLD;
		return 0;
	}
	live = live >= 0 || live == -EINVAL ? finish_look(folder, old, new, live, fault) : live;
	if (live < 0 && live != -EINVAL)
		return live;
	*ret = live == (int)new ? TXN_DISK_NEW : live > 0 && live == (int)old ? TXN_DISK_OLD : TXN_DISK_FOREIGN;
	return 0;
}

int store_sweep(int folder, bool next_too, struct fault *fault)
{
	struct words names = {0};
	AUTO_CLOSE int generations = open_generations(folder, fault);
	int r = generations < 0 ? generations : list_generations(generations, &names, fault);
	if (r == 0 && next_too &&
	    store_link_number(folder, "next", NULL) > 0) /* the next swap would take it for a stranger's */
		r = files_remove(folder, "next", fault);
	if (r == 0)
		r = record_sweep(folder, fault);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		AUTO_FREE char *meta = xasprintf("%s/meta.json", names.v[i]);
		if (faccessat(generations, meta, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT &&
		    !may_be_named(folder, folder_number(names.v[i])))
			r = files_remove_tree(generations, names.v[i], fault);
	}
	words_done(&names);
	return r;
}

size_t store_list_newest(int folder, unsigned int *ret_numbers, size_t max)
{
	struct words names = {0};
	size_t n = 0;
	AUTO_CLOSE int generations = open_generations(folder, NULL);
	if (generations >= 0 && list_generations(generations, &names, NULL) == 0)
		for (; n < max && n < names.n; n++)
			ret_numbers[n] = folder_number(names.v[names.n - 1 - n]);
	words_done(&names);
	return n;
}

int store_prune(int folder, unsigned int keep, struct fault *fault)
{
	struct words names = {0};
	AUTO_CLOSE int generations = open_generations(folder, fault);
	int r = generations < 0 ? generations : list_generations(generations, &names, fault);
	for (size_t i = 0; r == 0 && i + keep < names.n; i++)
		if (!may_be_named(folder, folder_number(names.v[i])))
			r = files_remove_tree(generations, names.v[i], fault);
	words_done(&names);
	return r;
}
