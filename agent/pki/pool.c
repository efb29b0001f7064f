#include "pki/pool.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/key.h"
#include "pki/mail.h"
#include "pki/pem.h"

void pool_add_other(struct pool *p, uint16_t file, enum pool_kind kind, const char *format, ...)
{
	if (p->nothers >= POOL_MAX)
		return;
	va_list args;
	va_start(args, format);
	char *text = xvasprintf(format, args);
	va_end(args);
	if (kind != POOL_BLOCK)
		text_printable(text);
	p->others = xrealloc(p->others, (p->nothers + 1) * sizeof *p->others);
	p->others[p->nothers++] = (struct pool_other){.kind = kind, .file = file, .text = text};
}

/* Room for one more certificate or key? Says once that there is none. */
static bool room(struct pool *p, uint16_t file)
{
	if (p->ncerts + p->nkeys < POOL_MAX)
		return true;
	if (!p->full)
		pool_add_other(p, file, POOL_NOTHING, "more than %d certificates and keys; the rest is left out",
			       POOL_MAX);
	p->full = true;
	return false;
}

void pool_add_cert(struct pool *p, uint16_t file, X509 *x509)
{
	struct digest sha256 = cert_digest(x509);
	bool twice = false;
	for (size_t i = 0; i < p->ncerts && !twice; i++)
		twice = p->certs[i].file == file && digest_equal(&p->certs[i].sha256, &sha256);
	if (twice || !room(p, file)) {
		X509_free(x509);
		return;
	}
	p->certs = xrealloc(p->certs, (p->ncerts + 1) * sizeof *p->certs);
	p->certs[p->ncerts++] = (struct pool_cert){
		.x509 = x509, .sha256 = sha256, .spki = cert_spki(x509), .file = file, .ca = cert_is_ca(x509)};
}

void pool_add_key(struct pool *p, uint16_t file, EVP_PKEY *key, const char *form)
{
	if (!room(p, file)) {
		EVP_PKEY_free(key);
		return;
	}
	char *type = cert_key_type(key);
	p->keys = xrealloc(p->keys, (p->nkeys + 1) * sizeof *p->keys);
	p->keys[p->nkeys++] =
		(struct pool_key){.key = key, .file = file, .text = xasprintf("%s private key, %s", type, form)};
	free(type);
}

void pool_done(struct pool *p)
{
	for (size_t i = 0; i < p->ncerts; i++)
		X509_free(p->certs[i].x509);
	for (size_t i = 0; i < p->nkeys; i++) {
		EVP_PKEY_free(p->keys[i].key);
		free(p->keys[i].text);
	}
	for (size_t i = 0; i < p->nothers; i++)
		free(p->others[i].text);
	free(p->certs);
	free(p->keys);
	free(p->others);
	*p = (struct pool){0};
}

void pool_passwords(struct words *to, const char *bytes, size_t len)
{
	for (const char *at = bytes, *end = len ? bytes + len : bytes; at < end && to->n < POOL_PASSWORDS_MAX;) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((eol ? eol : end) - at);
		const char *next = eol ? eol + 1 : end;
		if (n && at[n - 1] == '\r')
			n--;
		if (n && n <= 1024 && !memchr(at, '\0', n))
			words_add_n(to, at, n);
		at = next;
	}
}

void pool_passwords_done(struct words *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free_secret(w->v[i], strlen(w->v[i]));
		w->v[i] = NULL;
	}
	words_done(w);
}

enum label_kind { LABEL_CERT, LABEL_KEY, LABEL_ENCRYPTED, LABEL_P7, LABEL_P12, LABEL_ANY, LABEL_PARAMETERS };

static const struct {
	const char *label;
	enum label_kind kind;
} labels[] = {
	{"CERTIFICATE", LABEL_CERT},
	{"X509 CERTIFICATE", LABEL_CERT},
	{"TRUSTED CERTIFICATE", LABEL_CERT},
	{"PRIVATE KEY", LABEL_KEY},
	{"RSA PRIVATE KEY", LABEL_KEY},
	{"EC PRIVATE KEY", LABEL_KEY},
	{"DSA PRIVATE KEY", LABEL_KEY},
	{"ENCRYPTED PRIVATE KEY", LABEL_ENCRYPTED},
	{"PKCS7", LABEL_P7},
	{"PKCS #7 SIGNED DATA", LABEL_P7},
	{"CMS", LABEL_P7},
	{"PKCS12", LABEL_P12},
	{"CERTIFICATE REQUEST", LABEL_ANY},
	{"NEW CERTIFICATE REQUEST", LABEL_ANY},
	{"DH PARAMETERS", LABEL_PARAMETERS},
	{"X9.42 DH PARAMETERS", LABEL_PARAMETERS},
	{"EC PARAMETERS", LABEL_PARAMETERS},
};

static bool read_cert(struct pool *p, uint16_t file, const struct pem_block *b)
{
	const unsigned char *at = b->der;
	X509 *x = strcmp(b->label, "TRUSTED CERTIFICATE") == 0 ? d2i_X509_AUX(NULL, &at, (long)b->len)
							       : cert_from_der(b->der, b->len);
	ERR_clear_error();
	if (x)
		pool_add_cert(p, file, x);
	return x != NULL || pool_read_der(p, file, b->der, b->len); /* a wrong label is a usual mistake */
}

static bool read_key(struct pool *p, uint16_t file, const struct pem_block *b)
{
	if (!b->header || !strstr(b->header, "ENCRYPTED"))
		return pool_read_der(p, file, b->der, b->len);
	EVP_PKEY *key = NULL;
	const char *why;
	switch (key_from_legacy(b->label, b->header, b->der, b->len, p->passwords, &key, &why)) {
	case KEY_OPENED:
		pool_add_key(p, file, key, "encrypted PEM");
		break;
	case KEY_LOCKED:
		pool_add_other(p, file, POOL_LOCKED, "encrypted private key (PEM) that no password opened");
		break;
	case KEY_CANT:
		pool_add_other(p, file, POOL_LOCKED, "encrypted private key (PEM): %s", why);
		break;
	}
	return true;
}

static bool read_parameters(struct pool *p, uint16_t file, const struct pem_block *b)
{
	struct text t = {0};
	pem_write(&t, b->label, b->der, b->len);
	pool_add_other(p, file, POOL_BLOCK, "%s", t.s);
	text_done(&t);
	return true;
}

static bool read_labelled(struct pool *p, uint16_t file, const struct pem_block *b, enum label_kind kind)
{
	switch (kind) {
	case LABEL_CERT:
		return read_cert(p, file, b);
	case LABEL_KEY:
		return read_key(p, file, b);
	case LABEL_ENCRYPTED:
		return pool_read_encrypted(p, file, b->der, b->len) || pool_read_der(p, file, b->der, b->len);
	case LABEL_P7:
		return pool_read_p7(p, file, b->der, b->len) || pool_read_der(p, file, b->der, b->len);
	case LABEL_P12:
		return pool_read_p12(p, file, b->der, b->len);
	case LABEL_ANY:
		return pool_read_der(p, file, b->der, b->len);
	case LABEL_PARAMETERS:
		return read_parameters(p, file, b);
	}
	return false;
}

static void read_block(struct pool *p, uint16_t file, const struct pem_block *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
		if (strcmp(labels[i].label, b->label) != 0)
			continue;
		if (b->damaged)
			pool_add_other(p, file, POOL_DAMAGED, "a block %s that is cut off or no valid base64",
				       b->label);
		else if (!read_labelled(p, file, b, labels[i].kind))
			pool_add_other(p, file, POOL_DAMAGED, "a block %s whose content can't be read", b->label);
		return;
	}
	if (strcmp(b->label, "OPENSSH PRIVATE KEY") == 0)
		pool_add_other(p, file, POOL_NOTHING, "an OpenSSH private key; a web server takes PKCS#8 or PKCS#1");
	else
		pool_add_other(p, file, POOL_NOTHING, "a block %s, of no use here", b->label);
}

static bool read_pem(struct pool *p, uint16_t file, const char *bytes, size_t len)
{
	struct pem_block b;
	bool found = false;
	for (size_t at = 0; pem_next(bytes, len, &at, &b); pem_block_done(&b)) {
		read_block(p, file, &b);
		found = true;
	}
	return found;
}

/* What people send in the place of a certificate. */
static const char *known_format(const void *b, size_t len)
{
	static const struct {
		const char *magic, *what;
	} known[] = {
		{"PK\003\004", "a ZIP archive: unpack it and hand in what is in it"},
		{"Rar!", "a RAR archive: unpack it and hand in what is in it"},
		{"7z\xbc\xaf", "a 7-Zip archive: unpack it and hand in what is in it"},
		{"\x1f\x8b", "a gzip file: unpack it and hand in what is in it"},
		{"\xfe\xed\xfe\xed", "a Java keystore: export it as PKCS#12 with keytool -importkeystore"},
		{"\xce\xce\xce\xce", "a Java keystore (JCEKS): export it as PKCS#12 with keytool -importkeystore"},
		{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
		 "an Outlook message or another Office file: save what is attached to it"},
		{"PuTTY-User-Key-File", "a PuTTY key, of no use here"},
		{"%PDF", "a PDF document"},
		{"<!DOCTYPE", "an HTML page, perhaps an error page of a download"},
		{"<html", "an HTML page, perhaps an error page of a download"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (len >= strlen(known[i].magic) && memcmp(b, known[i].magic, strlen(known[i].magic)) == 0)
			return known[i].what;
	return NULL;
}

static const char *guess(const unsigned char *b, size_t len)
{
	const char *known = known_format(b, len);
	if (known)
		return known;
	for (size_t i = 0; i < len && i < 4096; i++)
		if (b[i] < 0x20 && b[i] != '\n' && b[i] != '\r' && b[i] != '\t')
			return "binary data of no known format";
	return "text without any certificate or key in it";
}

/* Windows writes text as UTF-16; what concerns us in it is ASCII. NULL: it is not. */
static char *from_utf16(const unsigned char *b, size_t len)
{
	if (len < 4 || !((b[0] == 0xff && b[1] == 0xfe) || (b[0] == 0xfe && b[1] == 0xff)))
		return NULL;
	size_t low = b[0] == 0xff ? 0 : 1, n = len / 2 - 1;
	char *s = xmalloc(n + 1);
	for (size_t i = 0; i < n; i++)
		s[i] = b[2 * i + 3 - low] ? '?' : (char)b[2 * i + 2 + low];
	s[n] = '\0';
	return s;
}

/* False: nothing of use, and nothing said. */
static bool read_content(struct pool *p, uint16_t file, const char *s, size_t n)
{
	/* DER first: a PEM block inside of it would only be somebody's text */
	if (n && ((*(const unsigned char *)s == 0x30 && pool_read_der(p, file, (const uint8_t *)s, n)) ||
		  read_pem(p, file, s, n)))
		return true;
	size_t got, cap; /* DER in base64 without the lines around it */
	uint8_t *der = pem_base64(s, n, &got, &cap);
	bool found = der && pool_read_der(p, file, der, got);
	free_secret(der, cap);
	return found;
}

struct mail {
	struct pool *pool;
	uint16_t file;
	bool found;
	const char *what; /* an attachment that has to be unpacked first */
};

static void read_part(void *data, char *bytes, size_t len)
{
	struct mail *m = data;
	if (read_content(m->pool, m->file, bytes, len))
		m->found = true;
	else if (!m->what)
		m->what = known_format(bytes, len);
}

void pool_read(struct pool *p, uint16_t file, const void *bytes, size_t len)
{
	if (len == 0) {
		pool_add_other(p, file, POOL_NOTHING, "an empty file");
		return;
	}
	char *utf16 = from_utf16(bytes, len);
	const char *s = utf16 ? utf16 : bytes;
	size_t n = utf16 ? len / 2 - 1 : len;
	struct mail mail = {.pool = p, .file = file};
	bool is_mail = mail_read(s, n, read_part, &mail);
	bool found = is_mail ? mail.found : read_content(p, file, s, n);
	if (!found && mail.what)
		pool_add_other(p, file, POOL_NOTHING, "a mail with %s", mail.what);
	else if (!found)
		pool_add_other(p, file, POOL_NOTHING, "%s",
			       is_mail ? "a mail without any certificate or key in it" : guess(bytes, len));
	if (utf16)
		free_secret(utf16, n + 1);
}
