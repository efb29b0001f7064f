#include "pki/pki.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <time.h>

#include "base/memory.h"
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

void pki_exit(void)
{
	key_exit();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (providers[i])
			OSSL_PROVIDER_unload(providers[i]);
		providers[i] = NULL;
	}
}
