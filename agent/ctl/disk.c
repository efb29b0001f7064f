#include "ctl/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define FOLDERS_DEEP 20 /* as Apache itself */

/* A FIFO or device must not hold anything up. */
static int open_regular(const char *path, off_t max)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	int error = fstat(fd, &st) < 0     ? -errno
		    : S_ISDIR(st.st_mode)  ? -EISDIR
		    : !S_ISREG(st.st_mode) ? -EINVAL
		    : st.st_size > max     ? -EFBIG
					   : 0;
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

/* Files of /proc have no size: read until the end. */
int disk_read(const char *path, size_t max, char **ret_bytes, size_t *ret_len)
{
	struct text text = {0};
	AUTO_CLOSE int fd = open_regular(path, (off_t)max);
	char buffer[65536];
	ssize_t n;
	if (fd < 0)
		return fd;
	while ((n = read(fd, buffer, sizeof buffer)) > 0 && text.len <= max)
		text_add_bytes(&text, buffer, (size_t)n);
	if (n < 0 || text.len > max) {
		int error = n < 0 ? -errno : -EFBIG;
		text_done(&text);
		return error;
	}
	*ret_bytes = text.s ? text.s : xstrdup("");
	*ret_len = text.len;
	return 0;
}

static int read_file(void *context, const char *path, char **ret_bytes, size_t *ret_len)
{
	return disk_read(path, DISK_FILE_MAX, ret_bytes, ret_len);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_below(const char *folder, int depth, struct words *ret)
{
	DIR *dir = opendir(folder);
	struct words paths = {0};
	if (!dir)
		return -errno;
	for (struct dirent *e; depth < FOLDERS_DEEP && (e = readdir(dir));) {
		AUTO_FREE char *path = xasprintf("%s/%s", folder, e->d_name);
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			words_add(&paths, path);
	}
	closedir(dir);
	if (paths.n)
		qsort(paths.v, paths.n, sizeof *paths.v, by_bytes);
	for (size_t i = 0; i < paths.n && ret->n < WEBCONF_FILES_MAX; i++)
		if (list_below(paths.v[i], depth + 1, ret) == -ENOTDIR)
			words_add(ret, paths.v[i]);
	words_done(&paths);
	return 0;
}

static int list_files(void *context, const char *pattern, bool below, struct words *ret)
{
	glob_t found;
	if (below)
		return list_below(pattern, 0, ret);
	int r = glob(pattern, 0, NULL, &found);
	for (size_t i = 0; r == 0 && i < found.gl_pathc && i < WEBCONF_FILES_MAX; i++)
		words_add(ret, found.gl_pathv[i]);
	globfree(&found);
	return r == GLOB_NOSPACE ? -ENOMEM : r == GLOB_ABORTED ? -EACCES : 0;
}

struct webconf_source disk_source(void)
{
	return (struct webconf_source){.read = read_file, .list = list_files};
}
