/* A CA's mail saved as it is, into the drop box: pasted text, attachments, and what else mail programs make of them. */
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "pki/pki.h"
#include "pki/pool.h"
#include "test_pki_help.h"

TestSuite(pki_mail, .init = pki_init, .fini = pki_exit);

static struct family f;
static char *leaf, *sub;

static void begin(void)
{
	f = make_family();
	leaf = pem_cert(f.leaf.x509);
	sub = pem_cert(f.sub.x509);
}

static void end(void)
{
	free(leaf);
	free(sub);
	family_done(&f);
}

/* In lines, as mail programs write it. */
static char *base64(const void *bytes, size_t len)
{
	struct text t = {0};
	for (size_t i = 0; i < len; i += 57) {
		unsigned char line[80];
		EVP_EncodeBlock(line, (const unsigned char *)bytes + i, (int)(len - i < 57 ? len - i : 57));
		text_add(&t, "%s\r\n", (char *)line);
	}
	return t.s;
}

/* RFC 2045 6.7: what is no letter or digit as =XX, and lines broken at 76 characters. */
static char *quoted(const char *s)
{
	struct text t = {0};
	size_t column = 0;
	for (; *s; s++) {
		if (column > 72 && *s != '\n') {
			text_add(&t, "=\r\n");
			column = 0;
		}
		text_add(&t, *s == '=' || *s == '+' ? "=%02X" : *s == '\n' ? "\r\n" : "%c", (unsigned char)*s);
		column = *s == '\n' ? 0 : column + 1;
	}
	return t.s;
}

static void expect(const char *mail, size_t len, size_t certs, const char *what)
{
	struct words passwords = {0};
	struct pool p = {.passwords = &passwords};
	pool_read(&p, 0, mail, len);
	cr_expect_eq(p.ncerts, certs, "%s: %zu certificates, %s", what, p.ncerts,
		     p.nothers ? p.others[0].text : "nothing said");
	for (size_t i = 0; i < p.nothers && certs; i++)
		cr_expect(p.others[i].kind != POOL_DAMAGED, "%s: %s", what, p.others[i].text);
	pool_done(&p);
}

static void expect_mail(size_t certs, const char *what, char *mail)
{
	expect(mail, strlen(mail), certs, what);
	free(mail);
}

#define HEAD                                                                                                           \
	"Received: from mx.ca.test by mail.example.test; Sun, 29 Nov 2026 10:00:00 +0900\r\n"                          \
	"From: CA <desk@ca.test>\r\nSubject: =?UTF-8?B?6Ki85piO5pu4?=\r\nMIME-Version: 1.0\r\n"
#define MIXED "Content-Type: multipart/mixed;\r\n boundary=\"--=_b=1\"\r\n\r\nThis is MIME.\r\n"
#define PLAIN "Content-Type: text/plain; charset=utf-8\r\n"
#define CODED "Content-Transfer-Encoding: "

Test(pki_mail, pasted)
{
	begin();
	char *coded = base64(leaf, strlen(leaf)), *soft = quoted(leaf), *other = quoted(sub);
	expect_mail(1, "7bit", xasprintf(HEAD PLAIN "\r\nHere it is:\r\n\r\n%s\r\nBest regards\r\n", leaf));
	expect_mail(1, "a body in base64", xasprintf(HEAD PLAIN CODED "base64\r\n\r\n%s", coded));
	expect_mail(1, "quoted-printable", xasprintf(HEAD PLAIN CODED "Quoted-Printable\r\n\r\nHello=2C\r\n%s", soft));
	expect_mail(2, "quoted-printable with Unix line ends",
		    xasprintf("From - Sun Nov 29\nMime-Version: 1.0\n" CODED "quoted-printable\n\n%s%s", soft, other));
	free(coded);
	free(soft);
	free(other);
	end();
}

Test(pki_mail, attached)
{
	begin();
	unsigned char *der = NULL;
	int n = i2d_X509(f.leaf.x509, &der);
	char *pem = base64(leaf, strlen(leaf)), *raw = base64(der, (size_t)n);
	expect_mail(2, "PEM attached, the chain pasted",
		    xasprintf(HEAD MIXED
			      "----=_b=1\r\n" PLAIN "\r\nChain:\r\n%s\r\n----=_b=1\r\n"
			      "Content-Type: application/x-x509-ca-cert; name=\"a.crt\"\r\n" CODED
			      "BASE64\r\nContent-Disposition: attachment\r\n\r\n%s\r\n----=_b=1--\r\nend\r\n",
			      sub, pem));
	expect_mail(
		1, "DER attached",
		xasprintf(HEAD MIXED "----=_b=1\r\ncontent-transfer-encoding:base64\r\n\r\n%s----=_b=1--\r\n", raw));
	expect_mail(
		1, "boundary without quotes, the end cut off",
		xasprintf(HEAD "content-type:multipart/mixed;boundary=b1; x=y\n\n--b1\n" CODED "base64\n\n%s", raw));
	expect_mail(1, "forwarded as attachment, in a part of a part",
		    xasprintf("Mime-Version: 1.0\n" MIXED "----=_b=1\nContent-Type: message/rfc822\n\n" HEAD
			      "Content-Type: multipart/alternative; boundary=inner\n\n--inner\n" PLAIN
			      "\nHello\n--inner\n" CODED "base64\n\n%s\n--inner--\n----=_b=1--\n",
			      pem));
	OPENSSL_free(der);
	free(pem);
	free(raw);
	end();
}

Test(pki_mail, web_page_beside_text)
{
	begin();
	struct text html = {0};
	for (const char *c = leaf; *c; c++)
		text_add(&html, *c == '\n' ? "<br>\r\n" : "%c", *c);
	expect_mail(1, "HTML alone",
		    xasprintf(HEAD "Content-Type: text/html\r\n\r\n<html><p class=\"a>b\">Hello</p>%s</html>", html.s));
	expect_mail(1, "text and HTML",
		    xasprintf(HEAD "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n" PLAIN
				   "\r\n%s\r\n--x\r\n"
				   "Content-Type: Text/HTML; charset=utf-8\r\n\r\n%s\r\n--x--\r\n",
			      leaf, html.s));
	text_done(&html);
	struct text cited = {0};
	text_add(&cited, "> ");
	for (const char *c = leaf; *c; c++)
		text_add(&cited, *c == '\n' && c[1] ? "\r\n> " : "%c", *c);
	expect_mail(1, "cited in an answer", xasprintf(HEAD PLAIN "\r\n%s", cited.s));
	text_done(&cited);
	end();
}

/* The sender's own certificate is nothing to serve. */
Test(pki_mail, signature_of_the_mail)
{
	begin();
	PKCS7 *p7 = PKCS7_new();
	unsigned char *der = NULL;
	PKCS7_set_type(p7, NID_pkcs7_signed);
	PKCS7_content_new(p7, NID_pkcs7_data);
	PKCS7_add_certificate(p7, f.root.x509);
	int n = i2d_PKCS7(p7, &der);
	char *signature = base64(der, (size_t)n);
	expect_mail(1, "signed",
		    xasprintf(HEAD "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n" PLAIN "\r\n%s\r\n--s\r\n"
				   "Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n" CODED
				   "base64\r\n\r\n%s--s--\r\n",
			      leaf, signature));
	free(signature);
	OPENSSL_free(der);
	PKCS7_free(p7);
	end();
}

static void expect_said(const char *mail, size_t len, const char *part)
{
	struct words passwords = {0};
	struct pool p = {.passwords = &passwords};
	pool_read(&p, 0, mail, len);
	cr_expect(p.ncerts == 0 && p.nothers == 1 && strstr(p.others[0].text, part), "wanted '%s', got '%s'", part,
		  p.nothers ? p.others[0].text : "nothing");
	pool_done(&p);
}

Test(pki_mail, nothing_of_use)
{
	static const char empty[] = HEAD PLAIN "\r\nYour order is being processed.\r\n";
	static const char zip[] = HEAD MIXED "----=_b=1\r\n" PLAIN "\r\nHello\r\n----=_b=1\r\n" CODED
					     "base64\r\n\r\nUEsDBAoAAAAAAAAA\r\n----=_b=1--\r\n";
	static const char outlook[] = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0";
	expect_said(empty, sizeof empty - 1, "mail without");
	expect_said(zip, sizeof zip - 1, "ZIP");
	expect_said(outlook, sizeof outlook - 1, "Outlook");
}

/* Parts in parts without end, and headers that never do. */
Test(pki_mail, hostile, .timeout = 20)
{
	struct text t = {0};
	for (int i = 0; i < 20000; i++)
		text_add(&t, "Mime-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n");
	expect(t.s, t.len, 0, "nested");
	text_done(&t);
	text_add(&t, "Mime-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n");
	for (int i = 0; i < 100000; i++)
		text_add(&t, "--b\n\n");
	expect(t.s, t.len, 0, "many parts");
	text_done(&t);
	text_add(&t, "Mime-Version: 1.0\n");
	for (int i = 0; i < 100000; i++)
		text_add(&t, "x: y\n");
	expect(t.s, t.len, 0, "header alone");
	text_done(&t);
}
