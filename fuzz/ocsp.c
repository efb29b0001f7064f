/* OCSP answers: as they are, and as the ResponseData of an answer that is signed here. */
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"
#include "pki/ocsp.h"
#include "pki/pki.h"

#define NOW 1795449600 /* 2026-11-23T16:00:00Z */

static EVP_PKEY *key;
static X509 *issuer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* the key is the same in each run: the corpus holds the hash of it */
	static const uint8_t der[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
				      0x04, 0x22, 0x04, 0x20, 1,    2,    3,    4,    5,    6,    7,    8,
				      9,    10,   11,   12,   13,   14,   15,   16,   17,   18,   19,   20,
				      21,   22,   23,   24,   25,   26,   27,   28,   29,   30,   31,   32};
	const unsigned char *at = der;
	pki_init();
	key = d2i_AutoPrivateKey(NULL, &at, sizeof der);
	issuer = X509_new();
	X509_NAME *name = X509_get_subject_name(issuer);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"Test Issuing CA", -1, -1, 0);
	X509_set_version(issuer, X509_VERSION_3);
	X509_set_issuer_name(issuer, name);
	ASN1_TIME_set(X509_getm_notBefore(issuer), NOW - 1000);
	ASN1_TIME_set(X509_getm_notAfter(issuer), NOW + 1000);
	X509_set_pubkey(issuer, key);
	MUST(X509_sign(issuer, key, NULL) > 0);
	return 0;
}

static void judge(const uint8_t *bytes, size_t len)
{
	static const uint8_t nonce[OCSP_NONCE] = "0123456789abcdef0123456789abcde";
	struct ocsp_question q = {
		.issuer = issuer, .serial = {.len = 2, .b = {0x10, 0x01}}, .nonce = nonce, .now = NOW};
	struct ocsp_answer a;
	struct fault fault = {0};
	enum ocsp_state state = ocsp_judge(&q, bytes, len, &a, &fault);
	MUST(state < OCSP_STATES && ocsp_state_name(state));
	MUST(ocsp_state_is_signed(state) == (*fault.text == '\0'));
	if (ocsp_state_is_signed(state))
		MUST(a.this_update <= NOW + OCSP_TOLERANCE && a.next_update >= NOW - OCSP_TOLERANCE);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	judge(bytes, len);
	const unsigned char *at = bytes;
	OCSP_RESPDATA *data = (OCSP_RESPDATA *)ASN1_item_d2i(NULL, &at, (long)len, ASN1_ITEM_rptr(OCSP_RESPDATA));
	uint8_t signature[64], alg[] = {0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70};
	size_t n = sizeof signature, body = len + sizeof alg + 3 + n;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	if (data && len < 60000 && EVP_DigestSignInit(md, NULL, NULL, NULL, key) == 1 &&
	    EVP_DigestSign(md, signature, &n, bytes, len) == 1) {
		/* OCSPResponse { successful, { basic, OCTET STRING { BasicOCSPResponse } } }, with long lengths
		 * throughout */
		static const uint8_t oid[] = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01};
		uint8_t *der = xmalloc(body + 64), *to = der;
		const size_t lens[] = {body + 4 * 4 + 3 + sizeof oid, body + 4 * 3 + sizeof oid,
				       body + 4 * 2 + sizeof oid, body + 4, body};
		const uint8_t tags[] = {0x30, 0xa0, 0x30, 0x04, 0x30};
		for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
			if (i == 1)
				memcpy(to, "\x0a\x01\x00", 3), to += 3;
			if (i == 3)
				memcpy(to, oid, sizeof oid), to += sizeof oid;
			*to++ = tags[i];
			*to++ = 0x82;
			*to++ = (uint8_t)(lens[i] >> 8);
			*to++ = (uint8_t)lens[i];
		}
		memcpy(to, bytes, len);
		memcpy(to + len, alg, sizeof alg);
		to += len + sizeof alg;
		memcpy(to, "\x03\x41\x00", 3);
		memcpy(to + 3, signature, n);
		judge(der, (size_t)(to + 3 + n - der));
		free(der);
	}
	EVP_MD_CTX_free(md);
	ASN1_item_free((ASN1_VALUE *)data, ASN1_ITEM_rptr(OCSP_RESPDATA));
	ERR_clear_error();
	return 0;
}
