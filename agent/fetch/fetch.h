/* The work of a "fetch" worker (wire/fetch.h). In two parts, because host names need files and the rest needs none. */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H
#include <openssl/x509.h>

#include "wire/fetch.h"
#include "wire/message.h"
#include "fetch/download.h"
#include "worker/input.h"

struct fetch_job {
	struct fetch_request request;
	struct input certificates, trust; /* PEM */
	int list;                         /* the CRL's descriptor, where it is a file; else -1 */
	int keep;                         /* where a good OCSP answer goes; or -1 */
	struct downloads *downloads;
	char *problem; /* of the last URL that can't be asked */
};
/* Before the sandbox: reads what it was given and resolves. trust: a descriptor or -1. 0; -EBADMSG: not a request. */
int fetch_prepare(struct fetch_job *job, struct message *m, int trust);
/* In the sandbox: asks. The reply is the caller's (fetch_reply_done). */
void fetch_run(struct fetch_job *job, struct fetch_reply *ret);
void fetch_job_done(struct fetch_job *job);

/* For the files of this job alone. `issuer` signed `child`; both are held by the caller. */
struct fetch_parties {
	X509 *child, *issuer;
};
void fetch_crl(struct fetch_job *job, const struct fetch_parties *who, struct fetch_reply *ret);
void fetch_ocsp(struct fetch_job *job, const struct fetch_parties *who, struct fetch_reply *ret);
void fetch_ari(struct fetch_job *job, struct fetch_reply *ret);
void fetch_issuer(struct fetch_job *job, const struct fetch_parties *who, struct fetch_reply *ret);
/* Takes over why a download failed; true where another URL may be tried. */
bool fetch_failed(struct fetch_reply *ret, struct download *one);
void fetch_say(struct fetch_reply *ret, const char *format, ...) __attribute__((format(printf, 2, 3)));
#endif
