/* One handshake with one address, without ever blocking: connect, PROXY header, STARTTLS, TLS. No session is resumed.
 * Any certificate is taken as it is shown: to judge it is not the prober's job. Runs in a "probe" worker. */
#ifndef WORKER_ATTEMPT_H
#define WORKER_ATTEMPT_H
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "wire/probe.h"
#include "worker/starttls.h"
#include "worker/verdict.h"

/* TLS settings for places of one kind of key; NULL if OpenSSL fails. SSL_CTX_free when done. */
SSL_CTX *attempt_context(enum probe_key key);

enum attempt_stage { ATTEMPT_CONNECT, ATTEMPT_HEADER, ATTEMPT_TALK, ATTEMPT_TLS };
struct attempt {
	int fd; /* -1: not under way */
	short events;
	enum attempt_stage stage;
	const struct probe_place *place;
	SSL_CTX *context;
	SSL *ssl;
	struct starttls starttls;
	char out[160]; /* to be written before anything else */
	size_t out_len;
	int64_t deadline_us;
	bool unasked;     /* set before attempt_start: no OCSP response is asked for (RFC 6066 8) */
	bool certificate; /* seen; TLS 1.2: then the signature over the key exchange; then the key is proved */
	bool key_exchange;
	bool proved;
	struct outcome outcome;
};
/* Begins. Returns true when it has ended already (refused ...): then `outcome` tells. */
bool attempt_start(struct attempt *a, SSL_CTX *context, const struct probe_place *place, const struct sockaddr *address,
		   socklen_t len, int64_t now_us, int64_t deadline_us);
/* Goes on after poll said so. True when it has ended. */
bool attempt_step(struct attempt *a);
/* Its time is up. */
void attempt_expire(struct attempt *a);
#endif
