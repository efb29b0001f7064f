/* The option table read the other way: settings as a file, and the table as a manual. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "settings/options.h"
#include "settings/settings.h"

static void dump_place(enum option_place place, const void *base, int depth, FILE *out);

static void indent(int depth, FILE *out)
{
	for (int i = 0; i < depth; i++)
		fputs("  ", out);
}

static void dump_string(const char *s, FILE *out)
{
	fputc('"', out);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			fprintf(out, "\\x%02x", (unsigned int)*s);
		else
			fputc(*s, out);
	}
	fputc('"', out);
}

static void dump_words(const struct words *words, FILE *out)
{
	fputc('[', out);
	for (size_t i = 0; i < words->n; i++) {
		fputs(i ? ", " : " ", out);
		dump_string(words->v[i], out);
	}
	fputs(words->n ? " ]" : "]", out);
}

static void dump_duration(int64_t ms, const struct option *o, FILE *out)
{
	char buf[24];
	if (ms == CONFIRM_BY_NEVER)
		dump_string("never", out);
	else if (ms == 0 && option_allows_empty(o))
		dump_string("", out);
	else
		dump_string(text_from_ms(ms, buf), out);
}

static void dump_crl(const char *s, FILE *out)
{
	if (strncmp(s, "file:", 5) == 0)
		dump_string(s, out);
	else
		fputs(s, out);
}

static void dump_groups(const struct option *o, const void *base, int depth, FILE *out)
{
	const char *v = *(char *const *)((const char *)base + o->offset);
	size_t n = *(const size_t *)((const char *)base + o->count_offset);
	fputs("(", out);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ",\n" : "\n", out);
		indent(depth + 1, out);
		fputs("{\n", out);
		dump_place(o->inner, v + i * o->size, depth + 2, out);
		indent(depth + 1, out);
		fputs("}", out);
	}
	fputs(n ? " )" : ")", out);
}

static void dump_value(const struct option *o, const void *base, int depth, FILE *out)
{
	const void *at = (const char *)base + o->offset;
	switch (o->type) {
	case OPTION_TEXT:
		dump_string(*(char *const *)at, out);
		break;
	case OPTION_DURATION:
	case OPTION_DEADLINE:
		dump_duration(*(const int64_t *)at, o, out);
		break;
	case OPTION_INTEGER:
		fprintf(out, "%lld", (long long)*(const int64_t *)at);
		break;
	case OPTION_BOOL:
		fputs(*(const bool *)at ? "true" : "false", out);
		break;
	case OPTION_ENUM:
		dump_string(o->names[*(const int *)at], out);
		break;
	case OPTION_WORDS:
	case OPTION_COMMAND:
		dump_words(at, out);
		break;
	case OPTION_MODE:
		fprintf(out, "\"%04o\"", *(const unsigned int *)at);
		break;
	case OPTION_CRL:
		dump_crl(*(char *const *)at, out);
		break;
	case OPTION_GROUP:
		fputs("{\n", out);
		dump_place(o->inner, base, depth + 1, out);
		indent(depth, out);
		fputs("}", out);
		break;
	case OPTION_GROUPS:
		dump_groups(o, base, depth, out);
		break;
	case OPTION_TYPES:
		break;
	}
}

static void dump_place(enum option_place place, const void *base, int depth, FILE *out)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		if (o->place != place)
			continue;
		if (o->type == OPTION_TEXT && !*(char *const *)((const char *)base + o->offset))
			continue; /* not given, and nothing stands for it */
		indent(depth, out);
		fprintf(out, "%s = ", o->key);
		dump_value(o, base, depth, out);
		fputs(";\n", out);
	}
}

void settings_dump(const struct settings *s, FILE *out)
{
	dump_place(PLACE_TOP, s, 0, out);
}

static const char *const headings[] = {
	[PLACE_TOP] = "Top level of the main file",
	[PLACE_SERVER] = "A server (an element of servers)",
	[PLACE_CERTIFICATE] = "A certificate (an element of certificates, or a file in certificates.d)",
	[PLACE_CONSUMER] = "A consumer (an element of consumers in a certificate)",
	[PLACE_CA] = "The CA (the group ca in a certificate)",
	[PLACE_CHECK] = "Revocation (the group check in a certificate)"};
_Static_assert(ARRAY_SIZE(headings) == OPTION_PLACES, "a heading for each place");

/* What stands behind the '=' in the manual. */
static void reference_form(const struct option *o, FILE *out)
{
	const char *word = o->form ? o->form->word : "text";
	switch (o->type) {
	case OPTION_TEXT:
	case OPTION_ENUM:
		for (size_t i = 0; o->names && o->names[i]; i++)
			fprintf(out, "%s \\(dq%s\\(dq", i ? " |" : "", o->names[i]);
		if (!o->names)
			fprintf(out, " \\(dq Ns Ar %s Ns \\(dq", word);
		break;
	case OPTION_DURATION:
		fputs(" \\(dq Ns Ar time Ns \\(dq", out);
		break;
	case OPTION_DEADLINE:
		fputs(" \\(dq Ns Ar time Ns \\(dq | \\(dqnever\\(dq", out);
		break;
	case OPTION_INTEGER:
		fprintf(out, " Ar number Pq %lld to %lld", (long long)o->min, (long long)o->max);
		break;
	case OPTION_BOOL:
		fputs(" true | false", out);
		break;
	case OPTION_WORDS:
		fprintf(out, " [ \\(dq Ns Ar %s Ns \\(dq, ... ]", word);
		break;
	case OPTION_COMMAND:
		fputs(" [ \\(dq Ns Ar program Ns \\(dq, \\(dq Ns Ar argument Ns \\(dq, ... ]", out);
		break;
	case OPTION_MODE:
		fputs(" \\(dq Ns Ar mode Ns \\(dq", out);
		break;
	case OPTION_CRL:
		fputs(" true | false | \\(dqfile\\&: Ns Ar path Ns \\(dq", out);
		break;
	case OPTION_GROUP:
		fputs(" { ... }", out);
		break;
	case OPTION_GROUPS:
		fputs(" ( { ... }, ... )", out);
		break;
	case OPTION_TYPES:
		break;
	}
	fputc('\n', out);
}

static void reference_default(const struct option *o, FILE *out)
{
	char from[24], to[24];
	if ((o->type == OPTION_DURATION || o->type == OPTION_DEADLINE) && o->max)
		fprintf(out, "From %s to %s.\n", text_from_ms(o->min, from), text_from_ms(o->max, to));
	if (o->required)
		fputs("It must be given.\n", out);
	else if (o->words)
		fprintf(out, "Default: %s.\n", o->words);
	else if (o->value && *o->value)
		fprintf(out, "Default: %s.\n", o->value);
}

/* Each sentence begins a line and no line is longer than 80 bytes, as mdoc(7) wants it. */
static void reference_help(const char *help, FILE *out)
{
	size_t column = 0;
	for (; *help; help++) {
		size_t next = strcspn(help + 1, " "); /* the word behind a space */
		bool ends = *help == ' ' && (help[-1] == '.' || column + next >= 79);
		fputc(ends ? '\n' : *help, out);
		column = ends ? 0 : column + 1;
	}
	fputc('\n', out);
}

void settings_reference(FILE *out)
{
	for (int place = 0; place < OPTION_PLACES; place++) {
		fprintf(out, ".Ss %s\n.Bl -tag -width Ds\n", headings[place]);
		for (size_t i = 0; i < option_count; i++) {
			const struct option *o = &option_table[i];
			if (o->place != (enum option_place)place)
				continue;
			fprintf(out, ".It Ic %s No =", o->key);
			reference_form(o, out);
			reference_help(o->help, out);
			reference_default(o, out);
		}
		fputs(".El\n", out);
	}
}
