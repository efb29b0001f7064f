#include "ctl/serial.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Multiplies a little-endian number of hexadecimal digits by 10 and adds; false when it gets too long. */
static bool push_decimal(unsigned char *digits, size_t *len, unsigned int add)
{
	unsigned int carry = add;
	for (size_t i = 0; i < *len; i++) {
		unsigned int v = digits[i] * 10U + carry;
		digits[i] = v & 15;
		carry = v >> 4;
	}
	for (; carry; carry >>= 4) {
		if (*len == SERIAL_DIGITS_MAX)
			return false;
		digits[(*len)++] = carry & 15;
	}
	return true;
}

static char *from_decimal(const char *s)
{
	unsigned char digits[SERIAL_DIGITS_MAX];
	size_t len = 0;
	if (!*s)
		return NULL;
	for (; *s; s++)
		if (!isdigit((unsigned char)*s) || !push_decimal(digits, &len, (unsigned int)(*s - '0')))
			return NULL;
	char *hex = xcalloc(len + 2, 1);
	hex[0] = '0';
	for (size_t i = 0; i < len; i++)
		hex[i] = "0123456789abcdef"[digits[len - 1 - i]];
	return hex;
}

char *serial_normal(const char *s)
{
	if (strncmp(s, "dec:", 4) == 0)
		return from_decimal(s + 4);
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	char hex[SERIAL_DIGITS_MAX + 1];
	size_t len = 0;
	bool any = false;
	for (; *s; s++) {
		if (*s == ':' || *s == ' ')
			continue;
		if (!isxdigit((unsigned char)*s) || len == SERIAL_DIGITS_MAX)
			return NULL;
		any = true;
		if (len || *s != '0')
			hex[len++] = (char)tolower((unsigned char)*s);
	}
	hex[len] = '\0';
	return any ? xstrdup(len ? hex : "0") : NULL;
}

int incident_number(const char *s, json_int_t *ret)
{
	char *end;
	s += *s == '#';
	errno = 0;
	*ret = isdigit((unsigned char)*s) ? strtoll(s, &end, 10) : -1;
	return *ret >= 0 && !*end && !errno ? 0 : -EINVAL;
}
