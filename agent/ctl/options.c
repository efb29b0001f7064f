#include "ctl/options.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "base/near.h"
#include "ctl/print.h"

#define HELP_INDENT 27 /* where the text of an option begins */

const struct option_spec option_specs[OPTIONS] = {
	[OPTION_CONFIG] = {"config", 'c', "FILE",
			   "configuration file; else $CERTSWAP_CONF, else " SETTINGS_DEFAULT_FILE, false},
	[OPTION_VERBOSE] = {"verbose", 'v', NULL, "say more about what is done", true},
	[OPTION_HELP] = {"help", 'h', NULL, "this text", true},
	[OPTION_JSON] = {"json", 0, NULL, "the result as JSON on standard output", true},
	[OPTION_WATCH] = {"watch", 'w', NULL, "draw it again on each change, until q or Ctrl-C", true},
	[OPTION_DNS] = {"dns", 0, "NAME", "a name that the certificate must cover; as often as needed", true},
	[OPTION_KEY] = {"key", 0, "FILE", "the private key, where it is not among the files", false},
	[OPTION_TRUST] = {"trust", 0, "FILE", "PEM file of roots to trust instead of the configured one", false},
	[OPTION_PROFILE] = {"profile", 0, "P", "auto, public or private: whether the public CA rules apply", false},
	[OPTION_PASSWORD_FILE] = {"password-file", 0, "FILE",
				  "passwords to try, one a line; - asks on the terminal or reads standard input",
				  false},
	[OPTION_NAME] = {"name", 'n', "NAME",
			 "the certificate that the files are for; default: found by the names in them", false},
	[OPTION_ACCEPT] = {"accept", 0, "CODE", "let this finding pass, for this pair alone; needs --why", true},
	[OPTION_WHY] = {"why", 0, "TEXT", "the reason, for the audit log", true},
	[OPTION_NO_WAIT] = {"no-wait", 0, NULL, "return as soon as the agent has taken it", true},
	[OPTION_TIMEOUT] = {"timeout", 0, "T", "wait so long at most (default 5m); the agent goes on afterwards",
			    false},
	[OPTION_DROP] = {"drop", 0, NULL, "remove the standby pair", true},
	[OPTION_SERIAL] = {"serial", 0, "HEX", "serial number: hexadecimal, colons allowed; decimal as dec:N", false},
	[OPTION_FINGERPRINT] = {"fingerprint", 0, "HEX", "SHA-256 of the certificate or of its public key", false},
	[OPTION_ISSUER] = {"issuer", 0, "DN|SKI", "issuer of that serial: its name or subject key identifier", false},
	[OPTION_CASE] = {"case", 0, "a..p", "the case of Baseline Requirements 4.9.1.1; sets the deadline", false},
	[OPTION_REASON] = {"reason", 0, "R", "the CRL reason that the CA gives: keyCompromise, superseded ...", false},
	[OPTION_SCOPE] = {"scope", 0, "S", "key (default) or host: every key on this host is suspect", false},
	[OPTION_REVOKE_AT] = {"revoke-at", 0, "T",
			      "when the CA will revoke: 2026-11-24T12:00:00Z, \"2026-11-24 12:00\" (local), +18h",
			      false},
	[OPTION_RECEIVED_AT] = {"received-at", 0, "T",
				"when the CA learned of it, if that is known; as --revoke-at, or -2h", false},
	[OPTION_REF] = {"ref", 0, "TEXT", "ticket or mail of the CA, for the record", false},
	[OPTION_YES] = {"yes", 'y', NULL, "answer yes to every question", true},
	[OPTION_TO] = {"to", 0, "standby|GEN", "what to swap to: standby, or the number of a generation", false},
	[OPTION_ALL] = {"all", 'a', NULL, "closed ones too", true},
	[OPTION_CHECK] = {"check", 0, NULL,
			  "ask the CAs now, and say who would notice a revocation and what is missing", true},
	[OPTION_FOLLOW] = {"follow", 'f', NULL, "go on with what is added", true},
	[OPTION_VERIFY] = {"verify", 0, NULL, "check the chain of hashes instead of printing", true},
	[OPTION_DRY_RUN] = {"dry-run", 0, NULL, "only say what would be done", true},
	[OPTION_OBSERVE] = {"observe", 0, NULL, "touch nothing yet: watch, prove and alert", true},
	[OPTION_SKIP_CLIENT] = {"skip-client", 0, NULL, "leave out the ACME client's own dry run", true},
	[OPTION_ORIGINAL] = {"original", 0, NULL, "the bytes from before adopt, if they are still good; needs --why",
			     true},
	[OPTION_WORDS] = {"words", 0, NULL, "words for the shell's completion, one a line", true},
	[OPTION_NEW_KEY] = {"new-key", 0, NULL, "make another key, whatever waits already", true},
	[OPTION_PINS] = {"pins", 0, NULL, "also the key's pin (sha256/...) and its TLSA 3 1 1 records", true},
	[OPTION_OUT] = {"out", 'o', "FILE", "write it to FILE", false},
	[OPTION_NOTICE] = {"notice", 0, NULL, "tell the agent: opens an incident for each that stands in the list",
			   true},
	[OPTION_LANG] = {"lang", 0, "en|ja", "language of the mail: en (default) or ja", false},
	[OPTION_LIVE] = {"live", 0, NULL, "also swap to a copy of the live pair, by the whole way", true},
	[OPTION_LOADS] = {"loads", 0, "PID",
			  "only prove what the server with this parent process loads, and say what it would refuse",
			  false},
	[OPTION_EXCEPT] = {"except", 0, "FOLDER", "with --loads: leave out the pairs in this folder", true},
};
_Static_assert(OPTIONS == OPTION_EXCEPT + 1, "a row for each option");
_Static_assert(OPTIONS <= 64, "command.options has a bit for each");

const uint64_t option_everywhere = OPTION_BIT(CONFIG) | OPTION_BIT(VERBOSE) | OPTION_BIT(HELP);

bool args_has(const struct args *a, enum option o)
{
	return a->values[o].n > 0;
}

const char *args_value(const struct args *a, enum option o)
{
	return a->values[o].n ? a->values[o].v[a->values[o].n - 1] : NULL;
}

void args_done(struct args *a)
{
	for (size_t i = 0; i < OPTIONS; i++)
		words_done(&a->values[i]);
	words_done(&a->operands);
}

bool command_takes(const struct command *c, enum option o)
{
	return ((c->options | option_everywhere) >> o) & 1;
}

const struct command *command_find(int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; argc > 0 && i < command_count; i++) {
		const struct command *c = &command_table[i];
		size_t first = strcspn(c->name, " ");
		if (strlen(argv[0]) != first || strncmp(argv[0], c->name, first) != 0)
			continue;
		if (!c->name[first]) {
			*ret_words = 1;
			return c;
		}
		if (argc > 1 && strcmp(argv[1], c->name + first + 1) == 0) {
			*ret_words = 2;
			return c;
		}
	}
	return NULL;
}

const char *command_near(const char *words)
{
	const char *near = NULL;
	for (size_t i = 0; i < command_count; i++)
		near = near_choose(words, command_table[i].name, near);
	return near;
}

bool command_is_prefix(const char *word)
{
	size_t len = strlen(word);
	for (size_t i = 0; i < command_count; i++)
		if (strncmp(command_table[i].name, word, len) == 0 && command_table[i].name[len] == ' ')
			return true;
	return false;
}

/* The option that `word` (without dashes, up to '=') or `letter` names, among those of the command; OPTIONS: none. */
static enum option find_option(const struct command *c, const char *word, size_t len, char letter)
{
	for (enum option o = 0; o < OPTIONS; o++) {
		const struct option_spec *s = &option_specs[o];
		if (!command_takes(c, o))
			continue;
		if (word ? strlen(s->name) == len && strncmp(s->name, word, len) == 0 : letter && s->letter == letter)
			return o;
	}
	return OPTIONS;
}

/* The option of this command that "--word" or "--word=value" may have been meant for; NULL: nothing near. */
static const char *near_option(const struct command *c, const char *word)
{
	const char *near = NULL;
	AUTO_FREE char *name = xstrndup(word, strcspn(word, "="));
	for (enum option o = 0; o < OPTIONS; o++)
		if (command_takes(c, o))
			near = near_choose(name, option_specs[o].name, near);
	return near;
}

static int unknown_option(const struct command *c, const char *word, struct fault *fault)
{
	const char *near = word[1] == '-' ? near_option(c, word + 2) : NULL;
	return near ? fault_set(fault, -EINVAL, "unknown option %s; did you mean --%s?", word, near)
		    : fault_set(fault, -EINVAL, "unknown option %s", word);
}

/* One word that begins with '-'. *at points to it and is moved to the last word used. */
static int parse_option(const struct command *c, int argc, char **argv, int *at, struct args *ret, struct fault *fault)
{
	const char *word = argv[*at];
	bool is_long = word[1] == '-';
	const char *name = is_long ? word + 2 : NULL, *value = NULL;
	size_t len = name ? strcspn(name, "=") : 0;
	enum option o = find_option(c, name, len, word[1]);
	if (o == OPTIONS)
		return unknown_option(c, word, fault);
	const struct option_spec *s = &option_specs[o];
	if (is_long && name[len] == '=')
		value = name + len + 1;
	else if (!is_long && word[2])
		value = word + 2;
	if (value && !s->argument)
		return fault_set(fault, -EINVAL, is_long ? "--%s takes no value" : "unknown option -%s",
				 is_long ? s->name : word + 1);
	if (s->argument && !value) {
		if (*at + 1 >= argc)
			return fault_set(fault, -EINVAL, "--%s needs a value: %s", s->name, s->argument);
		value = argv[++*at];
	}
	if (ret->values[o].n && !s->repeats)
		return fault_set(fault, -EINVAL, "--%s stands there twice", s->name);
	words_add(&ret->values[o], value ? value : "");
	return 0;
}

int args_parse(const struct command *c, int argc, char **argv, struct args *ret, struct fault *fault)
{
	bool only_operands = false;
	for (int i = 0; i < argc; i++) {
		if (only_operands || argv[i][0] != '-' || !argv[i][1]) {
			words_add(&ret->operands, argv[i]);
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			only_operands = true;
			continue;
		}
		int r = parse_option(c, argc, argv, &i, ret, fault);
		if (r < 0)
			return r;
	}
	if (args_has(ret, OPTION_HELP))
		return 0;
	if (ret->operands.n < c->min)
		return fault_set(fault, -EINVAL, "too few arguments: %s is missing", c->operands);
	if (c->max != OPERANDS_MANY && ret->operands.n > c->max)
		return fault_set(fault, -EINVAL, "too many arguments: what is %s?", ret->operands.v[c->max]);
	return 0;
}

static void add_usage_word(struct text *line, FILE *out, const char *word)
{
	if (line->len + 1 + strlen(word) > 96) {
		fprintf(out, "%s\n", line->s);
		text_done(line);
		text_add(line, "          ");
	}
	text_add(line, " %s", word);
}

void command_print_usage(const struct command *c, FILE *out)
{
	struct text line = {0};
	text_add(&line, "usage: certswapctl %s", c->name);
	for (enum option o = 0; o < OPTIONS; o++) {
		const struct option_spec *s = &option_specs[o];
		if (!((c->options >> o) & 1))
			continue;
		AUTO_FREE char *word =
			xasprintf("[--%s%s%s]%s", s->name, s->argument ? " " : "", s->argument ? s->argument : "",
				  s->argument && s->repeats ? "..." : "");
		add_usage_word(&line, out, word);
	}
	if (*c->operands)
		add_usage_word(&line, out, c->operands);
	fprintf(out, "%s\n", line.s);
	text_done(&line);
}

void command_print_help(const struct command *c, FILE *out)
{
	command_print_usage(c, out);
	fprintf(out, "\n%s.\n", c->summary);
	if (c->details) {
		fputc('\n', out);
		print_wrapped(out, "", 0, c->details);
	}
	fputs("\nOptions:\n", out);
	for (enum option o = 0; o < OPTIONS; o++) {
		const struct option_spec *s = &option_specs[o];
		if (!command_takes(c, o))
			continue;
		AUTO_FREE char *left =
			xasprintf("--%s%s%s", s->name, s->argument ? " " : "", s->argument ? s->argument : "");
		AUTO_FREE char *before =
			s->letter ? xasprintf("  -%c, %-20s ", s->letter, left) : xasprintf("      %-20s ", left);
		print_wrapped(out, before, HELP_INDENT, s->help);
	}
}

void command_print_words(const struct command *c, FILE *out)
{
	if (!c) {
		for (size_t i = 0; i < command_count; i++)
			fprintf(out, "%s\n", command_table[i].name);
		return;
	}
	for (enum option o = 0; o < OPTIONS; o++)
		if (command_takes(c, o))
			fprintf(out, "--%s%s\n", option_specs[o].name, option_specs[o].argument ? "=" : "");
}

void command_print_list(FILE *out)
{
	fputs("usage: certswapctl [-c FILE] [-v] COMMAND ...\n\nCommands:\n", out);
	for (size_t i = 0; i < command_count; i++)
		fprintf(out, "  %-12s %s\n", command_table[i].name, command_table[i].summary);
	fputs("\n`certswapctl COMMAND --help` tells more; certswapctl(1) all.\n", out);
}
