#include "pki/mail.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "pki/pem.h"

#define DEPTH_MAX 8 /* of parts in parts */
#define FIELD_MAX 1000

struct span {
	const char *at, *end;
};

struct reader {
	mail_part_cb cb;
	void *data;
};

static const char *line_end(struct span s)
{
	const char *eol = s.at < s.end ? memchr(s.at, '\n', (size_t)(s.end - s.at)) : NULL;
	return eol ? eol + 1 : s.end;
}

static bool is_blank(const char *at, const char *end)
{
	while (at < end && (*at == '\r' || *at == '\n'))
		at++;
	return at == end;
}

/* The lines up to the first empty one; what is left of `s` is the body. */
static struct span take_header(struct span *s)
{
	struct span header = {s->at, s->at};
	while (s->at < s->end) {
		const char *next = line_end(*s);
		bool blank = is_blank(s->at, next);
		header.end = s->at;
		s->at = next;
		if (blank)
			return header;
		header.end = next;
	}
	return header;
}

static bool begins(struct span s, const char *word)
{
	size_t n = strlen(word);
	return (size_t)(s.end - s.at) >= n && strncasecmp(s.at, word, n) == 0;
}

/* The value of a field with its continuation lines, cut at FIELD_MAX; NULL: it is not there. */
static const char *field(struct span header, const char *name, char *ret)
{
	for (size_t n = 0, len = strlen(name); header.at < header.end; header.at = line_end(header)) {
		if (!begins(header, name) || header.at + len == header.end || header.at[len] != ':')
			continue;
		header.at += len + 1;
		do {
			for (const char *end = line_end(header); header.at < end; header.at++)
				if (n < FIELD_MAX && *header.at != '\r' && *header.at != '\n' && *header.at)
					ret[n++] = *header.at;
		} while (header.at < header.end && (*header.at == ' ' || *header.at == '\t'));
		ret[n] = '\0';
		return ret + strspn(ret, " \t");
	}
	return NULL;
}

/* The parameter `boundary` of a Content-Type, with the dashes before it; false: there is none. */
static bool find_boundary(const char *type, char *ret)
{
	const char *at = strcasestr(type, "boundary");
	if (!at)
		return false;
	at += strlen("boundary");
	at += strspn(at, " \t");
	if (*at++ != '=')
		return false;
	at += strspn(at, " \t");
	bool quoted = *at == '"';
	size_t n = quoted ? strcspn(++at, "\"") : strcspn(at, " \t;");
	if (!n || n > FIELD_MAX)
		return false;
	memcpy(ret, "--", 2);
	memcpy(ret + 2, at, n);
	ret[n + 2] = '\0';
	return true;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return (c >= 'A' && c <= 'F') ? c - 'A' + 10 : (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}

/* Quoted-printable (RFC 2045 6.7); returns the length. `to` has room for what it comes from. */
static size_t unquote(struct span s, char *to)
{
	size_t n = 0;
	for (const char *at = s.at; at < s.end; at++) {
		const char *eol = at + 1;
		if (*at != '=') {
			to[n++] = *at;
		} else if (s.end - at > 2 && hex(at[1]) >= 0 && hex(at[2]) >= 0) {
			to[n++] = (char)(hex(at[1]) << 4 | hex(at[2]));
			at += 2;
		} else {
			while (eol < s.end && (*eol == ' ' || *eol == '\t' || *eol == '\r'))
				eol++;
			if (eol < s.end && *eol == '\n') /* the line goes on */
				at = eol;
			else
				to[n++] = '=';
		}
	}
	return n;
}

/* A web page's text, as far as base64 needs it: no tags, and characters that were written by their number. */
static size_t strip_tags(char *s, size_t len)
{
	size_t n = 0;
	char quote = '\0';
	bool tag = false;
	for (size_t i = 0; i < len; i++) {
		char *end;
		if (tag && quote) {
			quote = s[i] == quote ? '\0' : quote;
		} else if (tag) {
			quote = s[i] == '"' || s[i] == '\'' ? s[i] : '\0';
			tag = s[i] != '>';
		} else if (s[i] == '<') {
			tag = true;
			s[n++] = '\n';
		} else if (s[i] == '&' && len - i > 6 && s[i + 1] == '#' && isdigit((unsigned char)s[i + 2])) {
			long code = strtol(s + i + 2, &end, 10);
			bool good = end < s + len && *end == ';' && code > 0 && code < 128;
			s[n++] = good ? (char)code : '&';
			i = good ? (size_t)(end - s) : i;
		} else {
			s[n++] = s[i];
		}
	}
	return n;
}

static void read_leaf(const struct reader *r, struct span body, const char *type, const char *encoding)
{
	size_t len = (size_t)(body.end - body.at), cap = len + 1;
	char *content = NULL;
	if (strncasecmp(encoding, "base64", 6) == 0)
		content = (char *)pem_base64(body.at, len, &len, &cap);
	if (!content) {
		len = (size_t)(body.end - body.at);
		cap = len + 1;
		content = xmalloc(cap);
		if (strncasecmp(encoding, "quoted-printable", 16) == 0)
			len = unquote(body, content);
		else if (len)
			memcpy(content, body.at, len);
		content[len] = '\0';
	}
	if (strncasecmp(type, "text/html", 9) == 0)
		len = strip_tags(content, len);
	r->cb(r->data, content, len);
	free_secret(content, cap);
}

static void read_entity(const struct reader *r, struct span s, int depth);

/* The next line that is the boundary or the last one, at or after `at`; body.end: there is none. */
static const char *next_boundary(struct span body, const char *at, const char *boundary)
{
	for (size_t n = strlen(boundary); at < body.end; at++) {
		at = memmem(at, (size_t)(body.end - at), boundary, n);
		if (!at)
			break;
		if (at == body.at || at[-1] == '\n')
			return at;
	}
	return body.end;
}

static void read_parts(const struct reader *r, struct span body, const char *boundary, int depth)
{
	const char *at = next_boundary(body, body.at, boundary);
	while (at < body.end) {
		struct span part = {at, body.end};
		part.at = line_end(part);
		part.end = at = next_boundary(body, part.at, boundary);
		read_entity(r, part, depth + 1);
	}
}

/* One part, or the mail itself: its header and what the header says that follows. */
static void read_entity(const struct reader *r, struct span s, int depth)
{
	char type_text[FIELD_MAX + 1], encoding_text[FIELD_MAX + 1], boundary[FIELD_MAX + 3];
	struct span header = take_header(&s);
	const char *type = field(header, "Content-Type", type_text);
	const char *encoding = field(header, "Content-Transfer-Encoding", encoding_text);
	type = type ? type : "text/plain";
	if (strcasestr(type, "pkcs7-signature") || strcasestr(type, "smime.p7s"))
		return; /* it holds the certificate of who wrote the mail */
	if (depth < DEPTH_MAX && strncasecmp(type, "multipart/", 10) == 0 && find_boundary(type, boundary))
		read_parts(r, s, boundary, depth);
	else if (depth < DEPTH_MAX && strncasecmp(type, "message/rfc822", 14) == 0)
		read_entity(r, s, depth + 1);
	else
		read_leaf(r, s, type, encoding ? encoding : "7bit");
}

bool mail_read(const char *bytes, size_t len, mail_part_cb cb, void *data)
{
	static const char *const marks[] = {"Mime-Version", "Received", "Content-Transfer-Encoding"};
	struct span s = {bytes, bytes + len};
	char value[FIELD_MAX + 1];
	if (begins(s, "From ")) /* as mailboxes separate mails */
		s.at = line_end(s);
	struct span rest = s, header = take_header(&rest);
	const char *colon = memchr(header.at, ':', (size_t)(header.end - header.at));
	for (const char *c = header.at; colon && c < colon; c++)
		if (*c <= ' ' || *c >= 0x7f)
			return false;
	bool mail = false;
	for (size_t i = 0; i < ARRAY_SIZE(marks) && colon && !mail; i++)
		mail = field(header, marks[i], value) != NULL;
	if (mail)
		read_entity(&(struct reader){cb, data}, s, 0);
	return mail;
}
