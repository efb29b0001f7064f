/* For the tests of base/, swap/ and site/: a folder of its own for each test, what it takes to see and to break disk
 * writes (a log of syncs, a full or a read-only filesystem in a private mount namespace), and a count of descriptors.
 */
#ifndef TEST_FILES_HELP_H
#define TEST_FILES_HELP_H
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1 /* as gcc does */
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "base/files.h"
#include "base/memory.h"
#include "base/text.h"

static char files_path[64]; /* the test's folder */
static int files_folder;    /* the same, open */
static int files_fds_before;

/* Every fsync and fdatasync of the program under test ends here: the paths, in order, each after a space; and the one
 * that is to fail with EIO (1: the next). */
__attribute__((weak)) struct {
	char log[16384];
	int fail_at;
} files_syncs;

int files_sync(int fd, long call);
__attribute__((weak)) int files_sync(int fd, long call)
{
	char link[64], target[512] = "";
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (readlink(link, target, sizeof target - 1) < 0)
		return -1; /* a bad descriptor: errno says so */
	size_t used = strlen(files_syncs.log);
	snprintf(files_syncs.log + used, sizeof files_syncs.log - used, " %s", strrchr(target, '/') + 1);
	if (files_syncs.fail_at && --files_syncs.fail_at == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(call, fd);
}

__attribute__((weak)) int fsync(int fd)
{
	return files_sync(fd, SYS_fsync);
}

__attribute__((weak)) int fdatasync(int fd)
{
	return files_sync(fd, SYS_fdatasync);
}

/* A stranger at work just before each renameat2, and before each symlinkat, of the program under test; and a filesystem
 * that can't exchange. */
__attribute__((weak)) struct {
	void (*before_rename)(void);
	void (*before_link)(void);
	bool no_exchange;
} files_names;

__attribute__((weak)) int renameat2(int from, const char *name, int to, const char *new_name, unsigned int flags)
{
	if (files_names.before_rename)
		files_names.before_rename();
	if (files_names.no_exchange && (flags & RENAME_EXCHANGE)) {
		errno = EXDEV;
		return -1;
	}
	return (int)syscall(SYS_renameat2, from, name, to, new_name, flags);
}

__attribute__((weak)) int symlinkat(const char *target, int folder, const char *name)
{
	if (files_names.before_link)
		files_names.before_link();
	return (int)syscall(SYS_symlinkat, target, folder, name);
}

/* The name under which the test's folder stands in the log. */
static inline const char *files_name(void)
{
	return strrchr(files_path, '/') + 1;
}

static inline int files_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline void files_begin(void)
{
	strcpy(files_path, "/tmp/certswap-test-XXXXXX");
	cr_assert_not_null(mkdtemp(files_path));
	files_fds_before = files_count_fds();
	files_folder = open(files_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(files_folder, 0);
}

static inline void files_end(void)
{
	close(files_folder);
	cr_assert_eq(files_count_fds(), files_fds_before, "descriptors were left open");
	while (umount2(files_path, MNT_DETACH) == 0)
		;
	AUTO_CLOSE int root = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	files_remove_tree(root, files_name(), NULL);
#ifdef __SANITIZE_ADDRESS__
	cr_assert_eq(__lsan_do_recoverable_leak_check(), 0, "memory was left");
#endif
}

/* A test with its begin and end inside: Criterion does not count what fails or leaks in .fini or at exit. A test that
 * hangs is ended. */
#define FILES_TEST(suite, name)                                                                                        \
	static void suite##_##name##_body(void);                                                                       \
	Test(suite, name, .timeout = 60)                                                                               \
	{                                                                                                              \
		files_begin();                                                                                         \
		suite##_##name##_body();                                                                               \
		files_end();                                                                                           \
	}                                                                                                              \
	static void suite##_##name##_body(void)

/* ---- the folder's content, by ordinary calls ---- */

static inline void files_put_bytes(int dir, const char *name, const void *bytes, size_t len)
{
	AUTO_CLOSE int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0, "%s", name);
	cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
}

static inline void files_put(int dir, const char *name, const char *text)
{
	files_put_bytes(dir, name, text, strlen(text));
}

/* The whole file, or "(none)"; good until the next call. */
static inline const char *files_get(int dir, const char *name)
{
	static char bytes[65536];
	AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes - 1);
	if (n < 0)
		return "(none)";
	bytes[n] = '\0';
	return bytes;
}

/* The target of a link, "(none)" or "(no link)"; good until the next call. */
static inline const char *files_target(int dir, const char *name)
{
	static char target[4097];
	ssize_t n = readlinkat(dir, name, target, sizeof target - 1);
	if (n < 0)
		return errno == ENOENT ? "(none)" : "(no link)";
	target[n] = '\0';
	return target;
}

static inline void files_set_link(int dir, const char *name, const char *target)
{
	(void)unlinkat(dir, name, 0);
	cr_assert_eq(symlinkat(target, dir, name), 0, "%s", name);
}

static inline bool files_exist(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline mode_t files_mode(int dir, const char *name)
{
	struct stat st;
	cr_assert_eq(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0, "%s", name);
	return st.st_mode & 07777;
}

/* All names, hidden ones too, sorted, each with a space behind it; good until the next call. */
static inline const char *files_all(int dir)
{
	static char all[4096];
	struct words names = {0};
	all[0] = '\0';
	cr_assert_eq(files_list(dir, true, &names, NULL), 0);
	for (size_t i = 0; i < names.n; i++) {
		strcat(all, names.v[i]);
		strcat(all, " ");
	}
	words_done(&names);
	return all;
}

/* ---- broken filesystems ---- */

/* Ends the test without a verdict. */
static inline void files_skip(const char *why)
{
	(void)rmdir(files_path);
	cr_skip_test("%s", why);
}

static inline void files_write_map(const char *path, unsigned int id)
{
	AUTO_FREE char *map = xasprintf("0 %u 1\n", id);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, strlen(map)) < 0)
		files_skip("no mount namespace to be had");
}

/* The descriptor still leads to what was there before. */
static inline void files_reopen(void)
{
	close(files_folder);
	files_folder = open(files_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(files_folder, 0);
}

/* A mount namespace of this test's own (each test is a process); skips the test where the kernel gives none. */
static inline void files_own_mounts(void)
{
	unsigned int uid = geteuid(), gid = getegid();
	if (unshare(CLONE_NEWNS) < 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
			files_skip("no mount namespace to be had");
		files_write_map("/proc/self/uid_map", uid);
		AUTO_CLOSE int fd = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
		(void)!write(fd, "deny", 4);
		files_write_map("/proc/self/gid_map", gid);
	}
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		files_skip("no mounts of one's own");
	files_reopen();
}

/* The test's folder becomes an empty filesystem of so many KiB. */
static inline void files_small_disk(unsigned int kib)
{
	AUTO_FREE char *size = xasprintf("size=%uk,mode=0700", kib);
	files_own_mounts();
	if (mount("tmpfs", files_path, "tmpfs", 0, size) < 0)
		files_skip("no tmpfs to be had");
	files_reopen();
}

/* Nothing more goes onto the small disk. */
static inline void files_fill_disk(void)
{
	static const char zeros[4096];
	AUTO_CLOSE int fd = openat(files_folder, "filler", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	while (write(fd, zeros, sizeof zeros) > 0)
		;
	cr_assert_eq(errno, ENOSPC);
}

static inline void files_free_disk(void)
{
	cr_assert_eq(unlinkat(files_folder, "filler", 0), 0);
}

/* The small disk becomes read-only (true) or writable again. */
static inline void files_read_only(bool on)
{
	cr_assert_eq(mount(NULL, files_path, NULL, MS_REMOUNT | (on ? MS_RDONLY : 0), NULL), 0);
}
#endif
