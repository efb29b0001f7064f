/* Every form in which a CA, a reseller, a server or a person keeps certificates and keys. */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/key.h"
#include "pki/pem.h"
#include "pki/pki.h"
#include "test_pki_help.h"

TestSuite(pki_formats, .init = pki_init, .fini = pki_exit);

static char *of(BIO *bio, size_t *len)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);
	char *s = xmalloc((size_t)n + 1);
	memcpy(s, data, (size_t)n);
	s[n] = '\0';
	*len = (size_t)n;
	BIO_free(bio);
	return s;
}

static struct pool read_one(const void *bytes, size_t len, const char *password)
{
	static struct words passwords;
	words_done(&passwords);
	if (password)
		words_add(&passwords, password);
	struct pool p = {.passwords = &passwords};
	pool_read(&p, 0, bytes, len);
	return p;
}

/* One key, the family leaf's, in these bytes? */
static void expect_key(const struct family *f, char *bytes, size_t len, const char *password, const char *what)
{
	struct pool p = read_one(bytes, len, password);
	cr_expect(p.nkeys == 1 && key_fits(p.keys[0].key, f->leaf.x509), "%s: %zu keys, %s", what, p.nkeys,
		  p.nothers ? p.others[0].text : "");
	struct digest spki = p.nkeys ? key_spki(p.keys[0].key) : (struct digest){0}, want = cert_spki(f->leaf.x509);
	cr_expect(digest_equal(&spki, &want), "%s", what);
	pool_done(&p);
	free(bytes);
}

static void expect_locked(char *bytes, size_t len, const char *password, const char *what)
{
	struct pool p = read_one(bytes, len, password);
	cr_expect(p.nkeys == 0 && p.nothers == 1 && p.others[0].kind == POOL_LOCKED, "%s: %zu keys, %s", what, p.nkeys,
		  p.nothers ? p.others[0].text : "nothing said");
	pool_done(&p);
	free(bytes);
}

static void expect_certs(char *bytes, size_t len, size_t want, const char *what)
{
	struct pool p = read_one(bytes, len, NULL);
	cr_expect_eq(p.ncerts, want, "%s: %zu certificates, %s", what, p.ncerts, p.nothers ? p.others[0].text : "");
	pool_done(&p);
	free(bytes);
}

static void expect_text(const char *bytes, size_t len, enum pool_kind kind, const char *part)
{
	struct pool p = read_one(bytes, len, NULL);
	cr_expect(p.ncerts == 0 && p.nkeys == 0 && p.nothers == 1 && p.others[0].kind == kind &&
			  strstr(p.others[0].text, part),
		  "wanted '%s', got '%s'", part, p.nothers ? p.others[0].text : "nothing");
	pool_done(&p);
}

static void keys_of(struct family *f)
{
	size_t n;
	char secret[] = "secret";
	EVP_PKEY *key = f->leaf.key;
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey_traditional(b, key, NULL, NULL, 0, NULL, NULL);
	char *s = of(b, &n);
	expect_key(f, s, n, NULL, "traditional PEM");
	b = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey_traditional(b, key, EVP_aes_256_cbc(), NULL, 0, NULL, secret);
	s = of(b, &n);
	expect_locked(xmemdup(s, n), n, NULL, "traditional, no password");
	expect_locked(xmemdup(s, n), n, "wrong", "traditional, wrong password");
	expect_key(f, s, n, "secret", "traditional, encrypted");
	b = BIO_new(BIO_s_mem());
	i2d_PKCS8PrivateKey_bio(b, key, NULL, NULL, 0, NULL, NULL);
	s = of(b, &n);
	expect_key(f, s, n, NULL, "PKCS#8 DER");
	b = BIO_new(BIO_s_mem());
	i2d_PrivateKey_bio(b, key);
	s = of(b, &n);
	expect_key(f, s, n, NULL, "traditional DER");
	b = BIO_new(BIO_s_mem());
	i2d_PKCS8PrivateKey_bio(b, key, EVP_aes_128_cbc(), NULL, 0, NULL, secret);
	s = of(b, &n);
	expect_locked(xmemdup(s, n), n, "wrong", "encrypted PKCS#8 DER, wrong password");
	expect_key(f, s, n, "secret", "encrypted PKCS#8 DER");
	b = BIO_new(BIO_s_mem());
	PEM_write_bio_PKCS8PrivateKey_nid(b, key, NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NULL, 0, NULL, secret);
	s = of(b, &n);
	expect_key(f, s, n, "secret", "PKCS#8 with the old 3DES encryption");
	s = pem_key(key);
	expect_key(f, s, strlen(s), NULL, "PKCS#8 PEM");
}

Test(pki_formats, keys)
{
	struct family f = make_family();
	keys_of(&f);
	made_done(&f.leaf);
	EVP_PKEY *rsa = make_key("RSA:2048");
	f.leaf = make((struct wish){.cn = "rsa", .key = rsa}, &f.sub);
	keys_of(&f);
	EVP_PKEY_free(rsa);
	family_done(&f);
}

Test(pki_formats, ed25519_key)
{
	struct family f = make_family();
	made_done(&f.leaf);
	EVP_PKEY *key = make_key("ED25519");
	f.leaf = make((struct wish){.cn = "ed", .key = key}, &f.sub);
	char *s = pem_key(key);
	expect_key(&f, s, strlen(s), NULL, "Ed25519");
	EVP_PKEY_free(key);
	family_done(&f);
}

static char *p12_of(const struct family *f, const char *password, int key_nid, int cert_nid, int mac, size_t *len)
{
	STACK_OF(X509) *ca = sk_X509_new_null();
	sk_X509_push(ca, f->sub.x509);
	sk_X509_push(ca, f->root.x509);
	PKCS12 *p12 = PKCS12_create(password, "a friendly name", f->leaf.key, f->leaf.x509, ca, key_nid, cert_nid, 2048,
				    mac, 0);
	cr_assert_not_null(p12);
	BIO *b = BIO_new(BIO_s_mem());
	i2d_PKCS12_bio(b, p12);
	PKCS12_free(p12);
	sk_X509_free(ca);
	return of(b, len);
}

static void expect_p12(const struct family *f, char *bytes, size_t len, const char *password, const char *what)
{
	struct pool p = read_one(bytes, len, password);
	cr_expect(p.ncerts == 3 && p.nkeys == 1 && p.nothers == 0, "%s: %zu certificates, %zu keys, %s", what, p.ncerts,
		  p.nkeys, p.nothers ? p.others[0].text : "");
	cr_expect(p.nkeys == 1 && key_fits(p.keys[0].key, f->leaf.x509));
	pool_done(&p);
	free(bytes);
}

Test(pki_formats, pkcs12)
{
	struct family f = make_family();
	size_t n;
	const int aes = NID_aes_256_cbc, rc2 = NID_pbe_WithSHA1And40BitRC2_CBC,
		  des = NID_pbe_WithSHA1And3_Key_TripleDES_CBC;
	char *s = p12_of(&f, "secret", aes, aes, 2048, &n);
	expect_locked(xmemdup(s, n), n, NULL, "AES, no password");
	expect_locked(xmemdup(s, n), n, "wrong", "AES, wrong password");
	expect_p12(&f, s, n, "secret", "AES");
	s = p12_of(&f, "secret", des, rc2, 2048, &n);
	expect_p12(&f, s, n, "secret", "RC2 and 3DES, as Windows and old OpenSSL write");
	s = p12_of(&f, "", aes, aes, 2048, &n);
	expect_p12(&f, s, n, NULL, "empty password");
	s = p12_of(&f, NULL, aes, aes, 2048, &n);
	expect_p12(&f, s, n, NULL, "no password");
	s = p12_of(&f, NULL, -1, -1, -1, &n);
	expect_p12(&f, s, n, NULL, "not encrypted, no MAC");
	s = p12_of(&f, "secret", aes, -1, -1, &n);
	expect_p12(&f, s, n, "secret", "only the key encrypted, no MAC");
	s = p12_of(&f, "p\xc3\xa4ssw\xc3\xb6rd", aes, aes, 2048, &n);
	expect_p12(&f, s, n, "p\xc3\xa4ssw\xc3\xb6rd", "password beyond ASCII");
	family_done(&f);
}

Test(pki_formats, pkcs12_that_would_take_hours)
{
	struct family f = make_family();
	size_t n;
	char *s = p12_of(&f, "secret", NID_aes_256_cbc, NID_aes_256_cbc, 2048, &n);
	/* the MAC's count of rounds stands at the end: INTEGER 2048 */
	cr_assert(s[n - 4] == 0x02 && s[n - 3] == 0x02);
	const unsigned char *at = (const unsigned char *)s;
	PKCS12 *p12 = d2i_PKCS12(NULL, &at, (long)n);
	free(s);
	const ASN1_INTEGER *rounds = NULL;
	PKCS12_get0_mac(NULL, NULL, NULL, &rounds, p12);
	ASN1_INTEGER *writable;
	memcpy(&writable, &rounds, sizeof writable);
	ASN1_INTEGER_set_int64(writable, 2000000000);
	BIO *b = BIO_new(BIO_s_mem());
	i2d_PKCS12_bio(b, p12);
	PKCS12_free(p12);
	s = of(b, &n);
	struct pool p = read_one(s, n, "secret");
	cr_expect(p.nothers == 1 && p.others[0].kind == POOL_LOCKED && strstr(p.others[0].text, "rounds"));
	pool_done(&p);
	free(s);
	family_done(&f);
}

Test(pki_formats, pkcs7)
{
	struct family f = make_family();
	STACK_OF(X509) *certs = sk_X509_new_null();
	sk_X509_push(certs, f.root.x509);
	sk_X509_push(certs, f.leaf.x509);
	sk_X509_push(certs, f.sub.x509);
	PKCS7 *p7 = PKCS7_new(); /* as `openssl crl2pkcs7 -nocrl` makes it */
	PKCS7_set_type(p7, NID_pkcs7_signed);
	PKCS7_content_new(p7, NID_pkcs7_data);
	for (int i = 0; i < 3; i++)
		PKCS7_add_certificate(p7, sk_X509_value(certs, i));
	size_t n;
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_PKCS7(b, p7);
	char *s = of(b, &n);
	expect_certs(s, n, 3, "PKCS#7 PEM");
	b = BIO_new(BIO_s_mem());
	i2d_PKCS7_bio(b, p7);
	s = of(b, &n);
	expect_certs(s, n, 3, "PKCS#7 DER");
	PKCS7_free(p7);
	sk_X509_free(certs);
	family_done(&f);
}

static char *der_of(const X509 *x, size_t *len)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	*len = (size_t)n;
	char *s = xmemdup(der, (size_t)n);
	OPENSSL_free(der);
	return s;
}

Test(pki_formats, certificates)
{
	struct family f = make_family();
	size_t a, b;
	char *leaf = der_of(f.leaf.x509, &a), *sub = der_of(f.sub.x509, &b);
	expect_certs(xmemdup(leaf, a), a, 1, "DER");
	char *both = xmalloc(a + b);
	memcpy(both, leaf, a);
	memcpy(both + a, sub, b);
	expect_certs(both, a + b, 2, "DER, one behind the other");
	struct text pem = {0};
	pem_write(&pem, "X", (const uint8_t *)leaf, a);
	char *body = strchr(pem.s, '\n') + 1;
	*strstr(body, "-----") = '\0';
	expect_certs(xstrdup(body), strlen(body), 1, "base64 without its lines");
	text_done(&pem);
	char *s =
		joined(xstrdup("\xef\xbb\xbf Dear customer,\r\nhere it is:\r\n"), pem_cert(f.root.x509),
		       xstrdup("and\n0 s:/CN=x\n"), pem_cert(f.leaf.x509), xstrdup("-----\n- not -----BEGIN a block\n"),
		       pem_cert(f.sub.x509), xstrdup("-- \nThe CA"), NULL);
	struct text crlf = {0}, mac = {0}, wide = {0};
	for (char *c = s; *c; c++) {
		text_add(&crlf, "%s%c", *c == '\n' ? "\r" : "", *c);
		text_add(&mac, "%c", *c == '\n' ? '\r' : *c);
		text_add_bytes(&wide, (char[2]){*c, 0}, 2);
	}
	expect_certs(s, strlen(s), 3, "text, BOM");
	expect_certs(crlf.s, crlf.len, 3, "CRLF");
	expect_certs(mac.s, mac.len, 3, "CR");
	char *utf16 = xmalloc(wide.len + 2);
	memcpy(utf16, "\xff\xfe", 2);
	memcpy(utf16 + 2, wide.s, wide.len);
	expect_certs(utf16, wide.len + 2, 3, "UTF-16");
	text_done(&wide);
	free(leaf);
	free(sub);
	family_done(&f);
}

Test(pki_formats, one_file_with_a_certificate_twice)
{
	struct family f = make_family();
	char *s = joined(pem_cert(f.leaf.x509), pem_cert(f.leaf.x509), NULL);
	expect_certs(s, strlen(s), 1, "twice");
	family_done(&f);
}

Test(pki_formats, wrong_label)
{
	struct family f = make_family();
	size_t n;
	char *der = der_of(f.leaf.x509, &n);
	struct text t = {0};
	pem_write(&t, "PRIVATE KEY", (const uint8_t *)der, n);
	expect_certs(t.s, t.len, 1, "a certificate that says it is a key");
	free(der);
	family_done(&f);
}

Test(pki_formats, request)
{
	EVP_PKEY *key = make_key("P-256");
	X509_REQ *req = X509_REQ_new();
	X509_REQ_set_pubkey(req, key);
	X509_REQ_sign(req, key, EVP_sha256());
	size_t n;
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_X509_REQ(b, req);
	char *s = of(b, &n);
	struct digest spki = key_spki(key);
	struct pool p = read_one(s, n, NULL);
	cr_assert(p.nothers == 1 && p.others[0].kind == POOL_REQUEST);
	cr_expect(digest_equal(&p.others[0].spki, &spki));
	pool_done(&p);
	free(s);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
}

#define LITERAL(s) s, sizeof(s) - 1

Test(pki_formats, what_is_nothing)
{
	expect_text("", 0, POOL_NOTHING, "empty");
	expect_text(LITERAL("hello"), POOL_NOTHING, "text without");
	expect_text(LITERAL("PK\003\004abc"), POOL_NOTHING, "ZIP");
	expect_text(LITERAL("\xfe\xed\xfe\xed\0\0\0\2"), POOL_NOTHING, "Java");
	expect_text(LITERAL("<html><body>404"), POOL_NOTHING, "HTML");
	expect_text(LITERAL("\0\1\2\3"), POOL_NOTHING, "binary");
	expect_text(LITERAL("\x30"), POOL_NOTHING, "text");
	expect_text(LITERAL("0\x84\xff\xff\xff\xff"), POOL_NOTHING, "");
	expect_text(LITERAL("-----BEGIN CERTIFICATE-----\nMIIB"), POOL_DAMAGED, "cut off");
	expect_text(LITERAL("-----BEGIN CERTIFICATE-----\nMI!B\n-----END CERTIFICATE-----\n"), POOL_DAMAGED, "base64");
	expect_text(LITERAL("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"), POOL_DAMAGED, "content");
	expect_text(LITERAL("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), POOL_DAMAGED, "base64");
	expect_text(LITERAL("-----BEGIN PGP MESSAGE-----\nMAAA\n-----END PGP MESSAGE-----\n"), POOL_NOTHING, "PGP");
	expect_text(LITERAL("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: ROT13,00\n\nMAAA\n"
			    "-----END RSA PRIVATE KEY-----\n"),
		    POOL_LOCKED, "DEK-Info");
}

/* Half a file never crashes, and never gives a certificate that is not whole. */
Test(pki_formats, truncated_anywhere)
{
	struct family f = make_family();
	size_t n;
	char *p12 = p12_of(&f, NULL, -1, -1, -1, &n), *pem = joined(pem_cert(f.leaf.x509), pem_key(f.leaf.key), NULL);
	for (size_t i = 0; i < n; i++) {
		char *cut = xmemdup(p12, i); /* its own block, so that a read beyond it is seen */
		struct pool p = read_one(cut, i, NULL);
		cr_expect(p.ncerts == 0 && p.nkeys == 0, "%zu of %zu bytes", i, n);
		pool_done(&p);
		free(cut);
	}
	size_t len = strlen(pem), whole = 0;
	for (size_t i = 0; i < len; i++) {
		char *cut = xmemdup(pem, i);
		struct pool p = read_one(cut, i, NULL);
		whole += p.ncerts;
		cr_expect(p.ncerts <= 1 && p.nkeys == (i == len - 1)); /* the last line end is not needed */
		pool_done(&p);
		free(cut);
	}
	cr_expect_gt(whole, 100);
	free(p12);
	free(pem);
	family_done(&f);
}

/* Bytes changed in flight: no crash, and no endless work. */
Test(pki_formats, changed_bytes)
{
	struct family f = make_family();
	size_t n;
	char *p12 = p12_of(&f, "x", NID_aes_256_cbc, -1, 1, &n);
	for (size_t i = 0; i < n; i += 3) {
		char *copy = xmemdup(p12, n);
		copy[i] = (char)(copy[i] ^ 0x41);
		struct pool p = read_one(copy, n, NULL);
		pool_done(&p);
		free(copy);
	}
	free(p12);
	family_done(&f);
}
