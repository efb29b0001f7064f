#include "webconf/bundle.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define MARK "# configuration file "

static int compare(const void *a, const void *b)
{
	const struct bundle_file *x = a, *y = b;
	int order = strcmp(x->path, y->path);
	return order ? order : x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static void add(struct bundle *b, const char *path, size_t len, const char *bytes)
{
	if ((b->n & (b->n - 1)) == 0)
		b->v = xrealloc(b->v, (b->n ? 2 * b->n : 1) * sizeof *b->v);
	b->v[b->n++] = (struct bundle_file){.path = xstrndup(path, len), .bytes = bytes};
}

void bundle_open(const char *bytes, size_t len, struct bundle *ret)
{
	const char *end = bytes + len;
	*ret = (struct bundle){0};
	for (const char *line = bytes, *next; line < end && ret->n < WEBCONF_FILES_MAX; line = next) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t n = (size_t)((newline ? newline : end) - line);
		next = newline ? newline + 1 : end;
		if (n > strlen(MARK) + 1 && memcmp(line, MARK, strlen(MARK)) == 0 && line[n - 1] == ':') {
			if (ret->n)
				ret->v[ret->n - 1].len = (size_t)(line - ret->v[ret->n - 1].bytes);
			add(ret, line + strlen(MARK), n - strlen(MARK) - 1, next);
		}
	}
	if (ret->n)
		ret->v[ret->n - 1].len = (size_t)(end - ret->v[ret->n - 1].bytes);
	if (ret->n)
		qsort(ret->v, ret->n, sizeof *ret->v, compare);
}

void bundle_done(struct bundle *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->v[i].path);
	free(b->v);
	*b = (struct bundle){0};
}

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);
	while (n > 1 && folder[n - 1] == '/')
		n--;
	return strncmp(path, folder, n) == 0 && path[n] == '/';
}

static int read_file(void *context, const char *path, char **ret_bytes, size_t *ret_len)
{
	const struct bundle *b = context;
	for (size_t i = 0; i < b->n; i++) {
		if (strcmp(b->v[i].path, path) != 0)
			continue;
		*ret_bytes = xmemdup(b->v[i].bytes, b->v[i].len);
		*ret_len = b->v[i].len;
		return 0;
	}
	return -ENOENT;
}

/* Folders are only known by the files in them. */
static int list_files(void *context, const char *pattern, bool below, struct words *ret)
{
	const struct bundle *b = context;
	size_t before = ret->n;
	for (size_t i = 0; i < b->n; i++) {
		const char *path = b->v[i].path;
		bool twice = ret->n > before && strcmp(ret->v[ret->n - 1], path) == 0;
		if (!twice &&
		    (below ? is_below(path, pattern) : fnmatch(pattern, path, FNM_PATHNAME | FNM_PERIOD) == 0))
			words_add(ret, path);
	}
	if (!below && ret->n == before) {
		struct words inside = {0};
		bool folder = list_files(context, pattern, true, &inside) == 0;
		words_done(&inside);
		if (folder)
			words_add(ret, pattern);
	}
	return below && ret->n == before ? -ENOTDIR : 0;
}

struct webconf_source bundle_source(struct bundle *b)
{
	return (struct webconf_source){.context = b, .read = read_file, .list = list_files};
}
