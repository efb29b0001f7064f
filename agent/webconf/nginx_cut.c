/* nginx's configuration cut into statements, by the rules of its own reader (ngx_conf_read_token): words end at white
 * space, ';' and '{'; '#' begins a comment only where a word could begin; quotes only at the start of a word. */
#include <string.h>

#include "base/memory.h"
#include "webconf/inside.h"

struct cutter {
	const char *s;
	size_t len, at;
	uint32_t line;
	size_t depth;
	struct lexer_note said;
};

static void complain(struct cutter *c, const char *text)
{
	if (!c->said.text)
		c->said = (struct lexer_note){c->line, text};
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void move_to(struct cutter *c, size_t to)
{
	if (to > c->len)
		to = c->len;
	for (; c->at < to; c->at++)
		c->line += c->s[c->at] == '\n';
}

static void skip_space(struct cutter *c)
{
	while (c->at < c->len) {
		if (c->s[c->at] == '#') {
			const char *newline = memchr(c->s + c->at, '\n', c->len - c->at);
			move_to(c, newline ? (size_t)(newline - c->s) : c->len);
		} else if (!is_space(c->s[c->at])) {
			return;
		} else {
			move_to(c, c->at + 1);
		}
	}
}

/* The bytes from..to without escapes. */
static void add_word(struct cutter *c, struct node *node, size_t from, size_t to, bool quoted)
{
	struct text text = {0};
	size_t i = from + quoted, end = to - quoted;
	for (; i < end; i++) {
		char one = c->s[i];
		if (one == '\\' && i + 1 < end) {
			char next = c->s[i + 1];
			const char *from_set = "\"'\\trn", *to_set = "\"'\\\t\r\n";
			const char *found = next ? strchr(from_set, next) : NULL;
			if (found) {
				one = to_set[found - from_set];
				i++;
			}
		}
		if (one) /* a NUL can't be in a path or name */
			text_add_bytes(&text, &one, 1);
	}
	node_add_word(node, text.s ? text.s : "", text.len, from, to, quoted);
	text_done(&text);
}

static void cut_quoted(struct cutter *c, struct node *node)
{
	size_t from = c->at, i = from + 1;
	char quote = c->s[from];
	while (i < c->len && c->s[i] != quote)
		i += c->s[i] == '\\' ? 2 : 1;
	if (i >= c->len) {
		complain(c, "a quote is not closed");
		move_to(c, c->len);
		return;
	}
	add_word(c, node, from, i + 1, true);
	move_to(c, i + 1);
	if (c->at < c->len && !is_space(c->s[c->at]) && !strchr(";{)", c->s[c->at]))
		complain(c, "white space is missing behind a quoted word");
}

static void cut_bare(struct cutter *c, struct node *node)
{
	size_t from = c->at, i = from;
	while (i < c->len && !is_space(c->s[i]) && c->s[i] != ';' && c->s[i] != '{') {
		bool variable = c->s[i] == '$' && i + 1 < c->len && c->s[i + 1] == '{';
		i += variable || c->s[i] == '\\' ? 2 : 1;
	}
	if (i > c->len)
		i = c->len;
	add_word(c, node, from, i, false);
	move_to(c, i);
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && strcmp(s + n - m, end) == 0;
}

static void cut_block(struct cutter *c, struct nodes *list);

/* Behind the '{'. */
static void cut_body(struct cutter *c, struct node *node)
{
	struct nodes below = {0};
	node->block = true;
	if (ends_with(node->words[0].text, "_by_lua_block")) {
		size_t end = lua_block_end(c->s, c->len, c->at);
		if (end > c->len)
			complain(c, "a Lua block is not closed");
		move_to(c, end);
		return;
	}
	if (c->depth >= WEBCONF_DEPTH_MAX) {
		complain(c, "blocks stand too deep in each other");
		move_to(c, c->len);
		return;
	}
	c->depth++;
	cut_block(c, &below);
	c->depth--;
	node->children = below.v;
	node->nchildren = below.n;
}

/* One statement from its first word on. */
static void cut_statement(struct cutter *c, struct nodes *list)
{
	struct node *node = nodes_add(list);
	node->line = c->line;
	node->from = c->at;
	for (;;) {
		skip_space(c);
		if (c->at >= c->len) {
			complain(c, "the file ends inside of a directive");
			node->to = c->at;
			break;
		}
		char one = c->s[c->at];
		if (one == ';' || one == '{') {
			move_to(c, c->at + 1);
			node->to = c->at;
			if (one == '{' && node->nwords)
				cut_body(c, node);
			break;
		}
		if (one == '}' && node->nwords) {
			complain(c, "';' is missing before '}'");
			node->to = c->at;
			break;
		}
		if (one == '"' || one == '\'')
			cut_quoted(c, node);
		else
			cut_bare(c, node);
	}
	if (!node->nwords) {
		complain(c, "';' or '{' without a directive");
		list->n--;
	}
}

static void cut_block(struct cutter *c, struct nodes *list)
{
	for (;;) {
		skip_space(c);
		if (c->at >= c->len) {
			if (c->depth)
				complain(c, "the file ends inside of a block: '}' is missing");
			return;
		}
		if (c->s[c->at] != '}') {
			cut_statement(c, list);
			continue;
		}
		if (!c->depth)
			complain(c, "'}' without '{'");
		move_to(c, c->at + 1);
		if (c->depth)
			return;
	}
}

struct lexer_note nginx_cut(const char *bytes, size_t len, struct nodes *ret)
{
	struct cutter c = {.s = bytes, .len = len, .line = 1};
	if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		c.at = 3;
	*ret = (struct nodes){0};
	cut_block(&c, ret);
	return c.said;
}
