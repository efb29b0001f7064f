/* Chains that OpenSSL takes and other clients refuse. Used by the check worker. */
#ifndef PKI_REFUSAL_H
#define PKI_REFUSAL_H
#include <openssl/x509.h>
#include <stddef.h>

/* Why Go, Chrome or others refuse the path from a leaf (path[0]) to the anchor, for a person; the caller frees. NULL:
 * they have no reason of their own. */
char *refusal_by_others(X509 *const *path, size_t n, X509 *anchor);
#endif
