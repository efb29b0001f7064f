#include "settings/forms.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/address.h"
#include "base/memory.h"
#include "base/text.h"

static bool is_line(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static bool is_path(const char *s)
{
	return *s == '/' && is_line(s) && strlen(s) < 4096;
}

/* shadow-utils' rule widened by capitals and dots, as directories like LDAP have them; never an option or a pair. */
static bool is_user(const char *s)
{
	return *s && *s != '-' && strlen(s) < 256 && is_line(s) && !strpbrk(s, ":/ ,");
}

static bool is_address(const char *s)
{
	unsigned char bytes[16];
	return inet_pton(AF_INET, s, bytes) == 1 || inet_pton(AF_INET6, s, bytes) == 1;
}

static bool is_label(const char *s, size_t len)
{
	if (len < 1 || len > 63 || s[0] == '-' || s[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '_')
			return false;
	return true;
}

/* RFC 1123 2.1: labels of letters, digits and '-'; the last is not all digits, or it would be a broken address. */
static bool is_host_name(const char *s, size_t len)
{
	if (len < 1 || len > 253)
		return false;
	for (;;) {
		const char *dot = memchr(s, '.', len);
		size_t label = dot ? (size_t)(dot - s) : len;
		if (!is_label(s, label))
			return false;
		if (!dot)
			return strspn(s, "0123456789") < len;
		s += label + 1;
		len -= label + 1;
	}
}

static bool is_host(const char *s)
{
	size_t len = strlen(s);
	if (is_address(s))
		return true;
	if (len && s[len - 1] == '.')
		len--;
	if (strncmp(s, "*.", 2) == 0)
		return is_host_name(s + 2, len > 2 ? len - 2 : 0);
	return is_host_name(s, len);
}

static bool is_port(const char *s)
{
	size_t len = strlen(s);
	if (len < 1 || len > 5 || strspn(s, "0123456789") != len)
		return false;
	long port = strtol(s, NULL, 10);
	return port >= 1 && port <= 65535;
}

static bool is_endpoint(const char *s)
{
	unsigned char bytes[16];
	if (strncmp(s, "unix:", 5) == 0)
		return is_path(s + 5) && strlen(s + 5) < sizeof((struct sockaddr_un *)0)->sun_path;
	const char *colon = strrchr(s, ':');
	if (!colon || !is_port(colon + 1))
		return false;
	AUTO_FREE char *host = xstrndup(s, (size_t)(colon - s));
	size_t len = strlen(host);
	if (*host == '[') {
		if (len < 3 || host[len - 1] != ']')
			return false;
		host[len - 1] = '\0';
		host[1 + strcspn(host + 1, "%")] = '\0'; /* a zone: [fe80::1%eth0]:443 */
		return inet_pton(AF_INET6, host + 1, bytes) == 1;
	}
	return inet_pton(AF_INET, host, bytes) == 1 || is_host_name(host, len);
}

static bool is_pin(const char *s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	if (strncmp(s, "sha256/", 7) != 0)
		return false;
	s += 7;
	/* 32 bytes are 42 whole digits, one with two bits to spare that are 0, and '=' */
	return strlen(s) == 44 && strspn(s, digits) == 43 && s[43] == '=' && strchr("AEIMQUYcgkosw048", s[42]);
}

static bool is_url(const char *s)
{
	size_t scheme = strncmp(s, "https://", 8) == 0 ? 8 : strncmp(s, "http://", 7) == 0 ? 7 : 0;
	return scheme && s[scheme] && s[scheme] != '/' && is_line(s) && !strchr(s, ' ');
}

static bool is_range(const char *s)
{
	struct address_range range;
	return address_range_parse(s, &range) == 0;
}

static bool is_day(const char *s)
{
	static const char days[][4] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
	for (size_t i = 0; i < ARRAY_SIZE(days); i++)
		if (strcasecmp(s, days[i]) == 0)
			return true;
	return false;
}

/* One "Mon-Fri 09:00-18:00" or "Sat 10:00-12:00". */
static bool is_opening(const char *s)
{
	char from[4] = "", to[4] = "";
	int h1, m1, h2, m2, used = 0;
	if (sscanf(s, "%3[A-Za-z]-%3[A-Za-z] %2d:%2d-%2d:%2d%n", from, to, &h1, &m1, &h2, &m2, &used) != 6) {
		if (sscanf(s, "%3[A-Za-z] %2d:%2d-%2d:%2d%n", from, &h1, &m1, &h2, &m2, &used) != 5)
			return false;
		strcpy(to, from);
	}
	return !s[used] && is_day(from) && is_day(to) && h1 >= 0 && h1 < 24 && m1 >= 0 && m1 < 60 && h2 >= 0 &&
	       m2 >= 0 && m2 < 60 && h2 * 60 + m2 <= 24 * 60 && h1 * 60 + m1 < h2 * 60 + m2;
}

static bool is_hours(const char *s)
{
	AUTO_FREE char *copy = xstrdup(s);
	char *rest = copy, *part;
	while ((part = strsep(&rest, ",")))
		if (!is_opening(part + strspn(part, " ")))
			return false;
	return true;
}

const struct form form_name = {"name", "1 to 64 letters, digits, '.', '_' or '-', not beginning with '.' or '-'",
			       text_is_name};
const struct form form_path = {"path", "an absolute path (it begins with /)", is_path};
const struct form form_user = {"user", "the name or number of a user or group", is_user};
const struct form form_host = {
	"host", "a host name (in its xn-- form where it is not ASCII), a wildcard like *.example.jp, or an IP address",
	is_host};
static bool is_place(const char *s)
{
	return is_endpoint(strncmp(s, "proxy:", 6) == 0 ? s + 6 : s);
}

const struct form form_place = {"endpoint", "HOST:PORT, [IPV6]:PORT or unix:/path, with proxy: before it or not",
				is_place};
const struct form form_endpoint = {"endpoint", "HOST:PORT, [IPV6]:PORT or unix:/path", is_endpoint};
const struct form form_pin = {"pin", "sha256/ and the 44 characters of a SHA-256 in base64", is_pin};
const struct form form_url = {"url", "a URL that begins with https:// or http://", is_url};
const struct form form_range = {
	"range", "an IP address or ADDRESS/PREFIX, with no bit set behind the prefix, for example 169.254.0.0/16",
	is_range};
const struct form form_hours = {"hours", "days and times like \"Mon-Fri 09:00-18:00, Sat 10:00-12:00\"", is_hours};
const struct form form_line = {"text", "text on one line", is_line};
