/* Certificate revocation lists: what they say, and each rule with a list that breaks just it. */
#include <criterion/criterion.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/pki.h"
#include "test_pki_crl_help.h"

TestSuite(pki_crl, .init = pki_init, .fini = pki_exit);

/* Scans a list of this wish for the family's leaf. */
static struct scanned scanned(const struct family *f, struct crl_wish w)
{
	struct bytes der = make_crl(&w, &f->sub);
	struct scanned s = scan_list(der.b, der.n, f->leaf.x509, f->sub.x509, 0);
	free(der.b);
	return s;
}

static struct crl_wish revoked(const struct family *f)
{
	return (struct crl_wish){
		.entries = {{.x509 = f->leaf.x509, .reason = CRL_CODE_KEY_COMPROMISE}}, .n = 1, .fill = 20};
}

static void expect_refused(const struct family *f, struct crl_wish w, enum crl_state state)
{
	struct scanned s = scanned(f, w);
	cr_expect_eq(s.list.state, state, "%s and not %s: %s", crl_state_name(s.list.state), crl_state_name(state),
		     s.fault.text);
	cr_expect_eq(s.answer.verdict, CRL_UNDETERMINED);
	cr_expect_eq(s.answer.why, CRL_WHY_LIST);
	cr_expect(*s.fault.text);
}

Test(pki_crl, what_it_says)
{
	struct family f = make_family();
	struct scanned s = scanned(&f, revoked(&f));
	cr_assert_eq(s.list.state, CRL_SOUND, "%s", s.fault.text);
	cr_expect_eq(s.answer.verdict, CRL_REVOKED);
	cr_expect_eq(s.answer.reason, CRL_CODE_KEY_COMPROMISE);
	cr_expect_eq(s.answer.revoked_at, NOW - DAY);
	cr_expect_eq(s.list.this_update, NOW - 3600);
	cr_expect_eq(s.list.next_update, NOW + 7 * DAY);
	cr_expect_eq(s.list.entries, 21);
	char number[CRL_NUMBER_TEXT];
	cr_expect_str_eq(crl_number_text(&s.list.number, number), "07");
	s = scanned(&f, (struct crl_wish){.fill = 20});
	cr_expect_eq(s.list.state, CRL_SOUND);
	cr_expect_eq(s.answer.verdict, CRL_GOOD);
	s = scanned(&f, (struct crl_wish){0});
	cr_expect_eq(s.list.state, CRL_SOUND, "no list of entries at all: %s", s.fault.text);
	cr_expect_eq(s.answer.verdict, CRL_GOOD);
	family_done(&f);
}

Test(pki_crl, pieces_of_any_size)
{
	struct family f = make_family();
	struct crl_wish w = revoked(&f);
	w.fill = 3000;
	struct bytes der = make_crl(&w, &f.sub);
	char *pem = crl_pem(&der), *text = xasprintf("a mail\n\n%s\nbye\n", pem);
	for (size_t piece = 1; piece < 100; piece += 7) {
		struct scanned s = scan_list(der.b, der.n, f.leaf.x509, f.sub.x509, piece);
		cr_expect_eq(s.answer.verdict, CRL_REVOKED, "%zu: %s", piece, s.fault.text);
		cr_expect_eq(s.list.entries, 3001);
		s = scan_list(text, strlen(text), f.leaf.x509, f.sub.x509, piece);
		cr_expect_eq(s.answer.verdict, CRL_REVOKED, "PEM, %zu: %s", piece, s.fault.text);
		cr_expect_eq(s.list.bytes, der.n);
	}
	struct scanned s = scan_list(text, strlen(text), f.leaf.x509, f.sub.x509, 0);
	cr_expect_eq(s.answer.verdict, CRL_REVOKED);
	free(pem);
	free(text);
	free(der.b);
	family_done(&f);
}

Test(pki_crl, cut_off_at_every_byte)
{
	struct family f = make_family();
	struct crl_wish w = revoked(&f);
	w.fill = 5;
	struct bytes der = make_crl(&w, &f.sub);
	for (size_t n = 0; n < der.n; n++) {
		struct scanned s = scan_list(der.b, n, f.leaf.x509, f.sub.x509, 0);
		cr_expect(s.list.state == CRL_TRUNCATED, "%zu of %zu: %s", n, der.n, crl_state_name(s.list.state));
		cr_expect_eq(s.answer.verdict, CRL_UNDETERMINED);
	}
	uint8_t *longer = xcalloc(1, der.n + 1);
	memcpy(longer, der.b, der.n);
	cr_expect_eq(scan_list(longer, der.n + 1, f.leaf.x509, f.sub.x509, 0).list.state, CRL_MALFORMED);
	cr_expect_eq(scan_list("hello\n", 6, f.leaf.x509, f.sub.x509, 0).list.state, CRL_MALFORMED);
	free(longer);
	free(der.b);
	family_done(&f);
}

Test(pki_crl, each_bit_counts)
{
	struct family f = make_family();
	struct crl_wish w = revoked(&f);
	w.fill = 2;
	struct bytes der = make_crl(&w, &f.sub);
	for (size_t bit = 0; bit < 8 * der.n; bit++) {
		der.b[bit / 8] ^= (uint8_t)(1U << bit % 8);
		struct scanned s = scan_list(der.b, der.n, f.leaf.x509, f.sub.x509, 0);
		cr_expect_neq(s.list.state, CRL_SOUND, "bit %zu", bit);
		cr_expect_eq(s.answer.verdict, CRL_UNDETERMINED);
		der.b[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	free(der.b);
	family_done(&f);
}

Test(pki_crl, who_signed_it)
{
	struct family f = make_family();
	struct crl_wish w = revoked(&f);
	w.signer = f.leaf.key;
	expect_refused(&f, w, CRL_BAD_SIGNATURE);
	/* another CA's list, which is sound in itself */
	w.signer = NULL;
	struct bytes der = make_crl(&w, &f.root);
	cr_expect_eq(scan_list(der.b, der.n, f.leaf.x509, f.sub.x509, 0).list.state, CRL_WRONG_ISSUER);
	cr_expect_eq(scan_list(der.b, der.n, f.sub.x509, f.root.x509, 0).list.state, CRL_SOUND);
	free(der.b);
	/* a CA of the same name with another key */
	struct wish ca = {.cn = "Test Issuing CA", .ca = true, .usage = "critical,keyCertSign,cRLSign"};
	struct made twin = make(ca, &f.root);
	der = make_crl(&w, &twin);
	cr_expect_eq(scan_list(der.b, der.n, f.leaf.x509, f.sub.x509, 0).list.state, CRL_WRONG_ISSUER,
		     "by its key identifier");
	free(der.b);
	w.no_key_id = true;
	der = make_crl(&w, &twin);
	cr_expect_eq(scan_list(der.b, der.n, f.leaf.x509, f.sub.x509, 0).list.state, CRL_BAD_SIGNATURE);
	free(der.b);
	made_done(&twin);
	/* a CA of another name with the very key */
	ca.cn = "Other CA";
	ca.key = f.sub.key;
	twin = make(ca, &f.root);
	der = make_crl(&w, &twin);
	cr_expect_eq(scan_list(der.b, der.n, f.leaf.x509, f.sub.x509, 0).list.state, CRL_WRONG_ISSUER);
	free(der.b);
	made_done(&twin);
	family_done(&f);
}

Test(pki_crl, the_issuer_must_be_allowed)
{
	struct family f = make_family();
	struct made sub =
		make((struct wish){.cn = "Test Issuing CA", .ca = true, .usage = "critical,keyCertSign"}, &f.root);
	struct crl_wish w = revoked(&f);
	struct bytes der = make_crl(&w, &sub);
	cr_expect_eq(scan_list(der.b, der.n, f.leaf.x509, sub.x509, 0).list.state, CRL_NOT_ALLOWED);
	free(der.b);
	made_done(&sub);
	sub = make((struct wish){.cn = "Old CA", .ca = true}, &f.root); /* no keyUsage: may all */
	der = make_crl(&w, &sub);
	cr_expect_eq(scan_list(der.b, der.n, f.leaf.x509, sub.x509, 0).list.state, CRL_SOUND);
	free(der.b);
	made_done(&sub);
	family_done(&f);
}

Test(pki_crl, dates)
{
	struct family f = make_family();
	struct crl_wish w = revoked(&f);
	w.from = NOW + CRL_TOLERANCE + 1;
	expect_refused(&f, w, CRL_NOT_YET_VALID);
	w.from = NOW + CRL_TOLERANCE;
	cr_expect_eq(scanned(&f, w).list.state, CRL_SOUND, "a clock may differ");
	w.from = NOW - 8 * DAY;
	w.until = NOW - CRL_TOLERANCE - 1;
	expect_refused(&f, w, CRL_STALE);
	w.until = NOW - CRL_TOLERANCE;
	cr_expect_eq(scanned(&f, w).list.state, CRL_SOUND);
	w.until = -1;
	expect_refused(&f, w, CRL_STALE);
	family_done(&f);
}

Test(pki_crl, never_goes_back)
{
	struct family f = make_family();
	struct crl_wish w = {.number = "300"};
	struct bytes der = make_crl(&w, &f.sub);
	struct crl_options o = {.issuer = f.sub.x509, .now = NOW, .known_this_update = NOW - 3600};
	cr_assert_eq(crl_number_parse("012c", &o.known_number), 0);
	cr_expect_eq(scan_with(&o, der.b, der.n, f.leaf.x509, 0).list.state, CRL_SOUND, "the same list again");
	cr_assert_eq(crl_number_parse("012d", &o.known_number), 0);
	cr_expect_eq(scan_with(&o, der.b, der.n, f.leaf.x509, 0).list.state, CRL_WENT_BACK);
	cr_assert_eq(crl_number_parse("ff", &o.known_number), 0);
	cr_expect_eq(scan_with(&o, der.b, der.n, f.leaf.x509, 0).list.state, CRL_SOUND);
	o.known_this_update++;
	cr_expect_eq(scan_with(&o, der.b, der.n, f.leaf.x509, 0).list.state, CRL_WENT_BACK);
	free(der.b);
	w.number = ""; /* a list that stopped having a number went back too */
	der = make_crl(&w, &f.sub);
	o.known_this_update = 0;
	cr_expect_eq(scan_with(&o, der.b, der.n, f.leaf.x509, 0).list.state, CRL_WENT_BACK);
	free(der.b);
	w.more[0] = "2.5.29.20"; /* CRLNumber: nothing, below zero, longer than 20 octets */
	static const char *const none[] = {"DER:05:00", "DER:02:01:ff",
					   "DER:02:15:01:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00"};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		w.more[1] = none[i];
		expect_refused(&f, w, CRL_MALFORMED);
	}
	struct crl_number n;
	cr_expect_lt(crl_number_parse("0001", &n), 0);
	cr_expect_lt(crl_number_parse("abc", &n), 0);
	cr_expect_lt(crl_number_parse("zz", &n), 0);
	cr_expect_eq(crl_number_parse("", &n), 0);
	family_done(&f);
}

Test(pki_crl, only_its_own_shard)
{
	struct family f = make_family(); /* the leaf's point is http://crl.test/1.crl */
	struct scanned s = scanned(&f, (struct crl_wish){.idp = "critical,fullname:URI:http://crl.test/1.crl"});
	cr_expect_eq(s.list.state, CRL_SOUND, "%s", s.fault.text);
	cr_expect_eq(s.answer.verdict, CRL_GOOD);
	cr_expect(s.list.scoped);
	static const char *const others[] = {"http://crl.test/2.crl", "http://crl.test/1.crl/", "HTTP://crl.test/1.crl",
					     "http://crl.test/1.cr"};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		char *idp = xasprintf("critical,fullname:URI:%s", others[i]);
		struct crl_wish w = revoked(&f);
		w.idp = idp;
		s = scanned(&f, w);
		cr_expect_eq(s.list.state, CRL_SOUND);
		cr_expect_eq(s.answer.verdict, CRL_UNDETERMINED, "%s", idp);
		cr_expect_eq(s.answer.why, CRL_WHY_SHARD);
		free(idp);
	}
	family_done(&f);
}

Test(pki_crl, whom_it_covers)
{
	struct family f = make_family();
	struct crl_wish w = revoked(&f);
	w.idp = "critical,onlyCA:TRUE";
	struct scanned s = scanned(&f, w);
	cr_expect_eq(s.answer.verdict, CRL_UNDETERMINED);
	cr_expect_eq(s.answer.why, CRL_WHY_CAS_ONLY);
	w.idp = "critical,onlyuser:TRUE";
	cr_expect_eq(scanned(&f, w).answer.verdict, CRL_REVOKED);
	struct bytes der = make_crl(&w, &f.root);
	s = scan_list(der.b, der.n, f.sub.x509, f.root.x509, 0);
	cr_expect_eq(s.answer.why, CRL_WHY_USERS_ONLY);
	free(der.b);
	w.idp = "critical,onlyAA:TRUE";
	expect_refused(&f, w, CRL_ATTRIBUTES);
	w.idp = "critical,indirectCRL:TRUE";
	expect_refused(&f, w, CRL_INDIRECT);
	w.idp = "critical,onlysomereasons:keyCompromise";
	cr_expect_eq(scanned(&f, w).answer.verdict, CRL_REVOKED);
	w.n = 0;
	s = scanned(&f, w);
	cr_expect_eq(s.answer.verdict, CRL_UNDETERMINED, "not listed is not good where only some reasons are covered");
	cr_expect_eq(s.answer.why, CRL_WHY_REASONS);
	family_done(&f);
}

Test(pki_crl, critical_extensions)
{
	struct family f = make_family();
	struct crl_wish w = revoked(&f);
	w.more[0] = "1.2.3.4";
	w.more[1] = "DER:0500";
	cr_expect_eq(scanned(&f, w).answer.verdict, CRL_REVOKED, "not critical");
	w.more[1] = "critical,DER:0500";
	expect_refused(&f, w, CRL_CRITICAL);
	w.more[0] = "deltaCRL";
	w.more[1] = "critical,DER:020106";
	expect_refused(&f, w, CRL_DELTA);
	w.more[0] = "crlNumber";
	w.more[1] = "DER:020109";
	expect_refused(&f, w, CRL_MALFORMED); /* twice */
	w.more[0] = NULL;
	struct made other = make_leaf("DNS:b.test", &f.sub);
	w.entries[1] = (struct listed){.x509 = other.x509, .reason = -1, .more = {"1.2.3.4", "DER:0500"}};
	w.n = 2;
	cr_expect_eq(scanned(&f, w).answer.verdict, CRL_REVOKED);
	w.entries[1].more[1] = "critical,DER:0500"; /* of any entry (RFC 5280 5.3) */
	expect_refused(&f, w, CRL_CRITICAL);
	w.entries[1].more[0] = "2.5.29.29";
	w.entries[1].more[1] = "critical,DER:3003820178";
	expect_refused(&f, w, CRL_INDIRECT);
	made_done(&other);
	family_done(&f);
}

Test(pki_crl, what_an_entry_says)
{
	struct family f = make_family();
	for (int reason = -1; reason <= 11; reason++) {
		struct crl_wish w = revoked(&f);
		w.entries[0].reason = reason;
		struct scanned s = scanned(&f, w);
		cr_expect_eq(s.list.state, CRL_SOUND);
		cr_expect_eq(s.answer.verdict, reason == CRL_CODE_REMOVE ? CRL_GOOD : CRL_REVOKED, "%d", reason);
		cr_expect(s.answer.listed);
		cr_expect_eq((int)s.answer.reason, reason < 0                    ? 0
						   : reason == 7 || reason == 11 ? CRL_CODE_OTHER
										 : reason);
	}
	struct crl_wish w = revoked(&f);
	w.entries[0].more[0] = "invalidityDate";
	w.entries[0].more[1] = "DER:180F32303236303130323033303430355A";
	w.entries[0].at = NOW - 400 * DAY; /* back-dated */
	struct scanned s = scanned(&f, w);
	cr_expect_eq(s.answer.verdict, CRL_REVOKED);
	cr_expect_eq(s.answer.invalid_since, 1767323045);
	cr_expect_eq(s.answer.revoked_at, NOW - 400 * DAY);
	/* listed twice: what revokes stands */
	w.entries[0].reason = CRL_CODE_REMOVE;
	w.entries[1] = (struct listed){.x509 = f.leaf.x509, .reason = CRL_CODE_SUPERSEDED};
	w.n = 2;
	cr_expect_eq(scanned(&f, w).answer.reason, CRL_CODE_SUPERSEDED);
	family_done(&f);
}

Test(pki_crl, signatures)
{
	struct family f = make_family();
	static const struct {
		const char *key;
		bool pss, sha1;
		enum crl_state state;
	} cases[] = {{"RSA:2048", false, false, CRL_SOUND},        {"RSA:2048", true, false, CRL_SOUND},
		     {"P-384", false, false, CRL_SOUND},           {"ED25519", false, false, CRL_SOUND},
		     {"RSA:2048", false, true, CRL_BAD_ALGORITHM}, {"RSA:2048", true, true, CRL_BAD_ALGORITHM},
		     {"P-256", false, true, CRL_BAD_ALGORITHM}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EVP_PKEY *key = make_key(cases[i].key);
		struct made ca = make((struct wish){.cn = "CA", .ca = true, .key = key}, &f.root);
		struct crl_wish w = revoked(&f);
		w.pss = cases[i].pss;
		w.digest = cases[i].sha1 ? EVP_sha1() : NULL;
		struct bytes der = make_crl(&w, &ca);
		struct scanned s = scan_list(der.b, der.n, f.leaf.x509, ca.x509, 33);
		cr_expect_eq(s.list.state, cases[i].state, "%s %d: %s", cases[i].key, cases[i].pss, s.fault.text);
		der.b[der.n / 2] ^= 4;
		cr_expect_neq(scan_list(der.b, der.n, f.leaf.x509, ca.x509, 0).list.state, CRL_SOUND);
		free(der.b);
		made_done(&ca);
		EVP_PKEY_free(key);
	}
	family_done(&f);
}

Test(pki_crl, version_1_has_no_number)
{
	struct family f = make_family();
	struct crl_wish w = {.v1 = true, .n = 1, .entries = {{.x509 = f.leaf.x509, .reason = -1}}};
	struct scanned s = scanned(&f, w); /* as `openssl ca -gencrl` makes them by default */
	cr_expect_eq(s.list.state, CRL_SOUND, "%s", s.fault.text);
	cr_expect_eq(s.answer.verdict, CRL_REVOKED);
	cr_expect_eq(s.list.number.len, 0);
	family_done(&f);
}

Test(pki_crl, many_at_once)
{
	struct family f = make_family();
	struct crl_wish w = {.fill = 5000};
	struct bytes der = make_crl(&w, &f.sub);
	struct crl_scan *scan = crl_scan_new(&(struct crl_options){.issuer = f.sub.x509, .now = NOW});
	for (uint64_t i = 0; i < 2000; i++) { /* every second one is listed */
		char text[32];
		snprintf(text, sizeof text, "%llx", 0x9000000000000001ULL + i / 2 * 0x10003 + i % 2);
		struct crl_want want = {0};
		cr_assert_eq(serial_from_text(text, &want.serial), 0);
		cr_assert_eq(crl_scan_want(scan, &want), (int)i);
	}
	cr_assert_eq(crl_scan_feed(scan, der.b, der.n), 0);
	cr_assert_eq(crl_scan_finish(scan, NULL, NULL), CRL_SOUND);
	for (size_t i = 0; i < 2000; i++) {
		struct crl_answer a;
		crl_scan_answer(scan, i, &a);
		cr_expect_eq(a.verdict, i % 2 ? CRL_GOOD : CRL_REVOKED, "%zu", i);
		cr_expect_eq(a.reason, i % 2 || i / 2 % 3 ? 0 : CRL_CODE_SUPERSEDED);
	}
	crl_scan_free(scan);
	free(der.b);
	family_done(&f);
}

Test(pki_crl, serials)
{
	static const struct {
		const char *in, *out;
	} cases[] = {{"0", "0"},     {"7f", "7f"},   {"80", "80"},
		     {"0080", "80"}, {"ff", "ff"},   {"-1", "-1"},
		     {"-80", "-80"}, {"-81", "-81"}, {"00ab1234567890abcdef", "ab1234567890abcdef"}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct serial s;
		char buf[SERIAL_TEXT];
		cr_assert_eq(serial_from_text(cases[i].in, &s), 0, "%s", cases[i].in);
		cr_expect_str_eq(serial_text(&s, buf), cases[i].out);
		BIGNUM *n = NULL;
		BN_hex2bn(&n, cases[i].in);
		ASN1_INTEGER *a = BN_to_ASN1_INTEGER(n, NULL);
		uint8_t *der = NULL;
		int len = i2d_ASN1_INTEGER(a, &der);
		cr_expect(len == s.len + 2 && memcmp(der + 2, s.b, s.len) == 0, "%s as OpenSSL writes it", cases[i].in);
		OPENSSL_free(der);
		ASN1_INTEGER_free(a);
		BN_free(n);
	}
	struct serial s;
	cr_expect_lt(serial_from_text("", &s), 0);
	cr_expect_lt(serial_from_text("xy", &s), 0);
	cr_expect_lt(serial_from_bytes("\0\1", 2, &s), 0);
	cr_expect_lt(serial_from_bytes("", 0, &s), 0);
}
