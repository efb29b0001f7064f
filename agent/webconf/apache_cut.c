/* Apache's configuration cut into statements, by the rules of its own reader (ap_cfg_getline, ap_getword_conf): a
 * statement a line; a backslash before the newline joins the next line, in comments too; quotes only at the start of a
 * word; sections by <Name ...> and </Name>. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "webconf/inside.h"

struct cutter {
	const char *s;
	size_t len, at;
	uint32_t line;
	struct lexer_note said;
};

static void complain(struct cutter *c, uint32_t line, const char *text)
{
	if (!c->said.text)
		c->said = (struct lexer_note){line, text};
}

/* How many bytes of "\\\n" or "\\\r\n" stand at `at`; 0: no continuation. */
static size_t continuation(const struct cutter *c, size_t at)
{
	if (c->s[at] != '\\' || at + 1 >= c->len)
		return 0;
	if (c->s[at + 1] == '\n')
		return 2;
	return at + 2 < c->len && c->s[at + 1] == '\r' && c->s[at + 2] == '\n' ? 3 : 0;
}

/* A line with what it is continued by: from c->at to its end without the newline; c->at goes behind. */
static size_t take_line(struct cutter *c)
{
	size_t end;
	while (c->at < c->len && c->s[c->at] != '\n') {
		size_t skip = continuation(c, c->at);
		c->line += skip > 0;
		c->at += skip ? skip : 1;
	}
	end = c->at;
	if (c->at < c->len) {
		c->at++;
		c->line++;
	}
	return end;
}

static bool is_blank(const struct cutter *c, size_t at)
{
	return isspace((unsigned char)c->s[at]) || c->s[at] == '\0';
}

/* The next word in from..to; the offset behind it. */
static size_t cut_word(struct cutter *c, struct node *node, size_t from, size_t to)
{
	struct text text = {0};
	char quote = c->s[from] == '"' || c->s[from] == '\'' ? c->s[from] : 0;
	size_t i = from + (quote != 0);
	while (i < to) {
		size_t skip = continuation(c, i);
		if (skip) {
			i += skip;
			continue;
		}
		if (quote ? c->s[i] == quote : is_blank(c, i))
			break;
		if (quote && c->s[i] == '\\' && i + 1 < to && (c->s[i + 1] == quote || c->s[i + 1] == '\\'))
			i++;
		text_add_bytes(&text, c->s + i++, 1);
	}
	if (quote && i < to)
		i++;
	node_add_word(node, text.s ? text.s : "", text.len, from, i, quote != 0);
	text_done(&text);
	return i;
}

/* Words of one line, from its first byte that is not blank. */
static void cut_words(struct cutter *c, struct node *node, size_t from, size_t to)
{
	while (from < to) {
		size_t skip = continuation(c, from);
		if (skip)
			from += skip;
		else if (is_blank(c, from))
			from++;
		else
			from = cut_word(c, node, from, to);
	}
}

/* "<Name a b>": the words are "Name", "a", "b". */
static void cut_head(struct cutter *c, struct node *node, size_t from, size_t to)
{
	if (to > from && c->s[to - 1] == '>')
		to--;
	else
		complain(c, node->line, "a section's head has no '>'");
	node->block = true;
	cut_words(c, node, from + 1, to);
}

static bool closes(const struct nodes *list, const char *name)
{
	const struct node *head = list->n ? &list->v[list->n - 1] : NULL;
	return head && head->block && strcasecmp(head->words[0].text, name) == 0;
}

/* The statements inside of the section that is open at `depth` are its children; *depth goes down. */
static void close_section(struct nodes *lists, size_t *depth)
{
	struct nodes inner = lists[*depth];
	lists[*depth] = (struct nodes){0};
	struct nodes *outer = &lists[--*depth];
	struct node *head = &outer->v[outer->n - 1];
	head->children = inner.v;
	head->nchildren = inner.n;
}

static void cut_close(struct cutter *c, const struct node *node, struct nodes *lists, size_t *depth, size_t from,
		      size_t to)
{
	size_t end = from;
	while (end < to && c->s[end] != '>' && !is_blank(c, end))
		end++;
	AUTO_FREE char *name = xstrndup(c->s + from, end - from);
	size_t match = *depth;
	while (match > 0 && !closes(&lists[match - 1], name))
		match--;
	if (match == 0) {
		complain(c, node->line, "a section is closed that is not open");
		return;
	}
	if (match != *depth)
		complain(c, node->line, "a section inside of this one is not closed");
	while (*depth >= match)
		close_section(lists, depth);
}

struct lexer_note apache_cut(const char *bytes, size_t len, struct nodes *ret)
{
	struct cutter c = {.s = bytes, .len = len, .line = 1};
	struct nodes lists[WEBCONF_DEPTH_MAX + 1] = {{0}};
	size_t depth = 0;
	if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		c.at = 3;
	while (c.at < len) {
		struct node here = {.line = c.line, .from = c.at};
		size_t to = take_line(&c);
		while (here.from < to && is_blank(&c, here.from))
			here.from++;
		while (to > here.from && is_blank(&c, to - 1))
			to--;
		here.to = to;
		if (here.from == to || bytes[here.from] == '#')
			continue;
		if (to - here.from > 1 && bytes[here.from] == '<' && bytes[here.from + 1] == '/') {
			cut_close(&c, &here, lists, &depth, here.from + 2, to);
			continue;
		}
		bool head = bytes[here.from] == '<';
		if (head)
			cut_head(&c, &here, here.from, to);
		else
			cut_words(&c, &here, here.from, to);
		if (!here.nwords) {
			complain(&c, here.line, "a section without a name");
			continue;
		}
		*nodes_add(&lists[depth]) = here;
		if (head && depth == WEBCONF_DEPTH_MAX) {
			complain(&c, here.line, "sections stand too deep in each other");
			break;
		}
		depth += head;
	}
	for (size_t i = 0; i < depth; i++)
		if (strncasecmp(lists[i].v[lists[i].n - 1].words[0].text, "If", 2) != 0) /* Apache takes those */
			complain(&c, c.line, "the file ends inside of a section");
	while (depth)
		close_section(lists, &depth);
	*ret = lists[0];
	return c.said;
}
