/* For tests of the prober: a TLS server in a child process, and one job for the real certswap-worker. */
#ifndef TEST_WORKER_HELP_H
#define TEST_WORKER_HELP_H
#include <openssl/ssl.h>

#include "wire/message.h"
#include "wire/probe.h"

struct pair {
	EVP_PKEY *key;
	X509 *cert;
	struct digest sha256, spki;
};
struct pair help_pair(const char *key_type, int64_t valid_for_s); /* "EC" or "RSA"; self-signed, serial 0x0a1b */

struct server {
	const struct pair *pairs[2]; /* one, or RSA and ECDSA beside each other */
	const struct pair *next;     /* shown instead: */
	unsigned switch_after;       /* from this connection on */
	unsigned alternate;          /* every n-th connection shows pairs[0] again; 0: none */
	unsigned drop;               /* so many connections are closed after the first bytes */
	int max_version;             /* TLS1_2_VERSION ...; 0: any */
	bool demand_client;          /* a client certificate */
	bool proxy_protocol;         /* fails without a header */
	const char *const *dialogue; /* before TLS: greeting, awaited line, answer, awaited line, answer ..., NULL */
	const char *garbage;         /* sent at once, no TLS */
	bool hang;                   /* accepts and says nothing */
	const char *unix_path;       /* instead of TCP */
	bool v6;
};
/* Starts it; ends with the test. Returns its endpoint, the caller's. */
char *help_serve(const struct server *server);
char *help_closed_endpoint(void); /* nothing listens there */

/* One job by the real certswap-worker. request NULL: its socket is closed without one. trust: -1, or the descriptor of
 * a PEM file. Returns its exit status, or -signal; the reply is the caller's, its kind 0 where none came. */
int help_job(const char *role, int trust, uint8_t kind, const struct packer *request, const int *fds, size_t nfds,
	     struct message *ret);
/* One job by `certswap-worker probe`; the reply is the caller's. */
struct probe_reply help_probe(const struct probe_request *request);
/* The same for one place. */
struct probe_seen help_probe_one(const struct probe_place *place, uint32_t deadline_ms, uint32_t settle_ms);
#endif
