/* The proof that a pair can serve: TLS handshakes in memory, made with the key. Comparing public keys does not find a
 * damaged private one; web servers load it and then fail every client. Used by the check worker. */
#ifndef PKI_HANDSHAKE_H
#define PKI_HANDSHAKE_H
#include <openssl/ssl.h>
#include <stdbool.h>

#include "pki/chain.h"

struct handshake {
	bool tls12, tls13; /* it came about, and the client saw the leaf and a good signature */
	char *why;         /* of the first that did not; for people */
};
/* One of TLS 1.2 (with ECDHE, so that the key signs) and one of TLS 1.3 at this security level. */
void handshake_try(const struct chain *chain, EVP_PKEY *key, int security_level, struct handshake *ret);
void handshake_done(struct handshake *h);

/* What is inconsistent in an RSA key ("dP does not belong to p"), or NULL. OpenSSL computes around a wrong CRT part;
 * other libraries would give the key away with their first signature (Boneh, DeMillo, Lipton 1997). */
const char *handshake_key_damage(const EVP_PKEY *key);
#endif
