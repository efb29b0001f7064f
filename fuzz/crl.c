/* The scan of revocation lists against OpenSSL's parser. The bytes are read as they are, and as the tbsCertList of a
 * list that is then signed here: so what is behind the signature is reached too. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"
#include "pki/crl.h"
#include "pki/pki.h"

#define NOW    1795449600 /* 2026-11-23T16:00:00Z */
#define SAMPLE 64         /* entries that are compared */

static EVP_PKEY *key;
static X509 *issuer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	pki_init();
	key = EVP_EC_gen("P-256");
	issuer = X509_new();
	X509_NAME *name = X509_get_subject_name(issuer);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"Test Issuing CA", -1, -1, 0);
	X509_set_version(issuer, X509_VERSION_3);
	X509_set_issuer_name(issuer, name);
	ASN1_TIME_set(X509_getm_notBefore(issuer), NOW - 1000);
	ASN1_TIME_set(X509_getm_notAfter(issuer), NOW + 1000);
	X509_set_pubkey(issuer, key);
	MUST(X509_sign(issuer, key, EVP_sha256()) > 0);
	return 0;
}

static struct crl_scan *scan(const struct serial *serials, size_t n, const uint8_t *der, size_t len, size_t piece,
			     struct crl_list *ret)
{
	struct crl_scan *s = crl_scan_new(&(struct crl_options){.issuer = issuer, .now = NOW});
	for (size_t i = 0; i < n; i++)
		MUST(crl_scan_want(s, &(struct crl_want){.serial = serials[i]}) == (int)i);
	for (size_t at = 0; at < len; at += piece)
		if (crl_scan_feed(s, der + at, len - at < piece ? len - at : piece) < 0)
			break;
	crl_scan_finish(s, ret, NULL);
	return s;
}

/* A sound list: OpenSSL must see the same entries, number and reasons. */
static void compare(X509_CRL *crl, const struct crl_scan *s, const struct crl_list *list, const struct serial *serials,
		    size_t n)
{
	const STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);
	MUST(X509_CRL_verify(crl, key) == 1);
	MUST(list->entries == (uint64_t)(sk_X509_REVOKED_num(all) > 0 ? sk_X509_REVOKED_num(all) : 0));
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	MUST(!list->number.len || number);
	ASN1_INTEGER_free(number);
	for (size_t i = 0; i < n; i++) {
		struct crl_answer a;
		crl_scan_answer(s, i, &a);
		MUST(serials[i].len == 0 || a.listed);
		MUST(a.verdict != CRL_UNDETERMINED || a.why != CRL_WHY_LIST);
	}
}

static void differential(const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	struct serial serials[SAMPLE] = {0};
	size_t n = 0;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)len);
	const STACK_OF(X509_REVOKED) *all = crl ? X509_CRL_get_REVOKED(crl) : NULL;
	for (int i = 0; i < sk_X509_REVOKED_num(all) && n < SAMPLE; i++) {
		unsigned char *der_serial = NULL;
		int size = i2d_ASN1_INTEGER(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(all, i)), &der_serial);
		if (size > 2 && size < SERIAL_MAX &&
		    serial_from_bytes(der_serial + 2, (size_t)size - 2, &serials[n]) == 0)
			n++;
		OPENSSL_free(der_serial);
	}
	struct crl_list list, again;
	struct crl_scan *s = scan(serials, n, der, len, len ? len : 1, &list);
	crl_scan_free(scan(serials, n, der, len, 7, &again));
	/* of two things wrong either may be met first */
	MUST((list.state == CRL_SOUND) == (again.state == CRL_SOUND));
	MUST(list.state != CRL_SOUND || (list.entries == again.entries && list.bytes == again.bytes));
	if (crl && at == der + len && list.state == CRL_SOUND)
		compare(crl, s, &list, serials, n);
	crl_scan_free(s);
	X509_CRL_free(crl);
	ERR_clear_error();
}

static uint8_t *header(uint8_t *to, uint8_t tag, size_t len)
{
	*to++ = tag;
	if (len >= 0x10000)
		*to++ = 0x83, *to++ = (uint8_t)(len >> 16), *to++ = (uint8_t)(len >> 8);
	else if (len >= 0x100)
		*to++ = 0x82, *to++ = (uint8_t)(len >> 8);
	else if (len >= 0x80)
		*to++ = 0x81;
	*to++ = (uint8_t)len;
	return to;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const uint8_t algorithm[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
	differential(bytes, len);
	uint8_t signature[80];
	size_t n = sizeof signature;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	if (len > 100000 || EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(md, signature, &n, bytes, len) != 1)
		n = 0;
	EVP_MD_CTX_free(md);
	if (!n)
		return 0;
	uint8_t *der = xmalloc(len + 200), *to = header(der, 0x30, len + sizeof algorithm + n + 3);
	memcpy(to, bytes, len);
	to += len;
	memcpy(to, algorithm, sizeof algorithm);
	to = header(to + sizeof algorithm, 0x03, n + 1);
	*to++ = 0;
	memcpy(to, signature, n);
	differential(der, (size_t)(to + n - der));
	free(der);
	return 0;
}
