/* Many CA certificates of which few will be wanted: a trust file, a folder of intermediates. They are kept as DER,
 * found by their subject, and parsed when they are found: loading the system's 140 roots costs a millisecond and not
 * seventeen. Used by the check worker. */
#ifndef PKI_BUNDLE_H
#define PKI_BUNDLE_H
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

struct bundle;
struct bundle *bundle_new(void);
void bundle_free(struct bundle *b); /* NULL is fine */

/* Adds the certificates of a PEM file, or one in DER; returns how many. */
size_t bundle_add(struct bundle *b, const void *bytes, size_t len);
void bundle_add_cert(struct bundle *b, X509 *x);
size_t bundle_count(const struct bundle *b); /* NULL: 0 */

/* The next certificate with this subject at or after *at (begin with 0); NULL: no more. It belongs to the bundle.
 * Names are compared byte for byte as public CAs must write them (BR 7.1.4.1); `loose`: by RFC 5280 7.1, slowly. */
X509 *bundle_next(struct bundle *b, const X509_NAME *subject, bool loose, size_t *at);
#endif
