/* Inside the room: the statements of one file, and the state of a reading. Both languages are cut into the same
 * statements; what they mean is for nginx.c and apache.c. */
#ifndef WEBCONF_INSIDE_H
#define WEBCONF_INSIDE_H
#include "webconf/webconf.h"

struct word {
	char *text; /* without quotes and escapes */
	size_t from, to;
	bool quoted;
};
struct node {
	struct word *words; /* at least one: the directive's name */
	size_t nwords;
	struct node *children;
	size_t nchildren;
	bool block; /* has a body, empty or not */
	uint32_t line;
	size_t from, to; /* a block: its head alone */
};
struct nodes {
	struct node *v;
	size_t n;
};
struct node *nodes_add(struct nodes *list);
struct word *node_add_word(struct node *node, const char *text, size_t len, size_t from, size_t to, bool quoted);
void nodes_done(struct nodes *list);

/* A complaint of the cutting: where, and what. Cutting goes on behind it where it can. */
struct lexer_note {
	uint32_t line;
	const char *text; /* NULL: none */
};
/* Cut `bytes` into statements. *ret is freed with nodes_done. Depth is bounded by WEBCONF_DEPTH_MAX. */
struct lexer_note nginx_cut(const char *bytes, size_t len, struct nodes *ret);
struct lexer_note apache_cut(const char *bytes, size_t len, struct nodes *ret);
/* The offset behind the '}' that ends a Lua block whose body begins at `at`; len + 1: there is none. */
size_t lua_block_end(const char *bytes, size_t len, size_t at);

/* A reading. */
struct reading {
	struct webconf *w;
	const struct webconf_source *source;
	const struct webconf_facts *facts;
	size_t reads, bytes, matches;      /* so far */
	uint32_t stack[WEBCONF_DEPTH_MAX]; /* files that include each other */
	size_t depth;
};
void reading_note(struct reading *r, uint32_t file, uint32_t line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Is there room for one more of n? Else the reading is incomplete. */
bool reading_takes(struct reading *r, size_t n, size_t max);
/* Reads and cuts a file. Its index, with *ret filled (empty where it can't be read, which is noted), or -1 where it
 * must not be read: a loop or a bound, noted too. file, line: where it is included; line 0: the main file. After it,
 * reading_leave. */
int64_t reading_enter(struct reading *r, const char *path, uint32_t file, uint32_t line, struct nodes *ret);
void reading_leave(struct reading *r, struct nodes *nodes);

/* folder/path, or path where it is absolute; the caller frees. */
char *path_below(const char *folder, const char *path);
char *path_folder(const char *path); /* "/etc/nginx" of "/etc/nginx/nginx.conf"; the caller frees */

/* In place: a PKCS #11 URI may hold the token's PIN (RFC 7512 2.4), which is shown to nobody. */
void hide_pin(char *uri);

struct webconf_place place_of(uint32_t file, const struct node *node);
void value_copy(struct webconf_value *to, const struct webconf_value *from);
void value_done(struct webconf_value *v);
struct webconf_host *host_add(struct reading *r, enum webconf_context context, uint32_t file, const struct node *node);
struct webconf_listen *host_add_listen(struct webconf_host *h);
void listen_done(struct webconf_listen *l);
struct webconf_pair *host_add_pair(struct webconf_host *h);
/* Adds to the host, or to those outside of all hosts where h is NULL. Takes the value over. */
void use_add(struct reading *r, struct webconf_host *h, enum webconf_use_kind kind, const char *directive,
	     struct webconf_value *file);

/* A host at one of its addresses. */
struct end {
	struct webconf_host *host;
	struct webconf_listen *listen;
	size_t order;
};
/* Calls `each` with those of a context that have the same address, in the order of the configuration. */
void addresses_each(struct webconf *w, enum webconf_context context,
		    void (*each)(void *baton, const struct end *v, size_t n), void *baton);
/* "10.0.0.1:443" as the server takes it: its host in the one usual form. The caller frees. */
char *address_usual(const char *address);
/* Which names on this address another server has: noted, and kept in listen->taken. */
void nginx_answers(struct reading *r, const struct end *v, size_t n);

void nginx_read(struct reading *r, const char *config);
void apache_read(struct reading *r, const char *config);
#endif
