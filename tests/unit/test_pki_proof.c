/* The proof as a whole: pairing, keys that only seem to fit, the live pair beside it, what is written out. */
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/key.h"
#include "pki/pki.h"
#include "test_pki_help.h"

TestSuite(pki_proof, .init = pki_init, .fini = pki_exit);

Test(pki_proof, sound)
{
	struct family f = make_family();
	struct trial t = trial_of(&f);
	struct digest sha256 = cert_digest(f.leaf.x509), spki = key_spki(f.leaf.key), issuer = cert_spki(f.sub.x509);
	words_add(&t.request.names, "www.a.test");
	trial_run(&t);
	cr_expect_eq(t.reply.findings.n, 0, "%s", told(&t));
	cr_expect(t.whole && digest_equal(&t.reply.sha256, &sha256) && digest_equal(&t.reply.spki, &spki) &&
		  digest_equal(&t.reply.issuer_spki, &issuer));
	cr_expect_str_eq(t.reply.issuer, "CN=Test Issuing CA");
	cr_expect_str_eq(t.reply.subject, "CN=leaf");
	cr_expect_str_eq(t.reply.key_type, "ecdsa-p256");
	cr_expect_str_eq(t.reply.serial, "1003");
	cr_expect(t.reply.names.n == 2 && t.reply.not_before == NOW - DAY && t.reply.not_after == NOW + 89 * DAY);
	trial_done(&t);
	family_done(&f);
}

static void expect_file(const struct trial *t, enum check_output i, char *want)
{
	cr_expect_str_eq(t->out.v[i].s, want, "%s", check_output_name[i]);
	cr_expect_eq(t->out.v[i].len, strlen(want));
	free(want);
}

/* Everything in one file, upside down, and the key where the certificate is looked for. */
Test(pki_proof, written_in_order)
{
	struct family f = make_family();
	struct trial t = {0};
	const char *dh = "-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQI=\n-----END DH PARAMETERS-----\n";
	trial_add(&t, CHECK_SUBMITTED,
		  joined(pem_cert(f.root.x509), pem_key(f.leaf.key), xstrdup("text\n"), pem_cert(f.sub.x509),
			 pem_cert(f.leaf.x509), NULL));
	trial_add(&t, CHECK_LIVE,
		  joined(pem_cert(f.leaf.x509), pem_cert(f.sub.x509), xstrdup(dh), pem_key(f.sub.key), NULL));
	trial_trust(&t, f.root.x509);
	trial_run(&t);
	cr_assert(t.whole, "%s", told(&t));
	expect_file(&t, CHECK_OUT_CERT, pem_cert(f.leaf.x509));
	expect_file(&t, CHECK_OUT_CHAIN, pem_cert(f.sub.x509));
	expect_file(&t, CHECK_OUT_FULLCHAIN, joined(pem_cert(f.leaf.x509), pem_cert(f.sub.x509), NULL));
	expect_file(&t, CHECK_OUT_KEY, pem_key(f.leaf.key));
	expect_file(&t, CHECK_OUT_COMBINED,
		    joined(pem_key(f.leaf.key), pem_cert(f.leaf.x509), pem_cert(f.sub.x509), xstrdup(dh), NULL));
	trial_done(&t);
	family_done(&f);
}

Test(pki_proof, no_intermediate)
{
	struct family f = make_family();
	struct made leaf = make_leaf("DNS:a.test", &f.root);
	struct trial t = {0};
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(leaf.x509), pem_key(leaf.key), NULL));
	trial_trust(&t, f.root.x509);
	trial_run(&t);
	cr_expect(t.whole && t.reply.findings.n == 0, "%s", told(&t));
	expect_file(&t, CHECK_OUT_CHAIN, xstrdup(""));
	expect_file(&t, CHECK_OUT_FULLCHAIN, pem_cert(leaf.x509));
	trial_done(&t);
	made_done(&leaf);
	family_done(&f);
}

Test(pki_proof, swapped_files)
{
	struct family f = make_family();
	struct trial t = {0};
	trial_add(&t, CHECK_SUBMITTED, pem_key(f.leaf.key));
	trial_add(&t, CHECK_SUBMITTED, pem_cert(f.sub.x509));
	trial_add(&t, CHECK_SUBMITTED, pem_cert(f.leaf.x509));
	trial_trust(&t, f.root.x509);
	trial_run(&t);
	cr_expect(t.whole && t.reply.findings.n == 0, "%s", told(&t));
	trial_done(&t);
	family_done(&f);
}

Test(pki_proof, chain_from_the_folder)
{
	struct family f = make_family();
	struct trial t = {0};
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(f.leaf.x509), pem_key(f.leaf.key), NULL));
	trial_trust(&t, f.root.x509);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_CHAIN_INCOMPLETE), "%s", told(&t));
	trial_add(&t, CHECK_INTERMEDIATE, joined(pem_cert(f.root.x509), pem_cert(f.sub.x509), NULL));
	trial_add(&t, CHECK_INTERMEDIATE, xstrdup("rubbish"));
	trial_run(&t);
	cr_expect(t.reply.findings.n == 0, "%s", told(&t));
	trial_done(&t);
	family_done(&f);
}

Test(pki_proof, untrusted)
{
	struct family f = make_family(), other = make_family();
	struct trial t = trial_of(&f);
	bundle_free(t.trust);
	t.trust = NULL;
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_CHAIN_UNTRUSTED), "%s", told(&t));
	trial_trust(&t, other.root.x509);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_CHAIN_UNTRUSTED), "%s", told(&t));
	trial_done(&t);
	family_done(&f);
	family_done(&other);
}

Test(pki_proof, no_pair)
{
	struct family f = make_family(), other = make_family();
	struct trial t = {0};
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(f.leaf.x509), pem_cert(f.sub.x509), NULL));
	trial_trust(&t, f.root.x509);
	trial_run(&t);
	cr_expect(!t.whole && blocks(&t, FINDING_KEY_MISSING) && t.reply.findings.n == 1, "%s", told(&t));
	trial_add(&t, CHECK_KEY, pem_key(other.leaf.key)); /* pending keys for other certificates are no mismatch */
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_KEY_MISSING) && t.reply.findings.n == 1, "%s", told(&t));
	trial_add(&t, CHECK_SUBMITTED, pem_key(other.sub.key));
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_PAIR_MISMATCH) && t.reply.findings.n == 1, "%s", told(&t));
	words_add(&t.request.accepted, "PAIR_MISMATCH");
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_PAIR_MISMATCH), "%s", told(&t));
	trial_add(&t, CHECK_KEY, pem_key(f.leaf.key));
	trial_run(&t);
	cr_expect(t.whole && t.reply.findings.n == 0, "%s", told(&t));
	trial_done(&t);
	family_done(&f);
	family_done(&other);
}

Test(pki_proof, nothing_to_prove)
{
	struct family f = make_family();
	struct trial t = {0};
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_UNREADABLE), "%s", told(&t));
	trial_add(&t, CHECK_SUBMITTED, xstrdup(""));
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_UNREADABLE) && strstr(told(&t), "empty"), "%s", told(&t));
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(f.sub.x509), pem_cert(f.root.x509), pem_key(f.leaf.key), NULL));
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_UNREADABLE) && strstr(told(&t), "of CAs (2)"), "%s", told(&t));
	t.files[0].too_large = true;
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_TOO_LARGE), "%s", told(&t));
	trial_done(&t);
	family_done(&f);
}

/* A note beside a whole pair keeps nobody waiting; a broken block is told. */
Test(pki_proof, rubbish_beside_a_pair)
{
	struct family f = make_family();
	struct trial t = trial_of(&f);
	trial_add(&t, CHECK_SUBMITTED, xstrdup("Your order 4711 is complete."));
	trial_add(&t, CHECK_SUBMITTED, xstrdup("-----BEGIN CERTIFICATE-----\nMII"));
	trial_run(&t);
	cr_expect(t.whole && !findings_block(&t.reply.findings) && t.reply.findings.n == 2 &&
			  t.reply.findings.v[0].severity == FINDING_INFO &&
			  t.reply.findings.v[1].severity == FINDING_WARN,
		  "%s", told(&t));
	trial_done(&t);
	family_done(&f);
}

Test(pki_proof, locked_key)
{
	struct family f = make_family();
	struct trial t = {0};
	char secret[] = "secret", *data;
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_PKCS8PrivateKey(b, f.leaf.key, EVP_aes_256_cbc(), NULL, 0, NULL, secret);
	long n = BIO_get_mem_data(b, &data);
	trial_add(&t, CHECK_SUBMITTED,
		  joined(pem_cert(f.leaf.x509), pem_cert(f.sub.x509), xstrndup(data, (size_t)n), NULL));
	BIO_free(b);
	trial_trust(&t, f.root.x509);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_KEY_ENCRYPTED) && t.reply.findings.n == 1, "%s", told(&t));
	trial_add(&t, CHECK_PASSWORD, xstrdup("wrong\r\n\nsecret\r\n"));
	trial_run(&t);
	cr_expect(t.whole && t.reply.findings.n == 0, "%s", told(&t));
	expect_file(&t, CHECK_OUT_KEY, pem_key(f.leaf.key));
	trial_done(&t);
	family_done(&f);
}

Test(pki_proof, several_leaves)
{
	struct family f = make_family();
	struct made b = make_leaf("DNS:b.test", &f.sub), keyless = make_leaf("DNS:a.test,DNS:b.test", &f.sub);
	struct trial t = trial_of(&f);
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(keyless.x509), pem_cert(b.x509), pem_key(b.key), NULL));
	words_add(&t.request.names, "b.test");
	struct digest want = cert_digest(b.x509);
	trial_run(&t);
	cr_expect(digest_equal(&t.reply.sha256, &want) && t.reply.findings.n == 0, "%s", told(&t));
	t.request.leaf = cert_digest(f.leaf.x509);
	trial_run(&t);
	cr_expect(digest_equal(&t.reply.sha256, &t.request.leaf) && blocks(&t, FINDING_NAME_MISSING), "%s", told(&t));
	t.request.leaf = cert_digest(keyless.x509);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_PAIR_MISMATCH), "%s", told(&t));
	t.request.leaf = hash_bytes("", 0);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_UNREADABLE), "%s", told(&t));
	made_done(&b);
	made_done(&keyless);
	trial_done(&t);
	family_done(&f);
}

/* The same RSA key with one part changed. */
static EVP_PKEY *damaged(const EVP_PKEY *key, const char *part)
{
	static const char *const parts[] = {OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
					    OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
					    OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
					    OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	BIGNUM *v[ARRAY_SIZE(parts)] = {0};
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		cr_assert_eq(EVP_PKEY_get_bn_param(key, parts[i], &v[i]), 1);
		if (strcmp(parts[i], part) == 0)
			BN_add_word(v[i], 1UL << 20);
		OSSL_PARAM_BLD_push_BN(b, parts[i], v[i]);
	}
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *bad = NULL;
	EVP_PKEY_fromdata_init(ctx);
	cr_assert_eq(EVP_PKEY_fromdata(ctx, &bad, EVP_PKEY_KEYPAIR, params), 1);
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		BN_free(v[i]);
	return bad;
}

Test(pki_proof, damaged_rsa_key)
{
	static const char *const parts[] = {OSSL_PKEY_PARAM_RSA_D, OSSL_PKEY_PARAM_RSA_EXPONENT1,
					    OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
					    OSSL_PKEY_PARAM_RSA_FACTOR1};
	struct family f = make_family();
	EVP_PKEY *key = make_key("RSA:2048");
	struct made leaf =
		make((struct wish){.cn = "rsa", .san = "DNS:a.test", .purpose = "serverAuth", .key = key}, &f.sub);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		EVP_PKEY *bad = damaged(key, parts[i]);
		struct trial t = trial_of_leaf(&f, &(struct made){.key = bad, .x509 = leaf.x509});
		words_add(&t.request.accepted, "HANDSHAKE_FAILED");
		trial_run(&t);
		cr_expect(blocks(&t, FINDING_HANDSHAKE_FAILED) && !found(&t, FINDING_PAIR_MISMATCH), "%s: %s", parts[i],
			  told(&t));
		trial_done(&t);
		EVP_PKEY_free(bad);
	}
	struct trial t = trial_of_leaf(&f, &leaf);
	trial_run(&t);
	cr_expect_null(found(&t, FINDING_HANDSHAKE_FAILED), "%s", told(&t));
	trial_done(&t);
	made_done(&leaf);
	EVP_PKEY_free(key);
	family_done(&f);
}

/* The scalar belongs to another point: the file still carries the right public key. */
Test(pki_proof, damaged_ec_key)
{
	struct family f = make_family();
	unsigned char *der = NULL;
	int n = i2d_PrivateKey(f.leaf.key, &der);
	struct trial t = {0};
	/* SEC1: 30 len 02 01 01 04 20 <the scalar> */
	cr_assert(der[5] == 0x04 && der[6] == 0x20);
	der[20] ^= 1;
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(f.leaf.x509), pem_cert(f.sub.x509), NULL));
	trial_add_bytes(&t, CHECK_SUBMITTED, xmemdup(der, (size_t)n), (size_t)n);
	trial_trust(&t, f.root.x509);
	trial_run(&t);
	cr_expect(findings_block(&t.reply.findings), "%s", told(&t));
	OPENSSL_free(der);
	trial_done(&t);
	family_done(&f);
}

Test(pki_proof, denied)
{
	struct family f = make_family();
	struct trial t = trial_of(&f);
	t.request.ndenied = 1;
	t.request.denied = xcalloc(1, sizeof(struct digest));
	t.request.denied[0] = key_spki(f.leaf.key);
	words_add(&t.request.accepted, "KEY_DENIED");
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_KEY_DENIED) && !found(&t, FINDING_REVOKED), "%s", told(&t));
	t.request.denied[0] = cert_digest(f.leaf.x509);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_REVOKED) && !found(&t, FINDING_KEY_DENIED), "%s", told(&t));
	t.request.denied[0] = cert_digest(f.sub.x509);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_REVOKED) && strstr(told(&t), "Test Issuing CA"), "%s", told(&t));
	words_add(&t.request.accepted, "REVOKED");
	trial_run(&t);
	cr_expect(warns(&t, FINDING_REVOKED), "%s", told(&t));
	trial_done(&t);
	family_done(&f);
}

Test(pki_proof, accepted)
{
	struct family f = make_family();
	struct wish w = {.cn = "l", .san = "DNS:a.test", .purpose = "serverAuth", .until = NOW - 5};
	struct made leaf = make(w, &f.sub);
	struct trial t = trial_of_leaf(&f, &leaf);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_EXPIRED));
	words_add(&t.request.accepted, "EXPIRED");
	trial_run(&t);
	cr_expect(warns(&t, FINDING_EXPIRED) && strstr(told(&t), "accepted") && !findings_block(&t.reply.findings),
		  "%s", told(&t));
	trial_done(&t);
	made_done(&leaf);
	family_done(&f);
}

Test(pki_proof, beside_the_live_one)
{
	struct family f = make_family();
	struct trial t = trial_of(&f);
	struct wish w = {.cn = "live", .san = "DNS:a.test", .purpose = "serverAuth,clientAuth", .from = NOW - 50};
	struct made live = make(w, &f.sub);
	trial_add(&t, CHECK_LIVE, joined(pem_cert(live.x509), pem_cert(f.sub.x509), NULL));
	trial_run(&t);
	const struct finding *older = found(&t, FINDING_OLDER_THAN_LIVE);
	cr_expect(older && older->severity == FINDING_INFO && warns(&t, FINDING_USAGE_CLIENT_AUTH_LOST), "%s",
		  told(&t));
	t.request.older_blocks = true;
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_OLDER_THAN_LIVE), "%s", told(&t));
	trial_done(&t);
	t = trial_of(&f);
	trial_add(&t, CHECK_LIVE, joined(pem_cert(f.leaf.x509), pem_cert(f.sub.x509), NULL));
	t.request.older_blocks = true;
	trial_run(&t);
	cr_expect(t.reply.findings.n == 1 && t.reply.findings.v[0].code == FINDING_SAME_AS_LIVE, "%s", told(&t));
	trial_done(&t);
	made_done(&live);
	family_done(&f);
}

/* The names of the live one are what must be covered where nobody said otherwise. */
Test(pki_proof, names_of_the_live_one)
{
	struct family f = make_family();
	struct trial t = trial_of(&f);
	struct made live = make_leaf("DNS:a.test,DNS:old.a.test", &f.sub);
	trial_add(&t, CHECK_LIVE, pem_cert(live.x509));
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_NAME_MISSING) && strstr(told(&t), "cover old.a.test;"), "%s", told(&t));
	trial_done(&t);
	made_done(&live);
	family_done(&f);
}

Test(pki_proof, no_worse_than_today)
{
	struct family f = make_family();
	struct trial t = trial_of(&f);
	struct made live = make_leaf("DNS:a.test", &f.sub);
	words_add(&t.request.names, "a.test");
	words_add(&t.request.names, "b.test");
	t.request.profile = CHECK_PROFILE_PUBLIC;
	trial_add(&t, CHECK_LIVE, joined(pem_cert(live.x509), pem_cert(f.sub.x509), NULL));
	trial_run(&t);
	cr_expect(warns(&t, FINDING_NAME_MISSING) && warns(&t, FINDING_SCT_MISSING) &&
			  !findings_block(&t.reply.findings),
		  "%s", told(&t));
	trial_done(&t);
	/* one name more is missing than today */
	t = trial_of(&f);
	made_done(&live);
	live = make_leaf("DNS:b.test", &f.sub);
	words_add(&t.request.names, "b.test");
	words_add(&t.request.names, "c.test");
	trial_add(&t, CHECK_LIVE, pem_cert(live.x509));
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_NAME_MISSING), "%s", told(&t));
	trial_done(&t);
	/* a broken pair is never excused */
	t = (struct trial){0};
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(f.leaf.x509), pem_cert(f.sub.x509), NULL));
	trial_add(&t, CHECK_LIVE, joined(pem_cert(f.leaf.x509), pem_cert(f.sub.x509), NULL));
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_KEY_MISSING) && warns(&t, FINDING_CHAIN_UNTRUSTED), "%s", told(&t));
	trial_done(&t);
	made_done(&live);
	family_done(&f);
}

/* Today's server serves SHA-1 because it was told to; a handshake at its level is the proof then. */
Test(pki_proof, sha1_like_today)
{
	struct family f = make_family();
	struct wish w = {.cn = "l", .san = "DNS:a.test", .purpose = "serverAuth", .digest = EVP_sha1()};
	struct made live = make(w, &f.sub), leaf = make(w, &f.sub);
	struct trial t = trial_of_leaf(&f, &leaf);
	trial_run(&t);
	cr_expect(blocks(&t, FINDING_SIGNATURE_WEAK) && blocks(&t, FINDING_HANDSHAKE_FAILED), "%s", told(&t));
	trial_add(&t, CHECK_LIVE, pem_cert(live.x509));
	trial_run(&t);
	cr_expect(warns(&t, FINDING_SIGNATURE_WEAK) && !found(&t, FINDING_HANDSHAKE_FAILED), "%s", told(&t));
	trial_done(&t);
	made_done(&live);
	made_done(&leaf);
	family_done(&f);
}

Test(pki_proof, rsa_and_other_curves_shake_hands)
{
	static const char *const types[] = {"RSA:2048", "P-384", "P-521", "ED25519"};
	struct family f = make_family();
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		EVP_PKEY *key = make_key(types[i]);
		struct wish w = {.cn = "l", .san = "DNS:a.test", .purpose = "serverAuth", .key = key};
		struct made leaf = make(w, &f.sub);
		struct trial t = trial_of_leaf(&f, &leaf);
		trial_run(&t);
		cr_expect(t.whole && !findings_block(&t.reply.findings), "%s: %s", types[i], told(&t));
		trial_done(&t);
		made_done(&leaf);
		EVP_PKEY_free(key);
	}
	family_done(&f);
}
