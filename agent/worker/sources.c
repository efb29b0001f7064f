#include "worker/sources.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/ari.h"
#include "pki/cert.h"
#include "pki/pool.h"
#include "pki/sources.h"
#include "wire/fetch.h"
#include "worker/input.h"

#define FILE_MAX ((size_t)1 << 20)

static struct digest issuer_of(const X509 *x)
{
	unsigned char *name = NULL;
	struct text all = {0};
	int len = i2d_X509_NAME(X509_get_issuer_name(x), &name);
	if (len > 0)
		text_add_bytes(&all, name, (size_t)len);
	OPENSSL_free(name);
	const ASN1_OCTET_STRING *key = X509_get0_authority_key_id((X509 *)(uintptr_t)x);
	if (key)
		text_add_bytes(&all, ASN1_STRING_get0_data(key), (size_t)ASN1_STRING_length(key));
	struct digest d = hash_bytes(all.s, all.len);
	text_done(&all);
	return d;
}

static void take(struct words *to, void (*from)(const X509 *x, struct words *ret), const X509 *x, size_t most)
{
	struct words all = {0};
	from(x, &all);
	for (size_t i = 0; i < all.n && to->n < most; i++)
		if (strlen(all.v[i]) <= FETCH_URL_MAX)
			words_add(to, all.v[i]);
	words_done(&all);
}

static void read_cert(X509 *x, struct source_cert *ret)
{
	struct words points = {0};
	sources_points(x, &points);
	AUTO_FREE char *joined = words_join(&points, "\n");
	char *id = ari_cert_id(x, NULL);
	*ret = (struct source_cert){.sha256 = cert_digest(x),
				    .issuer = issuer_of(x),
				    .points = hash_bytes(joined, strlen(joined)),
				    .serial = cert_serial(x),
				    .subject = cert_subject(x),
				    .cert_id = id ? id : xstrdup(""),
				    .ca = cert_is_ca(x),
				    .self_signed = cert_is_self_signed(x),
				    .not_before = cert_not_before(x),
				    .not_after = cert_not_after(x)};
	take(&ret->crls, sources_crls, x, FETCH_URLS_MAX);
	take(&ret->ocsp, sources_ocsp, x, 2);
	take(&ret->issuers, sources_issuers, x, 2);
	words_done(&points);
}

void worker_sources_of(const void *pem, size_t len, struct source_file *ret)
{
	const struct words none = {0};
	struct pool pool = {.passwords = &none};
	ret->n = 0;
	pool_read(&pool, 0, pem, len);
	for (size_t i = 0; i < pool.ncerts && ret->n < SOURCES_CERTS_MAX; i++)
		read_cert(pool.certs[i].x509, &ret->v[ret->n++]);
	pool_done(&pool);
}

int worker_sources(struct message *request, struct packer *reply)
{
	if (!unpack_end(&request->body) || !request->nfds || request->nfds > SOURCES_FILES_MAX)
		return -EBADMSG;
	struct sources_reply *all = xcalloc(1, sizeof *all);
	for (; all->n < request->nfds; all->n++) {
		struct input in;
		input_read(request->fds[all->n], FILE_MAX, &in);
		if (!in.error)
			worker_sources_of(in.bytes, in.len, &all->v[all->n]);
		input_done(&in);
	}
	sources_reply_pack(reply, all);
	sources_reply_done(all);
	free(all);
	return 0;
}
