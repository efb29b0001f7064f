#include "pki/key.h"

#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/pem.h"

#define ROUNDS_WHY  "its password encryption asks for more rounds than anybody needs"
#define MISSING_WHY "it is encrypted with an old cipher that OpenSSL here lacks; export it again with AES"

/* The two kinds of key that nearly all certificates have, in the forms that they come in. OpenSSL looks through all its
 * decoders whenever it builds a context, which takes ten times as long as the decoding: so the contexts are kept. */
enum kept { KEPT_RSA, KEPT_EC, KEPT_PKCS1, KEPT_SEC1, KEPTS };
static const struct {
	const char *type, *structure;
} kept_form[] = {
	[KEPT_RSA] = {"RSA", "PrivateKeyInfo"},
	[KEPT_EC] = {"EC", "PrivateKeyInfo"},
	[KEPT_PKCS1] = {"RSA", "type-specific"},
	[KEPT_SEC1] = {"EC", "type-specific"},
};
_Static_assert(ARRAY_SIZE(kept_form) == KEPTS, "each kept decoder has its form");

static struct {
	OSSL_DECODER_CTX *ctx;
	EVP_PKEY *key; /* where ctx puts what it decoded */
} kept[KEPTS];

static EVP_PKEY *decode(enum kept i, const uint8_t *der, size_t len)
{
	if (!kept[i].ctx)
		kept[i].ctx = OSSL_DECODER_CTX_new_for_pkey(&kept[i].key, "DER", kept_form[i].structure,
							    kept_form[i].type, OSSL_KEYMGMT_SELECT_ALL, NULL, NULL);
	const unsigned char *at = der;
	size_t left = len;
	kept[i].key = NULL;
	bool good = kept[i].ctx && OSSL_DECODER_from_data(kept[i].ctx, &at, &left) == 1 && left == 0;
	EVP_PKEY *key = kept[i].key;
	kept[i].key = NULL;
	if (!good) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	ERR_clear_error();
	return key;
}

void key_init(void)
{
	static const uint8_t nothing[] = {0x30, 0x00};
	for (int i = 0; i < KEPTS; i++)
		EVP_PKEY_free(decode((enum kept)i, nothing, sizeof nothing));
}

void key_exit(void)
{
	for (int i = 0; i < KEPTS; i++) {
		OSSL_DECODER_CTX_free(kept[i].ctx);
		kept[i].ctx = NULL;
	}
}

static EVP_PKEY *from_p8(const PKCS8_PRIV_KEY_INFO *p8, const uint8_t *der, size_t len)
{
	const ASN1_OBJECT *algorithm = NULL;
	EVP_PKEY *key = NULL;
	if (PKCS8_pkey_get0(&algorithm, NULL, NULL, NULL, p8) != 1)
		return NULL;
	int nid = OBJ_obj2nid(algorithm);
	if (nid == EVP_PKEY_RSA || nid == EVP_PKEY_EC)
		key = decode(nid == EVP_PKEY_RSA ? KEPT_RSA : KEPT_EC, der, len);
	else
		key = EVP_PKCS82PKEY(p8);
	ERR_clear_error();
	return key;
}

EVP_PKEY *key_from_p8(const PKCS8_PRIV_KEY_INFO *p8)
{
	unsigned char *der = NULL;
	int n = p8 ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : 0;
	EVP_PKEY *key = n > 0 ? from_p8(p8, der, (size_t)n) : NULL;
	if (der)
		OPENSSL_clear_free(der, (size_t)n);
	return key;
}

EVP_PKEY *key_from_pkcs8(const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	PKCS8_PRIV_KEY_INFO *p8 = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)len);
	EVP_PKEY *key = p8 && at == der + len ? from_p8(p8, der, len) : NULL;
	PKCS8_PRIV_KEY_INFO_free(p8);
	ERR_clear_error();
	return key;
}

EVP_PKEY *key_from_pkcs1(const uint8_t *der, size_t len)
{
	return decode(KEPT_PKCS1, der, len);
}

EVP_PKEY *key_from_sec1(const uint8_t *der, size_t len)
{
	return decode(KEPT_SEC1, der, len);
}

static EVP_PKEY *from_dsa(const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	EVP_PKEY *key = d2i_PrivateKey(EVP_PKEY_DSA, NULL, &at, (long)len);
	ERR_clear_error();
	return key;
}

bool key_rounds_sane(const X509_ALGOR *algorithm)
{
	int64_t rounds = 0;
	const ASN1_OBJECT *kind;
	X509_ALGOR_get0(&kind, NULL, NULL, algorithm);
	if (OBJ_obj2nid(kind) != NID_pbes2) {
		PBEPARAM *p = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);
		if (p && ASN1_INTEGER_get_int64(&rounds, p->iter) != 1)
			rounds = INT64_MAX;
		PBEPARAM_free(p);
	} else {
		PBE2PARAM *p2 = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
		PBKDF2PARAM *p = NULL; /* scrypt, the other one, is limited by OpenSSL to 32 MiB */
		if (p2 && OBJ_obj2nid(p2->keyfunc->algorithm) == NID_id_pbkdf2)
			p = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), p2->keyfunc->parameter);
		if (p && ASN1_INTEGER_get_int64(&rounds, p->iter) != 1)
			rounds = INT64_MAX;
		PBKDF2PARAM_free(p);
		PBE2PARAM_free(p2);
	}
	ERR_clear_error();
	return rounds >= 0 && rounds <= KEY_ROUNDS_MAX;
}

bool key_algorithm_missing(void)
{
	bool missing = false;
	unsigned long e;
	while ((e = ERR_get_error())) {
		int reason = ERR_GET_REASON(e);
		missing |= reason == ERR_R_UNSUPPORTED ||
			   (ERR_GET_LIB(e) == ERR_LIB_EVP &&
			    (reason == EVP_R_UNSUPPORTED_ALGORITHM || reason == EVP_R_UNKNOWN_CIPHER ||
			     reason == EVP_R_UNKNOWN_DIGEST));
	}
	return missing;
}

/* Tries one password; with the wrong one the padding, or what is inside, is not right. */
static EVP_PKEY *decrypt(const X509_SIG *sig, const char *password, bool *missing)
{
	ERR_clear_error();
	PKCS8_PRIV_KEY_INFO *p8 = PKCS8_decrypt(sig, password, (int)strlen(password));
	if (!p8)
		*missing |= key_algorithm_missing();
	EVP_PKEY *key = key_from_p8(p8);
	PKCS8_PRIV_KEY_INFO_free(p8);
	return key;
}

enum key_open key_from_encrypted(const X509_SIG *sig, const struct words *passwords, EVP_PKEY **ret,
				 const char **ret_why)
{
	const X509_ALGOR *algorithm;
	X509_SIG_get0(sig, &algorithm, NULL);
	if (!key_rounds_sane(algorithm)) {
		*ret_why = ROUNDS_WHY;
		return KEY_CANT;
	}
	bool missing = false;
	*ret = decrypt(sig, "", &missing);
	for (size_t i = 0; i < passwords->n && !*ret && !missing; i++)
		*ret = decrypt(sig, passwords->v[i], &missing);
	*ret_why = MISSING_WHY;
	return *ret ? KEY_OPENED : missing ? KEY_CANT : KEY_LOCKED;
}

static int give_password(char *buf, int size, int writing, void *password)
{
	size_t n = strlen(password);
	if (n > (size_t)size)
		return -1;
	memcpy(buf, password, n);
	return (int)n;
}

static EVP_PKEY *decrypt_legacy(const char *label, EVP_CIPHER_INFO *cipher, const uint8_t *der, size_t len,
				char *password, bool *missing)
{
	uint8_t *copy = xmemdup(der, len);
	long n = (long)len;
	EVP_PKEY *key = NULL;
	ERR_clear_error();
	if (PEM_do_header(cipher, copy, &n, give_password, password) != 1)
		*missing |= key_algorithm_missing();
	else if (strcmp(label, "RSA PRIVATE KEY") == 0)
		key = key_from_pkcs1(copy, (size_t)n);
	else if (strcmp(label, "EC PRIVATE KEY") == 0)
		key = key_from_sec1(copy, (size_t)n);
	else
		key = from_dsa(copy, (size_t)n);
	free_secret(copy, len);
	ERR_clear_error();
	return key;
}

enum key_open key_from_legacy(const char *label, const char *header, const uint8_t *der, size_t len,
			      const struct words *passwords, EVP_PKEY **ret, const char **ret_why)
{
	char *copy = xstrdup(header);
	EVP_CIPHER_INFO cipher;
	*ret = NULL;
	bool good = PEM_get_EVP_CIPHER_INFO(copy, &cipher) == 1 && cipher.cipher;
	free(copy);
	ERR_clear_error();
	if (!good) {
		*ret_why = "its DEK-Info line names no cipher that OpenSSL here knows";
		return KEY_CANT;
	}
	bool missing = false;
	for (size_t i = 0; i < passwords->n && !*ret && !missing; i++)
		*ret = decrypt_legacy(label, &cipher, der, len, passwords->v[i], &missing);
	*ret_why = MISSING_WHY;
	return *ret ? KEY_OPENED : missing ? KEY_CANT : KEY_LOCKED;
}

struct digest key_spki(const EVP_PKEY *key)
{
	struct digest d = {0};
	unsigned char *der = NULL;
	X509_PUBKEY *pub = NULL;
	if (X509_PUBKEY_set(&pub, (EVP_PKEY *)(uintptr_t)key) == 1) {
		int n = i2d_X509_PUBKEY(pub, &der);
		if (n > 0)
			d = hash_bytes(der, (size_t)n);
		OPENSSL_free(der);
	}
	X509_PUBKEY_free(pub);
	ERR_clear_error();
	return d;
}

bool key_fits(const EVP_PKEY *key, const X509 *x)
{
	const EVP_PKEY *pub = X509_get0_pubkey(x);
	bool fits = pub && EVP_PKEY_eq(pub, key) == 1;
	ERR_clear_error();
	return fits;
}

bool key_write(struct text *t, const EVP_PKEY *key)
{
	PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
	unsigned char *der = NULL;
	int n = p8 ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : 0;
	if (n > 0)
		pem_write(t, "PRIVATE KEY", der, (size_t)n);
	if (der)
		OPENSSL_clear_free(der, (size_t)n);
	PKCS8_PRIV_KEY_INFO_free(p8);
	ERR_clear_error();
	return n > 0;
}
