#include "ctl/others.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ctl/disk.h"
#include "ctl/others_read.h"

#define CONFIG_MAX (4 * 1024 * 1024)
#define DEPTH_MAX  8

void others_add(struct others_source *s, const char *directive, const char *path)
{
	struct others *o = s->o;
	if (o->n >= OTHERS_MAX)
		return;
	o->v = xrealloc(o->v, (o->n + 1) * sizeof *o->v);
	o->v[o->n++] = (struct other){s->program, xstrdup(directive), xstrdup(s->file), xstrdup(path), s->line};
}

void others_unknown(struct others_source *s, const char *directive, const char *why)
{
	AUTO_FREE char *text =
		text_printable(xasprintf("%s:%u: %s of %s: %s", s->file, s->line, directive, s->program, why));
	if (s->o->unknown.n < OTHERS_MAX && !words_has(&s->o->unknown, text))
		words_add(&s->o->unknown, text);
}

void others_set(struct others_source *s, const char *name, const char *value)
{
	AUTO_FREE char *line = xasprintf("%s=%s", name, value);
	if (s->values.n < OTHERS_MAX)
		words_add(&s->values, line);
}

const char *others_value(const struct others_source *s, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = s->values.n; i-- > 0;)
		if (strncmp(s->values.v[i], name, len) == 0 && s->values.v[i][len] == '=')
			return s->values.v[i] + len + 1;
	return NULL;
}

char *others_trim(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t n = strlen(text);
	while (n && isspace((unsigned char)text[n - 1]))
		text[--n] = '\0';
	if (n > 1 && (*text == '"' || *text == '\'') && text[n - 1] == *text) {
		text[n - 1] = '\0';
		text++;
	}
	return text;
}

static void read_one(struct others_source *s, const char *path, void (*each)(struct others_source *s, char *bytes))
{
	const char *file = s->file;
	uint32_t line = s->line;
	char *bytes;
	size_t len;
	int error = disk_read(path, CONFIG_MAX, &bytes, &len);
	s->file = path + strlen(s->root);
	s->line = 1;
	if (error < 0) {
		if (error != -EISDIR)
			others_unknown(s, "the configuration", strerror(-error));
	} else {
		s->files++;
		s->depth++;
		each(s, bytes);
		s->depth--;
		free(bytes);
	}
	s->file = file;
	s->line = line;
}

bool others_read_files(struct others_source *s, const char *pattern, void (*each)(struct others_source *s, char *bytes))
{
	AUTO_FREE char *whole = xasprintf("%s%s", s->root, pattern);
	glob_t found = {0};
	bool any = glob(whole, 0, NULL, &found) == 0 && found.gl_pathc > 0;
	for (size_t i = 0; any && i < found.gl_pathc && s->files < OTHERS_FILES_MAX && s->depth < DEPTH_MAX; i++)
		read_one(s, found.gl_pathv[i], each);
	globfree(&found);
	return any;
}

char *others_line(struct others_source *s, char **rest, uint32_t *next, bool indented)
{
	struct text line = {0};
	bool continued = false;
	while (**rest) {
		const char *begin = *rest;
		size_t n = strcspn(begin, "\n"), blank = strspn(begin, " \t\r");
		bool counts = blank < n && begin[blank] != '#';
		if (counts && line.s && !(indented ? blank > 0 : continued))
			break;
		if (counts && !line.s)
			s->line = *next;
		if (counts) {
			text_add_bytes(&line, begin, n - (begin[n - 1] == '\r'));
			continued = !indented && line.len && line.s[line.len - 1] == '\\';
			if (continued)
				line.s[--line.len] = '\0';
		}
		*rest += n + (begin[n] == '\n');
		++*next;
	}
	return line.s;
}

void others_read(const char *root, struct others *ret)
{
	static const struct {
		const char *name;
		void (*read)(struct others_source *s);
	} programs[] = {{"postfix", others_postfix},
			{"dovecot", others_dovecot},
			{"exim", others_exim},
			{"haproxy", others_haproxy}};
	*ret = (struct others){0};
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		struct others_source s = {.o = ret, .root = root, .program = programs[i].name, .file = ""};
		programs[i].read(&s);
		words_done(&s.values);
	}
}

void others_done(struct others *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->v[i].directive);
		free(o->v[i].file);
		free(o->v[i].path);
	}
	free(o->v);
	words_done(&o->unknown);
	*o = (struct others){0};
}
