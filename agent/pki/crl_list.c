/* What a list says of itself: who signed it and how, and its extensions. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/crl_parts.h"
#include "pki/sources.h"

/* ---- the signature ---- */

int crl_digest(struct crl_scan *s, const uint8_t *p, size_t n)
{
	if (s->md)
		return EVP_DigestVerifyUpdate(s->md, p, n) == 1
			       ? 0
			       : crl_refuse(s, CRL_BAD_SIGNATURE, "the digest can't be computed");
	if (s->kept.len + n > CRL_KEPT_MAX)
		return crl_refuse(s, CRL_TOO_LARGE, "a list signed with Ed25519 is read up to %zu bytes", CRL_KEPT_MAX);
	text_add_bytes(&s->kept, p, n);
	return 0;
}

/* MD5 and SHA-1 no longer say who signed. */
static const EVP_MD *sound_digest(int nid)
{
	switch (nid) {
	case NID_sha224:
	case NID_sha256:
	case NID_sha384:
	case NID_sha512:
	case NID_sha3_224:
	case NID_sha3_256:
	case NID_sha3_384:
	case NID_sha3_512:
		return EVP_get_digestbynid(nid);
	default:
		return NULL;
	}
}

struct pss {
	const EVP_MD *md, *mask;
	int salt;
};

/* RFC 4055 3.1. Absent fields mean SHA-1, which is refused. */
static bool read_pss(const X509_ALGOR *algorithm, struct pss *ret)
{
	const void *value;
	int type;
	X509_ALGOR_get0(NULL, &type, &value, algorithm);
	RSA_PSS_PARAMS *p = type == V_ASN1_SEQUENCE
				    ? ASN1_item_unpack((const ASN1_STRING *)value, ASN1_ITEM_rptr(RSA_PSS_PARAMS))
				    : NULL;
	X509_ALGOR *hash = NULL;
	const ASN1_OBJECT *name;
	*ret = (struct pss){.salt = 20};
	if (p && p->hashAlgorithm && p->maskGenAlgorithm) {
		X509_ALGOR_get0(&name, &type, &value, p->maskGenAlgorithm);
		if (OBJ_obj2nid(name) == NID_mgf1 && type == V_ASN1_SEQUENCE)
			hash = ASN1_item_unpack((const ASN1_STRING *)value, ASN1_ITEM_rptr(X509_ALGOR));
		X509_ALGOR_get0(&name, NULL, NULL, p->hashAlgorithm);
		ret->md = sound_digest(OBJ_obj2nid(name));
	}
	if (hash) {
		X509_ALGOR_get0(&name, NULL, NULL, hash);
		ret->mask = sound_digest(OBJ_obj2nid(name));
	}
	bool good = ret->md && ret->mask && (!p->trailerField || ASN1_INTEGER_get(p->trailerField) == 1);
	if (p && p->saltLength)
		ret->salt = (int)ASN1_INTEGER_get(p->saltLength);
	X509_ALGOR_free(hash);
	RSA_PSS_PARAMS_free(p);
	return good && ret->salt >= 0 && ret->salt <= 512;
}

/* Starts the digest with the issuer's key. False: this can't be this key's signature. */
static bool start(struct crl_scan *s, const X509_ALGOR *algorithm, EVP_PKEY *key)
{
	const ASN1_OBJECT *name;
	int digest = NID_undef, kind = NID_undef;
	X509_ALGOR_get0(&name, NULL, NULL, algorithm);
	int nid = OBJ_obj2nid(name);
	if (OBJ_find_sigid_algs(nid, &digest, &kind) != 1)
		return false;
	if (nid == NID_ED25519)
		return s->keep = EVP_PKEY_is_a(key, "ED25519");
	struct pss pss = {.md = sound_digest(digest)};
	bool is_pss = nid == NID_rsassaPss;
	if (is_pss && !read_pss(algorithm, &pss))
		return false;
	bool fits = is_pss                      ? EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS")
		    : kind == NID_rsaEncryption ? EVP_PKEY_is_a(key, "RSA")
						: kind == NID_X9_62_id_ecPublicKey && EVP_PKEY_is_a(key, "EC");
	if (!fits || !pss.md)
		return false;
	EVP_PKEY_CTX *ctx;
	s->md = EVP_MD_CTX_new();
	if (!s->md || EVP_DigestVerifyInit(s->md, &ctx, pss.md, NULL, key) != 1)
		return false;
	return !is_pss || (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
			   EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, pss.salt) == 1 &&
			   EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, pss.mask) == 1);
}

int crl_take_algorithm(struct crl_scan *s, const uint8_t *p, size_t n)
{
	const unsigned char *at = p;
	X509_ALGOR *algorithm = d2i_X509_ALGOR(NULL, &at, (long)n);
	EVP_PKEY *key = X509_get0_pubkey(s->issuer);
	bool good = algorithm && at == p + n && key && start(s, algorithm, key);
	X509_ALGOR_free(algorithm);
	ERR_clear_error();
	if (!good)
		return crl_refuse(s, CRL_BAD_ALGORITHM,
				  "its signature algorithm is not known, is broken, or does not fit the issuer's key");
	s->algorithm = xmemdup(p, n);
	s->algorithm_len = n;
	if (!s->md)
		return 0;
	struct text head = s->kept; /* from the beginning of tbsCertList up to here */
	s->kept = (struct text){0};
	int r = crl_digest(s, (const uint8_t *)head.s, head.len);
	text_done(&head);
	return r;
}

int crl_take_signature(struct crl_scan *s, const uint8_t *p, size_t n)
{
	size_t header = 0;
	uint64_t len = 0;
	crl_header(p, n, &header, &len);
	if (len < 2 || p[header] != 0) /* unused bits */
		return crl_refuse(s, CRL_MALFORMED, "its signature is damaged");
	s->signature_len = (size_t)len - 1;
	s->signature = xmemdup(p + header + 1, s->signature_len);
	return 0;
}

int crl_check_signature(struct crl_scan *s)
{
	int r = 0;
	if (s->keep) {
		s->md = EVP_MD_CTX_new();
		if (s->md && EVP_DigestVerifyInit(s->md, NULL, NULL, NULL, X509_get0_pubkey(s->issuer)) == 1)
			r = EVP_DigestVerify(s->md, s->signature, s->signature_len, (const uint8_t *)s->kept.s,
					     s->kept.len);
	} else {
		r = EVP_DigestVerifyFinal(s->md, s->signature, s->signature_len);
	}
	ERR_clear_error();
	return r == 1 ? 0
		      : crl_refuse(
				s, CRL_BAD_SIGNATURE,
				"its signature is not the issuer's: forged, damaged, or from another key of that name");
}

/* ---- the issuer ---- */

int crl_take_issuer(struct crl_scan *s, const uint8_t *p, size_t n)
{
	const uint8_t *der;
	size_t len;
	if (X509_NAME_get0_der(X509_get_subject_name(s->issuer), &der, &len) == 1 && len == n && memcmp(der, p, n) == 0)
		return 0;
	return crl_refuse(s, CRL_WRONG_ISSUER, "it is another CA's list");
}

/* ---- extensions ---- */

static int take_key_id(struct crl_scan *s, X509_EXTENSION *e)
{
	AUTHORITY_KEYID *id = X509V3_EXT_d2i(e);
	const ASN1_OCTET_STRING *own = X509_get0_subject_key_id(s->issuer);
	bool whole = id != NULL, differs = id && id->keyid && own && ASN1_OCTET_STRING_cmp(id->keyid, own) != 0;
	AUTHORITY_KEYID_free(id);
	if (!whole)
		return crl_refuse(s, CRL_MALFORMED, "its authority key identifier is damaged");
	return differs ? crl_refuse(s, CRL_WRONG_ISSUER, "it names another key of this CA") : 0;
}

static int take_number(struct crl_scan *s, X509_EXTENSION *e)
{
	ASN1_INTEGER *n = X509V3_EXT_d2i(e);
	bool good = n && ASN1_STRING_type(n) == V_ASN1_INTEGER &&
		    ASN1_STRING_length(n) <= (int)sizeof s->list.number.b; /* RFC 5280 5.2.3 */
	if (good) {
		s->list.number.len = (uint8_t)ASN1_STRING_length(n);
		memcpy(s->list.number.b, ASN1_STRING_get0_data(n), s->list.number.len);
		if (s->list.number.len == 1 && !s->list.number.b[0])
			s->list.number.len = 0;
	}
	ASN1_INTEGER_free(n);
	return good ? 0 : crl_refuse(s, CRL_MALFORMED, "its CRLNumber is none");
}

static int take_scope(struct crl_scan *s, X509_EXTENSION *e)
{
	ISSUING_DIST_POINT *idp = X509V3_EXT_d2i(e);
	if (!idp)
		return crl_refuse(s, CRL_MALFORMED, "its issuing distribution point is damaged");
	bool indirect = idp->indirectCRL > 0, attributes = idp->onlyattr > 0;
	s->users_only = idp->onlyuser > 0;
	s->cas_only = idp->onlyCA > 0;
	s->list.partial = idp->onlysomereasons != NULL;
	s->list.scoped = idp->distpoint != NULL;
	if (idp->distpoint && idp->distpoint->type == 0)
		for (int i = 0; i < sk_GENERAL_NAME_num(idp->distpoint->name.fullname); i++)
			sources_add_name(&s->points, sk_GENERAL_NAME_value(idp->distpoint->name.fullname, i));
	ISSUING_DIST_POINT_free(idp);
	if (indirect)
		return crl_refuse(s, CRL_INDIRECT, "it is an indirect list, which are not used");
	return attributes ? crl_refuse(s, CRL_ATTRIBUTES, "it covers attribute certificates only") : 0;
}

static int take_extension(struct crl_scan *s, X509_EXTENSION *e)
{
	switch (OBJ_obj2nid(X509_EXTENSION_get_object(e))) {
	case NID_authority_key_identifier:
		return take_key_id(s, e);
	case NID_crl_number:
		return take_number(s, e);
	case NID_issuing_distribution_point:
		return take_scope(s, e);
	case NID_delta_crl:
		return crl_refuse(s, CRL_DELTA, "it is a delta list, which are not used");
	default:
		return X509_EXTENSION_get_critical(e)
			       ? crl_refuse(s, CRL_CRITICAL, "it has a critical extension that is not known here")
			       : 0;
	}
}

static bool is_twice(STACK_OF(X509_EXTENSION) * all, int index)
{
	const ASN1_OBJECT *name = X509_EXTENSION_get_object(sk_X509_EXTENSION_value(all, index));
	return X509v3_get_ext_by_OBJ(all, name, index) >= 0;
}

int crl_take_extensions(struct crl_scan *s, const uint8_t *p, size_t n)
{
	size_t header = 0;
	uint64_t len = 0;
	crl_header(p, n, &header, &len);
	const unsigned char *at = p + header;
	STACK_OF(X509_EXTENSION) *all = s->v2 ? d2i_X509_EXTENSIONS(NULL, &at, (long)len) : NULL;
	bool whole = all && at == p + n;
	for (int i = 0; i < sk_X509_EXTENSION_num(all); i++)
		whole &= !is_twice(all, i);
	int r = whole ? 0 : crl_refuse(s, CRL_MALFORMED, "its extensions are damaged");
	for (int i = 0; r == 0 && i < sk_X509_EXTENSION_num(all); i++)
		r = take_extension(s, sk_X509_EXTENSION_value(all, i));
	sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
	ERR_clear_error();
	return r;
}
