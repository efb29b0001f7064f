/* Which intermediates are sent, in which order, and when the chain holds. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/chain.h"
#include "pki/pki.h"
#include "test_pki_help.h"

TestSuite(pki_chain, .init = pki_init, .fini = pki_exit);

static struct bundle *bundle_of(const X509 *x)
{
	struct bundle *b = bundle_new();
	char *pem = x ? pem_cert(x) : xstrdup("");
	bundle_add(b, pem, strlen(pem));
	free(pem);
	return b;
}

static struct chain build(X509 *leaf, X509 **given, size_t n, const X509 *intermediate, const X509 *trust)
{
	struct bundle *i = bundle_of(intermediate), *t = bundle_of(trust);
	struct chain_input in = {.leaf = leaf, .given = given, .ngiven = n, .intermediates = i, .trust = t, .now = NOW};
	struct chain c;
	chain_build(&in, &c);
	bundle_free(i);
	bundle_free(t);
	return c;
}

static void expect(struct chain c, const char *what, const X509 *anchor, size_t n, X509 *const *want)
{
	cr_expect_null(c.why, "%s: %s", what, c.why ? c.why : "");
	cr_expect(anchor && c.anchor && X509_cmp(c.anchor, anchor) == 0, "%s: the anchor", what);
	cr_assert_eq(c.n, n, "%s: %zu certificates", what, c.n);
	for (size_t i = 0; i < n; i++)
		cr_expect(X509_cmp(c.v[i], want[i]) == 0, "%s: certificate %zu", what, i);
	chain_done(&c);
}

Test(pki_chain, orders)
{
	struct family f = make_family();
	struct made low = make((struct wish){.cn = "Low CA", .ca = true}, &f.sub), leaf = make_leaf("DNS:a.test", &low);
	X509 *l = leaf.x509, *a = low.x509, *b = f.sub.x509, *r = f.root.x509, *want[] = {l, a, b};
	X509 *orders[][4] = {{l, a, b, r}, {r, b, a, l}, {b, l, r, a}, {a, r, l, b}};
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		expect(build(l, orders[i], 4, NULL, r), "any order", r, 3, want);
	expect(build(l, (X509 *[]){l, a}, 2, b, r), "completed from the intermediates", r, 3, want);
	made_done(&low);
	made_done(&leaf);
	family_done(&f);
}

Test(pki_chain, trusted_intermediate)
{
	struct family f = make_family();
	X509 *want[] = {f.leaf.x509, f.sub.x509};
	/* it is sent although it is the anchor: clients know the root alone */
	expect(build(f.leaf.x509, NULL, 0, NULL, f.sub.x509), "not given", f.sub.x509, 2, want);
	expect(build(f.leaf.x509, want, 2, NULL, f.sub.x509), "given", f.sub.x509, 2, want);
	expect(build(f.leaf.x509, want, 1, NULL, f.leaf.x509), "the leaf itself", f.leaf.x509, 1, want);
	family_done(&f);
}

Test(pki_chain, two_keys_of_one_name)
{
	struct family f = make_family();
	/* same names, no key identifiers that would tell them apart */
	struct wish w = {.cn = "Twin CA", .ca = true};
	struct made a = make(w, &f.root), b = make(w, &f.root), leaf;
	X509_EXTENSION_free(X509_delete_ext(a.x509, X509_get_ext_by_NID(a.x509, NID_subject_key_identifier, -1)));
	X509_EXTENSION_free(X509_delete_ext(b.x509, X509_get_ext_by_NID(b.x509, NID_subject_key_identifier, -1)));
	X509_sign(a.x509, f.root.key, EVP_sha256());
	X509_sign(b.x509, f.root.key, EVP_sha256());
	leaf = make((struct wish){.cn = "l", .san = "DNS:a.test", .purpose = "serverAuth"}, NULL);
	X509_set_issuer_name(leaf.x509, X509_get_subject_name(b.x509));
	X509_sign(leaf.x509, b.key, EVP_sha256());
	X509 *want[] = {leaf.x509, b.x509}, *given[] = {a.x509, b.x509, leaf.x509};
	expect(build(leaf.x509, given, 3, NULL, f.root.x509), "the signature decides", f.root.x509, 2, want);
	struct chain c = build(leaf.x509, given, 3, NULL, NULL);
	cr_expect(c.why && c.n == 2 && X509_cmp(c.v[1], b.x509) == 0, "also where nothing is trusted");
	chain_done(&c);
	made_done(&a);
	made_done(&b);
	made_done(&leaf);
	family_done(&f);
}

Test(pki_chain, cross_certificate)
{
	struct family f = make_family();
	struct wish w = {.cn = "Old Root", .ca = true, .from = NOW - 2000 * DAY, .until = NOW + DAY};
	struct made old = make(w, NULL);
	w = (struct wish){.cn = "Test Root", .ca = true, .key = f.root.key};
	struct made cross = make(w, &old);
	X509 *given[] = {f.leaf.x509, f.sub.x509, cross.x509}, *want[] = {f.leaf.x509, f.sub.x509, cross.x509};
	expect(build(f.leaf.x509, given, 3, NULL, f.root.x509), "kept for older clients", f.root.x509, 3, want);
	expect(build(f.leaf.x509, given, 3, NULL, old.x509), "needed", old.x509, 3, want);
	expect(build(f.leaf.x509, given, 2, NULL, f.root.x509), "not there", f.root.x509, 2, want);
	w.until = NOW - 1;
	made_done(&cross);
	cross = make(w, &old);
	given[2] = cross.x509;
	expect(build(f.leaf.x509, given, 3, NULL, f.root.x509), "expired: not sent", f.root.x509, 2, want);
	made_done(&cross);
	made_done(&old);
	family_done(&f);
}

static void expect_not(struct chain c, bool incomplete, const char *part)
{
	cr_expect_null(c.anchor);
	cr_assert_not_null(c.why);
	cr_expect_eq(c.incomplete, incomplete, "%s", c.why);
	cr_expect(strstr(c.why, part), "wanted '%s', got '%s'", part, c.why);
	chain_done(&c);
}

Test(pki_chain, does_not_hold)
{
	struct family f = make_family(), other = make_family();
	X509 *l = f.leaf.x509, *s = f.sub.x509, *r = f.root.x509, *given[] = {l, s, r};
	expect_not(build(l, given, 1, NULL, r), true, "Test Issuing CA");
	expect_not(build(l, given, 2, NULL, NULL), false, "Test Root");
	expect_not(build(l, given, 3, NULL, other.root.x509), false, "Test Root"); /* same name, other key */
	expect_not(build(r, given, 0, NULL, other.root.x509), false, "self-signed");
	struct wish w = {.cn = "Expired CA", .ca = true, .until = NOW - 1};
	struct made ca = make(w, &f.root), leaf = make_leaf("DNS:a.test", &ca);
	expect_not(build(leaf.x509, (X509 *[]){ca.x509}, 1, NULL, r), false, "expired");
	made_done(&ca);
	made_done(&leaf);
	ca = make((struct wish){.cn = "No CA"}, &f.root);
	leaf = make_leaf("DNS:a.test", &ca);
	expect_not(build(leaf.x509, (X509 *[]){ca.x509}, 1, NULL, r), false, "CA");
	made_done(&ca);
	made_done(&leaf);
	w = (struct wish){.cn = "Narrow CA", .ca = true, .more = {{"nameConstraints", "permitted;DNS:b.test"}}};
	ca = make(w, &f.root);
	leaf = make_leaf("DNS:a.test", &ca);
	expect_not(build(leaf.x509, (X509 *[]){ca.x509}, 1, NULL, r), false, "permitted subtree");
	made_done(&ca);
	made_done(&leaf);
	family_done(&f);
	family_done(&other);
}

/* Certificates of two names that all issue each other have no end; the search has. */
Test(pki_chain, mesh, .timeout = 10)
{
	struct family f = make_family();
	EVP_PKEY *key = make_key("P-256");
	struct wish w = {.cn = "Mesh A", .ca = true, .key = key};
	struct made a = make(w, NULL), b, all[40];
	X509 *given[40];
	w.cn = "Mesh B";
	b = make(w, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		w.cn = i % 2 ? "Mesh A" : "Mesh B";
		all[i] = make(w, i % 2 ? &b : &a);
		given[i] = all[i].x509;
	}
	struct made leaf = make_leaf("DNS:a.test", &a);
	struct chain c = build(leaf.x509, given, 40, NULL, f.root.x509);
	cr_expect_not_null(c.why);
	cr_expect_eq(c.n, CHAIN_MAX);
	chain_done(&c);
	made_done(&leaf);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		made_done(&all[i]);
	made_done(&a);
	made_done(&b);
	EVP_PKEY_free(key);
	family_done(&f);
}

Test(pki_chain, names_written_differently)
{
	struct family f = make_family();
	/* the same name in another string type: equal by RFC 5280 7.1, not byte for byte */
	X509_NAME *name = X509_NAME_new();
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"TEST  Root", -1, -1, 0);
	X509_set_issuer_name(f.sub.x509, name);
	X509_sign(f.sub.x509, f.root.key, EVP_sha256());
	X509_NAME_free(name);
	X509 *given[] = {f.leaf.x509, f.sub.x509};
	expect(build(f.leaf.x509, given, 2, NULL, f.root.x509), "loosely", f.root.x509, 2, given);
	family_done(&f);
}

Test(pki_chain, bundles)
{
	struct family f = make_family(), other = make_family();
	struct bundle *b = bundle_new();
	char *pem = joined(xstrdup("# a comment\n"), pem_cert(f.root.x509), pem_cert(f.sub.x509), pem_key(f.sub.key),
			   pem_cert(other.root.x509),
			   xstrdup("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"), NULL);
	cr_expect_eq(bundle_add(b, pem, strlen(pem)), 4);
	const X509_NAME *root = X509_get_subject_name(f.root.x509);
	for (int loose = 0; loose < 2; loose++) {
		size_t at = 0;
		X509 *first = bundle_next(b, root, loose, &at), *second = bundle_next(b, root, loose, &at);
		cr_expect(first && second && X509_cmp(first, f.root.x509) == 0 &&
			  X509_cmp(second, other.root.x509) == 0);
		cr_expect_null(bundle_next(b, root, loose, &at));
	}
	size_t at = 0;
	cr_expect_null(bundle_next(b, X509_get_subject_name(f.leaf.x509), false, &at));
	cr_expect_eq(bundle_count(NULL), 0);
	bundle_free(b);
	free(pem);
	family_done(&f);
	family_done(&other);
}
