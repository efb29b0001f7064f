/* Keys that can be computed: each is constructed here with its weakness, and a sound one beside it. */
#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/memory.h"
#include "pki/handshake.h"
#include "pki/pki.h"
#include "pki/weak.h"
#include "test_pki_help.h"

TestSuite(pki_weak, .init = pki_init, .fini = pki_exit);

/* A prime as Infineon's library made them: k * M + (65537^a mod M), M the product of the first 39 primes. */
static BIGNUM *roca_prime(int bits, BN_CTX *ctx)
{
	BIGNUM *m = BN_new(), *p = BN_new(), *k = BN_new(), *g = BN_new(), *a = BN_new();
	BN_one(m);
	for (unsigned long i = 2, n = 0; n < 39; i++) {
		bool prime = true;
		for (unsigned long j = 2; j * j <= i; j++)
			prime &= i % j != 0;
		if (prime) {
			BN_mul_word(m, i);
			n++;
		}
	}
	BN_set_word(g, 65537);
	do {
		BN_rand(a, 64, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY);
		BN_mod_exp(p, g, a, m, ctx);
		BN_rand(k, bits - BN_num_bits(m), BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ANY);
		BN_mul(k, k, m, ctx);
		BN_add(p, p, k);
	} while (BN_check_prime(p, ctx, NULL) != 1);
	BN_free(m);
	BN_free(k);
	BN_free(g);
	BN_free(a);
	return p;
}

static BIGNUM *modulus_of(const EVP_PKEY *key)
{
	BIGNUM *n = NULL;
	EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n);
	return n;
}

Test(pki_weak, roca)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *p = roca_prime(512, ctx), *q = roca_prime(512, ctx), *n = BN_new();
	BN_mul(n, p, q, ctx);
	cr_expect(weak_roca(n));
	cr_expect_not(weak_close_primes(n));
	BN_add_word(n, 2);
	cr_expect_not(weak_roca(n));
	BN_free(p);
	BN_free(q);
	BN_free(n);
	BN_CTX_free(ctx);
}

static BIGNUM *close_primes(int bits, int rounds)
{
	/* n = (a - b)(a + b): the distance that so many rounds of Fermat's method just find. What matters to the method
	 * is only that n is odd and has these two factors. */
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *a = BN_new(), *b = BN_new(), *n = BN_new(), *root = BN_new();
	BN_rand(a, bits / 2, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ANY);
	/* b^2 = 2 a r makes the root of n lie r below a */
	BN_copy(b, a);
	BN_mul_word(b, 2UL * (unsigned long)rounds);
	BN_one(root);
	BN_lshift(root, root, BN_num_bits(b) / 2 + 1);
	for (int i = 0; i < 40; i++) { /* Newton */
		BIGNUM *next = BN_new();
		BN_div(next, NULL, b, root, ctx);
		BN_add(next, next, root);
		BN_rshift1(next, next);
		BN_free(root);
		root = next;
	}
	BN_copy(b, root);
	if (BN_is_odd(a) == BN_is_odd(b))
		BN_add_word(b, 1);
	BN_sub(n, a, b);
	BN_add(root, a, b);
	BN_mul(n, n, root, ctx);
	BN_free(a);
	BN_free(b);
	BN_free(root);
	BN_CTX_free(ctx);
	return n;
}

Test(pki_weak, fermat)
{
	static const struct {
		int bits, rounds;
		bool found;
	} cases[] = {{2048, 0, true},    {2048, 1, true},  {2048, 50, true}, {2048, 98, true},
		     {2048, 103, false}, {2047, 90, true}, {4096, 98, true}, {3072, 200, false}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		BIGNUM *n = close_primes(cases[i].bits, cases[i].rounds);
		cr_expect_eq(weak_close_primes(n), cases[i].found, "%d bits, %d rounds", cases[i].bits,
			     cases[i].rounds);
		BN_free(n);
	}
	BIGNUM *small = BN_new();
	static const struct {
		unsigned long n;
		bool found;
	} numbers[] = {{9, true}, {15, true}, {35, true}, {5959, true}, {1000003UL * 1000033UL, true}, {0, true}};
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		BN_set_word(small, numbers[i].n);
		cr_expect_eq(weak_close_primes(small), numbers[i].found, "%lu", numbers[i].n);
	}
	BN_free(small);
}

Test(pki_weak, sound_keys)
{
	for (int i = 0; i < 5; i++) {
		EVP_PKEY *key = make_key("RSA:1024");
		BIGNUM *n = modulus_of(key);
		cr_expect_not(weak_roca(n));
		cr_expect_not(weak_close_primes(n));
		cr_expect_null(handshake_key_damage(key));
		BN_free(n);
		EVP_PKEY_free(key);
	}
}

/* The line that `openssl-blacklist` would hold for a modulus is made here with another API than weak.c's. */
Test(pki_weak, debian_list)
{
	EVP_PKEY *key = make_key("RSA:1024"), *other = make_key("RSA:1024");
	BIGNUM *n = modulus_of(key), *m = modulus_of(other);
	char *hex = BN_bn2hex(n), *line = xasprintf("Modulus=%s\n", hex), text[200];
	unsigned char sha1[20];
	EVP_Q_digest(NULL, "SHA1", NULL, line, strlen(line), sha1, NULL);
	char digits[41];
	text_hex(sha1, sizeof sha1, digits);
	snprintf(text, sizeof text, "# comment\n00000000000000000000\r\n%s\nshort\nffffffffffffffffffff\n%s",
		 digits + 20, "zzzzzzzzzzzzzzzzzzzz");
	struct weak_list *list = weak_list_read(text, strlen(text)), *empty = weak_list_read("", 0);
	cr_expect_eq(weak_list_count(list), 3);
	cr_expect(weak_list_has(list, n));
	cr_expect_not(weak_list_has(list, m));
	cr_expect_not(weak_list_has(empty, n));
	cr_expect_not(weak_list_has(NULL, n));
	weak_list_free(list);
	weak_list_free(empty);
	weak_list_free(NULL);
	free(line);
	OPENSSL_free(hex);
	BN_free(n);
	BN_free(m);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
}
