/* STATE/denied: keys (SHA-256 of SubjectPublicKeyInfo) and certificates (SHA-256 of the DER) that are refused from
 * every source on this host, with date and reason: promise 4, "never the compromised key again". A text file, one line
 * an entry: key|certificate  HEX  DATE  provisional|confirmed  INCIDENT  reason in words A denial that a notice brought
 * is provisional until the certificate is seen revoked for keyCompromise or a person confirms it. Runs in certswapd;
 * certswapctl reads it for `deny list`. */
#ifndef SWAP_DENIED_H
#define SWAP_DENIED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/hash.h"

struct denial {
	bool is_key; /* else a certificate */
	struct digest digest;
	int64_t since;
	bool confirmed;
	unsigned int incident; /* that brought it; 0: a person did */
	char *reason;
};
struct denied {
	struct denial *v;
	size_t n;
};
/* `folder` is STATE. A missing file is an empty list; a line that can't be read is an error: nothing is taken for
 * allowed. */
int denied_load(int folder, struct denied *ret, struct fault *fault);
int denied_save(int folder, const struct denied *d, struct fault *fault); /* durable */
void denied_done(struct denied *d);

const struct denial *denied_find(const struct denied *d, bool is_key,
				 const struct digest *digest); /* NULL: it is not refused */
/* Adds (a copy of reason), or makes the denial that is there stricter; true when something changed. Provisional ones of
 * several incidents stand side by side. Not saved yet. */
bool denied_add(struct denied *d, const struct denial *denial);
bool denied_confirm(struct denied *d, const struct digest *key);
size_t denied_remove(struct denied *d, const struct digest *digest);    /* how many went */
size_t denied_remove_incident(struct denied *d, unsigned int incident); /* provisional ones of a withdrawn notice */
#endif
