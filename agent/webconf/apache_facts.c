/* Variables, macro parameters and conditions. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "webconf/apache.h"

static const char *find_value(const struct words *list, const char *name, size_t len)
{
	for (size_t i = list->n; i-- > 0;) {
		const char *one = list->v[i];
		if (strncmp(one, name, len) == 0 && (one[len] == '\0' || one[len] == '='))
			return one[len] ? one + len + 1 : "";
	}
	return NULL;
}

void apache_undefine(struct apache *a, const char *name)
{
	size_t kept = 0, len = strlen(name);
	for (size_t i = 0; i < a->defines.n; i++) {
		char *one = a->defines.v[i];
		if (strncmp(one, name, len) == 0 && (one[len] == '\0' || one[len] == '='))
			free(one);
		else
			a->defines.v[kept++] = one;
	}
	a->defines.n = kept;
}

void apache_define(struct apache *a, const char *name, const char *value)
{
	AUTO_FREE char *line = value ? xasprintf("%s=%s", name, value) : xstrdup(name);
	apache_undefine(a, name);
	words_add(&a->defines, line);
}

/* The index of the parameter that begins at s, the longest that fits; -1: none. */
static int64_t find_parameter(const struct walk *walk, const char *s, size_t *ret_len)
{
	int64_t found = -1;
	*ret_len = 0;
	for (size_t i = 2; walk->macro && i < walk->macro->node->nwords; i++) {
		const char *name = walk->macro->node->words[i].text;
		size_t len = strlen(name);
		if (len > *ret_len && i - 2 < walk->arguments->n && strncmp(s, name, len) == 0) {
			found = (int64_t)i - 2;
			*ret_len = len;
		}
	}
	return found;
}

static char *put_parameters(const struct walk *walk, const char *s)
{
	struct text text = {0};
	while (*s && text.len < WEBCONF_VALUE_MAX) {
		size_t len;
		int64_t found = find_parameter(walk, s, &len);
		if (found >= 0)
			text_add(&text, "%s", walk->arguments->v[found]);
		else
			text_add_bytes(&text, s, len = 1);
		s += len;
	}
	return text.s ? text.s : xstrdup("");
}

static const char *variable(const struct apache *a, const char *name, size_t len)
{
	const char *defined = find_value(&a->defines, name, len);
	return defined ? defined : find_value(&a->r->facts->environment, name, len);
}

static char *put_variables(const struct apache *a, const char *s, char **ret_unknown)
{
	struct text text = {0};
	while (*s && text.len < WEBCONF_VALUE_MAX) {
		const char *end = s[0] == '$' && s[1] == '{' ? strchr(s, '}') : NULL;
		const char *value = end ? variable(a, s + 2, (size_t)(end - s - 2)) : NULL;
		if (end && !value && !*ret_unknown)
			*ret_unknown = xstrndup(s, (size_t)(end - s + 1));
		if (value) {
			text_add(&text, "%s", value);
			s = end + 1;
		} else {
			text_add_bytes(&text, s++, 1);
		}
	}
	if (*s && !*ret_unknown)
		*ret_unknown = xstrdup("that makes this too long");
	return text.s ? text.s : xstrdup("");
}

void apache_arguments(const struct walk *walk, const struct node *node, struct words *ret, char **ret_unknown)
{
	*ret = (struct words){0};
	*ret_unknown = NULL;
	for (size_t i = 1; i < node->nwords; i++) {
		AUTO_FREE char *put = put_parameters(walk, node->words[i].text);
		AUTO_FREE char *whole = put_variables(walk->a, put, ret_unknown);
		if (node->words[i].quoted || strcmp(whole, node->words[i].text) == 0) {
			words_add(ret, whole);
			continue;
		}
		char *rest = whole;
		for (char *word; (word = strsep(&rest, " \t"));)
			if (*word)
				words_add(ret, word);
	}
}

/* "mod_ssl.c" -> "ssl_module"; other names stay. The caller frees. */
static char *module_of(const char *name)
{
	static const char *const odd[][2] = {{"core.c", "core_module"},
					     {"http_core.c", "http_module"},
					     {"prefork.c", "mpm_prefork_module"},
					     {"worker.c", "mpm_worker_module"},
					     {"event.c", "mpm_event_module"}};
	size_t len = strlen(name);
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
		if (strcmp(name, odd[i][0]) == 0)
			return xstrdup(odd[i][1]);
	if (len > 6 && strncmp(name, "mod_", 4) == 0 && strcmp(name + len - 2, ".c") == 0)
		return xasprintf("%.*s_module", (int)(len - 6), name + 4);
	return xstrdup(name);
}

static bool is_loaded(const struct apache *a, const char *name)
{
	static const char *const built_in[] = {"core_module",       "so_module",    "http_module",    "watchdog_module",
					       "log_config_module", "logio_module", "version_module", "unixd_module"};
	const struct words *known = &a->r->facts->modules;
	AUTO_FREE char *module = module_of(name);
	if (words_has(&a->modules, module))
		return true;
	for (size_t i = 0; i < known->n; i++) {
		AUTO_FREE char *one = module_of(known->v[i]);
		if (strcmp(one, module) == 0)
			return true;
	}
	for (size_t i = 0; known->n == 0 && i < ARRAY_SIZE(built_in); i++)
		if (strcmp(built_in[i], module) == 0)
			return true;
	return false;
}

static int compare_versions(const char *a, const char *b)
{
	for (int i = 0; i < 3; i++) {
		char *end_a, *end_b;
		long x = strtol(a, &end_a, 10), y = strtol(b, &end_b, 10);
		if (x != y)
			return x < y ? -1 : 1;
		a = *end_a == '.' ? end_a + 1 : "";
		b = *end_b == '.' ? end_b + 1 : "";
	}
	return 0;
}

static bool version_fits(const struct walk *walk, const struct node *node, const struct words *args)
{
	const char *ours = walk->a->r->facts->version ? walk->a->r->facts->version : "2.4.62";
	const char *op = args->n > 1 ? args->v[0] : "=", *theirs = args->n ? args->v[args->n - 1] : "";
	bool not = *op == '!';
	int order;
	op += not ;
	if (*op == '~' || *theirs == '/') {
		reading_note(walk->a->r, walk->file, node->line, "<IfVersion> with a pattern is taken as true");
		return true;
	}
	order = compare_versions(ours, theirs);
	bool fits = (strchr(op, '=') && order == 0) || (*op == '>' && order > 0) || (*op == '<' && order < 0);
	return fits != not ;
}

static bool file_is_there(const struct walk *walk, const char *path)
{
	AUTO_FREE char *whole = path_below(walk->a->root, path);
	const struct webconf_source *s = walk->a->r->source;
	struct words found = {0};
	bool is = s->list(s->context, whole, false, &found) == 0 && found.n > 0;
	words_done(&found);
	return is;
}

bool apache_condition(const struct walk *walk, const struct node *node, bool *ret_known)
{
	const char *name = node->words[0].text;
	struct words args;
	char *unknown;
	bool holds = true;
	apache_arguments(walk, node, &args, &unknown);
	const char *what = args.n ? args.v[0] : "";
	bool not = *what == '!';
	*ret_known = true;
	if (strcasecmp(name, "IfDefine") == 0)
		holds = (find_value(&walk->a->defines, what + not, strlen(what + not )) != NULL) != not ;
	else if (strcasecmp(name, "IfModule") == 0)
		holds = is_loaded(walk->a, what + not ) != not ;
	else if (strcasecmp(name, "IfFile") == 0)
		holds = file_is_there(walk, what + not ) != not ;
	else if (strcasecmp(name, "IfVersion") == 0)
		holds = version_fits(walk, node, &args);
	else if (strcasecmp(name, "IfDirective") == 0 || strcasecmp(name, "IfSection") == 0)
		holds = !not ; /* a server that runs knows its directives */
	else
		*ret_known = false;
	words_done(&args);
	free(unknown);
	return holds;
}
