#include "settings/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/files.h"
#include "base/memory.h"

/* What a byte of the text stands in, as libconfig's scanner sees it. */
enum mood { MOOD_PLAIN, MOOD_STRING, MOOD_COMMENT };

static void add_file(struct source *s, const char *path, unsigned int depth, struct complaints *c);

static void add_line(struct source *s, size_t file, unsigned int number, unsigned int string, const char *v, size_t len)
{
	if (s->nlines == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 256;
		s->lines = xrealloc(s->lines, s->cap * sizeof *s->lines);
	}
	s->lines[s->nlines++] = (struct source_line){s->text.len, file, number, string};
	text_add_bytes(&s->text, v, len);
	text_add_bytes(&s->text, "\n", 1);
}

/* The mood after a line that began in `mood`; *opened is the line that opened the string or comment. */
static enum mood read_mood(enum mood mood, const char *v, size_t len, unsigned int line, unsigned int *opened)
{
	for (size_t i = 0; i < len; i++) {
		bool comment_end = i + 1 < len && v[i] == '*' && v[i + 1] == '/';
		if (mood == MOOD_STRING && v[i] == '\\') {
			i++;
		} else if (mood == MOOD_STRING && v[i] == '"') {
			mood = MOOD_PLAIN;
		} else if (mood == MOOD_COMMENT && comment_end) {
			mood = MOOD_PLAIN;
			i++;
		} else if (mood == MOOD_PLAIN) {
			if (v[i] == '#' || (v[i] == '/' && i + 1 < len && v[i + 1] == '/'))
				return mood;
			bool comment = v[i] == '/' && i + 1 < len && v[i + 1] == '*';
			if (!comment && v[i] != '"')
				continue;
			mood = comment ? MOOD_COMMENT : MOOD_STRING;
			*opened = line;
			i += comment;
		}
	}
	return mood;
}

/* `@include "path"`: the path, which the caller frees; NULL: another line. */
static char *include_path(const char *v, size_t len)
{
	AUTO_FREE char *line = xstrndup(v, len);
	char *p = line + strspn(line, " \t");
	if (strncmp(p, "@include", 8) != 0)
		return NULL;
	p += 8;
	p += strspn(p, " \t");
	char *end = *p == '"' ? strchr(p + 1, '"') : NULL;
	return end ? xstrndup(p + 1, (size_t)(end - p - 1)) : NULL;
}

static void add_include(struct source *s, const char *name, size_t file, unsigned int number, const char *line,
			unsigned int depth, struct complaints *c)
{
	const char *from = s->files.v[file];
	const char *slash = strrchr(from, '/');
	AUTO_FREE char *path =
		*name == '/' || !slash ? xstrdup(name) : xasprintf("%.*s/%s", (int)(slash - from), from, name);
	if (s->files.n > SOURCE_INCLUDES || depth >= SOURCE_DEPTH) {
		complaint_add(c, from, number, line, "too many files include each other; does one include itself?");
		s->failed = true;
		return;
	}
	size_t before = c->n;
	add_file(s, path, depth + 1, c);
	if (c->n > before && c->v[before].line == 0 && strcmp(c->v[before].file, path) == 0) {
		/* it is the line that names it that has to be changed */
		free(c->v[before].file);
		c->v[before].file = xstrdup(from);
		c->v[before].line = number;
		c->v[before].source = xstrdup(line);
	}
}

static void add_text(struct source *s, size_t file, const char *bytes, size_t len, unsigned int depth,
		     struct complaints *c)
{
	enum mood mood = MOOD_PLAIN;
	unsigned int opened = 0, number = 1;
	for (const char *v = bytes, *end = bytes + len; v < end; number++) {
		const char *newline = memchr(v, '\n', (size_t)(end - v));
		size_t n = newline ? (size_t)(newline - v) : (size_t)(end - v);
		AUTO_FREE char *include = mood == MOOD_PLAIN ? include_path(v, n) : NULL;
		if (include) {
			AUTO_FREE char *line = xstrndup(v, n);
			add_include(s, include, file, number, line, depth, c);
		} else {
			add_line(s, file, number, mood == MOOD_STRING ? opened : 0, v, n);
			mood = read_mood(mood, v, n, (unsigned int)s->nlines, &opened);
		}
		v += n + 1;
	}
	if (mood != MOOD_PLAIN && !s->unclosed) {
		s->unclosed = opened;
		s->unclosed_comment = mood == MOOD_COMMENT;
	}
}

/* One file, found through links (the administrator's own), regular and of a size that a person could write. */
static void add_file(struct source *s, const char *path, unsigned int depth, struct complaints *c)
{
	struct fault fault = {0};
	AUTO_FREE char *bytes = NULL;
	AUTO_FREE char *real = realpath(path, NULL);
	size_t len = 0;
	int r = real ? files_read(AT_FDCWD, real, SOURCE_MAX, &bytes, &len, &fault)
		     : fault_errno(&fault, errno, "can't open %s", path);
	if (r < 0) {
		complaint_add(c, path, 0, NULL, "%s", fault.text);
		s->failed = true;
		return;
	}
	bool has_nul = memchr(bytes, '\0', len);
	if (has_nul || s->text.len + len > SOURCE_MAX) {
		complaint_add(c, path, 0, NULL, "%s %s", path,
			      has_nul ? "holds a NUL byte: it is no configuration" : "makes the whole too large");
		s->failed = true;
		return;
	}
	words_add(&s->files, path);
	add_text(s, s->files.n - 1, bytes, len, depth, c);
}

void source_read(struct source *s, const char *path, struct complaints *c)
{
	add_file(s, path, 0, c);
}

void source_done(struct source *s)
{
	text_done(&s->text);
	words_done(&s->files);
	free(s->lines);
	*s = (struct source){0};
}

static const struct source_line *at(const struct source *s, unsigned int line)
{
	if (line > s->nlines)
		line = (unsigned int)s->nlines;
	return line ? &s->lines[line - 1] : NULL;
}

const char *source_file(const struct source *s, unsigned int line)
{
	const struct source_line *l = at(s, line);
	return s->files.v[l ? l->file : 0];
}

unsigned int source_number(const struct source *s, unsigned int line)
{
	const struct source_line *l = at(s, line);
	return l ? l->number : 0;
}

char *source_copy_line(const struct source *s, unsigned int line)
{
	const struct source_line *l = at(s, line);
	if (!l)
		return NULL;
	const char *v = s->text.s + l->offset;
	size_t n = strcspn(v, "\n");
	return xstrndup(v, n && v[n - 1] == '\r' ? n - 1 : n);
}

unsigned int source_find(const struct source *s, unsigned int first, unsigned int last, const char *word)
{
	for (; last > first; last--) {
		AUTO_FREE char *line = source_copy_line(s, last);
		if (line && strstr(line, word))
			return last;
	}
	return first;
}

bool source_integer(const struct source *s, unsigned int line, const char *key, int64_t *ret)
{
	const struct source_line *l = at(s, line);
	const char *p = l ? s->text.s + l->offset : NULL;
	while (p && (p = strstr(p, key))) {
		p += strlen(key);
		p += strspn(p, " \t\r\n");
		if (*p == '=' || *p == ':')
			break;
	}
	if (!p)
		return false;
	p++;
	p += strspn(p, " \t\r\n");
	char *end;
	bool is_hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
	*ret = strtoll(p, &end, is_hex ? 16 : 10); /* libconfig takes 010 as ten */
	return end != p;
}
