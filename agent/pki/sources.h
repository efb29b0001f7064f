/* Where a certificate says its status and its issuer can be had, and what comes from there. No I/O. Used by the fetch
 * and check workers. */
#ifndef PKI_SOURCES_H
#define PKI_SOURCES_H
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* Addresses of one kind and bytes of one address that are taken from a certificate; the rest is left out. */
#define SOURCES_MAX       16
#define SOURCES_BYTES_MAX 2000

/* All names of its CRL distribution points (RFC 5280 4.2.1.13), for crl_want.points: a URI as it stands; any other name
 * as
 * "#" and the hex of its DER. Points with a cRLIssuer other than the issuer are left out (BR 7.1.2.11.2 has none). Adds
 * to `ret`. */
void sources_points(const X509 *x, struct words *ret);
void sources_add_name(struct words *ret, const GENERAL_NAME *name); /* one name in that form */
/* Those of them that can be fetched: http and https, printable, no white space. */
void sources_crls(const X509 *x, struct words *ret);
void sources_ocsp(const X509 *x, struct words *ret);    /* authority information access, id-ad-ocsp */
void sources_issuers(const X509 *x, struct words *ret); /* the same, id-ad-caIssuers */

/* From the answer at a caIssuers address (DER, PEM or PKCS#7, RFC 5280 4.2.2.1): the certificate whose key signed `x`,
 * that is a CA's and may sign. NULL: none there did. The caller frees. Its own chain is for chain_build to judge. */
#define SOURCES_ANSWER_MAX ((size_t)1 << 20)
X509 *sources_issuer(X509 *x, const void *bytes, size_t len);
#endif
