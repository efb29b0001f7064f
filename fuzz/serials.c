/* A CA's list of serials: the same in whatever pieces it comes; and one spelling against BIGNUM. */
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/memory.h"
#include "ctl/affected.h"
#include "fuzz.h"

struct seen {
	size_t n;
	uint64_t lines, numbers, sum;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

static void found(void *context, size_t index, uint64_t line)
{
	struct seen *s = context;
	s->n++;
	s->sum = s->sum * 31 + index * 7 + line;
}

static struct seen run(const uint8_t *bytes, size_t len, size_t piece, const char *more)
{
	struct seen s = {0};
	struct affected *a = affected_new(found, &s);
	affected_want(a, "a1b2c3d4e5f60718293a");
	affected_want(a, "1f");
	if (more)
		affected_want(a, more);
	for (size_t at = 0; at < len; at += piece)
		affected_feed(a, bytes + at, len - at < piece ? len - at : piece);
	affected_end(a);
	s.lines = affected_lines(a);
	s.numbers = affected_numbers(a);
	affected_free(a);
	return s;
}

/* The first digits of the input, decimal: BIGNUM says what they are in hexadecimal, and that is found. */
static void decimal(const uint8_t *bytes, size_t len)
{
	char digits[60] = "dec:";
	size_t n = 0;
	for (size_t i = 0; i < len && n < 50; i++)
		if (bytes[i] % 16 < 10)
			digits[4 + n++] = (char)('0' + bytes[i] % 16);
	BIGNUM *number = NULL;
	if (!n || BN_dec2bn(&number, digits + 4) == 0)
		return;
	char *hex = BN_bn2hex(number), *p = hex;
	while (*p == '0' && p[1])
		p++;
	for (char *c = p; *c; c++)
		if (*c >= 'A')
			*c = (char)(*c | 0x20);
	MUST(run((const uint8_t *)digits, n + 4, 1, p).n >= 1);
	OPENSSL_free(hex);
	BN_free(number);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct seen whole = run(bytes, len, len + 1, NULL), pieces = run(bytes, len, 3, NULL);
	MUST(memcmp(&whole, &pieces, sizeof whole) == 0);
	decimal(bytes, len);
	return 0;
}
