#include "pki/weak.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

#define FACTOR_MAX    751 /* BR 6.1.6 */
#define FERMAT_ROUNDS 100 /* BR 6.1.1.3(5) */
#define LINE_BYTES    10  /* of SHA-1 in a line of the list */

static BIGNUM *must(BIGNUM *b)
{
	if (!b)
		abort();
	return b;
}

bool weak_roca(const BIGNUM *n)
{
	/* the primes that every key length of the library shares, without 2 */
	static const uint8_t primes[] = {3,   5,   7,   11,  13,  17,  19,  23,  29,  31,  37,  41,  43,
					 47,  53,  59,  61,  67,  71,  73,  79,  83,  89,  97,  101, 103,
					 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167};
	for (size_t i = 0; i < ARRAY_SIZE(primes); i++) {
		unsigned p = primes[i], power = 1;
		unsigned rest = (unsigned)BN_mod_word(n, p), generator = 65537 % p;
		bool found = false;
		do {
			found |= power == rest;
			power = power * generator % p;
		} while (power != 1 && !found);
		if (!found)
			return false;
	}
	return true;
}

/* r = floor(sqrt(n)) by Newton's method from above. */
static bool square_root(BIGNUM *r, const BIGNUM *n, BN_CTX *ctx)
{
	BN_CTX_start(ctx);
	BIGNUM *next = must(BN_CTX_get(ctx));
	BN_zero(r);
	bool good = BN_is_zero(n) || BN_set_bit(r, (BN_num_bits(n) + 1) / 2);
	while (good && !BN_is_zero(n)) {
		good = BN_div(next, NULL, n, r, ctx) && BN_add(next, next, r) && BN_rshift1(next, next);
		if (!good || BN_cmp(next, r) >= 0)
			break;
		good = BN_copy(r, next) != NULL;
	}
	BN_CTX_end(ctx);
	return good;
}

/* Most numbers are seen not to be squares by their rests. */
static bool may_be_square(const BIGNUM *n)
{
	static const uint8_t moduli[] = {64, 63, 65, 11, 17, 19, 23, 31};
	for (size_t i = 0; i < ARRAY_SIZE(moduli); i++) {
		unsigned m = moduli[i], rest = (unsigned)BN_mod_word(n, m);
		bool found = false;
		for (unsigned x = 0; x <= m / 2 && !found; x++)
			found = x * x % m == rest;
		if (!found)
			return false;
	}
	return true;
}

static bool is_square(const BIGNUM *n, BIGNUM *root, BIGNUM *square, BN_CTX *ctx)
{
	return may_be_square(n) && square_root(root, n, ctx) && BN_sqr(square, root, ctx) && BN_cmp(square, n) == 0;
}

bool weak_close_primes(const BIGNUM *n)
{
	BN_CTX *ctx = BN_CTX_new();
	if (!ctx)
		abort();
	BN_CTX_start(ctx);
	BIGNUM *a = must(BN_CTX_get(ctx)), *rest = must(BN_CTX_get(ctx)), *root = must(BN_CTX_get(ctx)),
	       *square = must(BN_CTX_get(ctx));
	/* n = a^2 - rest, a from the root upward: n = (a - b)(a + b) where rest is b^2 */
	bool good = square_root(a, n, ctx) && BN_sqr(square, a, ctx), found = false;
	if (good && BN_cmp(square, n) < 0)
		good = BN_add_word(a, 1);
	good = good && BN_sqr(square, a, ctx) && BN_sub(rest, square, n);
	for (int i = 0; i < FERMAT_ROUNDS && good && !found; i++) {
		found = is_square(rest, root, square, ctx);
		/* (a + 1)^2 - n = rest + 2a + 1 */
		good = BN_add(rest, rest, a) && BN_add_word(a, 1) && BN_add(rest, rest, a);
	}
	BN_CTX_end(ctx);
	BN_CTX_free(ctx);
	return found;
}

unsigned weak_small_factor(const BIGNUM *n)
{
	for (unsigned factor = 2; factor <= FACTOR_MAX; factor++)
		if (BN_mod_word(n, factor) == 0)
			return factor;
	return 0;
}

struct weak_list {
	uint8_t (*v)[LINE_BYTES];
	size_t n;
};

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, LINE_BYTES);
}

struct weak_list *weak_list_read(const void *bytes, size_t len)
{
	struct weak_list *list = xcalloc(1, sizeof *list);
	const char *at = bytes, *end = at + len;
	list->v = xcalloc(len / (2 * LINE_BYTES) + 1, sizeof *list->v);
	while (at < end) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((eol ? eol : end) - at);
		while (n && (at[n - 1] == '\r' || at[n - 1] == ' '))
			n--;
		if (n == 2 * LINE_BYTES) {
			char line[2 * LINE_BYTES + 1] = "";
			memcpy(line, at, n);
			if (text_unhex(line, list->v[list->n], LINE_BYTES) == 0)
				list->n++;
		}
		at = eol ? eol + 1 : end;
	}
	qsort(list->v, list->n, sizeof *list->v, by_bytes);
	return list;
}

void weak_list_free(struct weak_list *list)
{
	if (!list)
		return;
	free(list->v);
	free(list);
}

size_t weak_list_count(const struct weak_list *list)
{
	return list ? list->n : 0;
}

bool weak_list_has(const struct weak_list *list, const BIGNUM *n)
{
	if (!list || !list->n)
		return false;
	char *hex = BN_bn2hex(n);
	if (!hex)
		abort();
	/* as `openssl rsa -modulus` prints it: without leading zeros */
	char *line = xasprintf("Modulus=%s\n", hex + strspn(hex, "0"));
	unsigned char sha1[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	bool found = EVP_Digest(line, strlen(line), sha1, &len, EVP_sha1(), NULL) == 1 && len >= LINE_BYTES &&
		     bsearch(sha1 + len - LINE_BYTES, list->v, list->n, sizeof *list->v, by_bytes) != NULL;
	free(line);
	OPENSSL_free(hex);
	return found;
}
