/* ACME Renewal Information (RFC 9773): how a certificate is named in a question. Needs no account. No I/O. Used by the
 * fetch worker. What comes back is read by fetch/ari.h; what it means is decided by swap/renewal.h. */
#ifndef PKI_ARI_H
#define PKI_ARI_H
#include <openssl/x509.h>

#include "base/fault.h"

/* certID (RFC 9773 4.1): base64url of the authority key identifier, ".", base64url of the serial's content octets.
 * NULL: the certificate has no key identifier, or one that is too long; `fault` says it. The caller frees. */
char *ari_cert_id(X509 *x, struct fault *fault);
/* The address to ask: `renewal_info` of the CA's directory, "/", certID. The caller frees. */
char *ari_url(const char *renewal_info, const char *cert_id);
#endif
