/* From a leaf to the trust: which intermediates, in which order, and does it hold? Used by the check worker. */
#ifndef PKI_CHAIN_H
#define PKI_CHAIN_H
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pki/bundle.h"

#define CHAIN_MAX 10 /* certificates, the leaf included */

struct chain {
	X509 *v[CHAIN_MAX]; /* what a server is to send: the leaf, then the intermediates in order, no root; each is
			       held */
	size_t n;
	X509 *anchor;    /* the trusted certificate at its end (held); NULL: it ends nowhere */
	bool incomplete; /* not trusted, and the leaf's issuer is not there */
	char *why;       /* for people, where it is not trusted; NULL otherwise */
};

struct chain_input {
	X509 *leaf;
	X509 *const *given; /* submitted with it, in any order; may hold the leaf and the root */
	size_t ngiven;
	struct bundle *intermediates; /* that may complete it; NULL: none */
	struct bundle *trust;         /* NULL: none */
	int64_t now;                  /* seconds */
};

/* Builds the path that a client would verify, and verifies just that path. The leaf's own dates and purposes are not
 * judged here, those of the others are. A cross certificate of the root that was given is kept: older clients want it.
 */
void chain_build(const struct chain_input *in, struct chain *ret);
void chain_done(struct chain *c);
#endif
