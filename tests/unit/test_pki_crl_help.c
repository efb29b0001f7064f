#include "test_pki_crl_help.h"

#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/pem.h"
#include "pki/sources.h"

static X509_EXTENSION *extension(const char *name, const char *value, X509 *issuer, X509_CRL *crl)
{
	X509V3_CTX ctx;
	X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
	X509V3_set_nconf(&ctx, NULL);
	X509_EXTENSION *e = X509V3_EXT_nconf(NULL, &ctx, name, value);
	if (!e)
		abort();
	return e;
}

static void extend(X509_CRL *crl, const char *name, const char *value, X509 *issuer)
{
	X509_EXTENSION *e = extension(name, value, issuer, crl);
	X509_CRL_add_ext(crl, e, -1);
	X509_EXTENSION_free(e);
}

static void list_one(X509_CRL *crl, const ASN1_INTEGER *serial, const struct listed *l)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_TIME *at = ASN1_TIME_set(NULL, l->at ? l->at : NOW - DAY);
	X509_REVOKED_set_serialNumber(r, (ASN1_INTEGER *)(uintptr_t)serial);
	X509_REVOKED_set_revocationDate(r, at);
	ASN1_TIME_free(at);
	if (l->reason >= 0) {
		ASN1_ENUMERATED *code = ASN1_ENUMERATED_new();
		ASN1_ENUMERATED_set(code, l->reason);
		X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, code, 0, 0);
		ASN1_ENUMERATED_free(code);
	}
	if (l->more[0]) {
		X509_EXTENSION *e = extension(l->more[0], l->more[1], NULL, crl);
		X509_REVOKED_add_ext(r, e, -1);
		X509_EXTENSION_free(e);
	}
	X509_CRL_add0_revoked(crl, r);
}

static void sign(X509_CRL *crl, const struct crl_wish *w, EVP_PKEY *key)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx;
	const EVP_MD *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : w->digest ? w->digest : EVP_sha256();
	if (EVP_DigestSignInit(md, &ctx, digest, NULL, key) != 1 ||
	    (w->pss && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) != 1) ||
	    X509_CRL_sign_ctx(crl, md) <= 0)
		abort();
	EVP_MD_CTX_free(md);
}

struct bytes make_crl(const struct crl_wish *w, const struct made *issuer)
{
	X509_CRL *crl = X509_CRL_new();
	if (!w->v1)
		X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->x509));
	ASN1_TIME *t = ASN1_TIME_set(NULL, w->from ? w->from : NOW - 3600);
	X509_CRL_set1_lastUpdate(crl, t);
	ASN1_TIME_set(t, w->until ? w->until : NOW + 7 * DAY);
	if (w->until != -1)
		X509_CRL_set1_nextUpdate(crl, t);
	ASN1_TIME_free(t);
	if (!w->v1) {
		if (!w->no_key_id)
			extend(crl, "authorityKeyIdentifier", "keyid", issuer->x509);
		ASN1_INTEGER *n = s2i_ASN1_INTEGER(NULL, w->number && *w->number ? w->number : "7");
		if (!w->number || *w->number)
			X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0);
		ASN1_INTEGER_free(n);
	}
	if (w->idp)
		extend(crl, "issuingDistributionPoint", w->idp, issuer->x509);
	if (w->more[0])
		extend(crl, w->more[0], w->more[1], issuer->x509);
	for (size_t i = 0; i < w->fill; i++) {
		ASN1_INTEGER *serial = ASN1_INTEGER_new();
		ASN1_INTEGER_set_uint64(serial, 0x9000000000000001 + i * 0x10003);
		list_one(crl, serial, &(struct listed){.reason = i % 3 ? -1 : 4});
		ASN1_INTEGER_free(serial);
	}
	for (size_t i = 0; i < w->n; i++)
		list_one(crl, X509_get0_serialNumber(w->entries[i].x509), &w->entries[i]);
	sign(crl, w, w->signer ? w->signer : issuer->key);
	struct bytes ret = {0};
	int n = i2d_X509_CRL(crl, &ret.b);
	if (n <= 0)
		abort();
	ret.n = (size_t)n;
	X509_CRL_free(crl);
	return ret;
}

char *crl_pem(const struct bytes *der)
{
	struct text t = {0};
	pem_write(&t, "X509 CRL", der->b, der->n);
	return t.s;
}

struct scanned scan_with(const struct crl_options *o, const void *bytes, size_t n, X509 *leaf, size_t piece)
{
	struct scanned ret = {0};
	struct words points = {0};
	sources_points(leaf, &points);
	struct crl_want want = {.ca = cert_is_ca(leaf), .points = &points};
	if (serial_of(leaf, &want.serial) < 0)
		abort();
	struct crl_scan *scan = crl_scan_new(o);
	size_t index = (size_t)crl_scan_want(scan, &want);
	for (size_t at = 0; at < n;) {
		size_t more = piece && n - at > piece ? piece : n - at;
		/* a copy of its own, so that a sanitizer sees a read beyond it */
		void *copy = xmemdup((const uint8_t *)bytes + at, more);
		int r = crl_scan_feed(scan, copy, more);
		free(copy);
		if (r < 0)
			break;
		at += more;
	}
	crl_scan_finish(scan, &ret.list, &ret.fault);
	crl_scan_answer(scan, index, &ret.answer);
	crl_scan_free(scan);
	words_done(&points);
	return ret;
}

struct scanned scan_list(const void *bytes, size_t n, X509 *leaf, X509 *issuer, size_t piece)
{
	return scan_with(&(struct crl_options){.issuer = issuer, .now = NOW}, bytes, n, leaf, piece);
}
