#include "base/digest.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, sizeof a->b) == 0;
}

bool digest_is_zero(const struct digest *d)
{
	static const struct digest zero;
	return digest_equal(d, &zero);
}

const char *digest_text(const struct digest *d, char *buf)
{
	text_hex(d->b, sizeof d->b, buf);
	return buf;
}

int digest_parse(const char *s, struct digest *ret)
{
	char hex[DIGEST_HEX];
	size_t n = 0;
	for (; *s; s++) {
		if (*s == ':' || *s == ' ')
			continue;
		if (n == sizeof hex - 1)
			return -EINVAL;
		hex[n++] = *s;
	}
	hex[n] = '\0';
	return text_unhex(hex, ret->b, sizeof ret->b);
}
