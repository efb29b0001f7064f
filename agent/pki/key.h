/* Private keys in every form that a CA, a server or a person keeps them in. Used by the check worker. */
#ifndef PKI_KEY_H
#define PKI_KEY_H
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/text.h"

/* Password based encryption with more rounds than this is refused: it would only keep the worker busy. */
#define KEY_ROUNDS_MAX 5000000

/* Builds what reading keys needs, and frees it again (pki_init and pki_exit do it); else the first key does. */
void key_init(void);
void key_exit(void);

/* Each returns a key that the caller frees, or NULL where the bytes are not exactly that. */
EVP_PKEY *key_from_pkcs8(const uint8_t *der, size_t len);
EVP_PKEY *key_from_pkcs1(const uint8_t *der, size_t len); /* RSAPrivateKey (RFC 8017 A.1.2) */
EVP_PKEY *key_from_sec1(const uint8_t *der, size_t len);  /* ECPrivateKey (RFC 5915) */
EVP_PKEY *key_from_p8(const PKCS8_PRIV_KEY_INFO *p8);

enum key_open {
	KEY_OPENED,
	KEY_LOCKED, /* no password fits */
	KEY_CANT,   /* *ret_why says why no password could help */
};
/* Encrypted PKCS#8 (RFC 5958 3), opened by the empty password or one of `passwords`. */
enum key_open key_from_encrypted(const X509_SIG *sig, const struct words *passwords, EVP_PKEY **ret,
				 const char **ret_why);
/* The old encrypted PEM: `header` holds the DEK-Info line; `label` says the kind inside. */
enum key_open key_from_legacy(const char *label, const char *header, const uint8_t *der, size_t len,
			      const struct words *passwords, EVP_PKEY **ret, const char **ret_why);

/* Is the count of rounds of this password based encryption one that a person would choose? */
bool key_rounds_sane(const X509_ALGOR *algorithm);
/* After a failure of OpenSSL: was it for want of an algorithm (RC2, single DES), and not for a wrong password? */
bool key_algorithm_missing(void);

struct digest key_spki(const EVP_PKEY *key); /* SHA-256 of its SubjectPublicKeyInfo */
/* Does the key belong to the certificate? Compares the public parts alone. */
bool key_fits(const EVP_PKEY *key, const X509 *x);
/* Appends it as unencrypted PKCS#8 PEM; end `t` with pem_text_done. False: it can't be written. */
bool key_write(struct text *t, const EVP_PKEY *key);
#endif
