/* New keys, and certification requests (PKCS#10, RFC 2986) for them. Bytes out, no I/O. Used by the keygen worker. */
#ifndef PKI_REQUEST_H
#define PKI_REQUEST_H
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/fault.h"
#include "base/text.h"

/* A new key of a type of the option `key_type` ("ecdsa-p256", "rsa-2048" ...); EVP_PKEY_free. NULL and fault. */
EVP_PKEY *request_new_key(const char *key_type, struct fault *fault);

/* Appends the request as PEM. The names go into the SAN as dNSName or iPAddress (RFC 5280 4.2.1.6). Subject: that of
 * `like` (may be NULL), with the first name that fits (64 bytes, X.520 ub-common-name) as common name unless its own is
 * among the names. 0 or negative errno. */
int request_write(struct text *t, EVP_PKEY *key, const struct words *names, const X509 *like, struct fault *fault);
#endif
