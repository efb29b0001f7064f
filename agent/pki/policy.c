#include "pki/policy.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"

#define DAY           86400
#define RSA_BITS_MIN  2048                 /* BR 6.1.5 */
#define SCT_LONG_LIFE (180 * (int64_t)DAY) /* a longer life wants one more log: Chrome's and Apple's CT policies */
#define NAMES_SHOWN   8

int policy_days_max(int64_t not_before)
{
	static const struct {
		int64_t until;
		int days;
	} limits[] = {
		{1519862400, 1187}, /* 2018-03-01: 39 months before */
		{1598918400, 825},  /* 2020-09-01 */
		{1773532800, 398},  /* 2026-03-15 */
		{1805068800, 200},  /* 2027-03-15 */
		{1868227200, 100},  /* 2029-03-15 */
	};
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (not_before < limits[i].until)
			return limits[i].days;
	return 47;
}

bool policy_is_short_lived(int64_t not_before, int64_t not_after)
{
	int days = not_before < 1773532800 ? 10 : 7; /* 2026-03-15 */
	return not_after - not_before + 1 <= days * (int64_t)DAY;
}

void policy_missing_names(X509 *leaf, const struct words *required, struct words *ret)
{
	struct words names = {0};
	cert_names(leaf, &names);
	for (size_t i = 0; i < required->n; i++) {
		bool covered = false;
		for (size_t j = 0; j < names.n && !covered; j++)
			covered = text_name_covers(names.v[j], required->v[i]);
		if (!covered || !cert_covers(leaf, required->v[i]))
			words_add(ret, required->v[i]);
	}
	words_done(&names);
}

static void judge_names(const struct policy_subject *s, X509 *leaf, struct findings *f)
{
	struct words names = {0}, missing = {0};
	switch (cert_names(leaf, &names)) {
	case CERT_NAMES_SAN:
		break;
	case CERT_NAMES_CN:
		findings_add(
			f, FINDING_NAME_NONE, FINDING_BLOCK,
			"It has no subject alternative name, only the common name %s, which browsers do not look at.",
			names.v[0]);
		break;
	case CERT_NAMES_NONE:
		findings_add(f, FINDING_NAME_NONE, FINDING_BLOCK, "It has no host name and no address in it.");
		break;
	case CERT_NAMES_TOO_MANY:
		findings_add(f, FINDING_TOO_LARGE, FINDING_BLOCK, "It has more than %d names, or too long ones.",
			     CERT_NAMES_MAX);
		break;
	}
	policy_missing_names(leaf, s->required, &missing);
	if (missing.n) {
		struct words shown = {.v = missing.v, .n = missing.n < NAMES_SHOWN ? missing.n : NAMES_SHOWN};
		char *list = words_join(&shown, ", "), *has = words_join(&names, ", ");
		findings_add(f, FINDING_NAME_MISSING, FINDING_BLOCK, "It does not cover %s%s; its names are %s.", list,
			     missing.n > shown.n ? " and others" : "", names.n ? has : "none");
		free(list);
		free(has);
	}
	words_done(&names);
	words_done(&missing);
}

static void judge_dates(const struct policy_subject *s, const X509 *leaf, struct findings *f)
{
	char date[32];
	int64_t from = cert_not_before(leaf), until = cert_not_after(leaf);
	if (until < s->now)
		findings_add(f, FINDING_EXPIRED, FINDING_BLOCK, "It expired on %s.", text_from_time(until, date));
	if (from > s->now)
		findings_add(f, FINDING_NOT_YET_VALID, FINDING_BLOCK, "It is valid only from %s on.",
			     text_from_time(from, date));
	/* both ends belong to the time (RFC 5280 4.1.2.5), and a second more is a day more (BR 6.3.2) */
	int64_t days = (until - from + DAY) / DAY;
	int limit = policy_days_max(from);
	if (s->public_rules && days > limit)
		findings_add(f, FINDING_VALIDITY_TOO_LONG, FINDING_BLOCK,
			     "It is valid for %lld days; publicly trusted ones issued on %.10s may be for %d.",
			     (long long)days, text_from_time(from, date), limit);
}

static void judge_usage(const struct policy_subject *s, X509 *leaf, struct findings *f)
{
	uint32_t flags = X509_get_extension_flags(leaf);
	if (flags & EXFLAG_CA)
		findings_add(f, FINDING_IS_CA, FINDING_BLOCK, "It is a CA certificate (basicConstraints cA is true).");
	if (!(flags & EXFLAG_XKUSAGE))
		findings_add(f, FINDING_USAGE_SERVER_AUTH, s->public_rules ? FINDING_BLOCK : FINDING_WARN,
			     "It has no extended key usage; serverAuth is what clients look for.");
	else if (!(X509_get_extended_key_usage(leaf) & XKU_SSL_SERVER))
		findings_add(f, FINDING_USAGE_SERVER_AUTH, FINDING_BLOCK,
			     "Its extended key usage does not hold serverAuth: it was issued for something else.");
	if ((flags & EXFLAG_KUSAGE) && !(X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE))
		findings_add(f, FINDING_USAGE_SIGNATURE, FINDING_BLOCK,
			     "Its key usage does not hold digitalSignature: TLS 1.3 and ECDHE are impossible with it.");
}

static void judge_status(const struct policy_subject *s, X509 *leaf, struct findings *f)
{
	int64_t from = cert_not_before(leaf), until = cert_not_after(leaf);
	unsigned logs = cert_sct_logs(leaf), wanted = until - from + 1 > SCT_LONG_LIFE ? 3 : 2;
	if (s->public_rules && logs < wanted)
		findings_add(
			f, FINDING_SCT_MISSING, FINDING_BLOCK,
			"It carries SCTs of %u Certificate Transparency logs; browsers want %u for its life of %lld "
			"days.",
			logs, wanted, (long long)((until - from + DAY) / DAY));
	if (!cert_has_status_source(leaf) && !policy_is_short_lived(from, until))
		findings_add(f, FINDING_NO_STATUS_SOURCE, FINDING_WARN,
			     "It names neither a CRL nor an OCSP responder: a revocation can't be seen.");
	if (cert_must_staple(leaf))
		findings_add(f, FINDING_MUST_STAPLE, FINDING_WARN,
			     "It demands a stapled OCSP response (must-staple) in every handshake.");
}

static void judge_rsa(const struct policy_subject *s, const EVP_PKEY *key, struct findings *f)
{
	BIGNUM *n = NULL, *e = NULL;
	int bits = EVP_PKEY_get_bits(key);
	if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
	    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) != 1) {
		BN_free(n);
		return;
	}
	if (weak_list_has(s->weak, n))
		findings_add(
			f, FINDING_KEY_WEAK_DEBIAN, FINDING_BLOCK,
			"Its RSA key is one of Debian's weak keys of 2006 to 2008 (CVE-2008-0166): anybody has it.");
	if (weak_roca(n))
		findings_add(f, FINDING_KEY_WEAK_ROCA, FINDING_BLOCK,
			     "Its RSA key has the fingerprint of ROCA (CVE-2017-15361): it can be computed.");
	if (weak_close_primes(n))
		findings_add(f, FINDING_KEY_WEAK_CLOSE_PRIMES, FINDING_BLOCK,
			     "Its RSA primes lie close together (CVE-2022-26320): the key was computed just now.");
	if (s->public_rules && bits >= RSA_BITS_MIN && bits % 8) /* BR 6.1.5 */
		findings_add(f, FINDING_KEY_TYPE, FINDING_BLOCK,
			     "Its RSA key has %d bits, which is not a multiple of 8.", bits);
	unsigned factor = weak_small_factor(n);
	if (factor)
		findings_add(f, FINDING_KEY_TYPE, FINDING_BLOCK,
			     "Its RSA modulus can be divided by %u: the key is broken.", factor);
	if (!BN_is_odd(e) || BN_is_one(e)) /* BR 6.1.6; with 1 anybody can sign */
		findings_add(f, FINDING_KEY_TYPE, FINDING_BLOCK, "Its RSA exponent is not an odd number from 3 on.");
	BN_free(n);
	BN_free(e);
}

/* BR 6.1.5 and 7.1.3.1: rsaEncryption, P-256, P-384, P-521 and nothing else. */
static bool public_type(const char *type)
{
	static const char *const allowed[] = {"ecdsa-p256", "ecdsa-p384", "ecdsa-p521"};
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (strcmp(type, allowed[i]) == 0)
			return true;
	return strncmp(type, "rsa-", 4) == 0 && strncmp(type, "rsa-pss", 7) != 0;
}

static void judge_key(const struct policy_subject *s, X509 *leaf, struct findings *f)
{
	const EVP_PKEY *key = X509_get0_pubkey(leaf);
	ERR_clear_error();
	if (!key) {
		findings_add(f, FINDING_KEY_TYPE, FINDING_BLOCK,
			     "Its public key is of a kind that OpenSSL does not know.");
		return;
	}
	char *type = cert_key_type(key);
	if (s->public_rules && !public_type(type))
		findings_add(f, FINDING_KEY_TYPE, FINDING_BLOCK,
			     "Its key is of type %s, which publicly trusted certificates may not have.", type);
	free(type);
	if (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS"))
		judge_rsa(s, key, f);
}

/* What holds for each certificate that is sent. */
static void judge_strength(X509 *x, bool leaf, struct findings *f)
{
	const EVP_PKEY *key = X509_get0_pubkey(x);
	const char *digest = cert_weak_digest(x);
	char *subject = leaf ? NULL : cert_subject(x);
	const char *whose = leaf ? "The certificate" : subject;
	if (digest)
		findings_add(f, FINDING_SIGNATURE_WEAK, FINDING_BLOCK, "%s is signed with %s, which can be forged.",
			     whose, digest);
	if (key && (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS")) &&
	    EVP_PKEY_get_bits(key) < RSA_BITS_MIN)
		findings_add(f, FINDING_KEY_SIZE, FINDING_BLOCK, "%s has an RSA key of %d bits; %d are the least.",
			     whose, EVP_PKEY_get_bits(key), RSA_BITS_MIN);
	if (ASN1_STRING_type(X509_get0_serialNumber(x)) == V_ASN1_NEG_INTEGER)
		findings_add(f, FINDING_UNREADABLE, FINDING_WARN,
			     "The serial number of %s is negative: programs written in Go (since 1.23) do not read it.",
			     leaf ? "the certificate" : subject);
	ERR_clear_error();
	free(subject);
}

static char *pin_of(const X509 *x)
{
	struct digest d = cert_spki(x);
	char base64[48];
	EVP_EncodeBlock((unsigned char *)base64, d.b, sizeof d.b);
	return xasprintf("sha256/%s", base64);
}

static void judge_pins(const struct policy_subject *s, struct findings *f)
{
	bool covered = s->pins->n == 0;
	for (size_t i = 0; i <= s->chain->n && !covered; i++) {
		const X509 *x = i < s->chain->n ? s->chain->v[i] : s->chain->anchor;
		char *pin = x ? pin_of(x) : NULL;
		covered = pin && words_has(s->pins, pin);
		free(pin);
	}
	if (covered)
		return;
	char *pin = pin_of(s->chain->v[0]);
	findings_add(
		f, FINDING_PIN_NOT_COVERED, FINDING_BLOCK,
		"Neither its key (%s) nor a CA's is among the %zu pinned ones: clients with the pins will refuse it.",
		pin, s->pins->n);
	free(pin);
}

void policy_judge(const struct policy_subject *s, struct findings *f)
{
	X509 *leaf = s->chain->v[0];
	if (s->chain->why)
		findings_add(f, s->chain->incomplete ? FINDING_CHAIN_INCOMPLETE : FINDING_CHAIN_UNTRUSTED,
			     FINDING_BLOCK, "The chain does not hold: %s.", s->chain->why);
	judge_names(s, leaf, f);
	judge_dates(s, leaf, f);
	judge_usage(s, leaf, f);
	judge_key(s, leaf, f);
	for (size_t i = 0; i < s->chain->n; i++)
		judge_strength(s->chain->v[i], i == 0, f);
	judge_status(s, leaf, f);
	judge_pins(s, f);
}

bool policy_is_rule(enum finding_code code)
{
	switch (code) {
	case FINDING_KEY_SIZE:
	case FINDING_KEY_WEAK_DEBIAN:
	case FINDING_KEY_WEAK_ROCA:
	case FINDING_KEY_WEAK_CLOSE_PRIMES:
	case FINDING_KEY_TYPE:
	case FINDING_CHAIN_INCOMPLETE:
	case FINDING_CHAIN_UNTRUSTED:
	case FINDING_SIGNATURE_WEAK:
	case FINDING_NAME_MISSING:
	case FINDING_NAME_NONE:
	case FINDING_EXPIRED:
	case FINDING_NOT_YET_VALID:
	case FINDING_VALIDITY_TOO_LONG:
	case FINDING_IS_CA:
	case FINDING_USAGE_SERVER_AUTH:
	case FINDING_USAGE_SIGNATURE:
	case FINDING_SCT_MISSING:
	case FINDING_NO_STATUS_SOURCE:
	case FINDING_MUST_STAPLE:
	case FINDING_PIN_NOT_COVERED:
	case FINDING_TLSA_NOT_COVERED:
		return true;
	case FINDING_PAIR_MISMATCH:
	case FINDING_KEY_MISSING:
	case FINDING_KEY_ENCRYPTED:
	case FINDING_KEY_DENIED:
	case FINDING_USAGE_CLIENT_AUTH_LOST:
	case FINDING_REVOKED:
	case FINDING_OLDER_THAN_LIVE:
	case FINDING_SAME_AS_LIVE:
	case FINDING_HANDSHAKE_FAILED:
	case FINDING_UNREADABLE:
	case FINDING_TOO_LARGE:
	case FINDING_CODES:
		return false;
	}
	return false;
}
