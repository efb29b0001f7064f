/* DER without any wrapping: what is it? */
#include <openssl/err.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/key.h"
#include "pki/pool.h"

/* The whole length of the SEQUENCE at `der`, or 0. */
static size_t sequence_length(const uint8_t *der, size_t len)
{
	if (len < 2 || der[0] != 0x30)
		return 0;
	size_t n = der[1], header = 2;
	if (n & 0x80) {
		size_t bytes = n & 0x7f;
		if (bytes == 0 || bytes > 4 || len < 2 + bytes)
			return 0;
		n = 0;
		for (size_t i = 0; i < bytes; i++)
			n = n << 8 | der[2 + i];
		header += bytes;
	}
	return n <= len - header ? header + n : 0;
}

/* The tag of the first thing in the SEQUENCE; 0: it is empty. */
static uint8_t first_tag(const uint8_t *der, size_t len)
{
	size_t header = der[1] & 0x80 ? 2 + (size_t)(der[1] & 0x7f) : 2;
	return header < len ? der[header] : 0;
}

static bool read_request(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)len);
	EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL;
	if (key) {
		pool_add_other(p, file, POOL_REQUEST, "a certificate request (CSR): it goes to the CA, not here");
		p->others[p->nothers - 1].spki = key_spki(key);
	}
	X509_REQ_free(req);
	return key != NULL;
}

static bool read_crl(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)len);
	if (crl)
		pool_add_other(p, file, POOL_NOTHING, "a certificate revocation list, of no use here");
	X509_CRL_free(crl);
	return crl != NULL;
}

static bool read_public(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)len);
	if (key)
		pool_add_other(p, file, POOL_NOTHING, "a public key; the private one is needed");
	EVP_PKEY_free(key);
	return key != NULL;
}

bool pool_read_encrypted(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	X509_SIG *sig = d2i_X509_SIG(NULL, &at, (long)len);
	ERR_clear_error();
	if (!sig)
		return false;
	EVP_PKEY *key = NULL;
	const char *why;
	switch (key_from_encrypted(sig, p->passwords, &key, &why)) {
	case KEY_OPENED:
		pool_add_key(p, file, key, "encrypted PKCS#8");
		break;
	case KEY_LOCKED:
		pool_add_other(p, file, POOL_LOCKED, "encrypted private key (PKCS#8) that no password opened");
		break;
	case KEY_CANT:
		pool_add_other(p, file, POOL_LOCKED, "encrypted private key (PKCS#8): %s", why);
		break;
	}
	X509_SIG_free(sig);
	return true;
}

bool pool_read_p7(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	PKCS7 *p7 = d2i_PKCS7(NULL, &at, (long)len);
	ERR_clear_error();
	if (!p7)
		return false;
	STACK_OF(X509) *certs = PKCS7_type_is_signed(p7) && p7->d.sign ? p7->d.sign->cert
				: PKCS7_type_is_signedAndEnveloped(p7) && p7->d.signed_and_enveloped
					? p7->d.signed_and_enveloped->cert
					: NULL;
	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509 *x = sk_X509_value(certs, i);
		X509_up_ref(x);
		pool_add_cert(p, file, x);
	}
	if (sk_X509_num(certs) <= 0)
		pool_add_other(p, file, POOL_NOTHING, "a PKCS#7 without certificates");
	PKCS7_free(p7);
	return true;
}

static bool read_cert(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	X509 *x = cert_from_der(der, len);
	if (x)
		pool_add_cert(p, file, x);
	return x != NULL;
}

/* PKCS#8, PKCS#1 and SEC1 all begin with a version. */
static bool read_key(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	static const struct {
		EVP_PKEY *(*from)(const uint8_t *, size_t);
		const char *form;
	} forms[] = {{key_from_pkcs8, "PKCS#8"}, {key_from_pkcs1, "PKCS#1"}, {key_from_sec1, "SEC1"}};
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		EVP_PKEY *key = forms[i].from(der, len);
		if (!key)
			continue;
		pool_add_key(p, file, key, forms[i].form);
		return true;
	}
	return false;
}

static bool read_one(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	switch (first_tag(der, len)) {
	case 0x30: /* SEQUENCE */
		return read_cert(p, file, der, len) || read_request(p, file, der, len) ||
		       pool_read_encrypted(p, file, der, len) || read_crl(p, file, der, len) ||
		       read_public(p, file, der, len);
	case 0x02: /* INTEGER */
		return pool_read_p12(p, file, der, len) || read_key(p, file, der, len);
	case 0x06: /* OBJECT IDENTIFIER */
		return pool_read_p7(p, file, der, len);
	default:
		return false;
	}
}

bool pool_read_der(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	bool found = false;
	while (len > 0) { /* some put one behind the other */
		size_t n = sequence_length(der, len);
		bool ber = !n && !found && len > 2 && der[0] == 0x30 && der[1] == 0x80;
		if (ber) /* indefinite length, as some write PKCS#7 and PKCS#12 */
			return der[2] == 0x06 ? pool_read_p7(p, file, der, len) : pool_read_p12(p, file, der, len);
		if (!n || !read_one(p, file, der, n))
			break;
		found = true;
		der += n;
		len -= n;
	}
	ERR_clear_error();
	return found;
}
