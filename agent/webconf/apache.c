/* Apache's configuration, statement by statement. */
#include "webconf/apache.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"

#define STATEMENTS_MAX 500000 /* that macros bring: a macro may use another twice, and so on */

static void walk_nodes(const struct walk *walk, const struct node *v, size_t n);

static void include_file(const struct walk *walk, const char *path, const struct node *node)
{
	struct apache *a = walk->a;
	struct walk below = *walk;
	struct nodes nodes, nothing = {0};
	int64_t index = reading_enter(a->r, path, walk->file, node ? node->line : 0, &nodes);
	if (index < 0)
		return;
	a->kept = xrealloc(a->kept, (a->nkept + 1) * sizeof *a->kept);
	a->kept[a->nkept++] = nodes;
	below.file = (uint32_t)index;
	walk_nodes(&below, nodes.v, nodes.n);
	reading_leave(a->r, &nothing);
}

static void include(const struct walk *walk, const struct node *node, const char *path, bool optional)
{
	const struct webconf_source *s = walk->a->r->source;
	AUTO_FREE char *pattern = path_below(walk->a->root, path);
	struct words paths = {0};
	int error = s->list(s->context, pattern, false, &paths);
	if (error < 0)
		reading_note(walk->a->r, walk->file, node->line, "can't list %s: %s", pattern, strerror(-error));
	else if (paths.n == 0 && !optional)
		reading_note(walk->a->r, walk->file, node->line, "nothing fits Include %s", pattern);
	for (size_t i = 0; i < paths.n; i++) {
		struct words below = {0};
		bool folder = s->list(s->context, paths.v[i], true, &below) == 0;
		for (size_t j = 0; j < below.n; j++)
			include_file(walk, below.v[j], node);
		if (!folder)
			include_file(walk, paths.v[i], node);
		words_done(&below);
	}
	words_done(&paths);
}

static void remember_macro(const struct walk *walk, const struct node *node)
{
	struct apache *a = walk->a;
	if (node->nwords < 2 || !reading_takes(a->r, a->nmacros, WEBCONF_LIST_MAX))
		return;
	a->macros = xrealloc(a->macros, (a->nmacros + 1) * sizeof *a->macros);
	a->macros[a->nmacros++] = (struct macro){xstrdup(node->words[1].text), node, walk->file};
}

static bool is_in_use(const struct walk *walk, const char *name)
{
	for (; walk && walk->macro; walk = walk->outer)
		if (strcasecmp(walk->macro->name, name) == 0)
			return true;
	return false;
}

/* Use NAME argument...: the macro's statements with the arguments in the places of its parameters */
static void use_macro(const struct walk *walk, const struct node *node, struct words *args)
{
	struct apache *a = walk->a;
	struct words arguments = {0};
	struct walk below = *walk;
	size_t at = a->nmacros;
	while (at > 0 && strcasecmp(a->macros[at - 1].name, args->v[0]) != 0)
		at--;
	if (at == 0) {
		reading_note(a->r, walk->file, node->line, "the macro %s is not defined", args->v[0]);
		return;
	}
	if (walk->depth >= WEBCONF_DEPTH_MAX || is_in_use(walk, args->v[0])) {
		reading_note(a->r, walk->file, node->line, "the macro %s uses itself, or macros stand too deep",
			     args->v[0]);
		a->r->w->incomplete = true;
		return;
	}
	for (size_t i = 1; i < args->n; i++)
		words_add(&arguments, args->v[i]);
	struct macro macro = a->macros[at - 1]; /* the list may move */
	below.macro = &macro;
	below.outer = walk;
	below.arguments = &arguments;
	below.use_file = walk->file;
	below.use_line = node->line;
	below.file = macro.file;
	below.depth++;
	walk_nodes(&below, macro.node->children, macro.node->nchildren);
	words_done(&arguments);
}

/* "10.0.0.1:443", "_default_:443", "[::1]"; without a port it takes every one that is listened on */
static void add_address(struct webconf_host *h, const struct webconf_place *at, const char *text)
{
	const char *bracket = *text == '[' ? strchr(text, ']') : NULL, *colon = strrchr(bracket ? bracket : text, ':');
	AUTO_FREE char *host = colon ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
	struct webconf_listen *l = host_add_listen(h);
	bool any = strcasecmp(host, "_default_") == 0 || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "[::]") == 0;
	AUTO_FREE char *address = xasprintf("%s:%s", any ? "*" : host, colon ? colon + 1 : "*");
	l->address = address_usual(address);
	l->at = *at;
}

static void walk_host(const struct walk *walk, const struct node *node, const struct words *args)
{
	struct apache *a = walk->a;
	struct walk below = *walk;
	if (!reading_takes(a->r, a->r->w->nhosts, WEBCONF_HOSTS_MAX))
		return;
	struct webconf_host *h = host_add(a->r, WEBCONF_VHOST, walk->file, node);
	h->at.in_macro = walk->macro != NULL;
	for (size_t i = 0; i < args->n && reading_takes(a->r, i, WEBCONF_LIST_MAX); i++)
		add_address(h, &h->at, args->v[i]);
	a->scopes = xrealloc(a->scopes, (a->nscopes + 1) * sizeof *a->scopes);
	a->scopes[a->nscopes] = (struct scope){.host = a->r->w->nhosts - 1};
	below.scope = (int64_t)a->nscopes++;
	walk_nodes(&below, node->children, node->nchildren);
}

static void add_managed(struct apache *a, const struct words *names)
{
	for (size_t i = 0; i < names->n && reading_takes(a->r, a->managed.n, WEBCONF_LIST_MAX); i++)
		words_add(&a->managed, names->v[i]);
}

static void walk_section(const struct walk *walk, const struct node *node, const struct words *args)
{
	const char *name = node->words[0].text;
	struct walk below = *walk;
	bool known, holds = apache_condition(walk, node, &known);
	if (strcasecmp(name, "Macro") == 0) {
		remember_macro(walk, node);
		return;
	}
	if (strcasecmp(name, "VirtualHost") == 0) {
		walk_host(walk, node, args);
		return;
	}
	if (!known) {
		bool is_if =
			strcasecmp(name, "If") == 0 || strcasecmp(name, "ElseIf") == 0 || strcasecmp(name, "Else") == 0;
		below.in_if |= is_if;
		below.in_folder |= !is_if;
		if (strcasecmp(name, "MDomainSet") == 0 || strcasecmp(name, "MDomain") == 0)
			add_managed(walk->a, args);
	}
	if (holds)
		walk_nodes(&below, node->children, node->nchildren);
}

static void listen_on(struct apache *a, const struct walk *walk, const struct node *node, const struct words *args)
{
	const char *address = args->v[0], *colon = strrchr(address, ':');
	struct webconf_place at = place_of(walk->file, node);
	AUTO_FREE char *whole = colon ? xstrdup(address) : xasprintf("*:%s", address);
	const char *port = strrchr(whole, ':') + 1;
	add_address(&a->listens, &at, whole);
	if (args->n > 1 ? strcasecmp(args->v[1], "https") == 0 : strcmp(port, "443") == 0)
		words_add(&a->https, a->listens.listens[a->listens.nlistens - 1].address);
}

/* Statements that decide about what is read; false: none of them. */
static bool act(const struct walk *walk, const struct node *node, struct words *args)
{
	struct apache *a = walk->a;
	const char *name = node->words[0].text;
	if (strcasecmp(name, "Include") == 0 || strcasecmp(name, "IncludeOptional") == 0) {
		include(walk, node, args->v[0], strcasecmp(name, "IncludeOptional") == 0);
	} else if (strcasecmp(name, "ServerRoot") == 0) {
		free(a->root);
		a->root = xstrdup(args->v[0]);
	} else if (strcasecmp(name, "Define") == 0) {
		if (reading_takes(a->r, a->defines.n, WEBCONF_LIST_MAX))
			apache_define(a, args->v[0], args->n > 1 ? args->v[1] : NULL);
	} else if (strcasecmp(name, "UnDefine") == 0) {
		apache_undefine(a, args->v[0]);
	} else if (strcasecmp(name, "LoadModule") == 0) {
		if (reading_takes(a->r, a->modules.n, WEBCONF_LIST_MAX))
			words_add(&a->modules, args->v[0]);
	} else if (strcasecmp(name, "Listen") == 0) {
		if (reading_takes(a->r, a->listens.nlistens, WEBCONF_LIST_MAX))
			listen_on(a, walk, node, args);
	} else if (strcasecmp(name, "Use") == 0) {
		use_macro(walk, node, args);
	} else if (strcasecmp(name, "MDomain") == 0 || strcasecmp(name, "ManagedDomain") == 0) {
		add_managed(a, args);
	} else {
		return false;
	}
	return true;
}

static void walk_nodes(const struct walk *walk, const struct node *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct words args;
		char *unknown;
		if (walk->macro && !reading_takes(walk->a->r, walk->a->expanded++, STATEMENTS_MAX))
			return;
		apache_arguments(walk, &v[i], &args, &unknown);
		if (v[i].block)
			walk_section(walk, &v[i], &args);
		else if (args.n && !act(walk, &v[i], &args))
			apache_directive(walk, &v[i], &args, unknown);
		words_done(&args);
		free(unknown);
	}
}

static void apache_done(struct apache *a)
{
	for (size_t i = 0; i < a->nkept; i++)
		nodes_done(&a->kept[i]);
	for (size_t i = 0; i < a->nmacros; i++)
		free(a->macros[i].name);
	for (size_t i = 0; i < a->listens.nlistens; i++)
		free(a->listens.listens[i].address);
	free(a->listens.listens);
	free(a->kept);
	free(a->macros);
	free(a->root);
	free(a->scopes);
	words_done(&a->defines);
	words_done(&a->modules);
	words_done(&a->managed);
	words_done(&a->https);
}

void apache_read(struct reading *r, const char *config)
{
	struct apache a = {.r = r};
	struct walk walk = {.a = &a, .scope = -1};
	a.root = r->facts->prefix ? xstrdup(r->facts->prefix) : path_folder(config);
	words_copy(&a.defines, &r->facts->defines);
	include_file(&walk, config, NULL);
	apache_finish(&a);
	apache_done(&a);
}
