#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "base/memory.h"
#include "pki/sources.h"
#include "fetch/fetch.h"

#define PIECE 4000 /* bytes of one word of the reply */

static void give(X509 *x, struct fetch_reply *ret)
{
	BIO *out = BIO_new(BIO_s_mem());
	char *bytes = NULL;
	if (out && PEM_write_bio_X509(out, x) == 1) {
		long len = BIO_get_mem_data(out, &bytes);
		for (long at = 0; at < len; at += PIECE)
			words_add_n(&ret->pem, bytes + at, (size_t)(len - at < PIECE ? len - at : PIECE));
		ret->result = FETCH_ANSWERED;
	}
	BIO_free(out);
}

void fetch_issuer(struct fetch_job *job, const struct fetch_parties *who, struct fetch_reply *ret)
{
	const struct words *urls = &job->request.urls;
	for (size_t i = 0; i < urls->n && ret->result != FETCH_ANSWERED; i++) {
		struct download one = {.url = urls->v[i],
				       .accept = "application/pkix-cert, */*;q=0.5",
				       .max = (int64_t)SOURCES_ANSWER_MAX};
		if (!*one.url)
			continue;
		if (download_run(job->downloads, &one) < 0) {
			fetch_failed(ret, &one);
		} else {
			X509 *x = sources_issuer(who->child, one.body.s ? one.body.s : "", one.body.len);
			if (x)
				give(x, ret);
			else
				fetch_say(ret, "%s holds no certificate whose key signed this one", one.url);
			X509_free(x);
			free(ret->url);
			ret->url = xstrdup(one.url);
		}
		download_done(&one);
	}
}
