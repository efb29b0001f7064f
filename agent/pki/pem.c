#include "pki/pem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define BEGIN "-----BEGIN "
#define END   "-----END "
#define DASH  "-----"

/* Values of the base64 digits plus one; 0: not a digit. */
static const uint8_t digit[256] = {
	['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
	['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
	['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
	['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
	['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
	['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
	['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
	['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\v' || c == '\f';
}

uint8_t *pem_base64(const char *s, size_t len, size_t *ret_len, size_t *ret_cap)
{
	size_t cap = len / 4 * 3 + 3, n = 0, digits = 0, padding = 0;
	uint8_t *out = xmalloc(cap);
	uint32_t group = 0;
	bool good = true, fresh = true; /* fresh: at the beginning of a line, where a mail that is cited has ">" */
	for (size_t i = 0; i < len && good; fresh = s[i] == '\n' || (fresh && (s[i] == '>' || is_space(s[i]))), i++) {
		uint8_t v = digit[(unsigned char)s[i]];
		if (v && !padding) {
			group = group << 6 | (uint32_t)(v - 1);
			if (++digits % 4)
				continue;
			out[n++] = (uint8_t)(group >> 16);
			out[n++] = (uint8_t)(group >> 8);
			out[n++] = (uint8_t)group;
		} else if (s[i] == '=') {
			padding++;
		} else if (!is_space(s[i]) && !(fresh && s[i] == '>')) {
			good = false;
		}
	}
	size_t rest = digits % 4;
	if (rest == 1 || padding != (rest ? 4 - rest : 0))
		good = false;
	if (rest == 2)
		out[n++] = (uint8_t)(group >> 4);
	if (rest == 3) {
		out[n++] = (uint8_t)(group >> 10);
		out[n++] = (uint8_t)(group >> 2);
	}
	if (!good || !n) {
		free_secret(out, cap);
		return NULL;
	}
	*ret_len = n;
	*ret_cap = cap;
	return out;
}

static const char *find(const char *from, const char *end, const char *what)
{
	return from < end ? memmem(from, (size_t)(end - from), what, strlen(what)) : NULL;
}

/* The lines "Name: value" that stand before the base64 of an encrypted key (RFC 1421 4.6); returns where the base64
 * begins. */
static const char *take_header(const char *body, const char *end, struct pem_block *ret)
{
	const char *at = body;
	while (at < end && is_space(*at))
		at++;
	const char *start = at;
	if (!find(at, end, ":"))
		return at;
	while (at < end) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));
		if (!eol)
			return at;
		bool empty = true;
		for (const char *c = at; c < eol; c++)
			if (!is_space(*c))
				empty = false;
		at = eol + 1;
		if (empty)
			break;
	}
	ret->header = xmalloc((size_t)(at - start) + 1);
	char *to = ret->header;
	for (const char *c = start; c < at; c++) /* OpenSSL's reader of these lines wants no CR */
		if (*c != '\r')
			*to++ = *c;
	*to = '\0';
	return at;
}

/* Is what stands at `end` the end of this block? */
static bool ends(const char *at, const char *limit, const char *label)
{
	size_t n = strlen(label), whole = strlen(END) + n + strlen(DASH);
	return (size_t)(limit - at) >= whole && memcmp(at, END, strlen(END)) == 0 &&
	       memcmp(at + strlen(END), label, n) == 0 && memcmp(at + strlen(END) + n, DASH, strlen(DASH)) == 0;
}

bool pem_next(const char *bytes, size_t len, size_t *at, struct pem_block *ret)
{
	const char *limit = bytes + len, *begin = bytes + *at;
	*ret = (struct pem_block){0};
	while ((begin = find(begin, limit, BEGIN))) {
		const char *label = begin + strlen(BEGIN), *close = find(label, limit, DASH);
		begin = label;
		size_t n = close ? (size_t)(close - label) : sizeof ret->label;
		if (n >= sizeof ret->label || memchr(label, '\n', n) || memchr(label, '\r', n))
			continue;
		memcpy(ret->label, label, n);
		ret->label[n] = '\0';
		text_printable(ret->label);
		const char *body = close + strlen(DASH), *end = find(body, limit, DASH);
		if (!end || !ends(end, limit, ret->label)) {
			ret->damaged = true;
			*at = (size_t)((end ? end : limit) - bytes);
			return true;
		}
		*at = (size_t)(end - bytes) + strlen(END) + n + strlen(DASH);
		const char *base64 = take_header(body, end, ret);
		size_t cap, got;
		uint8_t *der = pem_base64(base64, (size_t)(end - base64), &got, &cap);
		if (!der) {
			ret->damaged = true;
			return true;
		}
		ret->der = xmemdup(der, got);
		ret->len = got;
		free_secret(der, cap);
		return true;
	}
	*at = len;
	return false;
}

void pem_block_done(struct pem_block *b)
{
	free(b->header);
	free_secret(b->der, b->len);
	*b = (struct pem_block){0};
}

/* text_add_bytes would leave copies of a key in memory that it gives back. */
static void reserve_wiped(struct text *t, size_t more)
{
	if (t->cap >= t->len + more + 1)
		return;
	size_t cap = t->len + more + 1;
	char *s = xmalloc(cap);
	if (t->len)
		memcpy(s, t->s, t->len);
	free_secret(t->s, t->cap);
	s[t->len] = '\0';
	t->s = s;
	t->cap = cap;
}

void pem_write(struct text *t, const char *label, const uint8_t *der, size_t len)
{
	size_t lines = (len + 47) / 48;
	reserve_wiped(t, 2 * strlen(label) + lines + (len + 2) / 3 * 4 + 64);
	text_add(t, BEGIN "%s" DASH "\n", label);
	for (size_t i = 0; i < len; i += 48) {
		unsigned char line[66];
		int n = EVP_EncodeBlock(line, der + i, (int)(len - i < 48 ? len - i : 48));
		line[n++] = '\n';
		text_add_bytes(t, line, (size_t)n);
		OPENSSL_cleanse(line, sizeof line);
	}
	text_add(t, END "%s" DASH "\n", label);
}

void pem_text_done(struct text *t)
{
	free_secret(t->s, t->cap);
	*t = (struct text){0};
}
