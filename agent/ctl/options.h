/* The commands and their options, each described once: from these tables come parsing, usage lines, --help and the
 * words of the shell's completion. */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/fault.h"
#include "base/text.h"
#include "ctl/ctl.h"

enum option {
	OPTION_CONFIG,
	OPTION_VERBOSE,
	OPTION_HELP,
	OPTION_JSON,
	OPTION_WATCH,
	OPTION_DNS,
	OPTION_KEY,
	OPTION_TRUST,
	OPTION_PROFILE,
	OPTION_PASSWORD_FILE,
	OPTION_NAME,
	OPTION_ACCEPT,
	OPTION_WHY,
	OPTION_NO_WAIT,
	OPTION_TIMEOUT,
	OPTION_DROP,
	OPTION_SERIAL,
	OPTION_FINGERPRINT,
	OPTION_ISSUER,
	OPTION_CASE,
	OPTION_REASON,
	OPTION_SCOPE,
	OPTION_REVOKE_AT,
	OPTION_RECEIVED_AT,
	OPTION_REF,
	OPTION_YES,
	OPTION_TO,
	OPTION_ALL,
	OPTION_CHECK,
	OPTION_FOLLOW,
	OPTION_VERIFY,
	OPTION_DRY_RUN,
	OPTION_OBSERVE,
	OPTION_SKIP_CLIENT,
	OPTION_ORIGINAL,
	OPTION_WORDS,
	OPTION_NEW_KEY,
	OPTION_PINS,
	OPTION_OUT,
	OPTION_NOTICE,
	OPTION_LANG,
	OPTION_LIVE,
	OPTION_LOADS,
	OPTION_EXCEPT,
	OPTIONS
};
#define OPTION_BIT(o) (UINT64_C(1) << (OPTION_##o))

struct option_spec {
	const char *name;     /* without the two dashes */
	char letter;          /* 0: none */
	const char *argument; /* what stands behind it in the usage; NULL: a flag */
	const char *help;
	bool repeats;
};
extern const struct option_spec option_specs[OPTIONS];

/* What was given. A flag counts as one empty value. Zeroed is empty. */
struct args {
	struct words values[OPTIONS];
	struct words operands;
};
bool args_has(const struct args *a, enum option o);
const char *args_value(const struct args *a, enum option o); /* the last one; NULL: none */
void args_done(struct args *a);

#define OPERANDS_MANY 255
struct command {
	const char *name;     /* "deny add" */
	const char *operands; /* as the usage line shows them */
	uint8_t min, max;     /* operands */
	uint64_t options;     /* OPTION_BITs; those of option_everywhere come by themselves */
	const char *summary;  /* one line */
	const char *details;  /* for --help; NULL: the summary says it all */
	int (*run)(struct ctl *ctl, const struct args *a);
};
extern const struct command command_table[];
extern const size_t command_count;
extern const uint64_t option_everywhere;

/* The command that the first words of argv name, and how many words that took; NULL: none. */
const struct command *command_find(int argc, char **argv, int *ret_words);
/* The command that somebody may have meant who wrote `words` (one or two, a space between); NULL: nothing near. */
const char *command_near(const char *words);
bool command_is_prefix(const char *word); /* the first word of a command of two words: "deny" */

/* Options and operands of a command, those of option_everywhere too. 0 or -EINVAL with a text for the person. */
int args_parse(const struct command *c, int argc, char **argv, struct args *ret, struct fault *fault);

void command_print_usage(const struct command *c, FILE *out); /* "usage: ...", broken at 100 columns */
void command_print_help(const struct command *c, FILE *out);  /* all of --help */
void command_print_words(const struct command *c, FILE *out); /* its options, one a line; NULL: all commands */
void command_print_list(FILE *out);                           /* every command with its summary */
bool command_takes(const struct command *c, enum option o);
#endif
