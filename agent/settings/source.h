/* The text of a configuration file with its @include lines replaced by what they name, and where each line came from.
 * Includes are resolved here and not by libconfig: its versions differ in what a relative path means, it ends the
 * process where an include is a folder, and it reads files of any size. Inside settings/ only. */
#ifndef SETTINGS_SOURCE_H
#define SETTINGS_SOURCE_H
#include <stdbool.h>

#include "base/text.h"
#include "settings/complaints.h"

#define SOURCE_MAX      ((size_t)4 << 20) /* bytes of one file, and of a file with all its includes */
#define SOURCE_INCLUDES 100
#define SOURCE_DEPTH    10 /* as libconfig */

struct source_line {
	size_t offset; /* in `text` */
	size_t file;   /* in `files` */
	unsigned int number;
	unsigned int
		string; /* the line of `text` (from 1) on which the string begins that is still open here; 0: none */
};

struct source {
	struct text text;   /* one string without NUL, each line ends with '\n' */
	struct words files; /* in the order in which they were read */
	struct source_line *lines;
	size_t nlines, cap;
	bool failed; /* something could not be read: it was complained about, the rest is there */
	unsigned int
		unclosed; /* the line of `text` on which a string or comment begins that is never closed; 0: none */
	bool unclosed_comment;
};

/* Reads `path`; complaints tell what could not be read. */
void source_read(struct source *s, const char *path, struct complaints *c);
void source_done(struct source *s);

/* For a line of `text` (from 1; one behind the end counts as the last). The copy of the line belongs to the caller. */
const char *source_file(const struct source *s, unsigned int line);
unsigned int source_number(const struct source *s, unsigned int line);
char *source_copy_line(const struct source *s, unsigned int line);
/* The last line from `first` to `last` that holds `word`; `first` if none does. */
unsigned int source_find(const struct source *s, unsigned int first, unsigned int last, const char *word);
/* The integer that stands behind `key` on this line: libconfig 1.5 wraps what does not fit into 32 bits. INT64_MAX or
 * INT64_MIN where it fits into nothing; false where there is no integer to be seen. */
bool source_integer(const struct source *s, unsigned int line, const char *key, int64_t *ret);
#endif
