/* Inside of others*.c: what the readers of the programs have in common. */
#ifndef CTL_OTHERS_READ_H
#define CTL_OTHERS_READ_H
#include <stdbool.h>

#include "ctl/others.h"

#define OTHERS_FILES_MAX 2000

/* A program's configuration being read. */
struct others_source {
	struct others *o;
	const char *root, *program;
	struct words values; /* "NAME=value": what may be put into others */
	size_t files, depth; /* read so far; those that include each other */
	const char *file;    /* the present one, without root */
	uint32_t line;
};
/* Calls `each` with the bytes of each file that fits the pattern; false: there is none. What may not be read is said.
 */
bool others_read_files(struct others_source *s, const char *pattern,
		       void (*each)(struct others_source *s, char *bytes));
/* The next line that is not empty, with those that continue it: by a backslash at its end, or (`indented`) by white
 * space at their begin. Comments of whole lines are left out. NULL: none. Moves *rest and its line's number *next, sets
 * s->line; the caller frees. */
char *others_line(struct others_source *s, char **rest, uint32_t *next, bool indented);
void others_add(struct others_source *s, const char *directive, const char *path);
void others_unknown(struct others_source *s, const char *directive, const char *why);
void others_set(struct others_source *s, const char *name, const char *value);
const char *others_value(const struct others_source *s, const char *name); /* the last one; NULL: none */
/* In place: without white space around it, and without a pair of quotes. Returns where it begins. */
char *others_trim(char *text);

void others_postfix(struct others_source *s);
void others_dovecot(struct others_source *s);
void others_exim(struct others_source *s);
void others_haproxy(struct others_source *s);
#endif
