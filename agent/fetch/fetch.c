#include "fetch/fetch.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pki/bundle.h"
#include "pki/cert.h"
#include "pki/pool.h"

#define CERTIFICATES_MAX ((size_t)1 << 20)
#define TRUST_MAX        ((size_t)8 << 20)

void fetch_say(struct fetch_reply *ret, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = text_printable(xvasprintf(format, args));
	va_end(args);
	free(ret->text);
	ret->text = xstrndup(text, FETCH_TEXT_MAX * 2);
	free(text);
}

bool fetch_failed(struct fetch_reply *ret, struct download *one)
{
	if (one->elsewhere) {
		ret->result = FETCH_ELSEWHERE;
		free(ret->url);
		ret->url = xstrndup(one->elsewhere, FETCH_URL_MAX);
		return true;
	}
	ret->temporary = one->temporary;
	fetch_say(ret, "%s", one->text);
	return true;
}

static bool right(const struct fetch_request *r, const struct message *m)
{
	bool pem = r->kind != FETCH_ARI;
	if (m->nfds != (size_t)pem + r->from_file + r->keep || (r->keep && (r->kind != FETCH_OCSP || r->n != 1)) ||
	    r->urls.n > FETCH_URLS_MAX || (r->from_file && r->kind != FETCH_CRL))
		return false;
	return r->kind == FETCH_CRL || r->n <= FETCH_ASKED_MAX;
}

int fetch_prepare(struct fetch_job *job, struct message *m, int trust)
{
	*job = (struct fetch_job){.list = -1, .keep = -1};
	struct fetch_request *r = &job->request;
	if (fetch_request_unpack(&m->body, r))
		return -EBADMSG;
	if (!right(r, m)) {
		fetch_request_done(r);
		return -EBADMSG;
	}
	if (r->kind != FETCH_ARI)
		input_read(m->fds[0], CERTIFICATES_MAX, &job->certificates);
	if (r->from_file || r->keep) {
		*(r->keep ? &job->keep : &job->list) = m->fds[1];
		m->fds[1] = -1;
	}
	if (trust >= 0)
		input_read(trust, TRUST_MAX, &job->trust);
	const struct downloads_spec spec = {.deny = &r->deny,
					    .proxy = r->proxy,
					    .trust = job->trust.bytes,
					    .trust_len = job->trust.len,
					    .deadline_us = clock_monotonic_us() + (int64_t)r->deadline_ms * 1000,
					    .redirects = r->redirects};
	job->downloads = downloads_new(&spec);
	json_object_seed(0); /* it reads /dev/urandom, and no file can be opened later */
	for (size_t i = 0; i < r->urls.n && !r->from_file; i++) {
		char *problem;
		if (downloads_know(job->downloads, r->urls.v[i], &problem))
			continue;
		free(job->problem);
		job->problem = problem;
		*r->urls.v[i] = '\0'; /* not asked */
	}
	return 0;
}

/* Who signed `child`: one of the certificates beside it, or of the trust store. A reference for the caller, or NULL. */
static X509 *find_issuer(struct fetch_job *job, const struct pool *pool, X509 *child)
{
	const X509_NAME *name = X509_get_issuer_name(child);
	for (size_t i = 0; i < pool->ncerts; i++) {
		X509 *x = pool->certs[i].x509;
		if (X509_NAME_cmp(X509_get_subject_name(x), name) == 0 && X509_verify(child, X509_get0_pubkey(x)) == 1)
			return X509_up_ref(x) ? x : NULL;
	}
	struct bundle *trust = bundle_new();
	X509 *found = NULL, *x;
	size_t at = 0;
	bundle_add(trust, job->trust.bytes, job->trust.len);
	while (!found && (x = bundle_next(trust, name, false, &at)))
		if (X509_verify(child, X509_get0_pubkey(x)) == 1 && X509_up_ref(x))
			found = x;
	bundle_free(trust);
	return found;
}

static void ask(struct fetch_job *job, struct fetch_reply *ret)
{
	const struct words none = {0};
	struct pool pool = {.passwords = &none};
	struct fetch_parties who = {0};
	if (job->request.kind == FETCH_ARI)
		return fetch_ari(job, ret);
	pool_read(&pool, 0, job->certificates.bytes, job->certificates.len);
	for (size_t i = 0; i < pool.ncerts && !who.child; i++)
		if (digest_equal(&pool.certs[i].sha256, &job->request.child))
			who.child = pool.certs[i].x509;
	if (who.child)
		who.issuer = find_issuer(job, &pool, who.child);
	if (!who.child)
		fetch_say(ret, "the certificate is not in the file that it should stand in");
	else if (job->request.kind == FETCH_ISSUER)
		fetch_issuer(job, &who, ret);
	else if (!who.issuer)
		fetch_say(ret, "its issuer is neither in the chain nor among the trusted certificates, so nobody can "
			       "be believed");
	else if (job->request.kind == FETCH_CRL)
		fetch_crl(job, &who, ret);
	else
		fetch_ocsp(job, &who, ret);
	X509_free(who.issuer);
	pool_done(&pool);
}

void fetch_run(struct fetch_job *job, struct fetch_reply *ret)
{
	*ret = (struct fetch_reply){.result = FETCH_FAILED};
	if (job->problem) {
		ret->temporary = false;
		fetch_say(ret, "%s", job->problem);
	}
	ask(job, ret);
	ret->bytes = downloads_bytes(job->downloads);
	ret->requests = downloads_requests(job->downloads);
	if (ret->result == FETCH_FAILED && !ret->text)
		fetch_say(ret, "there is no address to ask");
}

void fetch_job_done(struct fetch_job *job)
{
	fetch_request_done(&job->request);
	input_done(&job->certificates);
	input_done(&job->trust);
	downloads_free(job->downloads);
	free(job->problem);
}
