/* Output for people: text from outside without control bytes, tables that fit 100 columns, colour, one line of
 * progress. */
#ifndef CTL_PRINT_H
#define CTL_PRINT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <jansson.h>

#define PRINT_WIDTH 100

enum colour { COLOUR_PLAIN, COLOUR_GOOD, COLOUR_WARN, COLOUR_BAD, COLOUR_DIM, COLOURS };
const char *colour_on(enum colour c, bool use); /* "" where colours are not used */
const char *colour_off(enum colour c, bool use);

/* Each line of text with `before` in front of the first one; control bytes become '?'; ends with a newline. */
void print_text(FILE *out, const char *before, const char *text);
/* "before" and text, broken between words at PRINT_WIDTH; further lines are indented. */
void print_wrapped(FILE *out, const char *before, int indent, const char *text);
/* A member that holds a string, without control bytes; `otherwise` where there is none. The caller frees. */
char *print_member(const json_t *object, const char *key, const char *otherwise);
/* Pretty JSON with a newline; nothing in it that a terminal takes for a command. NULL prints "null". */
void print_json(FILE *out, const json_t *value);

struct column {
	const char *title;
	uint8_t max; /* characters; 0: what is left of PRINT_WIDTH */
};
struct cell {
	char *text;
	enum colour colour;
};
struct table {
	const struct column *columns;
	size_t ncolumns;
	struct cell *cells;
	size_t ncells;
};
void table_add(struct table *t, enum colour colour, const char *format, ...) __attribute__((format(printf, 3, 4)));
void table_print(const struct table *t, FILE *out, bool colour);
void table_done(struct table *t);

/* The line of progress on a terminal: each call draws over the last one; progress_clear takes it away. */
void progress_show(FILE *err, const char *text);
void progress_clear(FILE *err);
#endif
