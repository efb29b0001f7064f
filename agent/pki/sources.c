#include "pki/sources.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/pool.h"

static void add(struct words *ret, const char *s, size_t len)
{
	if (ret->n >= SOURCES_MAX || !len || len > SOURCES_BYTES_MAX || memchr(s, '\0', len))
		return;
	char *word = xstrndup(s, len);
	if (!words_has(ret, word))
		words_add(ret, word);
	free(word);
}

void sources_add_name(struct words *ret, const GENERAL_NAME *name)
{
	if (name->type == GEN_URI) {
		const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
		const char *s = (const char *)ASN1_STRING_get0_data(uri);
		if (*s != '#')
			add(ret, s, (size_t)ASN1_STRING_length(uri));
		return;
	}
	unsigned char *der = NULL;
	int n = i2d_GENERAL_NAME(name, &der);
	if (n > 0 && n < SOURCES_BYTES_MAX / 2) {
		char hex[SOURCES_BYTES_MAX + 2] = "#";
		text_hex(der, (size_t)n, hex + 1);
		add(ret, hex, 1 + 2 * (size_t)n);
	}
	OPENSSL_free(der);
}

void sources_points(const X509 *x, struct words *ret)
{
	CRL_DIST_POINTS *points = X509_get_ext_d2i(x, NID_crl_distribution_points, NULL, NULL);
	ERR_clear_error();
	for (int i = 0; points && i < sk_DIST_POINT_num(points); i++) {
		const DIST_POINT *p = sk_DIST_POINT_value(points, i);
		if (p->CRLissuer || !p->distpoint || p->distpoint->type != 0)
			continue;
		const GENERAL_NAMES *names = p->distpoint->name.fullname;
		for (int j = 0; j < sk_GENERAL_NAME_num(names); j++)
			sources_add_name(ret, sk_GENERAL_NAME_value(names, j));
	}
	CRL_DIST_POINTS_free(points);
}

/* An address that may be asked: http or https, nothing in it that could end a line or a word. */
static bool is_fetchable(const char *s)
{
	if (strncasecmp(s, "http://", 7) != 0 && strncasecmp(s, "https://", 8) != 0)
		return false;
	for (; *s; s++)
		if (*s <= 0x20 || *s == 0x7f)
			return false;
	return true;
}

void sources_crls(const X509 *x, struct words *ret)
{
	struct words all = {0};
	sources_points(x, &all);
	for (size_t i = 0; i < all.n; i++)
		if (is_fetchable(all.v[i]))
			add(ret, all.v[i], strlen(all.v[i]));
	words_done(&all);
}

static void access_urls(const X509 *x, int method, struct words *ret)
{
	AUTHORITY_INFO_ACCESS *aia = X509_get_ext_d2i(x, NID_info_access, NULL, NULL);
	ERR_clear_error();
	struct words all = {0};
	for (int i = 0; aia && i < sk_ACCESS_DESCRIPTION_num(aia); i++) {
		const ACCESS_DESCRIPTION *d = sk_ACCESS_DESCRIPTION_value(aia, i);
		if (OBJ_obj2nid(d->method) == method && d->location->type == GEN_URI)
			sources_add_name(&all, d->location);
	}
	AUTHORITY_INFO_ACCESS_free(aia);
	for (size_t i = 0; i < all.n; i++)
		if (is_fetchable(all.v[i]))
			add(ret, all.v[i], strlen(all.v[i]));
	words_done(&all);
}

void sources_ocsp(const X509 *x, struct words *ret)
{
	access_urls(x, NID_ad_OCSP, ret);
}

void sources_issuers(const X509 *x, struct words *ret)
{
	access_urls(x, NID_ad_ca_issuers, ret);
}

/* Names, key identifiers and keyUsage fit (RFC 5280 4.2.1.1, 4.2.1.3), it is a CA's, and its key made the signature. */
static bool signed_by(X509 *x, X509 *issuer)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	bool good = key && cert_is_ca(issuer) && X509_check_issued(issuer, x) == X509_V_OK && X509_verify(x, key) == 1;
	ERR_clear_error();
	return good;
}

X509 *sources_issuer(X509 *x, const void *bytes, size_t len)
{
	struct words none = {0};
	struct pool pool = {.passwords = &none};
	X509 *found = NULL;
	if (len > 0 && len <= SOURCES_ANSWER_MAX)
		pool_read(&pool, 0, bytes, len);
	for (size_t i = 0; i < pool.ncerts && !found; i++)
		if (signed_by(x, pool.certs[i].x509))
			found = pool.certs[i].x509;
	if (found)
		X509_up_ref(found);
	pool_done(&pool);
	return found;
}
