/* Certificates that are odd but sound, and chains that clients refuse: what each is must be told as an administrator
 * would want it. */
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/pki.h"
#include "test_pki_help.h"

TestSuite(pki_hard, .init = pki_init, .fini = pki_exit);

static const struct wish plain = {.cn = "leaf",
				  .san = "DNS:a.test",
				  .usage = "critical,digitalSignature",
				  .purpose = "serverAuth",
				  .more = {{"crlDistributionPoints", "URI:http://crl.test/1.crl"}}};

/* The leaf with its issuer, and what may stand beside them. */
static struct trial prove(const struct made *leaf, const struct made *issuer, const struct made *beside,
			  const X509 *trust)
{
	struct trial t = {0};
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(leaf->x509), pem_cert(issuer->x509), NULL));
	trial_add(&t, CHECK_SUBMITTED, pem_key(leaf->key));
	if (beside)
		trial_add(&t, CHECK_SUBMITTED, pem_cert(beside->x509));
	trial_trust(&t, trust);
	trial_run(&t);
	return t;
}

static void sign(struct made *m, const struct made *issuer)
{
	cr_assert_gt(X509_sign(m->x509, issuer->key, EVP_sha256()), 0);
}

static bool sound(const struct trial *t)
{
	return t->whole && !findings_block(&t->reply.findings);
}

static void expect_untrusted(struct trial t, const char *what, const char *part)
{
	const struct finding *f = found(&t, FINDING_CHAIN_UNTRUSTED);
	cr_expect(f && f->severity == FINDING_BLOCK && strstr(f->text, part), "%s: wanted '%s', got %s", what, part,
		  told(&t));
	trial_done(&t);
}

/* A CA of this kind, and a sound leaf below it. */
static void expect_ca(struct wish w, const char *what, const char *part)
{
	struct family f = make_family();
	w.cn = "Odd CA";
	struct made ca = make(w, &f.root), leaf = make(plain, &ca);
	expect_untrusted(prove(&leaf, &ca, NULL, f.root.x509), what, part);
	made_done(&ca);
	made_done(&leaf);
	family_done(&f);
}

Test(pki_hard, cas_that_may_not_sign_it)
{
	expect_ca((struct wish){.ca = true, .purpose = "clientAuth"}, "another purpose", "purpose");
	expect_ca((struct wish){.ca = true, .more = {{"1.2.3.4", "critical,DER:05:00"}}}, "unknown and critical",
		  "critical extension");
	expect_ca((struct wish){.ca = true, .from = NOW + DAY}, "not yet", "not yet valid");
	expect_ca((struct wish){.ca = true, .more = {{"nameConstraints", "critical,excluded;DNS:test"}}}, "excluded",
		  "excluded");
	expect_ca((struct wish){.ca = true, .more = {{"nameConstraints", "critical,permitted;DNS:b.test"}}},
		  "not permitted", "permitted");
}

/* The same for a leaf that goes well with it. */
static void expect_sound_below(struct wish w, struct wish below, const char *what)
{
	struct family f = make_family();
	w.cn = "Odd CA";
	struct made ca = make(w, &f.root), leaf = make(below, &ca);
	struct trial t = prove(&leaf, &ca, NULL, f.root.x509);
	cr_expect(sound(&t), "%s: %s", what, told(&t));
	trial_done(&t);
	made_done(&ca);
	made_done(&leaf);
	family_done(&f);
}

#define POLICY "DER:30:07:30:05:06:03:2a:03:04" /* 1.2.3.4 */

/* OpenSSL takes these, Go and Chrome do not. */
Test(pki_hard, cas_that_other_clients_refuse)
{
	struct wish policy = plain;
	policy.more[1][0] = "certificatePolicies";
	policy.more[1][1] = POLICY;
	expect_ca((struct wish){.ca = true, .purpose = "nsSGC"}, "Server Gated Crypto alone", "serverAuth");
	expect_sound_below((struct wish){.ca = true, .purpose = "nsSGC,serverAuth"}, plain, "and serverAuth");
	/* without certificatePolicies beside it OpenSSL 3.0 forgets to free policyConstraints */
	struct wish demands = {
		.ca = true,
		.more = {{"policyConstraints", "critical,requireExplicitPolicy:0"}, {"certificatePolicies", POLICY}}};
	expect_ca(demands, "a policy is demanded", "policy");
	expect_sound_below(demands, policy, "the policy is there");
}

static void expect_wildcard(const char *constraint, bool good)
{
	struct family f = make_family();
	struct wish w = {.cn = "Odd CA", .ca = true, .more = {{"nameConstraints", constraint}}}, below = plain;
	below.san = "DNS:a.test,DNS:*.A.test";
	struct made ca = make(w, &f.root), leaf = make(below, &ca);
	struct trial t = prove(&leaf, &ca, NULL, f.root.x509);
	const struct finding *refused = found(&t, FINDING_CHAIN_UNTRUSTED);
	cr_expect_eq(sound(&t), good, "%s: %s", constraint, told(&t));
	cr_expect(good || (refused && strstr(refused->text, "excluded") && strstr(refused->text, "Odd CA")), "%s: %s",
		  constraint, told(&t));
	trial_done(&t);
	made_done(&ca);
	made_done(&leaf);
	family_done(&f);
}

/* A wildcard stands for what is excluded as well (CVE-2025-61727). */
Test(pki_hard, wildcards_over_excluded_names)
{
	expect_wildcard("critical,excluded;DNS:b.a.test", false);
	expect_wildcard("critical,excluded;DNS:c.test,excluded;DNS:B.a.test", false);
	expect_wildcard("excluded;DNS:.b.a.test", true); /* names below it, which the wildcard is not */
	expect_wildcard("critical,excluded;DNS:c.b.a.test", true);
	expect_wildcard("critical,excluded;DNS:ba.test", true);
	expect_wildcard("critical,excluded;DNS:b.test,permitted;DNS:test", true);
	expect_wildcard("critical,excluded;email:b.a.test", true);
}

/* The issuer is there and yet is not: the answer must not send anybody to look for what lies before them. */
Test(pki_hard, issuers_that_do_not_fit)
{
	struct family f = make_family();
	struct wish w = {.cn = "Odd CA", .ca = true, .usage = "critical,cRLSign"};
	struct made ca = make(w, &f.root), leaf = make(plain, &ca);
	struct trial t = prove(&leaf, &ca, NULL, f.root.x509);
	const struct finding *missing = found(&t, FINDING_CHAIN_INCOMPLETE);
	cr_expect(missing && strstr(missing->text, "keyCertSign"), "%s", told(&t));
	trial_done(&t);
	made_done(&leaf);
	/* the CA has changed its key since, and this is the new certificate */
	w.usage = NULL;
	struct made before = make(w, &f.root), after = make(w, &f.root);
	leaf = make(plain, &before);
	t = prove(&leaf, &after, NULL, f.root.x509);
	missing = found(&t, FINDING_CHAIN_INCOMPLETE);
	cr_expect(missing && strstr(missing->text, "another key"), "%s", told(&t));
	trial_done(&t);
	made_done(&leaf);
	made_done(&before);
	made_done(&after);
	made_done(&ca);
	family_done(&f);
}

static void limit_path(struct made *ca, const struct made *issuer, long length)
{
	BASIC_CONSTRAINTS *b = BASIC_CONSTRAINTS_new();
	b->ca = 1;
	b->pathlen = ASN1_INTEGER_new();
	ASN1_INTEGER_set(b->pathlen, length);
	cr_assert_eq(X509_add1_ext_i2d(ca->x509, NID_basic_constraints, b, 1, X509V3_ADD_REPLACE), 1);
	BASIC_CONSTRAINTS_free(b);
	sign(ca, issuer);
}

Test(pki_hard, path_length)
{
	struct family f = make_family();
	struct wish w = {.cn = "Short CA", .ca = true};
	struct made high = make(w, &f.root), low;
	w.cn = "Low CA";
	low = make(w, &high);
	struct made leaf = make(plain, &low);
	for (long length = 0; length < 2; length++) {
		limit_path(&high, &f.root, length);
		struct trial t = prove(&leaf, &low, &high, f.root.x509);
		cr_expect_eq(sound(&t), length == 1, "%ld: %s", length, told(&t));
		cr_expect_eq(blocks(&t, FINDING_CHAIN_UNTRUSTED), length == 0, "%ld: %s", length, told(&t));
		trial_done(&t);
	}
	made_done(&high);
	made_done(&low);
	made_done(&leaf);
	family_done(&f);
}

/* What is in force is taken, wherever it stands among what is not. */
Test(pki_hard, several_ways_up)
{
	struct family f = make_family();
	struct wish w = {.cn = "Test Root", .ca = true, .until = NOW - 1, .from = NOW - 900 * DAY};
	/* the root of before, of the same name and key: expired, in the trust, and first */
	w.key = f.root.key;
	struct made old = make(w, NULL);
	struct trial t = {0};
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(old.x509), pem_cert(f.leaf.x509), pem_cert(f.sub.x509), NULL));
	trial_add(&t, CHECK_SUBMITTED, pem_key(f.leaf.key));
	trial_trust(&t, old.x509);
	trial_trust(&t, f.root.x509);
	trial_run(&t);
	cr_expect(sound(&t), "%s", told(&t));
	trial_done(&t);
	expect_untrusted(prove(&f.leaf, &f.sub, NULL, old.x509), "only the expired root", "expired");
	/* the time of the question counts, not the clock */
	t = trial_of(&f);
	t.request.now = NOW + 1001 * DAY;
	trial_run(&t);
	expect_untrusted(t, "in three years", "expired");
	/* an intermediate of the same name and key that has expired stands beside the one in force */
	w.cn = "Test Issuing CA";
	w.key = f.sub.key;
	struct made expired = make(w, &f.root);
	t = prove(&f.leaf, &expired, &f.sub, f.root.x509);
	cr_expect(sound(&t), "%s", told(&t));
	trial_done(&t);
	made_done(&old);
	made_done(&expired);
	family_done(&f);
}

/* What is changed in a sound leaf before it is signed again. */
typedef void (*change)(X509 *x);

static void expect_leaf(const char *what, change f, const char *required, enum finding_code code)
{
	struct family family = make_family();
	struct made leaf = make(plain, &family.sub);
	f(leaf.x509);
	sign(&leaf, &family.sub);
	struct trial t = trial_of_leaf(&family, &leaf);
	if (required)
		words_add(&t.request.names, required);
	trial_run(&t);
	if (code == FINDING_CODES)
		cr_expect(sound(&t), "%s: %s", what, told(&t));
	else
		cr_expect(blocks(&t, code), "%s: %s", what, told(&t));
	char *serial = t.reply.serial;
	cr_expect(serial && *serial, "%s: it has a serial that can be told", what);
	trial_done(&t);
	made_done(&leaf);
	family_done(&family);
}

static void set_serial(X509 *x, const uint8_t *bytes, size_t len, bool negative)
{
	ASN1_INTEGER *i = X509_get_serialNumber(x);
	cr_assert_eq(ASN1_STRING_set(i, bytes, (int)len), 1);
	i->type = negative ? V_ASN1_NEG_INTEGER : V_ASN1_INTEGER;
}

static void negative_serial(X509 *x)
{
	set_serial(x, (const uint8_t[]){0x12, 0x34}, 2, true);
}

static void zero_serial(X509 *x)
{
	set_serial(x, (const uint8_t[]){0}, 1, false);
}

static void serial_of_21(X509 *x)
{
	uint8_t b[21];
	memset(b, 0x7f, sizeof b);
	set_serial(x, b, sizeof b, false);
}

static void serial_of_60(X509 *x)
{
	uint8_t b[60];
	memset(b, 0xff, sizeof b);
	set_serial(x, b, sizeof b, false);
}

static void add(X509 *x, const char *name, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_nconf(NULL, NULL, name, value);
	cr_assert(e && X509_add_ext(x, e, -1) == 1);
	X509_EXTENSION_free(e);
}

static void critical(X509 *x)
{
	add(x, "1.2.3.4", "critical,DER:05:00");
}

static void unknown_not_critical(X509 *x)
{
	add(x, "1.2.3.4", "DER:05:00");
}

static void drop(X509 *x, int nid)
{
	X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, nid, -1)));
}

static void name(X509 *x, const char *san)
{
	drop(x, NID_subject_alt_name);
	add(x, "subjectAltName", san);
}

static void capitals(X509 *x)
{
	name(x, "DNS:A.Test");
}

static void trailing_dot(X509 *x)
{
	name(x, "DNS:a.test.");
}

static void star_alone(X509 *x)
{
	name(x, "DNS:*");
}

static void star_in_the_middle(X509 *x)
{
	name(x, "DNS:www.*.test");
}

static void punycode(X509 *x)
{
	name(x, "DNS:xn--bcher-kva.test");
}

static void address(X509 *x)
{
	name(x, "IP:192.0.2.1,IP:2001:db8::1");
}

static void address_as_name(X509 *x)
{
	name(x, "DNS:192.0.2.1");
}

static void other_key_id(X509 *x)
{
	drop(x, NID_authority_key_identifier);
	add(x, "2.5.29.35", "DER:30:06:80:04:01:02:03:04");
}

static void no_key_id(X509 *x)
{
	drop(x, NID_authority_key_identifier);
}

static void utf16_subject(X509 *x)
{
	static const unsigned char text[] = {0x30, 0x42, 0x30, 0x44};
	X509_NAME *n = X509_get_subject_name(x);
	cr_assert_eq(X509_NAME_add_entry_by_NID(n, NID_organizationName, V_ASN1_BMPSTRING, text, sizeof text, -1, 0),
		     1);
}

static void large(X509 *x)
{
	struct text t = {0};
	text_add(&t, "DER:04:82:4e:20");
	for (int i = 0; i < 20000; i++)
		text_add(&t, ":61");
	add(x, "1.2.3.5", t.s);
	text_done(&t);
}

static void version_1(X509 *x)
{
	while (X509_get_ext_count(x))
		X509_EXTENSION_free(X509_delete_ext(x, 0));
	X509_set_version(x, X509_VERSION_1);
}

/* It works, but somewhere it does not. */
static void expect_warned(const char *what, change alter, const char *part)
{
	struct family f = make_family();
	struct made leaf = make(plain, &f.sub);
	alter(leaf.x509);
	sign(&leaf, &f.sub);
	struct trial t = prove(&leaf, &f.sub, NULL, f.root.x509);
	const struct finding *warned = found(&t, FINDING_UNREADABLE);
	cr_expect(sound(&t) && warned && warned->severity == FINDING_WARN && strstr(warned->text, part), "%s: %s", what,
		  told(&t));
	trial_done(&t);
	made_done(&leaf);
	family_done(&f);
}

Test(pki_hard, odd_leaves)
{
	expect_leaf("a negative serial", negative_serial, NULL, FINDING_CODES);
	expect_warned("a negative serial", negative_serial, "Go");
	expect_leaf("zero as serial", zero_serial, NULL, FINDING_CODES);
	expect_leaf("a serial of 21 octets", serial_of_21, NULL, FINDING_CODES);
	expect_leaf("a serial of 60 octets", serial_of_60, NULL, FINDING_CODES);
	expect_leaf("unknown and critical", critical, NULL, FINDING_CHAIN_UNTRUSTED);
	expect_leaf("unknown", unknown_not_critical, NULL, FINDING_CODES);
	expect_leaf("another key of the issuer", other_key_id, NULL, FINDING_CHAIN_INCOMPLETE);
	expect_leaf("no key identifier", no_key_id, NULL, FINDING_CODES);
	expect_leaf("UTF-16 in the subject", utf16_subject, NULL, FINDING_CODES);
	expect_leaf("20 kB in one extension", large, NULL, FINDING_CODES);
	expect_leaf("version 1", version_1, NULL, FINDING_NAME_NONE);
}

Test(pki_hard, odd_names)
{
	expect_leaf("capitals", capitals, "a.test", FINDING_CODES);
	expect_leaf("a dot at the end", trailing_dot, "a.test", FINDING_NAME_MISSING);
	expect_leaf("a star alone", star_alone, "a.test", FINDING_NAME_MISSING);
	expect_leaf("a star in the middle", star_in_the_middle, "www.a.test", FINDING_NAME_MISSING);
	expect_leaf("punycode", punycode, "xn--bcher-kva.test", FINDING_CODES);
	expect_leaf("an address", address, "192.0.2.1", FINDING_CODES);
	expect_leaf("an address", address, "2001:db8::1", FINDING_CODES);
	expect_leaf("another address", address, "192.0.2.2", FINDING_NAME_MISSING);
	expect_leaf("an address as a name", address_as_name, "192.0.2.1", FINDING_NAME_MISSING);
}

static void expect_key(const char *what, EVP_PKEY *key, enum check_profile profile, bool good)
{
	struct family f = make_family();
	struct wish w = plain;
	w.key = key;
	w.scts = 2;
	struct made leaf = make(w, &f.sub);
	struct trial t = trial_of_leaf(&f, &leaf);
	t.request.profile = profile;
	trial_run(&t);
	cr_expect_eq(sound(&t), good, "%s: %s", what, told(&t));
	trial_done(&t);
	made_done(&leaf);
	family_done(&f);
	EVP_PKEY_free(key);
}

static EVP_PKEY *rsa_with(const char *type, unsigned exponent)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	BIGNUM *e = BN_new();
	EVP_PKEY *key = NULL;
	BN_set_word(e, exponent);
	cr_assert(EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048) == 1 &&
		  EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) == 1 && EVP_PKEY_generate(ctx, &key) == 1);
	BN_free(e);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

Test(pki_hard, odd_keys)
{
	/* BR 6.1.6 allows 3; a key that is bound to RSA-PSS is none of BR 7.1.3.1, but TLS 1.3 knows it (RFC
	 * 8446 4.2.3) */
	expect_key("exponent 3", rsa_with("RSA", 3), CHECK_PROFILE_PUBLIC, true);
	expect_key("RSA-PSS, publicly trusted", rsa_with("RSA-PSS", 65537), CHECK_PROFILE_PUBLIC, false);
	expect_key("RSA-PSS", rsa_with("RSA-PSS", 65537), CHECK_PROFILE_PRIVATE, true);
	expect_key("secp256k1, publicly trusted", make_key("secp256k1"), CHECK_PROFILE_PUBLIC, false);
}
