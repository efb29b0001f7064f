/* What is known about a generation without parsing its certificate: gen/NNNNNN/meta.json. Runs in certswapd. */
#ifndef SWAP_META_H
#define SWAP_META_H
#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/text.h"

#define STORE_FILES 5 /* cert, chain, fullchain, privkey, combined: swap/store.h */

struct meta {
	unsigned int number;
	struct digest sha256, spki, issuer_spki;             /* of the leaf, its key, the key that signed it */
	char *serial, *issuer, *subject, *key_type, *origin; /* origin: "drop box", "submit", "standby" ... */
	char *issuer_ski;             /* authority key identifier, lower-case hex; "" or NULL: not known */
	struct words names, accepted; /* accepted: finding codes that a person let pass */
	int64_t not_before, not_after, made_at;
	bool publicly_trusted;
	struct digest *files; /* STORE_FILES: SHA-256 of the content of each, as it was sealed; NULL: not sealed yet */
};
int meta_save(int generation, const struct meta *meta, struct fault *fault); /* durable; 0 or negative errno */
int meta_load(int generation, struct meta *ret, struct fault *fault);        /* meta_done when 0 */
void meta_done(struct meta *m);                                              /* leaves it zeroed */
void meta_copy(struct meta *to, const struct meta *from);                    /* `to` must be empty */
#endif
