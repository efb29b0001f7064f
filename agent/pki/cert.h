/* What a certificate says, as plain values. No function keeps or changes the certificate; no I/O. Used by the check
 * worker. */
#ifndef PKI_CERT_H
#define PKI_CERT_H
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/text.h"

/* Names of one certificate that are reported; public CAs allow 100 to some hundreds. */
#define CERT_NAMES_MAX       1000
#define CERT_NAMES_BYTES_MAX 28000

X509 *cert_from_der(const uint8_t *der, size_t len); /* exactly this; NULL: it is none */

struct digest cert_digest(const X509 *x); /* SHA-256 of the DER */
struct digest cert_spki(const X509 *x);   /* SHA-256 of the SubjectPublicKeyInfo */
bool cert_equal(const X509 *a, const X509 *b);
bool cert_is_ca(X509 *x);          /* basicConstraints cA (RFC 5280 4.2.1.9) */
bool cert_is_self_signed(X509 *x); /* by its names and key identifiers; a root, or a server's own */
int64_t cert_not_before(const X509 *x);
int64_t cert_not_after(const X509 *x);
char *cert_serial(const X509 *x);  /* lower-case hex without leading zeros; caller frees */
char *cert_issuer(const X509 *x);  /* RFC 4514, printable, at most 500 bytes; caller frees */
char *cert_subject(const X509 *x); /* the same */

char *
cert_issuer_ski(const X509 *x); /* authority key identifier (RFC 5280 4.2.1.1), lower-case hex, at most 64 bytes of it;
				   "": none; caller frees */

enum cert_names {
	CERT_NAMES_SAN,      /* from the SAN */
	CERT_NAMES_CN,       /* there was no SAN: the subject's common name */
	CERT_NAMES_NONE,     /* no name at all */
	CERT_NAMES_TOO_MANY, /* more than the limits above: those that fit are there */
};
/* dNSName and iPAddress of the SAN (RFC 5280 4.2.1.6) are added to `names`. */
enum cert_names cert_names(X509 *x, struct words *names);
/* Does OpenSSL's own client take it for `name` (host, "*.domain", or address)? */
bool cert_covers(X509 *x, const char *name);

/* "ecdsa-p256" "rsa-2048" "ed25519" ...; caller frees. */
char *cert_key_type(const EVP_PKEY *key);

unsigned cert_sct_logs(X509 *x);       /* different logs in the embedded SCT list (RFC 6962 3.3) */
bool cert_must_staple(X509 *x);        /* TLS feature status_request (RFC 7633) */
bool cert_has_status_source(X509 *x);  /* an OCSP address or a CRL distribution point */
const char *cert_weak_digest(X509 *x); /* "SHA-1", "MD5" of its signature; NULL: none that is broken */
#endif
