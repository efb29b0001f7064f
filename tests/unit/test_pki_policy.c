/* The rules: each finding once where it belongs, and not where it does not. */
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/pki.h"
#include "pki/policy.h"
#include "test_pki_help.h"

TestSuite(pki_policy, .init = pki_init, .fini = pki_exit);

static const struct wish sound = {.cn = "leaf",
				  .san = "DNS:a.test,DNS:www.a.test",
				  .usage = "critical,digitalSignature",
				  .purpose = "serverAuth",
				  .more = {{"crlDistributionPoints", "URI:http://crl.test/1.crl"}}};

/* Runs a leaf of this kind and wants just this finding at this severity (or none: FINDING_CODES). */
static void expect(struct wish w, enum check_profile profile, enum finding_code code, enum finding_severity severity)
{
	struct family f = make_family();
	struct made leaf = make(w, &f.sub);
	struct trial t = trial_of_leaf(&f, &leaf);
	words_add(&t.request.names, "a.test");
	t.request.profile = profile;
	trial_run(&t);
	if (code == FINDING_CODES)
		cr_expect_eq(t.reply.findings.n, 0, "wanted nothing: %s", told(&t));
	else
		cr_expect(t.reply.findings.n == 1 && t.reply.findings.v[0].code == code &&
				  t.reply.findings.v[0].severity == severity,
			  "wanted %s %s alone: %s", severity_name(severity), finding_name(code), told(&t));
	trial_done(&t);
	made_done(&leaf);
	family_done(&f);
}

static void expect_private(struct wish w, enum finding_code code, enum finding_severity severity)
{
	expect(w, CHECK_PROFILE_PRIVATE, code, severity);
}

static void expect_public(struct wish w, enum finding_code code, enum finding_severity severity)
{
	w.scts = w.scts ? w.scts : 3;
	expect(w, CHECK_PROFILE_PUBLIC, code, severity);
}

#define NOTHING FINDING_CODES, FINDING_INFO

Test(pki_policy, sound)
{
	expect_private(sound, NOTHING);
	expect_public(sound, NOTHING);
}

Test(pki_policy, dates)
{
	struct wish w = sound;
	w.until = NOW - 1;
	expect_private(w, FINDING_EXPIRED, FINDING_BLOCK);
	w.until = NOW;
	expect_private(w, NOTHING);
	w = sound;
	w.from = NOW + 1;
	expect_private(w, FINDING_NOT_YET_VALID, FINDING_BLOCK);
	w.from = NOW;
	expect_private(w, NOTHING);
}

Test(pki_policy, days_by_the_date_of_issue)
{
	/* BR 6.3.2, each on the last second before and the first of the new rule */
	static const struct {
		const char *date;
		int days;
	} cases[] = {{"2020-08-31T23:59:59Z", 825}, {"2020-09-01T00:00:00Z", 398}, {"2026-03-14T23:59:59Z", 398},
		     {"2026-03-15T00:00:00Z", 200}, {"2027-03-14T23:59:59Z", 200}, {"2027-03-15T00:00:00Z", 100},
		     {"2029-03-14T23:59:59Z", 100}, {"2029-03-15T00:00:00Z", 47}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t t;
		cr_assert_eq(text_to_time(cases[i].date, &t), 0);
		cr_expect_eq(policy_days_max(t), cases[i].days, "%s", cases[i].date);
	}
	int64_t t;
	text_to_time("2026-03-15T00:00:00Z", &t);
	cr_expect(policy_is_short_lived(t, t + 7 * DAY - 1) && !policy_is_short_lived(t, t + 7 * DAY));
	cr_expect(policy_is_short_lived(t - 1, t + 10 * DAY - 2) && !policy_is_short_lived(t - 1, t + 10 * DAY - 1));
}

Test(pki_policy, validity)
{
	struct wish w = sound;
	w.from = NOW - DAY; /* November 2026: 200 days */
	w.until = w.from + 200 * DAY - 1;
	expect_public(w, NOTHING);
	w.until++;
	expect_public(w, FINDING_VALIDITY_TOO_LONG, FINDING_BLOCK);
	expect_private(w, NOTHING);
}

Test(pki_policy, names)
{
	struct wish w = sound;
	w.san = "DNS:b.test";
	expect_private(w, FINDING_NAME_MISSING, FINDING_BLOCK);
	w.san = "DNS:*.test"; /* no client takes a star over a whole top-level domain */
	expect_private(w, FINDING_NAME_MISSING, FINDING_BLOCK);
	w.san = "DNS:A.Test";
	expect_private(w, NOTHING);
	w.san = NULL;
	w.cn = "a.test";
	expect_private(w, FINDING_NAME_NONE, FINDING_BLOCK);
}

Test(pki_policy, missing_names)
{
	struct family f = make_family();
	struct wish w = sound;
	w.san = "DNS:a.test,DNS:*.w.test,IP:192.0.2.7,IP:2001:db8::7,email:x@y.test";
	struct made leaf = make(w, &f.sub);
	static const char *const want[] = {"a.test.",   "A.TEST",        "x.w.test", "*.w.test",
					   "192.0.2.7", "2001:db8:0::7", "w.test",   "x.y.w.test",
					   "192.0.2.8", "*.test",        "b.test"};
	struct words required = {0}, missing = {0}, names = {0};
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		words_add(&required, want[i]);
	policy_missing_names(leaf.x509, &required, &missing);
	char *s = words_join(&missing, " ");
	cr_expect_str_eq(s, "w.test x.y.w.test 192.0.2.8 *.test b.test");
	free(s);
	cr_expect_eq(cert_names(leaf.x509, &names), CERT_NAMES_SAN);
	s = words_join(&names, " ");
	cr_expect_str_eq(s, "a.test *.w.test 192.0.2.7 2001:db8::7");
	free(s);
	words_done(&required);
	words_done(&missing);
	words_done(&names);
	made_done(&leaf);
	family_done(&f);
}

/* "bank.test\0.evil.test" is an old way to get a certificate for a name that is not one's own. */
Test(pki_policy, nul_in_a_name)
{
	struct family f = make_family();
	GENERAL_NAMES *san = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();
	ASN1_STRING_set(s, "a.test\0.evil.test", 17);
	GENERAL_NAME_set0_value(g, GEN_DNS, s);
	sk_GENERAL_NAME_push(san, g);
	X509_add1_ext_i2d(f.leaf.x509, NID_subject_alt_name, san, 0, X509V3_ADD_REPLACE);
	GENERAL_NAMES_free(san);
	X509_sign(f.leaf.x509, f.sub.key, EVP_sha256());
	struct trial t = trial_of(&f);
	words_add(&t.request.names, "a.test");
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_NAME_MISSING) && blocks(&t, FINDING_NAME_NONE), "%s", told(&t));
	cr_expect_eq(t.reply.names.n, 0);
	trial_done(&t);
	family_done(&f);
}

Test(pki_policy, too_many_names)
{
	struct family f = make_family();
	struct text san = {0};
	for (int i = 0; i < CERT_NAMES_MAX + 1; i++)
		text_add(&san, "%sDNS:h%d.a.test", i ? "," : "", i);
	struct made leaf = make_leaf(san.s, &f.sub);
	struct trial t = trial_of_leaf(&f, &leaf);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_TOO_LARGE), "%s", told(&t));
	cr_expect_leq(t.reply.names.n, CERT_NAMES_MAX);
	struct packer p = {0};
	check_reply_pack(&p, &t.reply);
	cr_expect_not(p.failed);
	packer_done(&p);
	trial_done(&t);
	text_done(&san);
	made_done(&leaf);
	family_done(&f);
}

Test(pki_policy, usage)
{
	struct wish w = sound;
	w.purpose = "clientAuth";
	expect_private(w, FINDING_USAGE_SERVER_AUTH, FINDING_BLOCK);
	w.purpose = "serverAuth,clientAuth";
	expect_public(w, NOTHING);
	w.purpose = NULL;
	expect_private(w, FINDING_USAGE_SERVER_AUTH, FINDING_WARN);
	expect_public(w, FINDING_USAGE_SERVER_AUTH, FINDING_BLOCK);
	w = sound;
	w.usage = "keyEncipherment";
	w.key = make_key("RSA:2048"); /* one for ECDSA can't even shake hands then */
	expect_private(w, FINDING_USAGE_SIGNATURE, FINDING_BLOCK);
	EVP_PKEY_free(w.key);
	w.key = NULL;
	w.usage = NULL;
	expect_private(w, NOTHING);
	w = sound;
	w.ca = true;
	expect_private(w, FINDING_IS_CA, FINDING_BLOCK);
}

Test(pki_policy, status)
{
	struct wish w = sound;
	w.more[0][0] = NULL;
	expect_private(w, FINDING_NO_STATUS_SOURCE, FINDING_WARN);
	w.until = NOW + 5 * DAY;
	expect_private(w, NOTHING);
	w = sound;
	w.more[0][0] = "authorityInfoAccess";
	w.more[0][1] = "OCSP;URI:http://ocsp.test/";
	expect_private(w, NOTHING);
	w.more[0][1] = "caIssuers;URI:http://ca.test/";
	expect_private(w, FINDING_NO_STATUS_SOURCE, FINDING_WARN);
	w = sound;
	w.more[1][0] = "tlsfeature";
	w.more[1][1] = "status_request";
	expect_private(w, FINDING_MUST_STAPLE, FINDING_WARN);
}

Test(pki_policy, transparency)
{
	struct wish w = sound; /* 90 days: two logs */
	expect(w, CHECK_PROFILE_PUBLIC, FINDING_SCT_MISSING, FINDING_BLOCK);
	expect(w, CHECK_PROFILE_PRIVATE, NOTHING);
	w.scts = 1;
	expect(w, CHECK_PROFILE_PUBLIC, FINDING_SCT_MISSING, FINDING_BLOCK);
	w.scts = 2;
	expect(w, CHECK_PROFILE_PUBLIC, NOTHING);
	w.from = NOW - DAY;
	w.until = w.from + 181 * DAY;
	expect(w, CHECK_PROFILE_PUBLIC, FINDING_SCT_MISSING, FINDING_BLOCK);
	w.scts = 3;
	expect(w, CHECK_PROFILE_PUBLIC, NOTHING);
}

static void expect_key(const char *type, enum check_profile profile, enum finding_code code,
		       enum finding_severity severity)
{
	struct wish w = sound;
	w.key = make_key(type);
	w.scts = 3;
	expect(w, profile, code, severity);
	EVP_PKEY_free(w.key);
}

Test(pki_policy, keys)
{
	static const char *const good[] = {"P-256", "P-384", "P-521", "RSA:2048", "RSA:3072"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		expect_key(good[i], CHECK_PROFILE_PUBLIC, NOTHING);
	expect_key("RSA:1024", CHECK_PROFILE_PRIVATE, FINDING_KEY_SIZE, FINDING_BLOCK);
	expect_key("RSA:2044", CHECK_PROFILE_PRIVATE, FINDING_KEY_SIZE, FINDING_BLOCK);
	expect_key("RSA:2050", CHECK_PROFILE_PUBLIC, FINDING_KEY_TYPE, FINDING_BLOCK);
	expect_key("RSA:2050", CHECK_PROFILE_PRIVATE, NOTHING);
	expect_key("ED25519", CHECK_PROFILE_PUBLIC, FINDING_KEY_TYPE, FINDING_BLOCK);
	expect_key("ED25519", CHECK_PROFILE_PRIVATE, NOTHING);
}

static EVP_PKEY *public_of(BIGNUM *n, unsigned exponent)
{
	BIGNUM *e = BN_new();
	BN_set_word(e, exponent);
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n);
	OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, e);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *key = NULL;
	EVP_PKEY_fromdata_init(ctx);
	EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	EVP_PKEY_CTX_free(ctx);
	BN_free(e);
	return key;
}

/* Broken in themselves, whoever issued it. */
Test(pki_policy, broken_rsa)
{
	struct family f = make_family();
	BIGNUM *n = BN_new();
	for (int broken = 0; broken < 4; broken++) {
		/* 751 divides it; nothing below 752 does; so too, with 1 as exponent; with 2 */
		do
			BN_rand(n, broken ? 2048 : 2032, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
		while (weak_small_factor(n));
		if (broken == 0)
			BN_mul_word(n, 751 * 65537UL);
		struct wish w = sound;
		w.key = public_of(n, broken == 2 ? 1 : broken == 3 ? 2 : 65537);
		struct made leaf = make(w, &f.sub);
		struct trial t = {0};
		trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(leaf.x509), pem_cert(f.sub.x509), NULL));
		trial_trust(&t, f.root.x509);
		t.request.profile = CHECK_PROFILE_PRIVATE;
		trial_run(&t);
		cr_expect_eq(blocks(&t, FINDING_KEY_TYPE), broken != 1, "%d: %s", broken, told(&t));
		trial_done(&t);
		made_done(&leaf);
		EVP_PKEY_free(w.key);
	}
	BN_free(n);
	family_done(&f);
}

/* Certificates for weak keys: found by the public part, whoever holds the private one. */
Test(pki_policy, weak_keys)
{
	struct family f = make_family();
	BIGNUM *n = BN_new(), *p = BN_new();
	BN_CTX *ctx = BN_CTX_new();
	/* Neighbouring primes */
	BN_generate_prime_ex(n, 1024, 0, NULL, NULL, NULL);
	BN_copy(p, n);
	do
		BN_add_word(p, 2);
	while (BN_check_prime(p, ctx, NULL) != 1);
	BN_mul(n, n, p, ctx);
	struct wish w = sound;
	w.key = public_of(n, 65537);
	struct made leaf = make(w, &f.sub);
	struct trial t = trial_of(&f);
	free(t.bytes[0]);
	t.bytes[0] = joined(pem_cert(leaf.x509), pem_cert(f.sub.x509), NULL);
	t.files[0] = (struct proof_file){.bytes = t.bytes[0], .len = strlen(t.bytes[0])};
	char *hex = BN_bn2hex(n), *line = xasprintf("Modulus=%s\n", hex), digits[41];
	unsigned char sha1[20];
	EVP_Q_digest(NULL, "SHA1", NULL, line, strlen(line), sha1, NULL);
	text_hex(sha1, sizeof sha1, digits);
	t.weak = weak_list_read(digits + 20, 20);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_KEY_WEAK_CLOSE_PRIMES), "%s", told(&t));
	cr_expect(blocks(&t, FINDING_KEY_WEAK_DEBIAN), "%s", told(&t));
	cr_expect_null(found(&t, FINDING_KEY_WEAK_ROCA));
	trial_done(&t);
	free(line);
	OPENSSL_free(hex);
	made_done(&leaf);
	EVP_PKEY_free(w.key);
	BN_free(n);
	BN_free(p);
	BN_CTX_free(ctx);
	family_done(&f);
}

Test(pki_policy, weak_signatures)
{
	struct family f = make_family();
	const EVP_MD *digests[] = {EVP_sha1(), EVP_md5()};
	for (size_t i = 0; i < 2; i++) {
		EVP_PKEY *rsa = make_key("RSA:2048");
		struct wish ca = {.cn = "RSA CA", .ca = true, .key = rsa}, w = sound;
		struct made sub = make(ca, &f.root);
		w.digest = digests[i];
		struct made leaf = make(w, &sub);
		struct trial t = trial_of_leaf(&f, &leaf);
		trial_add(&t, CHECK_INTERMEDIATE, pem_cert(sub.x509));
		trial_run(&t);
		cr_expect(blocks(&t, FINDING_SIGNATURE_WEAK), "%s", told(&t));
		trial_done(&t);
		made_done(&sub);
		made_done(&leaf);
		EVP_PKEY_free(rsa);
	}
	struct wish ca = {.cn = "Old CA", .ca = true, .digest = EVP_sha1()};
	struct made sub = make(ca, &f.root), leaf = make_leaf("DNS:a.test", &sub);
	struct trial t = trial_of_leaf(&f, &leaf);
	trial_add(&t, CHECK_SUBMITTED, pem_cert(sub.x509));
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_SIGNATURE_WEAK) && strstr(found(&t, FINDING_SIGNATURE_WEAK)->text, "Old CA"), "%s",
		  told(&t));
	trial_done(&t);
	made_done(&sub);
	made_done(&leaf);
	family_done(&f);
}

Test(pki_policy, pins)
{
	struct family f = make_family();
	struct trial t = trial_of(&f);
	words_add(&t.request.pins, "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_PIN_NOT_COVERED), "%s", told(&t));
	const X509 *any[] = {f.leaf.x509, f.sub.x509, f.root.x509};
	for (size_t i = 0; i < 3; i++) {
		struct digest d = cert_spki(any[i]);
		unsigned char base64[48];
		EVP_EncodeBlock(base64, d.b, sizeof d.b);
		char *pin = xasprintf("sha256/%s", (char *)base64);
		words_add(&t.request.pins, pin);
		free(pin);
		trial_run(&t);
		cr_expect_null(found(&t, FINDING_PIN_NOT_COVERED));
		free(t.request.pins.v[--t.request.pins.n]);
	}
	trial_done(&t);
	family_done(&f);
}

Test(pki_policy, publicly_trusted)
{
	struct family f = make_family();
	struct trial t = trial_of(&f);
	trial_run(&t);
	cr_expect_not(t.reply.publicly_trusted);
	t.request.system_trust = true;
	trial_run(&t);
	cr_expect(t.reply.publicly_trusted && blocks(&t, FINDING_SCT_MISSING), "%s", told(&t));
	struct family other = make_family();
	trial_add(&t, CHECK_LOCAL_ROOT, pem_cert(other.root.x509)); /* of the same name, but another */
	trial_run(&t);
	cr_expect(t.reply.publicly_trusted, "%s", told(&t));
	trial_add(&t, CHECK_LOCAL_ROOT, pem_cert(f.root.x509)); /* that this host alone trusts */
	trial_run(&t);
	cr_expect(!t.reply.publicly_trusted && t.reply.findings.n == 0, "%s", told(&t));
	t.request.profile = CHECK_PROFILE_PUBLIC;
	trial_run(&t);
	cr_expect(t.reply.publicly_trusted, "%s", told(&t));
	t.request.profile = CHECK_PROFILE_PRIVATE;
	trial_run(&t);
	cr_expect(!t.reply.publicly_trusted && t.reply.findings.n == 0, "%s", told(&t));
	trial_done(&t);
	family_done(&other);
	family_done(&f);
}
