/* From a row of the option table and text to a value in a struct, and back to nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/near.h"
#include "settings/options.h"
#include "settings/settings.h"

static const char *const place_texts[] = {
	[PLACE_TOP] = "the main file's top level", [PLACE_SERVER] = "a server", [PLACE_CERTIFICATE] = "a certificate",
	[PLACE_CONSUMER] = "a consumer",           [PLACE_CA] = "a 'ca' group", [PLACE_CHECK] = "a 'check' group"};
_Static_assert(ARRAY_SIZE(place_texts) == OPTION_PLACES, "a text for each place");

const char *option_place_text(enum option_place place)
{
	return place_texts[place];
}

const struct option *option_find(enum option_place place, const char *key)
{
	for (size_t i = 0; i < option_count; i++)
		if (option_table[i].place == place && strcmp(option_table[i].key, key) == 0)
			return &option_table[i];
	return NULL;
}

const char *option_near(enum option_place place, const char *word)
{
	const char *best = NULL;
	for (size_t i = 0; i < option_count; i++)
		if (option_table[i].place == place)
			best = near_choose(word, option_table[i].key, best);
	return best;
}

bool option_allows_empty(const struct option *o)
{
	return !o->required && (!o->value || !*o->value);
}

static char *set_text(const struct option *o, char **at, const char *text)
{
	if (!*text && option_allows_empty(o)) {
		free(*at);
		*at = xstrdup(o->value);
		return NULL;
	}
	if (o->form && !o->form->is(text))
		return xasprintf("%s%s", o->form->needs, option_allows_empty(o) ? ", or \"\"" : "");
	if (o->names) {
		struct words names = {0};
		for (size_t i = 0; o->names[i]; i++)
			words_add(&names, o->names[i]);
		char *needs = NULL;
		if (!words_has(&names, text)) {
			AUTO_FREE char *list = words_join(&names, ", ");
			needs = xasprintf("one of %s", list);
		}
		words_done(&names);
		if (needs)
			return needs;
	}
	free(*at);
	*at = xstrdup(text);
	return NULL;
}

static char *set_enum(const struct option *o, void *at, const char *text)
{
	AUTO_FREE char *checked = NULL;
	char *needs = set_text(o, &checked, text);
	for (int i = 0; !needs && o->names[i]; i++)
		if (strcmp(o->names[i], text) == 0)
			memcpy(at, &i, sizeof i);
	return needs;
}

static char *set_duration(const struct option *o, int64_t *at, const char *text)
{
	char from[24], to[24];
	int64_t ms;
	if (o->type == OPTION_DEADLINE && strcmp(text, "never") == 0) {
		*at = CONFIRM_BY_NEVER;
		return NULL;
	}
	if (!*text && option_allows_empty(o)) {
		*at = 0;
		return NULL;
	}
	if (text_to_ms(text, &ms) < 0)
		return xasprintf("a time with its unit, like \"250ms\", \"30s\", \"15m\", \"24h\" or \"5d\"%s",
				 o->type == OPTION_DEADLINE ? ", or \"never\"" : "");
	if (ms < o->min || ms > o->max)
		return xasprintf("a time from %s to %s", text_from_ms(o->min, from), text_from_ms(o->max, to));
	*at = ms;
	return NULL;
}

/* The owner must be able to read; the group may; nobody else, and nobody runs it. */
static char *set_mode(unsigned int *at, const char *text)
{
	size_t len = strlen(text);
	if (len < 3 || len > 4 || strspn(text, "01234567") != len)
		return xstrdup("an octal mode in quotes, like \"0600\" or \"0640\"");
	unsigned int mode = (unsigned int)strtoul(text, NULL, 8);
	if ((mode & ~0640U) || !(mode & 0400U))
		return xstrdup(
			"one of \"0600\", \"0640\", \"0400\", \"0440\": a key is read by its owner, by the group at "
			"most, and by nobody else");
	*at = mode;
	return NULL;
}

static char *set_crl(char **at, const char *text)
{
	bool is_file = strncmp(text, "file:", 5) == 0 && form_path.is(text + 5);
	if (!is_file && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return xstrdup("true, false, or \"file:/path\" of a mirror");
	free(*at);
	*at = xstrdup(text);
	return NULL;
}

/* The default of a list: its words with a space between them. */
static void add_words(struct words *words, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, " ");
		words_add_n(words, text, len);
		text += len + strspn(text + len, " ");
	}
}

char *option_set(const struct option *o, void *base, const char *text)
{
	void *at = option_at(o, base);
	switch (o->type) {
	case OPTION_TEXT:
		return set_text(o, at, text);
	case OPTION_DURATION:
	case OPTION_DEADLINE:
		return set_duration(o, at, text);
	case OPTION_ENUM:
		return set_enum(o, at, text);
	case OPTION_MODE:
		return set_mode(at, text);
	case OPTION_CRL:
		return set_crl(at, text);
	case OPTION_INTEGER:
		*(int64_t *)at = strtoll(text, NULL, 10);
		return NULL;
	case OPTION_BOOL:
		*(bool *)at = strcmp(text, "true") == 0;
		return NULL;
	case OPTION_WORDS:
		add_words(at, text);
		return NULL;
	case OPTION_COMMAND:
	case OPTION_GROUP:
	case OPTION_GROUPS:
	case OPTION_TYPES:
		break;
	}
	return NULL;
}

void option_defaults(enum option_place place, void *base)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		if (o->place != place)
			continue;
		if (o->type == OPTION_GROUP)
			option_defaults(o->inner, base);
		else if (o->value)
			free(option_set(o, base, o->value)); /* a test holds the table's defaults to its own rules */
	}
}

static void free_groups(const struct option *o, void *base)
{
	char *v = *(char **)option_at(o, base);
	size_t n = *(size_t *)((char *)base + o->count_offset);
	for (size_t i = 0; i < n; i++)
		option_free(o->inner, v + i * o->size);
	free(v);
}

void option_free(enum option_place place, void *base)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		if (o->place != place)
			continue;
		if (o->type == OPTION_TEXT || o->type == OPTION_CRL)
			free(*(char **)option_at(o, base));
		else if (o->type == OPTION_WORDS || o->type == OPTION_COMMAND)
			words_done(option_at(o, base));
		else if (o->type == OPTION_GROUP)
			option_free(o->inner, base);
		else if (o->type == OPTION_GROUPS)
			free_groups(o, base);
	}
	if (place == PLACE_CERTIFICATE)
		free(((struct certificate_settings *)base)->file);
}
