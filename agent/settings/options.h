/* The option table: one row an option, the only description of the configuration. Inside settings/ only. */
#ifndef SETTINGS_OPTIONS_H
#define SETTINGS_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "settings/forms.h"

/* Where an option stands; PLACE_CA and PLACE_CHECK are groups inside a certificate and share its struct. */
enum option_place { PLACE_TOP, PLACE_SERVER, PLACE_CERTIFICATE, PLACE_CONSUMER, PLACE_CA, PLACE_CHECK, OPTION_PLACES };

enum option_type {
	OPTION_TEXT,     /* char *; `names`: one of these */
	OPTION_DURATION, /* int64_t, milliseconds; min..max */
	OPTION_DEADLINE, /* the same, or "never": CONFIRM_BY_NEVER */
	OPTION_INTEGER,  /* int64_t; min..max */
	OPTION_BOOL,     /* bool */
	OPTION_ENUM,     /* an enum; its value is the place in `names` */
	OPTION_WORDS,    /* struct words, each of `form` */
	OPTION_COMMAND,  /* struct words; the first is an absolute path */
	OPTION_MODE,     /* unsigned int, "0640" */
	OPTION_CRL,      /* char *: "true", "false" or "file:/path" */
	OPTION_GROUP,    /* { } of the options of `inner`, in the same struct */
	OPTION_GROUPS,   /* ( {}, {} ): array of structs of `inner`, its length at count_offset */
	OPTION_TYPES
};

struct option {
	enum option_place place, inner;
	enum option_type type;
	const char *key;
	size_t offset, count_offset, size;
	const struct form *form;
	const char *const *names; /* ends with NULL */
	/* The default as it is written in a file; NULL: text stays NULL (or must be given), a list is empty. Where it
	 * is NULL or "", an empty string is allowed. */
	const char *value;
	int64_t min, max;
	bool required;
	const char *words; /* for the manual: the default in words, where `value` does not say it */
	const char *help;  /* mdoc: one or more lines */
};

extern const struct option option_table[];
extern const size_t option_count;

const char *option_place_text(enum option_place place); /* "a server": where an option stands, for messages */
const struct option *option_find(enum option_place place, const char *key); /* NULL: none */
/* The key of that place which somebody who wrote `word` may have meant; NULL: nothing near. */
const char *option_near(enum option_place place, const char *word);

void option_defaults(enum option_place place, void *base); /* into a zeroed struct */
void option_free(enum option_place place, void *base);     /* what the struct holds, not the struct */

/* Sets a value from its text, for all types but commands and groups; a list's words stand between spaces. NULL, or what
 * is needed instead, ready for a message ("an absolute path"); the caller frees it. */
char *option_set(const struct option *o, void *base, const char *text);
bool option_allows_empty(const struct option *o);

/* The member that a row speaks of. */
static inline void *option_at(const struct option *o, void *base)
{
	return (char *)base + o->offset;
}
#endif
