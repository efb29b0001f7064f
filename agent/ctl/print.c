#include "ctl/print.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

const char *colour_on(enum colour c, bool use)
{
	static const char *const codes[COLOURS] = {
		[COLOUR_PLAIN] = "",         [COLOUR_GOOD] = "\033[32m", [COLOUR_WARN] = "\033[33m",
		[COLOUR_BAD] = "\033[1;31m", [COLOUR_DIM] = "\033[2m",
	};
	return use ? codes[c] : "";
}

const char *colour_off(enum colour c, bool use)
{
	return use && c != COLOUR_PLAIN ? "\033[0m" : "";
}

void print_text(FILE *out, const char *before, const char *text)
{
	AUTO_FREE char *copy = xstrdup(text);
	char *rest = copy;
	fputs(before, out);
	for (char *line; (line = strsep(&rest, "\n"));)
		if (*line || rest)
			fprintf(out, "%s\n", text_printable(line));
		else if (line == copy)
			fputc('\n', out);
}

char *print_member(const json_t *object, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(object, key));
	return text_printable(xstrdup(s && *s ? s : otherwise));
}

void print_json(FILE *out, const json_t *value)
{
	if (!value) {
		fputs("null\n", out);
		return;
	}
	AUTO_FREE char *s = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
	for (const unsigned char *p = (const unsigned char *)(s ? s : "null"); *p; p++) {
		if (*p == 0x7f) { /* jansson escapes the other ones below 0x20 */
			fputs("\\u007f", out);
		} else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
			fprintf(out, "\\u00%02x", (unsigned int)p[1]);
			p++;
		} else {
			fputc(*p, out);
		}
	}
	fputc('\n', out);
}

/* Characters, not bytes: what continues a UTF-8 sequence takes no place. */
static size_t width_of(const char *s)
{
	size_t n = 0;
	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void print_wrapped(FILE *out, const char *before, int indent, const char *text)
{
	AUTO_FREE char *copy = text_printable(xstrdup(text));
	char *save = NULL;
	size_t at = width_of(before);
	bool first = true; /* of its line */
	fputs(before, out);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (!first && at + 1 + width_of(word) > PRINT_WIDTH) {
			fprintf(out, "\n%*s", indent, "");
			at = (size_t)indent;
			first = true;
		}
		fprintf(out, "%s%s", first ? "" : " ", word);
		at += width_of(word) + !first;
		first = false;
	}
	fputc('\n', out);
}

/* Cuts to `max` characters; ".." at the end shows it. */
static void shorten(char *s, size_t max)
{
	if (width_of(s) <= max || max < 3)
		return;
	char *p = s;
	for (size_t n = 0; *p; p++)
		if (((unsigned char)*p & 0xc0) != 0x80 && n++ == max - 2)
			break;
	memcpy(p, "..", 3); /* at least three bytes were left */
}

void table_add(struct table *t, enum colour colour, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = text_printable(xvasprintf(format, args));
	va_end(args);
	t->cells = xrealloc(t->cells, (t->ncells + 1) * sizeof *t->cells);
	t->cells[t->ncells++] = (struct cell){.text = text, .colour = colour};
}

static void measure(const struct table *t, size_t *widths)
{
	size_t used = 2 * (t->ncolumns - 1);
	for (size_t c = 0; c < t->ncolumns; c++) {
		widths[c] = strlen(t->columns[c].title);
		for (size_t i = c; i < t->ncells; i += t->ncolumns) {
			size_t w = width_of(t->cells[i].text);
			widths[c] = w > widths[c] ? w : widths[c];
		}
		if (t->columns[c].max && widths[c] > t->columns[c].max)
			widths[c] = t->columns[c].max;
		used += t->columns[c].max ? widths[c] : 0;
	}
	for (size_t c = 0; c < t->ncolumns; c++) {
		size_t left = used < PRINT_WIDTH ? PRINT_WIDTH - used : 0;
		if (!t->columns[c].max && widths[c] > left)
			widths[c] = left > 8 ? left : 8;
	}
}

static void print_cell(FILE *out, const char *text, size_t width, bool last, enum colour c, bool colour)
{
	fprintf(out, "%s%s%s", colour_on(c, colour), text, colour_off(c, colour));
	for (size_t n = width_of(text); !last && n < width + 2; n++)
		fputc(' ', out);
	if (last)
		fputc('\n', out);
}

void table_print(const struct table *t, FILE *out, bool colour)
{
	AUTO_FREE size_t *widths = xcalloc(t->ncolumns, sizeof *widths);
	measure(t, widths);
	for (size_t c = 0; c < t->ncolumns; c++)
		print_cell(out, t->columns[c].title, widths[c], c + 1 == t->ncolumns, COLOUR_DIM, colour);
	for (size_t i = 0; i < t->ncells; i++) {
		size_t c = i % t->ncolumns;
		AUTO_FREE char *text = xstrdup(t->cells[i].text);
		shorten(text, widths[c]);
		print_cell(out, text, widths[c], c + 1 == t->ncolumns, t->cells[i].colour, colour);
	}
}

void table_done(struct table *t)
{
	for (size_t i = 0; i < t->ncells; i++)
		free(t->cells[i].text);
	free(t->cells);
	t->cells = NULL;
	t->ncells = 0;
}

void progress_show(FILE *err, const char *text)
{
	AUTO_FREE char *line = text_printable(xstrdup(text));
	shorten(line, 79); /* a line that breaks could not be drawn over */
	fprintf(err, "\r\033[K%s", line);
	fflush(err);
}

void progress_clear(FILE *err)
{
	fputs("\r\033[K", err);
	fflush(err);
}
