/* The pool: everything of use that was found in the files of one submission, whatever their names and formats. Pairing
 * and judging come later. Used by the check worker. */
#ifndef PKI_POOL_H
#define PKI_POOL_H
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/text.h"

/* Objects of one pool; what comes after them is left out and said (POOL_NOTHING). */
#define POOL_MAX           1000
#define POOL_PASSWORDS_MAX 32

struct pool_cert {
	X509 *x509;
	struct digest sha256, spki;
	uint16_t file;
	bool ca;
};
struct pool_key {
	EVP_PKEY *key; /* key_spki is slow: not computed here */
	uint16_t file;
	char *text; /* for people: "ecdsa-p256 private key, SEC1" */
};
enum pool_kind {
	POOL_LOCKED,  /* an encrypted key or PKCS#12 that no password opened */
	POOL_REQUEST, /* a CSR; `spki` is its key's */
	POOL_BLOCK,   /* DH or EC parameters; `text` is the PEM block itself */
	POOL_NOTHING, /* nothing of use; `text` says what it seems to be */
	POOL_DAMAGED, /* begins like something of use but can't be read; `text` says what */
};
struct pool_other {
	enum pool_kind kind;
	uint16_t file;
	struct digest spki;
	char *text;
};
struct pool {
	struct pool_cert *certs;
	size_t ncerts;
	struct pool_key *keys;
	size_t nkeys;
	struct pool_other *others;
	size_t nothers;
	const struct words *passwords; /* the caller's; tried on what is encrypted */
	bool full;
};

/* Reads one file's bytes; adds at least one object for it. `file` is kept with each object. `passwords` must be set. */
void pool_read(struct pool *p, uint16_t file, const void *bytes, size_t len);
void pool_done(struct pool *p);

/* Adds the lines of a password file, at most POOL_PASSWORDS_MAX of them; without their line ends. */
void pool_passwords(struct words *to, const char *bytes, size_t len);
void pool_passwords_done(struct words *w); /* wipes */

/* For the readers of containers. Each takes over what it is given. */
void pool_add_cert(struct pool *p, uint16_t file, X509 *x509);
void pool_add_key(struct pool *p, uint16_t file, EVP_PKEY *key, const char *form);
void pool_add_other(struct pool *p, uint16_t file, enum pool_kind kind, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* DER without any wrapping, of whatever kind (pki/der.c). False: none that is known; nothing was added. */
bool pool_read_der(struct pool *p, uint16_t file, const uint8_t *der, size_t len);
/* A PKCS#12 (pki/p12.c). False: it is none; nothing was added. */
bool pool_read_p12(struct pool *p, uint16_t file, const uint8_t *der, size_t len);
/* An encrypted PKCS#8. False: it is none. */
bool pool_read_encrypted(struct pool *p, uint16_t file, const uint8_t *der, size_t len);
/* A PKCS#7 with certificates (RFC 2315 9). False: it is none. */
bool pool_read_p7(struct pool *p, uint16_t file, const uint8_t *der, size_t len);
#endif
