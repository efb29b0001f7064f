/* Reading: files -> libconfig's tree -> the structs, by the option table. Goes on after each mistake, so that all are
 * shown at once. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/files.h"
#include "base/memory.h"
#include "base/near.h"
#include "settings/complaints.h"
#include "settings/load.h"
#include "settings/options.h"
#include "settings/source.h"

static void take_group(struct loader *l, enum option_place place, config_setting_t *group, void *base);

static unsigned int line_of(config_setting_t *setting)
{
	return config_setting_source_line(setting);
}

/* The line of an element of a list. libconfig has read on when it notes the line of a string, so look back for it. */
static unsigned int element_line(struct loader *l, config_setting_t *list, config_setting_t *element)
{
	if (config_setting_type(element) != CONFIG_TYPE_STRING)
		return line_of(element);
	AUTO_FREE char *quoted = xasprintf("\"%s", config_setting_get_string(element));
	return source_find(l->source, line_of(list), line_of(element), quoted);
}

static void complain(struct loader *l, unsigned int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void complain(struct loader *l, unsigned int line, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = xvasprintf(format, args);
	va_end(args);
	AUTO_FREE char *source = source_copy_line(l->source, line);
	complaint_add(l->complaints, source_file(l->source, line), source_number(l->source, line), source, "%s", text);
}

static struct note note_of(const struct loader *l, const char *name, unsigned int line)
{
	return (struct note){.name = xstrdup(name),
			     .file = xstrdup(source_file(l->source, line)),
			     .line = source_number(l->source, line),
			     .source = source_copy_line(l->source, line)};
}

static void note_done(struct note *note)
{
	free(note->name);
	free(note->file);
	free(note->source);
}

static void note_free(void *note)
{
	note_done(note);
	free(note);
}

static int by_name(const void *a, const void *b)
{
	const struct note *x = a, *y = b;
	return strcmp(x->name, y->name);
}

/* Each name once: of servers, of certificates (over all files), of the consumers of one certificate. */
static void take_name(struct loader *l, enum option_place place, const char *name, unsigned int line)
{
	struct note note = note_of(l, name, line);
	struct note **found = tfind(&note, &l->names[place], by_name);
	if (found) {
		complain(l, line, "the name '%s' is taken: %s of that name is in %s, line %u", name,
			 option_place_text(place), (*found)->file, (*found)->line);
		note_done(&note);
	} else if (!tsearch(xmemdup(&note, sizeof note), &l->names[place], by_name)) {
		abort(); /* out of memory */
	}
}

static void forget_names(struct loader *l, enum option_place place)
{
	tdestroy(l->names[place], note_free);
	l->names[place] = NULL;
}

static const char *const type_needs[] = {
	[OPTION_TEXT] = "text in quotes",
	[OPTION_DURATION] = "a time in quotes with its unit, like \"30s\" or \"15m\"",
	[OPTION_DEADLINE] = "a time in quotes with its unit, like \"6h\", or \"never\"",
	[OPTION_INTEGER] = "a whole number",
	[OPTION_BOOL] = "true or false, without quotes",
	[OPTION_ENUM] = "a word in quotes",
	[OPTION_WORDS] = "a list of words in quotes: [ \"...\", \"...\" ]",
	[OPTION_COMMAND] = "a command as a list: [ \"/path/to/program\", \"argument\" ]",
	[OPTION_MODE] = "an octal mode in quotes, like \"0600\"",
	[OPTION_CRL] = "true, false, or \"file:/path\" of a mirror",
	[OPTION_GROUP] = "a group: { ... }",
	[OPTION_GROUPS] = "a list of groups: ( { ... }, { ... } )",
};
_Static_assert(ARRAY_SIZE(type_needs) == OPTION_TYPES, "words for each type");

static void complain_type(struct loader *l, const struct option *o, unsigned int line)
{
	complain(l, line, "'%s' needs %s", o->key, type_needs[o->type]);
}

static void take_string(struct loader *l, const struct option *o, config_setting_t *setting, void *base)
{
	const char *text = config_setting_get_string(setting);
	AUTO_FREE char *needs = option_set(o, base, text);
	if (needs)
		complain(l, line_of(setting), "'%s' needs %s; it is \"%s\"", o->key, needs, text);
	else if (o->form == &form_name && strcmp(o->key, "name") == 0)
		take_name(l, o->place, text, line_of(setting));
}

static void take_integer(struct loader *l, const struct option *o, config_setting_t *setting, void *base)
{
	int64_t value = config_setting_get_int64(setting), written;
	if (source_integer(l->source, line_of(setting), o->key, &written))
		value = written;
	if (value < o->min || value > o->max)
		complain(l, line_of(setting), "'%s' needs a whole number from %lld to %lld", o->key, (long long)o->min,
			 (long long)o->max);
	else
		*(int64_t *)option_at(o, base) = value;
}

static void take_bool(const struct option *o, config_setting_t *setting, void *base)
{
	const char *text = config_setting_get_bool(setting) ? "true" : "false";
	free(option_set(o, base, text)); /* true and false are always right here */
}

static void take_word(struct loader *l, const struct option *o, config_setting_t *list, int i, struct words *ret)
{
	config_setting_t *element = config_setting_get_elem(list, (unsigned int)i);
	unsigned int line = element_line(l, list, element);
	if (config_setting_type(element) != CONFIG_TYPE_STRING) {
		complain_type(l, o, line);
		return;
	}
	const char *word = config_setting_get_string(element);
	const struct form *form = o->type == OPTION_COMMAND && i > 0 ? NULL : o->form;
	if (form && !form->is(word)) {
		complain(l, line, "'%s' needs %s%s; it is \"%s\"", o->key,
			 o->type == OPTION_COMMAND ? "a program named by " : "", form->needs, word);
		return;
	}
	if (o->type == OPTION_WORDS && o->form != &form_line && words_has(ret, word)) {
		complain(l, line, "'%s' names \"%s\" twice", o->key, word);
		return;
	}
	words_add(ret, word);
	if (o->place == PLACE_CERTIFICATE && strcmp(o->key, "servers") == 0) {
		l->wanted = xrealloc(l->wanted, (l->nwanted + 1) * sizeof *l->wanted);
		l->wanted[l->nwanted++] = note_of(l, word, line);
	}
}

static void take_words(struct loader *l, const struct option *o, config_setting_t *setting, void *base)
{
	struct words *words = option_at(o, base);
	words_done(words); /* what is given stands in the place of the default */
	for (int i = 0; i < config_setting_length(setting); i++)
		take_word(l, o, setting, i, words);
	if (o->required && config_setting_length(setting) == 0)
		complain(l, line_of(setting), "'%s' is empty: it %s", o->key, "needs a command");
}

/* What the file can't say of a certificate or server itself: where it stands, and what its kind brings. */
static void finish_group(struct loader *l, enum option_place place, unsigned int line, void *base)
{
	if (place == PLACE_CERTIFICATE) {
		struct certificate_settings *certificate = base;
		certificate->file = xstrdup(source_file(l->source, line));
		certificate->line = source_number(l->source, line);
		forget_names(l, PLACE_CONSUMER);
	} else if (place == PLACE_SERVER) {
		layout_fill(base);
	}
}

static void *grow(const struct option *o, void *base, size_t more)
{
	char **v = option_at(o, base);
	size_t *n = (size_t *)((char *)base + o->count_offset);
	if (more == 0)
		return *v;
	*v = xrealloc(*v, (*n + more) * o->size);
	memset(*v + *n * o->size, 0, more * o->size);
	*n += more;
	return *v + (*n - more) * o->size;
}

static void take_groups(struct loader *l, const struct option *o, config_setting_t *setting, void *base)
{
	size_t n = (size_t)config_setting_length(setting);
	char *structs = grow(o, base, n);
	for (size_t i = 0; i < n; i++) {
		config_setting_t *element = config_setting_get_elem(setting, (unsigned int)i);
		option_defaults(o->inner, structs + i * o->size);
		if (config_setting_type(element) == CONFIG_TYPE_GROUP) {
			take_group(l, o->inner, element, structs + i * o->size);
			finish_group(l, o->inner, line_of(element), structs + i * o->size);
		} else {
			complain_type(l, o, element_line(l, setting, element));
		}
	}
}

static bool has_type(const struct option *o, config_setting_t *setting)
{
	int type = config_setting_type(setting);
	bool is_list = type == CONFIG_TYPE_LIST || type == CONFIG_TYPE_ARRAY;
	switch (o->type) {
	case OPTION_TEXT:
	case OPTION_DURATION:
	case OPTION_DEADLINE:
	case OPTION_ENUM:
	case OPTION_MODE:
		return type == CONFIG_TYPE_STRING;
	case OPTION_INTEGER:
		return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
	case OPTION_BOOL:
		return type == CONFIG_TYPE_BOOL;
	case OPTION_CRL:
		return type == CONFIG_TYPE_BOOL || type == CONFIG_TYPE_STRING;
	case OPTION_WORDS:
	case OPTION_COMMAND:
		return is_list;
	case OPTION_GROUP:
		return type == CONFIG_TYPE_GROUP;
	case OPTION_GROUPS:
		return type == CONFIG_TYPE_LIST || (is_list && config_setting_length(setting) == 0);
	case OPTION_TYPES:
		break;
	}
	return false;
}

static void take_option(struct loader *l, const struct option *o, config_setting_t *setting, void *base)
{
	if (!has_type(o, setting))
		complain_type(l, o, line_of(setting));
	else if (config_setting_type(setting) == CONFIG_TYPE_STRING)
		take_string(l, o, setting, base);
	else if (config_setting_type(setting) == CONFIG_TYPE_BOOL)
		take_bool(o, setting, base);
	else if (o->type == OPTION_INTEGER)
		take_integer(l, o, setting, base);
	else if (o->type == OPTION_GROUP)
		take_group(l, o->inner, setting, base);
	else if (o->type == OPTION_GROUPS)
		take_groups(l, o, setting, base);
	else
		take_words(l, o, setting, base);
}

static void complain_unknown(struct loader *l, enum option_place place, const char *key, unsigned int line)
{
	const char *near = option_near(place, key);
	if (near) {
		complain(l, line, "unknown option '%s' in %s; did you mean '%s'?", key, option_place_text(place), near);
		return;
	}
	for (int other = 0; other < OPTION_PLACES; other++) {
		if (option_find((enum option_place)other, key)) {
			complain(l, line, "unknown option '%s' in %s; it belongs into %s", key,
				 option_place_text(place), option_place_text((enum option_place)other));
			return;
		}
	}
	complain(l, line, "unknown option '%s' in %s; certswap.conf(5) lists them all", key, option_place_text(place));
}

static void take_group(struct loader *l, enum option_place place, config_setting_t *group, void *base)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		config_setting_t *setting = config_setting_get_elem(group, (unsigned int)i);
		const struct option *o = option_find(place, config_setting_name(setting));
		if (config_setting_type(setting) == CONFIG_TYPE_NONE)
			continue; /* a syntax error stands in its value */
		if (o)
			take_option(l, o, setting, base);
		else
			complain_unknown(l, place, config_setting_name(setting), line_of(setting));
	}
	for (size_t i = 0; i < option_count && !l->broken; i++) {
		const struct option *o = &option_table[i];
		if (o->place == place && o->required && !config_setting_get_member(group, o->key))
			complain(l, line_of(group), "%s without '%s': it needs %s = %s", option_place_text(place),
				 o->key, o->key, o->type == OPTION_COMMAND ? "[ \"/path/to/program\" ];" : "\"...\";");
	}
}

/* `parsed`: libconfig saw no mistake; so it is with a comment that is never closed. */
static void complain_syntax(struct loader *l, const config_t *config, bool parsed)
{
	const struct source *s = l->source;
	unsigned int line = (unsigned int)config_error_line(config);
	if (line > s->nlines)
		line = (unsigned int)s->nlines;
	unsigned int string = line ? s->lines[line - 1].string : 0;
	if (s->unclosed && (parsed || line >= s->unclosed)) /* libconfig sees it at the last line only */
		complain(l, s->unclosed, "syntax error: a %s begins here and is never closed",
			 s->unclosed_comment ? "comment" : "string");
	else if (strncmp(config_error_text(config), "duplicate", 9) == 0)
		complain(l, line, "this option stands twice in the same group");
	else if (string)
		complain(l, line,
			 "syntax error: a string that began on line %u runs into this one; is its closing \" missing?",
			 source_number(s, string));
	else
		complain(l, line, "syntax error here or just before (%s)", config_error_text(config));
}

/* The file in certificates.d holds `certificates = ( ... );` or the options of one certificate. */
static void take_extra(struct loader *l, config_setting_t *root)
{
	const struct option *certificates = option_find(PLACE_TOP, "certificates");
	if (config_setting_length(root) == 0)
		return;
	config_setting_t *list = config_setting_get_member(root, certificates->key);
	if (!list) {
		struct certificate_settings *one = grow(certificates, l->settings, 1);
		option_defaults(PLACE_CERTIFICATE, one);
		take_group(l, PLACE_CERTIFICATE, root, one);
		finish_group(l, PLACE_CERTIFICATE, line_of(config_setting_get_elem(root, 0)), one);
		return;
	}
	take_option(l, certificates, list, l->settings);
	for (int i = 0; i < config_setting_length(root); i++) {
		config_setting_t *other = config_setting_get_elem(root, (unsigned int)i);
		if (other != list)
			complain(l, line_of(other),
				 "'%s' can't stand beside 'certificates' in a file of certificates.d",
				 config_setting_name(other));
	}
}

void load_file(struct loader *l, const char *path, bool main_file)
{
	struct source source = {0};
	config_t config;
	l->source = &source;
	source_read(&source, path, l->complaints);
	for (size_t i = 0; i < source.files.n; i++)
		words_add(&l->files, source.files.v[i]);
	if (source.files.n > 0) {
		config_init(&config);
		bool parsed = config_read_string(&config, source.text.s ? source.text.s : "") == CONFIG_TRUE;
		if (!parsed || source.unclosed)
			complain_syntax(l, &config, parsed);
		l->broken = !parsed || source.failed || source.unclosed;
		if (main_file)
			take_group(l, PLACE_TOP, config_root_setting(&config), l->settings);
		else
			take_extra(l, config_root_setting(&config));
		config_destroy(&config);
	}
	if (main_file)
		l->main_broken = source.failed || l->broken;
	source_done(&source);
	l->source = NULL;
}

static void check_servers(struct loader *l)
{
	for (size_t i = 0; i < l->nwanted && !l->main_broken; i++) {
		const struct note *want = &l->wanted[i];
		const char *near = NULL;
		if (settings_server(l->settings, want->name))
			continue;
		for (size_t j = 0; j < l->settings->nservers; j++)
			if (l->settings->servers[j].name)
				near = near_choose(want->name, l->settings->servers[j].name, near);
		complaint_add(l->complaints, want->file, want->line, want->source,
			      "there is no server '%s' in the main file%s%s%s", want->name,
			      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
}

void load_end(struct loader *l)
{
	check_servers(l);
	complaints_sort(l->complaints, &l->files);
	for (int place = 0; place < OPTION_PLACES; place++)
		forget_names(l, (enum option_place)place);
	for (size_t i = 0; i < l->nwanted; i++)
		note_done(&l->wanted[i]);
	free(l->wanted);
	words_done(&l->files);
}
