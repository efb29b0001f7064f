#include "settings/complaints.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void complaint_add(struct complaints *c, const char *file, unsigned int line, const char *source, const char *format,
		   ...)
{
	va_list args;
	c->v = xrealloc(c->v, (c->n + 1) * sizeof *c->v);
	struct complaint *new = &c->v[c->n++];
	va_start(args, format);
	*new = (struct complaint){.file = xstrdup(file), .line = line, .text = xvasprintf(format, args)};
	va_end(args);
	text_printable(new->text); /* it quotes what the file says */
	if (source) {
		new->source = xstrdup(source + strspn(source, " \t"));
		for (char *p = new->source; (p = strchr(p, '\t'));)
			*p = ' ';
		text_printable(new->source);
	}
}

static size_t rank(const struct words *files, const char *file)
{
	size_t i = 0;
	while (i < files->n && strcmp(files->v[i], file) != 0)
		i++;
	return i;
}

static bool is_before(const struct complaint *a, const struct complaint *b, const struct words *files)
{
	size_t ra = rank(files, a->file), rb = rank(files, b->file);
	return ra != rb ? ra < rb : a->line < b->line;
}

void complaints_sort(struct complaints *c, const struct words *files)
{
	for (size_t i = 1; i < c->n; i++) { /* insertion: few, nearly sorted, and stable */
		struct complaint moving = c->v[i];
		size_t j = i;
		for (; j > 0 && is_before(&moving, &c->v[j - 1], files); j--)
			c->v[j] = c->v[j - 1];
		c->v[j] = moving;
	}
}

void complaints_print(const struct complaints *c, FILE *out)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct complaint *one = &c->v[i];
		if (one->line)
			fprintf(out, "%s:%u: %s\n", one->file, one->line, one->text);
		else
			fprintf(out, "%s: %s\n", one->file, one->text);
		if (one->source)
			fprintf(out, "    %s\n", one->source);
	}
}

void complaints_done(struct complaints *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->v[i].file);
		free(c->v[i].text);
		free(c->v[i].source);
	}
	free(c->v);
	*c = (struct complaints){0};
}
