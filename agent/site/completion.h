/* A missing intermediate: fetched where the certificate below it says that its issuer can be had (authority information
 * access, RFC 5280 4.2.2.1), verified by the "fetch" worker (its key signed the one below), and kept in
 * STATE/intermediates-fetched/, from where this proof and later ones take it. Runs in certswapd. */
#ifndef SITE_COMPLETION_H
#define SITE_COMPLETION_H
#include "site/certificate.h"
#include "wire/sources.h"

/* found: an issuer was fetched and kept. */
typedef void (*completion_cb)(bool found, void *data);
/* orphan: PEM of the certificate, in pieces. Calls back exactly once, never from inside this call. */
void completion_start(struct certificate *c, const struct source_cert *cert, const struct words *orphan,
		      completion_cb cb, void *data);
char *completion_folder(const struct site *site); /* path; the caller frees */
#endif
