/* Emergency keys: a key and its request (CSR) that exist before anything happens, for each certificate whose
 * configuration names no `reissue`; the key that `certswapctl csr` shows; and the way back of its certificate, which is
 * known by its public key. Made in a keygen worker, one at a time. Runs in certswapd. */
#ifndef SITE_PENDING_H
#define SITE_PENDING_H
#include <jansson.h>

#include "site/certificate.h"
#include "swap/keyring.h"

/* Looks at all certificates, one after the other, and makes what is missing. */
struct pending *pending_open(struct site *site);
void pending_close(struct pending *pending);          /* no callbacks */
bool pending_is_asked(const struct pending *pending); /* somebody waits for a key */

/* The facts about c have changed: what is missing is made, what is live or stands by waits no more. */
void pending_review(struct certificate *c);
void pending_review_all(struct site *site);

/* A new key and request for c. key NULL: fault says why. Calls back exactly once, never from inside. */
typedef void (*pending_cb)(const struct waiting_key *key, const struct fault *fault, void *data);
void pending_make(struct certificate *c, pending_cb cb, void *data);
/* The same after a break-in (--scope host): the keys that are there now are suspect from here on: no request of theirs
 * is shown any more, and their certificates are a stopgap that only a person's `submit` lets in. cb may be NULL. */
void pending_renew(struct certificate *c, pending_cb cb, void *data);

/* All keys of c, and the newest that a request may be shown of: of the configured type, for the names that are needed
 * now, neither refused nor suspect. NULL: there is none. */
const struct keyring *pending_keys(struct certificate *c);
const struct waiting_key *pending_fit(struct certificate *c);
const struct waiting_key *pending_find(struct certificate *c, const struct digest *spki); /* NULL: none */
struct certificate *pending_owner(const struct site *site, const struct digest *spki);    /* NULL: none */
/* Records that its request was shown, and reads it; *ret is the caller's. 0 or negative errno. */
int pending_show(struct certificate *c, const struct digest *spki, char **ret, struct fault *fault);
json_t *pending_json(struct certificate *c); /* for `status` */

/* The certificate that came is for a refused key: what is to be said of it, and what to do (*ret_next). Both the
 * caller's. NULL: the key is not refused. */
char *pending_refusal(struct certificate *c, const struct digest *spki, const char *serial, char **ret_next);
#endif
