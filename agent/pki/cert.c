#include "pki/cert.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ct.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"

#define DN_MAX             500 /* bytes of a name for people */
#define TLS_STATUS_REQUEST 5   /* RFC 6066 8 */

X509 *cert_from_der(const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	X509 *x = len > 0 && len < 1 << 24 ? d2i_X509(NULL, &at, (long)len) : NULL;
	if (x && (at != der + len || !X509_get_X509_PUBKEY(x))) {
		X509_free(x);
		x = NULL;
	}
	ERR_clear_error();
	return x;
}

struct digest cert_digest(const X509 *x)
{
	struct digest d = {0};
	unsigned int n = sizeof d.b;
	X509_digest(x, EVP_sha256(), d.b, &n);
	return d;
}

struct digest cert_spki(const X509 *x)
{
	struct digest d = {0};
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	if (n > 0)
		d = hash_bytes(der, (size_t)n);
	OPENSSL_free(der);
	return d;
}

bool cert_equal(const X509 *a, const X509 *b)
{
	struct digest da = cert_digest(a), db = cert_digest(b);
	return digest_equal(&da, &db);
}

bool cert_is_ca(X509 *x)
{
	return (X509_get_extension_flags(x) & EXFLAG_CA) != 0;
}

bool cert_is_self_signed(X509 *x)
{
	return (X509_get_extension_flags(x) & EXFLAG_SS) != 0;
}

static int64_t seconds(const ASN1_TIME *t)
{
	struct tm tm;
	return t && ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

int64_t cert_not_before(const X509 *x)
{
	return seconds(X509_get0_notBefore(x));
}

int64_t cert_not_after(const X509 *x)
{
	return seconds(X509_get0_notAfter(x));
}

char *cert_serial(const X509 *x)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
	const unsigned char *b = ASN1_STRING_get0_data(serial);
	int n = ASN1_STRING_length(serial);
	for (; n > 1 && !*b; b++)
		n--;
	if (n > 64) /* RFC 5280 4.1.2.2 allows 20 */
		n = 64;
	char hex[2 * 64 + 1] = "0";
	text_hex(b, (size_t)n, hex);
	const char *digits = hex[0] == '0' && hex[1] ? hex + 1 : hex;
	return xasprintf("%s%s", ASN1_STRING_type(serial) & V_ASN1_NEG ? "-" : "", digits);
}

static char *name_text(const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *s = NULL;
	if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
		char *data;
		long n = BIO_get_mem_data(bio, &data);
		size_t len = n > DN_MAX ? DN_MAX : n < 0 ? 0 : (size_t)n;
		while (n > DN_MAX && len && ((unsigned char)data[len] & 0xc0) == 0x80)
			len--;
		s = text_printable(xstrndup(data, len));
	}
	BIO_free(bio);
	return s ? s : xstrdup("?");
}

char *cert_issuer(const X509 *x)
{
	return name_text(X509_get_issuer_name(x));
}

char *cert_subject(const X509 *x)
{
	return name_text(X509_get_subject_name(x));
}

char *cert_issuer_ski(const X509 *x)
{
	struct text t = {0};
	/* OpenSSL keeps what it found in the certificate, hence no const */
	const ASN1_OCTET_STRING *id = X509_get0_authority_key_id((X509 *)(uintptr_t)x);
	const unsigned char *bytes = id ? ASN1_STRING_get0_data(id) : NULL;
	int len = id ? ASN1_STRING_length(id) : 0;
	for (int i = 0; i < len && i < 64; i++)
		text_add(&t, "%02x", bytes[i]);
	return t.s ? t.s : xstrdup("");
}

/* Adds a name unless the limits are reached. A NUL or another control character inside is an old trick to show one name
 * and mean another: such a name counts for nothing. */
static bool add_name(struct words *names, size_t *bytes, const unsigned char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] <= 0x20 || s[i] == 0x7f)
			return true;
	if (!len)
		return true;
	*bytes += len + 2;
	if (names->n >= CERT_NAMES_MAX || *bytes > CERT_NAMES_BYTES_MAX || len > 1024)
		return false;
	words_add_n(names, (const char *)s, len);
	return true;
}

static bool add_general_name(struct words *names, size_t *bytes, const GENERAL_NAME *g)
{
	if (g->type == GEN_DNS)
		return add_name(names, bytes, ASN1_STRING_get0_data(g->d.dNSName),
				(size_t)ASN1_STRING_length(g->d.dNSName));
	if (g->type != GEN_IPADD)
		return true;
	int n = ASN1_STRING_length(g->d.iPAddress);
	char text[INET6_ADDRSTRLEN];
	if ((n != 4 && n != 16) ||
	    !inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(g->d.iPAddress), text, sizeof text))
		return true;
	return add_name(names, bytes, (const unsigned char *)text, strlen(text));
}

static void add_common_name(X509 *x, struct words *names)
{
	const X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	if (at < 0)
		return;
	unsigned char *s = NULL;
	int n = ASN1_STRING_to_UTF8(&s, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	size_t bytes = 0;
	if (n > 0)
		add_name(names, &bytes, s, (size_t)n);
	OPENSSL_free(s);
}

enum cert_names cert_names(X509 *x, struct words *names)
{
	GENERAL_NAMES *san = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	ERR_clear_error();
	bool fits = true;
	size_t bytes = 0, before = names->n;
	for (int i = 0; san && i < sk_GENERAL_NAME_num(san); i++)
		fits &= add_general_name(names, &bytes, sk_GENERAL_NAME_value(san, i));
	GENERAL_NAMES_free(san);
	if (!fits)
		return CERT_NAMES_TOO_MANY;
	if (names->n > before)
		return CERT_NAMES_SAN;
	if (!san)
		add_common_name(x, names);
	return names->n > before ? CERT_NAMES_CN : CERT_NAMES_NONE;
}

bool cert_covers(X509 *x, const char *name)
{
	size_t n = strlen(name);
	if (n && name[n - 1] == '.')
		n--;
	char *host = xstrndup(name, n);
	unsigned char address[16];
	bool good;
	if (inet_pton(strchr(host, ':') ? AF_INET6 : AF_INET, host, address) == 1) {
		good = X509_check_ip_asc(x, host, 0) == 1;
	} else {
		if (host[0] == '*' && host[1] == '.') { /* any label in the place of the star */
			char *label = xasprintf("any%s", host + 1);
			free(host);
			host = label;
		}
		good = X509_check_host(x, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
	}
	free(host);
	ERR_clear_error();
	return good;
}

static char *curve_type(const EVP_PKEY *key)
{
	static const struct {
		int nid;
		const char *text;
	} curves[] = {
		{NID_X9_62_prime256v1, "ecdsa-p256"}, {NID_secp384r1, "ecdsa-p384"}, {NID_secp521r1, "ecdsa-p521"}};
	char group[64] = "";
	if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1)
		return xstrdup("ecdsa-explicit-parameters");
	for (size_t i = 0; i < ARRAY_SIZE(curves); i++)
		if (OBJ_txt2nid(group) == curves[i].nid)
			return xstrdup(curves[i].text);
	return xasprintf("ecdsa-%s", group);
}

char *cert_key_type(const EVP_PKEY *key)
{
	if (!key)
		return xstrdup("unknown");
	if (EVP_PKEY_is_a(key, "RSA"))
		return xasprintf("rsa-%d", EVP_PKEY_get_bits(key));
	if (EVP_PKEY_is_a(key, "RSA-PSS"))
		return xasprintf("rsa-pss-%d", EVP_PKEY_get_bits(key));
	if (EVP_PKEY_is_a(key, "EC"))
		return curve_type(key);
	const char *name = EVP_PKEY_get0_type_name(key);
	char *s = xstrdup(name ? name : "unknown");
	for (char *c = s; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return s;
}

unsigned cert_sct_logs(X509 *x)
{
	STACK_OF(SCT) *list = X509_get_ext_d2i(x, NID_ct_precert_scts, NULL, NULL);
	ERR_clear_error();
	unsigned logs = 0;
	for (int i = 0; list && i < sk_SCT_num(list); i++) {
		unsigned char *id, *other;
		size_t n = SCT_get0_log_id(sk_SCT_value(list, i), &id);
		bool seen = n == 0;
		for (int j = 0; j < i && !seen; j++)
			seen = SCT_get0_log_id(sk_SCT_value(list, j), &other) == n && memcmp(id, other, n) == 0;
		logs += !seen;
	}
	SCT_LIST_free(list);
	return logs;
}

bool cert_must_staple(X509 *x)
{
	TLS_FEATURE *features = X509_get_ext_d2i(x, NID_tlsfeature, NULL, NULL);
	ERR_clear_error();
	bool found = false;
	for (int i = 0; features && i < sk_ASN1_INTEGER_num(features); i++)
		found |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLS_STATUS_REQUEST;
	TLS_FEATURE_free(features);
	return found;
}

bool cert_has_status_source(X509 *x)
{
	bool found = X509_get_ext_by_NID(x, NID_crl_distribution_points, -1) >= 0;
	AUTHORITY_INFO_ACCESS *aia = X509_get_ext_d2i(x, NID_info_access, NULL, NULL);
	ERR_clear_error();
	for (int i = 0; aia && i < sk_ACCESS_DESCRIPTION_num(aia); i++)
		found |= OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(aia, i)->method) == NID_ad_OCSP;
	AUTHORITY_INFO_ACCESS_free(aia);
	return found;
}

const char *cert_weak_digest(X509 *x)
{
	int digest = NID_undef;
	if (X509_get_signature_info(x, &digest, NULL, NULL, NULL) != 1)
		return NULL;
	switch (digest) {
	case NID_md2:
		return "MD2";
	case NID_md4:
		return "MD4";
	case NID_md5:
	case NID_md5_sha1:
		return "MD5";
	case NID_sha1:
		return "SHA-1";
	default:
		return NULL;
	}
}
