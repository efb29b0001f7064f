#include "pki/bundle.h"

#include <openssl/err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/pem.h"

struct entry {
	uint8_t *der;
	size_t len;
	const uint8_t *subject; /* in der; NULL where it is no certificate */
	size_t subject_len;
	X509 *x509; /* once it was wanted */
	bool trusted_form, bad;
};
struct bundle {
	struct entry *v;
	size_t n, cap;
};

struct bundle *bundle_new(void)
{
	return xcalloc(1, sizeof(struct bundle));
}

void bundle_free(struct bundle *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++) {
		free(b->v[i].der);
		X509_free(b->v[i].x509);
	}
	free(b->v);
	free(b);
}

size_t bundle_count(const struct bundle *b)
{
	return b ? b->n : 0;
}

struct view {
	const uint8_t *at, *end;
};

/* Takes one element with this tag off the front; `whole` gets it with its header, the return value its content. */
static struct view take(struct view *v, uint8_t tag, struct view *whole)
{
	struct view none = {0};
	const uint8_t *p = v->at;
	if (!p || v->end - p < 2 || p[0] != tag)
		return none;
	size_t n = p[1];
	p += 2;
	if (n & 0x80) {
		size_t bytes = n & 0x7f;
		if (bytes == 0 || bytes > 3 || (size_t)(v->end - p) < bytes)
			return none;
		for (n = 0; bytes; bytes--)
			n = n << 8 | *p++;
	}
	if (n > (size_t)(v->end - p))
		return none;
	if (whole)
		*whole = (struct view){v->at, p + n};
	v->at = p + n;
	return (struct view){p, p + n};
}

/* Finds the subject (RFC 5280 4.1) without decoding the rest. */
static void find_subject(struct entry *e)
{
	struct view all = {e->der, e->der + e->len}, subject = {0};
	struct view cert = take(&all, 0x30, NULL), tbs = take(&cert, 0x30, NULL);
	take(&tbs, 0xa0, NULL);                                   /* version, where there is one */
	static const uint8_t before[] = {0x02, 0x30, 0x30, 0x30}; /* serial, algorithm, issuer, validity */
	for (size_t i = 0; i < ARRAY_SIZE(before); i++)
		if (!take(&tbs, before[i], NULL).at)
			return;
	if (!take(&tbs, 0x30, &subject).at)
		return;
	e->subject = subject.at;
	e->subject_len = (size_t)(subject.end - subject.at);
}

static void add(struct bundle *b, uint8_t *der, size_t len, bool trusted_form)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 32;
		b->v = xrealloc(b->v, b->cap * sizeof *b->v);
	}
	struct entry *e = &b->v[b->n++];
	*e = (struct entry){.der = der, .len = len, .trusted_form = trusted_form};
	find_subject(e);
}

size_t bundle_add(struct bundle *b, const void *bytes, size_t len)
{
	size_t before = b->n;
	struct pem_block block;
	for (size_t at = 0; pem_next(bytes, len, &at, &block); pem_block_done(&block)) {
		bool trusted_form = strcmp(block.label, "TRUSTED CERTIFICATE") == 0;
		if (block.damaged || (!trusted_form && strcmp(block.label, "CERTIFICATE") != 0 &&
				      strcmp(block.label, "X509 CERTIFICATE") != 0))
			continue;
		add(b, block.der, block.len, trusted_form);
		block.der = NULL;
	}
	X509 *x = b->n == before ? cert_from_der(bytes, len) : NULL;
	if (x)
		bundle_add_cert(b, x);
	X509_free(x);
	return b->n - before;
}

void bundle_add_cert(struct bundle *b, X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	if (n > 0)
		add(b, xmemdup(der, (size_t)n), (size_t)n, false);
	OPENSSL_free(der);
}

static X509 *parsed(struct entry *e)
{
	if (e->x509 || e->bad)
		return e->x509;
	const unsigned char *at = e->der;
	e->x509 = e->trusted_form ? d2i_X509_AUX(NULL, &at, (long)e->len) : cert_from_der(e->der, e->len);
	e->bad = !e->x509;
	ERR_clear_error();
	return e->x509;
}

static bool named(const struct entry *e, const X509_NAME *subject, const unsigned char *der, size_t len, bool loose)
{
	if (!loose)
		return e->subject_len == len && memcmp(e->subject, der, len) == 0;
	const unsigned char *at = e->subject;
	X509_NAME *name = at ? d2i_X509_NAME(NULL, &at, (long)e->subject_len) : NULL;
	bool same = name && X509_NAME_cmp(name, subject) == 0;
	X509_NAME_free(name);
	return same;
}

X509 *bundle_next(struct bundle *b, const X509_NAME *subject, bool loose, size_t *at)
{
	const unsigned char *der;
	size_t len;
	if (!b || X509_NAME_get0_der(subject, &der, &len) != 1)
		return NULL;
	while (*at < b->n) {
		struct entry *e = &b->v[(*at)++];
		X509 *x = named(e, subject, der, len, loose) ? parsed(e) : NULL;
		if (x)
			return x;
	}
	return NULL;
}
