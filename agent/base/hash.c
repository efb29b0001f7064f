#include "base/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct digest hash_bytes(const void *bytes, size_t len)
{
	struct digest d;
	unsigned int n = sizeof d.b;
	if (EVP_Digest(bytes, len, d.b, &n, EVP_sha256(), NULL) != 1 || n != sizeof d.b)
		abort(); /* libcrypto without SHA-256 can't be worked with */
	return d;
}

const char *digest_base64(const struct digest *d, char *buf)
{
	EVP_EncodeBlock((unsigned char *)buf, d->b, sizeof d->b);
	return buf;
}
