#include "pki/pki.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <time.h>

#include "base/memory.h"
#include "pki/handshake.h"
#include "pki/key.h"

static const char *const names[] = {"default", "legacy"};
static OSSL_PROVIDER *providers[ARRAY_SIZE(names)]; /* NULL: the system has it not */

void pki_init(void)
{
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
			 NULL);
	/* RC2 and old PBE of PKCS#12 live in the legacy provider, which is a file of its own; naming a provider turns
	 * the automatic default one off. A system without the file reads everything but those. */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		providers[i] = OSSL_PROVIDER_load(NULL, names[i]);
	unsigned char seed[16];
	RAND_bytes(seed, sizeof seed);
	OPENSSL_cleanse(seed, sizeof seed);
	key_init();
	tzset();                                 /* gmtime_r and timegm would read /etc/localtime at their first call */
	SSL_CTX_free(SSL_CTX_new(TLS_method())); /* looks up every cipher, group and digest */
	ERR_clear_error();
}

static X509 *self_signed(EVP_PKEY *key)
{
	X509 *x = X509_new();
	if (x && X509_set_version(x, X509_VERSION_3) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
	    X509_gmtime_adj(X509_getm_notBefore(x), 0) && X509_gmtime_adj(X509_getm_notAfter(x), 3600) &&
	    X509_set_pubkey(x, key) == 1 && X509_sign(x, key, EVP_sha256()) > 0)
		return x;
	X509_free(x);
	return NULL;
}

void pki_warm(void)
{
	struct handshake handshake = {0};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *leaf = key ? self_signed(key) : NULL;
	const struct chain chain = {.v = {leaf}, .n = 1};
	if (leaf)
		handshake_try(&chain, key, 1, &handshake);
	handshake_done(&handshake);
	X509_free(leaf);
	EVP_PKEY_free(key);
	ERR_clear_error();
}

void pki_exit(void)
{
	key_exit();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (providers[i])
			OSSL_PROVIDER_unload(providers[i]);
		providers[i] = NULL;
	}
}
