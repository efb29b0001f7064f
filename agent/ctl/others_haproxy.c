/* HAProxy: crt, crt-list, crt-store, ca-file. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/others_read.h"

/* Words of a line: quotes and backslashes taken off, '#' ends it. */
static void cut_words(const char *line, struct words *ret)
{
	struct text word = {0};
	bool any = false;
	char quote = 0;
	for (; *line; line++) {
		bool space = strchr(" \t\r\n", *line) != NULL;
		if (!quote && (space || *line == '#')) {
			if (any)
				words_add(ret, word.s ? word.s : "");
			text_done(&word);
			any = false;
			if (*line == '#')
				return;
			continue;
		}
		any = true;
		if (*line == '\\' && quote != '\'' && line[1])
			text_add_bytes(&word, ++line, 1);
		else if (quote ? *line == quote : strchr("\"'", *line) != NULL)
			quote = quote ? 0 : *line;
		else
			text_add_bytes(&word, line, 1);
	}
	if (any)
		words_add(ret, word.s ? word.s : "");
	text_done(&word);
}

/* The certificate itself, or a bundle of some beside it, and a key in a file of its own. */
static void add_file(struct others_source *s, const char *directive, const char *path)
{
	static const char *const beside[] = {".rsa", ".ecdsa", ".dsa", ".key"};
	AUTO_FREE char *whole = xasprintf("%s%s", s->root, path);
	bool is = access(whole, F_OK) == 0, found = false;
	for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
		AUTO_FREE char *more = xasprintf("%s%s", whole, beside[i]);
		if (access(more, F_OK) == 0 && !(is && i + 1 < ARRAY_SIZE(beside))) {
			others_add(s, directive, more + strlen(s->root));
			found = true;
		}
	}
	if (is || !found)
		others_add(s, directive, path);
}

static void add_path(struct others_source *s, const char *directive, const char *path)
{
	AUTO_FREE char *whole = xasprintf("%s%s", s->root, path);
	size_t n = strlen(path);
	DIR *folder = opendir(whole);
	if (!folder) {
		add_file(s, directive, path);
		return;
	}
	for (struct dirent *e; (e = readdir(folder));) {
		AUTO_FREE char *file = xasprintf("%s%s%s", path, n && path[n - 1] == '/' ? "" : "/", e->d_name);
		if (*e->d_name != '.')
			others_add(s, directive, file);
	}
	closedir(folder);
}

/* base: the setting that a relative path goes from. NULL: it can't be told, which is said. The caller frees. */
static char *absolute(struct others_source *s, const char *directive, const char *path, const char *base)
{
	const char *folder = others_value(s, base);
	if (strchr(path, '$')) {
		others_unknown(s, directive, "it holds a variable of the environment");
		return NULL;
	}
	if (*path == '/')
		return xstrdup(path);
	if (folder && *folder == '/')
		return xasprintf("%s/%s", folder, path);
	others_unknown(s, directive, "no absolute path");
	return NULL;
}

static void take(struct others_source *s, const char *directive, const char *path, const char *base)
{
	AUTO_FREE char *whole = *path == '@' ? NULL /* of a crt-store, which names it */
					     : absolute(s, directive, path, base);
	if (whole)
		add_path(s, directive, whole);
}

static void read_list(struct others_source *s, char *bytes)
{
	uint32_t next = 1;
	for (char *line; (line = others_line(s, &bytes, &next, false)); free(line)) {
		struct words words = {0};
		cut_words(line, &words);
		if (words.n)
			take(s, "crt-list", words.v[0], "crt-base");
		words_done(&words);
	}
}

static void take_word(struct others_source *s, const struct words *words, size_t i, const char *first)
{
	const char *word = words->v[i], *value = words->v[i + 1];
	bool store = strcmp(first, "load") == 0;
	if (strcmp(word, "crt") == 0) {
		take(s, "crt", value, "crt-base");
	} else if (store && strcmp(word, "key") == 0) {
		take(s, "key", value, "key-base");
	} else if (strcmp(word, "ca-file") == 0 && *value == '/') {
		take(s, "ca-file", value, "ca-base");
	} else if (strcmp(word, "crt-list") == 0) {
		AUTO_FREE char *whole = absolute(s, "crt-list", value, "");
		if (whole && !others_read_files(s, whole, read_list))
			others_unknown(s, "crt-list", "the list is not there");
	}
}

static void read_config(struct others_source *s, char *bytes)
{
	uint32_t next = 1;
	for (char *line; (line = others_line(s, &bytes, &next, false)); free(line)) {
		struct words words = {0};
		cut_words(line, &words);
		const char *first = words.n ? words.v[0] : "";
		size_t n = strlen(first);
		if (words.n == 2 && n > 5 && strcmp(first + n - 5, "-base") == 0)
			others_set(s, first, words.v[1]);
		for (size_t i = 1; i + 1 < words.n; i++)
			take_word(s, &words, i, first);
		words_done(&words);
	}
}

void others_haproxy(struct others_source *s)
{
	others_read_files(s, "/etc/haproxy/haproxy.cfg", read_config);
	others_read_files(s, "/etc/haproxy/conf.d/*.cfg", read_config);
}
