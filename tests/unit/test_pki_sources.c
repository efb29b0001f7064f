/* Renewal Information's names, addresses in certificates, and issuers that are found at them. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/ari.h"
#include "pki/pki.h"
#include "pki/serial.h"
#include "pki/sources.h"
#include "test_pki_help.h"

TestSuite(pki_sources, .init = pki_init, .fini = pki_exit);

/* RFC 9773 4.1: key identifier 69:88:5B:...:D4, serial 00:87:65:43:21 */
Test(pki_sources, the_test_vector_of_rfc_9773)
{
	static const char id[] = "301680146"
				 "9885B6B87464041E1B37B847BA0AE2CDE01C8D4";
	struct family f = make_family();
	char *value = xasprintf("DER:%s", id);
	struct made m = {.key = make_key("P-256")};
	m.x509 = X509_new();
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, NULL, m.x509, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_nconf(NULL, &ctx, "authorityKeyIdentifier", value);
	cr_assert(e);
	X509_add_ext(m.x509, e, -1);
	X509_EXTENSION_free(e);
	free(value);
	X509_set_version(m.x509, X509_VERSION_3);
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(m.x509), 0x87654321);
	X509_set_pubkey(m.x509, m.key);
	X509_sign(m.x509, m.key, EVP_sha256());
	struct fault fault = {0};
	char *got = ari_cert_id(m.x509, &fault);
	cr_assert(got, "%s", fault.text);
	cr_expect_str_eq(got, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
	char *url = ari_url("https://ca.test/renewal-info", got), *same = ari_url("https://ca.test/renewal-info/", got);
	cr_expect_str_eq(url, "https://ca.test/renewal-info/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
	cr_expect_str_eq(url, same);
	free(url);
	free(same);
	free(got);
	cr_expect_null(ari_cert_id(f.root.x509, &fault), "a root has none");
	cr_expect(*fault.text);
	made_done(&m);
	family_done(&f);
}

Test(pki_sources, addresses)
{
	struct family f = make_family();
	struct made m = make(
		(struct wish){
			.cn = "a",
			.more = {{"crlDistributionPoints", "URI:http://a.test/1.crl,URI:ldap://a.test/x,URI:http://"
							   "b.test/1.crl,URI:http://a.test/1.crl"},
				 {"authorityInfoAccess", "OCSP;URI:http://ocsp.test,caIssuers;URI:http://ca.test/i.der,"
							 "caIssuers;URI:file:/etc/passwd,OCSP;DNS:x"}}},
		&f.sub);
	struct words w = {0};
	sources_points(m.x509, &w);
	char *all = words_join(&w, " ");
	cr_expect_str_eq(all, "http://a.test/1.crl ldap://a.test/x http://b.test/1.crl");
	free(all);
	words_done(&w);
	sources_crls(m.x509, &w);
	sources_ocsp(m.x509, &w);
	sources_issuers(m.x509, &w);
	all = words_join(&w, " ");
	cr_expect_str_eq(all, "http://a.test/1.crl http://b.test/1.crl http://ocsp.test http://ca.test/i.der");
	free(all);
	words_done(&w);
	made_done(&m);
	m = make((struct wish){.cn = "a", .more = {{"crlDistributionPoints", "DNS:a.test"}}}, &f.sub);
	sources_points(m.x509, &w);
	cr_assert_eq(w.n, 1);
	cr_expect_str_eq(w.v[0], "#8206612e74657374");
	words_done(&w);
	made_done(&m);
	family_done(&f);
}

static void expect_issuer(X509 *leaf, const void *bytes, size_t n, const X509 *wanted, const char *form)
{
	X509 *x = sources_issuer(leaf, bytes, n);
	cr_expect(wanted ? x && X509_cmp(x, wanted) == 0 : !x, "%s", form);
	X509_free(x);
}

Test(pki_sources, the_missing_issuer)
{
	struct family f = make_family();
	struct made twin =
		make((struct wish){.cn = "Test Issuing CA", .ca = true, .usage = "critical,keyCertSign"}, &f.root);
	uint8_t *der = NULL, *p7 = NULL;
	int n = i2d_X509(f.sub.x509, &der);
	expect_issuer(f.leaf.x509, der, (size_t)n, f.sub.x509, "DER");
	expect_issuer(f.leaf.x509, der, (size_t)n - 1, NULL, "cut off");
	expect_issuer(f.leaf.x509, "", 0, NULL, "nothing");
	expect_issuer(f.leaf.x509, "<html>", 6, NULL, "a page");
	OPENSSL_free(der);
	char *pem = joined(pem_cert(f.root.x509), pem_cert(twin.x509), pem_cert(f.sub.x509), NULL);
	expect_issuer(f.leaf.x509, pem, strlen(pem), f.sub.x509, "PEM among others");
	free(pem);
	pem = joined(pem_cert(f.root.x509), pem_cert(twin.x509), NULL);
	expect_issuer(f.leaf.x509, pem, strlen(pem), NULL, "same name, another key");
	free(pem);
	PKCS7 *bag = PKCS7_new();
	PKCS7_set_type(bag, NID_pkcs7_signed);
	PKCS7_content_new(bag, NID_pkcs7_data);
	PKCS7_add_certificate(bag, f.sub.x509);
	n = i2d_PKCS7(bag, &p7);
	expect_issuer(f.leaf.x509, p7, (size_t)n, f.sub.x509, "PKCS#7");
	expect_issuer(f.root.x509, p7, (size_t)n, NULL, "not its issuer");
	PKCS7_free(bag);
	OPENSSL_free(p7);
	made_done(&twin);
	family_done(&f);
}
