/* Handshakes with one place, many at once, for a certificate that demands a stapled OCSP response (RFC 7633): nginx
 * asks its CA for one only when a visitor of a worker process has come, who gets none. These come in the visitors'
 * place, so many at once that every worker process takes some. Runs in a "probe" worker. */
#ifndef WORKER_PRIMER_H
#define WORKER_PRIMER_H
#include <poll.h>

#include "worker/attempt.h"

#define PRIMER_MAX 32

struct primer {
	struct attempt v[PRIMER_MAX];
	size_t under_way;
	size_t site;               /* whose place it is; the caller's */
	unsigned shown, unstapled; /* handshakes with the expected certificate; those of them without a response */
};
void primer_init(struct primer *p);
/* Only where none is under way. */
void primer_start(struct primer *p, size_t site, SSL_CTX *context, const struct probe_place *place,
		  const struct sockaddr *address, socklen_t len, int64_t now_us, int64_t deadline_us);
/* Adds its sockets to polls, which has room for PRIMER_MAX; returns how many. */
size_t primer_polls(const struct primer *p, struct pollfd *polls);
/* `polls` as primer_polls filled them. True when the last one has ended just now. */
bool primer_step(struct primer *p, const struct pollfd *polls, size_t n, int64_t now_us);
int64_t primer_deadline(const struct primer *p); /* INT64_MAX: none is under way */
void primer_done(struct primer *p);
#endif
