/* Lua inside of nginx's configuration (the *_by_lua_block directives of lua-nginx-module): only as much of Lua's
 * lexical rules (Lua 5.1 manual, 2.1) as it takes to find the brace that ends the block. */
#include <string.h>

#include "webconf/inside.h"

/* Behind "[[" or "[==[" at `at`: the offset behind its end; 0: no long bracket begins here. */
static size_t long_bracket(const char *s, size_t len, size_t at)
{
	size_t level = 0;
	while (at + 1 + level < len && s[at + 1 + level] == '=')
		level++;
	if (at + 1 + level >= len || s[at + 1 + level] != '[')
		return 0;
	for (size_t i = at + 2 + level; i + 1 + level < len; i++) {
		size_t n = 0;
		if (s[i] != ']')
			continue;
		while (n < level && s[i + 1 + n] == '=')
			n++;
		if (n == level && s[i + 1 + n] == ']')
			return i + level + 2;
	}
	return len + 1;
}

static size_t string_end(const char *s, size_t len, size_t at)
{
	char quote = s[at++];
	while (at < len && s[at] != quote)
		at += s[at] == '\\' ? 2 : 1;
	return at + 1;
}

static size_t comment_end(const char *s, size_t len, size_t at)
{
	size_t end = at + 2 < len && s[at + 2] == '[' ? long_bracket(s, len, at + 2) : 0;
	const char *newline;
	if (end)
		return end;
	newline = memchr(s + at, '\n', len - at);
	return newline ? (size_t)(newline - s) : len;
}

size_t lua_block_end(const char *s, size_t len, size_t at)
{
	size_t depth = 1;
	while (at < len) {
		size_t end;
		if (s[at] == '-' && at + 1 < len && s[at + 1] == '-') {
			at = comment_end(s, len, at);
		} else if (s[at] == '"' || s[at] == '\'') {
			at = string_end(s, len, at);
		} else if (s[at] == '[' && (end = long_bracket(s, len, at)) > 0) {
			at = end;
		} else {
			depth += s[at] == '{';
			depth -= s[at] == '}';
			at++;
			if (depth == 0)
				return at;
		}
	}
	return len + 1;
}
