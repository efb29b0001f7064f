#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

int files_sync_folder(int dirfd, struct fault *fault)
{
	return fsync(dirfd) < 0 ? fault_errno(fault, errno, "can't sync a folder to disk") : 0;
}

int files_open_folder(int dirfd, const char *name, mode_t mode, struct fault *fault)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int fd = openat(dirfd, name, flags);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT || !mode)
		return fault_errno(fault, errno, "can't open folder %s", name);
	if (mkdirat(dirfd, name, mode) < 0 && errno != EEXIST)
		return fault_errno(fault, errno, "can't make folder %s", name);
	fd = openat(dirfd, name, flags);
	if (fd < 0)
		return fault_errno(fault, errno, "can't open folder %s", name);
	AUTO_CLOSE int parent = openat(fd, "..", flags);
	if (fchmod(fd, mode) < 0 || (parent >= 0 && fsync(parent) < 0)) { /* whatever the umask is */
		int error = errno;
		close(fd);
		return fault_errno(fault, error, "can't make folder %s", name);
	}
	return fd;
}

int files_open_path(const char *path, mode_t mode, struct fault *fault)
{
	if (!*path)
		return fault_set(fault, -EINVAL, "an empty path");
	AUTO_FREE char *copy = xstrdup(path);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		int parent = files_open_folder(AT_FDCWD, copy, mode ? 0755 : 0, fault);
		if (parent < 0)
			return parent;
		close(parent);
		*p = '/';
	}
	return files_open_folder(AT_FDCWD, path, mode, fault);
}

static int read_all(int fd, char *bytes, size_t max, size_t *ret_len)
{
	size_t len = 0;
	while (len < max) {
		ssize_t n = read(fd, bytes + len, max - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

int files_read(int dirfd, const char *name, size_t max, char **ret_bytes, size_t *ret_len, struct fault *fault)
{
	struct stat st;
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fault_errno(fault, errno, "can't open %s", name);
	if (!S_ISREG(st.st_mode))
		return fault_set(fault, -EINVAL, "%s is not a regular file", name);
	if (st.st_size < 0 || (uintmax_t)st.st_size > max)
		return fault_set(fault, -EFBIG, "%s is larger than %zu bytes", name, max);
	char *bytes = xmalloc((size_t)st.st_size + 2);
	size_t len = 0;
	int r = read_all(fd, bytes, (size_t)st.st_size + 1, &len);
	if (r < 0 || len > max) {
		free(bytes);
		return r < 0 ? fault_errno(fault, r, "can't read %s", name)
			     : fault_set(fault, -EFBIG, "%s is larger than %zu bytes", name, max);
	}
	bytes[len] = '\0';
	*ret_bytes = bytes;
	if (ret_len)
		*ret_len = len;
	return 0;
}

static int write_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A new file with its content on disk; its name is not synced yet. */
static int write_new(int dirfd, const char *name, const void *bytes, size_t len, mode_t mode, struct fault *fault)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return fault_errno(fault, errno, "can't make %s", name);
	int r = fchmod(fd, mode) < 0 ? -errno : write_all(fd, bytes, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, name, 0); /* ours, made just now */
		return fault_errno(fault, r, "can't write %s", name);
	}
	return 0;
}

int files_create(int dirfd, const char *name, const void *bytes, size_t len, mode_t mode, struct fault *fault)
{
	int r = write_new(dirfd, name, bytes, len, mode, fault);
	return r < 0 ? r : files_sync_folder(dirfd, fault);
}

/* The temporary name beside `name`; what a crash left there is removed first. */
static int temporary_name(int dirfd, const char *name, char *buf, size_t size, struct fault *fault)
{
	if ((size_t)snprintf(buf, size, ".%s.new", name) >= size)
		return fault_set(fault, -ENAMETOOLONG, "the name %s is too long", name);
	if (unlinkat(dirfd, buf, 0) < 0 && errno != ENOENT)
		return fault_errno(fault, errno, "can't remove %s", buf);
	return 0;
}

/* Renames the temporary file to its name, durably. */
static int put_in_place(int dirfd, const char *temporary, const char *name, struct fault *fault)
{
	if (renameat(dirfd, temporary, dirfd, name) < 0) {
		int error = errno;
		(void)unlinkat(dirfd, temporary, 0);
		return fault_errno(fault, error, "can't put %s in place", name);
	}
	return files_sync_folder(dirfd, fault);
}

int files_replace(int dirfd, const char *name, const void *bytes, size_t len, mode_t mode, struct fault *fault)
{
	char temporary[NAME_MAX + 1];
	int r = temporary_name(dirfd, name, temporary, sizeof temporary, fault);
	if (r == 0)
		r = write_new(dirfd, temporary, bytes, len, mode, fault);
	return r < 0 ? r : put_in_place(dirfd, temporary, name, fault);
}

int files_append_soon(int fd, const void *bytes, size_t len, struct fault *fault)
{
	int r = write_all(fd, bytes, len);
	return r < 0 ? fault_errno(fault, r, "can't append") : 0;
}

int files_append(int fd, const void *bytes, size_t len, struct fault *fault)
{
	int r = files_append_soon(fd, bytes, len, fault);
	return r == 0 && fdatasync(fd) < 0 ? fault_errno(fault, errno, "can't append") : r;
}

int files_link(int dirfd, const char *name, const char *target, struct fault *fault)
{
	char temporary[NAME_MAX + 1];
	int r = temporary_name(dirfd, name, temporary, sizeof temporary, fault);
	if (r < 0)
		return r;
	if (symlinkat(target, dirfd, temporary) < 0)
		return fault_errno(fault, errno, "can't make link %s", temporary);
	return put_in_place(dirfd, temporary, name, fault);
}

int files_read_link(int dirfd, const char *name, char *buf, size_t size, struct fault *fault)
{
	ssize_t n = readlinkat(dirfd, name, buf, size);
	if (n < 0)
		return fault_errno(fault, errno, "can't read link %s", name);
	if ((size_t)n >= size)
		return fault_set(fault, -ENAMETOOLONG, "link %s points too far", name);
	buf[n] = '\0';
	return 0;
}

void files_begin_sync(int fd)
{
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int files_exchange(int dirfd, const char *a, const char *b, struct fault *fault)
{
	if (renameat2(dirfd, a, dirfd, b, RENAME_EXCHANGE) < 0)
		return fault_errno(fault, errno, "can't exchange %s and %s", a, b);
	return files_sync_folder(dirfd, fault) < 0 ? -EIO : 0; /* never one of the codes that mean "can't exchange" */
}

int files_move(int from, const char *name, int to, const char *new_name, struct fault *fault)
{
	if (renameat2(from, name, to, new_name, RENAME_NOREPLACE) < 0)
		return fault_errno(fault, errno, "can't move %s to %s", name, new_name);
	int r = files_sync_folder(to, fault);
	return r < 0 || from == to ? r : files_sync_folder(from, fault);
}

int files_remove(int dirfd, const char *name, struct fault *fault)
{
	if (unlinkat(dirfd, name, 0) < 0)
		return errno == ENOENT ? 0 : fault_errno(fault, errno, "can't remove %s", name);
	return files_sync_folder(dirfd, fault);
}

int files_list(int dirfd, bool hidden, struct words *ret, struct fault *fault)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **found = NULL;
	if (fd < 0)
		return fault_errno(fault, errno, "can't open a folder");
	int n = scandirat(fd, ".", &found, NULL, alphasort), error = errno;
	close(fd);
	if (n < 0)
		return fault_errno(fault, error, "can't list a folder");
	for (int i = 0; i < n; i++) {
		const char *name = found[i]->d_name;
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && (hidden || name[0] != '.'))
			words_add(ret, name);
		free(found[i]);
	}
	free(found);
	return 0;
}

static int remove_tree(int dirfd, const char *name, dev_t device, struct fault *fault)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fault_errno(fault, errno, "can't look at %s", name);
	if (st.st_dev != device)
		return fault_set(fault, -EXDEV, "%s is on another filesystem", name);
	if (!S_ISDIR(st.st_mode))
		return unlinkat(dirfd, name, 0) < 0 ? fault_errno(fault, errno, "can't remove %s", name) : 0;
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fault_errno(fault, errno, "can't open %s", name);
	struct words inside = {0};
	int r = files_list(fd, true, &inside, fault);
	for (size_t i = 0; r == 0 && i < inside.n; i++)
		r = remove_tree(fd, inside.v[i], device, fault);
	words_done(&inside);
	if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		r = fault_errno(fault, errno, "can't remove folder %s", name);
	return r;
}

int files_remove_tree(int dirfd, const char *name, struct fault *fault)
{
	struct stat st;
	if (fstat(dirfd, &st) < 0)
		return fault_errno(fault, errno, "can't look at a folder");
	int r = remove_tree(dirfd, name, st.st_dev, fault);
	return r < 0 ? r : files_sync_folder(dirfd, fault);
}
