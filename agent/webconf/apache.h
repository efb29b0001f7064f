/* Inside the room: the state of reading Apache's configuration, whose statements act in their order: Define,
 * LoadModule, ServerRoot and <IfDefine> decide what is read next. */
#ifndef WEBCONF_APACHE_H
#define WEBCONF_APACHE_H
#include "webconf/inside.h"

struct macro {
	char *name;
	const struct node *node; /* <Macro name parameters>; its file's statements are kept */
	uint32_t file;
};
struct values {
	struct webconf_value *v;
	size_t n;
};
/* What one server (the main one or a virtual host) says of TLS. */
struct scope {
	size_t host;
	char *name; /* ServerName; NULL: not said */
	struct values certificates, keys;
	struct webconf_value chain, tickets;
	int8_t engine, staple, verify; /* 0: not said, 1: on, -1: off */
	int8_t https;                  /* Protocol https */
};
struct apache {
	struct reading *r;
	char *root;                  /* ServerRoot */
	struct words defines;        /* "NAME" or "NAME=value" */
	struct words modules;        /* "ssl_module" */
	struct words managed;        /* names that mod_md takes care of */
	struct words https;          /* addresses of Listen ... https */
	struct webconf_host listens; /* only its listens: the Listen directives */
	struct macro *macros;
	size_t nmacros;
	struct nodes *kept; /* statements of all files */
	size_t nkept;
	struct scope main, *scopes; /* of the virtual hosts */
	size_t nscopes;
	struct words claimed; /* addresses of virtual hosts, each once, sorted */
	size_t expanded;      /* statements of macros, each use counted */
};

/* Where a statement stands and what is around it. */
struct walk {
	struct apache *a;
	uint32_t file;
	int64_t scope;                 /* index; -1: the main server */
	bool in_if;                    /* inside of <If>, <ElseIf>, <Else> */
	bool in_folder;                /* inside of <Directory>, <Location>, <Proxy> ... */
	const struct macro *macro;     /* whose body this is; NULL: none */
	const struct walk *outer;      /* where that macro is used */
	const struct words *arguments; /* of its use */
	uint32_t use_file, use_line;
	size_t depth;
};

/* The arguments of a statement: macro parameters and ${variables} put in, words of a variable apart. *ret_unknown: the
 * first variable without a value, or NULL; both are the caller's. */
void apache_arguments(const struct walk *walk, const struct node *node, struct words *ret, char **ret_unknown);
/* Does this section's content count? Only for <IfDefine>, <IfModule>, <IfVersion>, <IfFile> and the like; *ret_known is
 * false for any other section. */
bool apache_condition(const struct walk *walk, const struct node *node, bool *ret_known);
void apache_define(struct apache *a, const char *name, const char *value); /* value NULL: none */
void apache_undefine(struct apache *a, const char *name);
struct scope *apache_scope(const struct walk *walk);
/* Directives of a server: names, certificates ... */
void apache_directive(const struct walk *walk, const struct node *node, const struct words *arguments,
		      const char *unknown);
/* Which virtual host answers where: TLS, names, and whether anything gets to it. */
void apache_answers(struct apache *a);
/* After everything was read: what a virtual host takes from the main server, and who answers on which address. */
void apache_finish(struct apache *a);
#endif
