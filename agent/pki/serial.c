#include "pki/serial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

int serial_from_bytes(const void *bytes, size_t len, struct serial *ret)
{
	const uint8_t *b = bytes;
	*ret = (struct serial){0};
	if (len > SERIAL_MAX)
		return -EMSGSIZE;
	if (!len || (len > 1 && ((b[0] == 0x00 && b[1] < 0x80) || (b[0] == 0xff && b[1] >= 0x80))))
		return -EINVAL;
	ret->len = (uint8_t)len;
	memcpy(ret->b, b, len);
	return 0;
}

int serial_of(const X509 *x, struct serial *ret)
{
	*ret = (struct serial){0};
	int n = i2d_ASN1_INTEGER(X509_get0_serialNumber(x), NULL);
	if (n < 3 || n > SERIAL_MAX + 2) /* up to 127 octets of content the header has two */
		return -EMSGSIZE;
	uint8_t der[SERIAL_MAX + 2], *to = der;
	i2d_ASN1_INTEGER(X509_get0_serialNumber(x), &to);
	return serial_from_bytes(der + 2, (size_t)n - 2, ret);
}

int serial_compare(const struct serial *a, const struct serial *b)
{
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->b, b->b, a->len);
}

/* Two's complement: the other sign. */
static void negate(uint8_t *b, size_t len)
{
	unsigned int carry = 1;
	for (size_t i = len; i-- > 0;) {
		carry += (uint8_t)~b[i];
		b[i] = (uint8_t)carry;
		carry >>= 8;
	}
}

const char *serial_text(const struct serial *s, char *buf)
{
	uint8_t b[SERIAL_MAX];
	size_t at = 0;
	bool negative = s->len && s->b[0] >= 0x80;
	memcpy(b, s->b, s->len);
	if (negative)
		negate(b, s->len);
	while (at + 1 < s->len && !b[at])
		at++;
	char hex[2 * SERIAL_MAX + 1] = "0";
	text_hex(b + at, s->len - at, hex);
	snprintf(buf, SERIAL_TEXT, "%s%s", negative ? "-" : "", hex[0] == '0' && hex[1] ? hex + 1 : hex);
	return buf;
}

int serial_from_text(const char *s, struct serial *ret)
{
	bool negative = *s == '-';
	s += negative;
	while (*s == '0' && s[1])
		s++;
	size_t digits = strlen(s), n = (digits + 1) / 2;
	char even[2 * SERIAL_MAX + 1];
	uint8_t b[SERIAL_MAX + 1] = {0};
	*ret = (struct serial){0};
	if (!digits || n >= SERIAL_MAX)
		return -EINVAL;
	even[0] = '0';
	memcpy(even + digits % 2, s, digits + 1);
	if (text_unhex(even, b + 1, n) < 0)
		return -EINVAL;
	if (negative)
		negate(b, n + 1);
	size_t from = (b[0] == 0x00 && b[1] < 0x80) || (b[0] == 0xff && b[1] >= 0x80);
	return serial_from_bytes(b + from, n + 1 - from, ret);
}
