#include "base/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/memory.h"

static void reserve(struct text *t, size_t more)
{
	if (t->len + more + 1 <= t->cap)
		return;
	t->cap = (t->len + more + 1) * 2;
	t->s = xrealloc(t->s, t->cap);
}

void text_add_bytes(struct text *t, const void *bytes, size_t len)
{
	reserve(t, len);
	if (len)
		memcpy(t->s + t->len, bytes, len);
	t->len += len;
	t->s[t->len] = '\0';
}

void text_add(struct text *t, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *s = xvasprintf(format, args);
	va_end(args);
	text_add_bytes(t, s, strlen(s));
	free(s);
}

void text_done(struct text *t)
{
	free(t->s);
	*t = (struct text){0};
}

void words_add_n(struct words *w, const char *s, size_t len)
{
	w->v = xrealloc(w->v, (w->n + 1) * sizeof *w->v);
	w->v[w->n++] = xstrndup(s, len);
}

void words_add(struct words *w, const char *s)
{
	words_add_n(w, s, strlen(s));
}

bool words_has(const struct words *w, const char *s)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->v[i], s) == 0)
			return true;
	return false;
}

void words_copy(struct words *to, const struct words *from)
{
	for (size_t i = 0; i < from->n; i++)
		words_add(to, from->v[i]);
}

char *words_join(const struct words *w, const char *between)
{
	struct text t = {0};
	for (size_t i = 0; i < w->n; i++)
		text_add(&t, "%s%s", i ? between : "", w->v[i]);
	return t.s ? t.s : xstrdup("");
}

void words_done(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
	*w = (struct words){0};
}

static const struct {
	const char *name;
	int64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

int text_to_ms(const char *s, int64_t *ret_ms)
{
	char *end;
	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	long long number = strtoll(s, &end, 10);
	if (errno)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (number > 3660LL * 86400000 / units[i].ms)
			return -EINVAL;
		*ret_ms = number * units[i].ms;
		return 0;
	}
	return -EINVAL;
}

const char *text_from_ms(int64_t ms, char *buf)
{
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (ms % units[i].ms == 0 && (ms || units[i].ms == 1000)) {
			snprintf(buf, 24, "%lld%s", (long long)(ms / units[i].ms), units[i].name);
			return buf;
		}
	}
	return buf;
}

const char *text_time_left(int64_t seconds, char *buf)
{
	const char *late = seconds < 0 ? "overdue by " : "";
	long long s = llabs((long long)seconds);
	if (s >= 86400)
		snprintf(buf, 48, "%s%lld d %lld h", late, s / 86400, s % 86400 / 3600);
	else if (s >= 3600)
		snprintf(buf, 48, "%s%lld h %lld min", late, s / 3600, s % 3600 / 60);
	else if (s >= 60)
		snprintf(buf, 48, "%s%lld min", late, s / 60);
	else
		snprintf(buf, 48, "%s%lld s", late, s);
	return buf;
}

/* '0' in the form stands for a digit, 'T' for "T", "t" or a space, '+' for a sign. */
static bool has_form(const char *s, const char *form)
{
	for (; *form; s++, form++) {
		bool fits = *form == '0'   ? isdigit((unsigned char)*s)
			    : *form == 'T' ? *s == 'T' || *s == 't' || *s == ' '
			    : *form == '+' ? *s == '+' || *s == '-'
					   : *s == *form;
		if (!fits)
			return false;
	}
	return true;
}

int text_to_time(const char *s, int64_t *ret_seconds)
{
	struct tm tm = {0};
	int h = 0, m = 0;
	if (!has_form(s, "0000-00-00T00:00:00") || sscanf(s, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon,
							  &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return -EINVAL;
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
	    tm.tm_sec > 60)
		return -EINVAL;
	int mon = tm.tm_mon - 1, mday = tm.tm_mday, leap = tm.tm_sec == 60;
	tm.tm_year -= 1900;
	tm.tm_mon = mon;
	tm.tm_sec -= leap; /* 23:59:60 is the second before midnight for us */
	int64_t t = timegm(&tm);
	if (tm.tm_mon != mon || tm.tm_mday != mday) /* 31 February and the like were carried over */
		return -EINVAL;
	s += strlen("0000-00-00T00:00:00");
	if (*s == '.' && isdigit((unsigned char)s[1]))
		for (s++; isdigit((unsigned char)*s); s++)
			;
	if (*s == '+' || *s == '-') {
		if (!has_form(s, "+00:00") || s[6] || sscanf(s + 1, "%2d:%2d", &h, &m) != 2 || h > 23 || m > 59)
			return -EINVAL;
		t += (*s == '+' ? -1 : 1) * (h * 3600 + m * 60);
	} else if ((*s != 'Z' && *s != 'z') || s[1]) {
		return -EINVAL;
	}
	*ret_seconds = t;
	return 0;
}

const char *text_from_time(int64_t seconds, char *buf)
{
	time_t t = (time_t)seconds;
	struct tm tm;
	char all[80] = "?"; /* the compiler can't know that the fields are small */
	if (gmtime_r(&t, &tm) && tm.tm_year <= 9999 - 1900 && tm.tm_year >= -1900)
		snprintf(all, sizeof all, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
			 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	snprintf(buf, 32, "%.31s", all);
	return buf;
}

const char *text_from_time_ms(int64_t ms, char *buf)
{
	char seconds[32];
	text_from_time(ms / 1000, seconds);
	snprintf(buf, 32, "%.19s.%03dZ", seconds, (int)(ms % 1000));
	return buf;
}

void text_hex(const void *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *b = bytes;
	for (size_t i = 0; i < len; i++) {
		*out++ = digits[b[i] >> 4];
		*out++ = digits[b[i] & 15];
	}
	*out = '\0';
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int text_unhex(const char *s, void *ret_bytes, size_t len)
{
	unsigned char *out = ret_bytes;
	if (strlen(s) != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < 2 * len; i++)
		if (nibble(s[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < len; i++)
		out[i] = (unsigned char)(nibble(s[2 * i]) << 4 | nibble(s[2 * i + 1]));
	return 0;
}

/* Length of the well-formed UTF-8 sequence at s (RFC 3629), 0 where there is none. */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = *s < 0x80                 ? 1
		   : *s >= 0xc2 && *s < 0xe0 ? 2
		   : *s >= 0xe0 && *s < 0xf0 ? 3
		   : *s >= 0xf0 && *s < 0xf5 ? 4
					     : 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80) /* the NUL at the end, too */
			return 0;
	bool overlong = (*s == 0xe0 && s[1] < 0xa0) || (*s == 0xf0 && s[1] < 0x90);
	bool no_character = (*s == 0xed && s[1] >= 0xa0) || (*s == 0xf4 && s[1] >= 0x90);
	return n > 2 && (overlong || no_character) ? 0 : n;
}

char *text_printable(char *s)
{
	unsigned char *p = (unsigned char *)s;
	while (*p) {
		size_t n = utf8_length(p);
		bool command = *p < 0x20 || *p == 0x7f || (n == 2 && *p == 0xc2 && p[1] < 0xa0); /* C0, DEL, C1 */
		if (n && !command) {
			p += n;
			continue;
		}
		memset(p, '?', n ? n : 1);
		p += n ? n : 1;
	}
	return s;
}

bool text_is_name(const char *s)
{
	size_t len = strlen(s);
	if (len < 1 || len > 64 || *s == '.' || *s == '-')
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static bool is_address(const char *s, unsigned char *bytes, int *family)
{
	*family = strchr(s, ':') ? AF_INET6 : AF_INET;
	return inet_pton(*family, s, bytes) == 1;
}

static size_t host_length(const char *s)
{
	size_t n = strlen(s);
	return n && s[n - 1] == '.' ? n - 1 : n;
}

bool text_name_covers(const char *pattern, const char *name)
{
	unsigned char a[16] = {0}, b[16] = {0};
	int fa, fb;
	bool pattern_is_address = is_address(pattern, a, &fa), name_is_address = is_address(name, b, &fb);
	if (pattern_is_address || name_is_address)
		return pattern_is_address && name_is_address && fa == fb && memcmp(a, b, sizeof a) == 0;
	size_t np = host_length(pattern), nn = host_length(name);
	if (np > 2 && pattern[0] == '*' && pattern[1] == '.' && !(name[0] == '*' && name[1] == '.')) {
		const char *dot = memchr(name, '.', nn);
		if (!dot || dot == name)
			return false;
		nn -= (size_t)(dot - name);
		name = dot;
		pattern++;
		np--;
	}
	return np == nn && strncasecmp(pattern, name, nn) == 0;
}

bool text_names_cover(const struct words *patterns, const struct words *required, const char **ret_missing)
{
	for (size_t i = 0; i < required->n; i++) {
		bool covered = false;
		for (size_t j = 0; j < patterns->n && !covered; j++)
			covered = text_name_covers(patterns->v[j], required->v[i]);
		if (!covered) {
			if (ret_missing)
				*ret_missing = required->v[i];
			return false;
		}
	}
	return true;
}
