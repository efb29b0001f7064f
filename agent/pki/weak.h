/* RSA keys that can be computed from their public part (BR 6.1.1.3(5)). Used by the check worker. */
#ifndef PKI_WEAK_H
#define PKI_WEAK_H
#include <openssl/bn.h>
#include <stdbool.h>
#include <stddef.h>

/* Infineon's RSALib (CVE-2017-15361): its primes are powers of 65537 modulo a product of small primes, and so is the
 * modulus. A sound key looks like it once in 2^27 or less often. */
bool weak_roca(const BIGNUM *n);
/* Do 100 rounds of Fermat's method find the primes (CVE-2022-26320)? */
bool weak_close_primes(const BIGNUM *n);

/* The smallest factor of the modulus where it is below 752 (BR 6.1.6, SP 800-89 5.3.3); 0: there is none. */
unsigned weak_small_factor(const BIGNUM *n);

/* Debian's weak keys of 2006-2008 (CVE-2008-0166) in the format of its former package openssl-blacklist: a line a key,
 * the last 20 hexadecimal digits of the SHA-1 of "Modulus=HEX\n"; lines with '#' say nothing. */
struct weak_list;
struct weak_list *weak_list_read(const void *bytes, size_t len); /* never NULL; lines that are none are left out */
void weak_list_free(struct weak_list *list);
size_t weak_list_count(const struct weak_list *list);
bool weak_list_has(const struct weak_list *list, const BIGNUM *n); /* a NULL list has none */
#endif
