#include "pki/ari.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/serial.h"

#define KEY_ID_MAX 64 /* octets; 20 and 32 are in use */

/* RFC 4648 5, without padding. */
static void base64url(const uint8_t *bytes, size_t len, char *out)
{
	int n = EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
	while (n > 0 && out[n - 1] == '=')
		out[--n] = '\0';
	for (char *c = out; *c; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
}

char *ari_cert_id(X509 *x, struct fault *fault)
{
	const ASN1_OCTET_STRING *id = X509_get0_authority_key_id(x);
	struct serial serial;
	if (!id || ASN1_STRING_length(id) < 1 || ASN1_STRING_length(id) > KEY_ID_MAX) {
		fault_set(fault, -EINVAL, "the certificate has no authority key identifier that could be asked by");
		return NULL;
	}
	if (serial_of(x, &serial) < 0) {
		fault_set(fault, -EINVAL, "the certificate's serial number is too long to be asked by");
		return NULL;
	}
	char key[KEY_ID_MAX / 3 * 4 + 8], number[SERIAL_MAX / 3 * 4 + 8];
	base64url(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id), key);
	base64url(serial.b, serial.len, number);
	return xasprintf("%s.%s", key, number);
}

char *ari_url(const char *renewal_info, const char *cert_id)
{
	size_t n = strlen(renewal_info);
	return xasprintf("%s%s%s", renewal_info, n && renewal_info[n - 1] == '/' ? "" : "/", cert_id);
}
