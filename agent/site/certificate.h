/* One managed certificate: its configuration, its folder STATE/certificates/NAME, what is live, what stands by, and
 * what the wire showed last. Runs in certswapd. */
#ifndef SITE_CERTIFICATE_H
#define SITE_CERTIFICATE_H
#include "site/site.h"
#include "swap/meta.h"
#include "swap/state.h"
#include "swap/store.h"

/* What one place showed at the last look. */
struct served {
	char *endpoint, *server_name;
	struct digest sha256; /* zero: no handshake */
	int64_t checked_at;
	bool owed; /* should show the live pair: it is asked by name, and `probe` names it or it has spoken TLS once */
};

/* How the last swap ended; kept in NAME/last-swap.json. */
struct last_swap {
	int64_t at_ms; /* 0: there was none */
	enum txn_state result;
	int64_t milliseconds; /* from the staging to the end */
	char *reason;
	unsigned int from,
		to; /* generations of the last one that put a new pair in place; `from` 0: nothing to go back to */
	struct digest undone; /* the pair that a server was told of and that did not stay; it is not tried again by
			       * itself. Zero: there is none */
};

/* Called once when a swap of this certificate has ended, or waits for a server that is down (TXN_AWAITING). */
typedef void (*swap_done_cb)(struct certificate *certificate, enum txn_state state, const char *reason, void *data);

struct standing;
struct certificate {
	struct site *site;
	size_t index; /* among site->certificates */
	const struct certificate_settings *settings;
	int folder;
	struct meta live, standby;   /* number 0: there is none */
	struct meta *coming, *going; /* in a swap: the new pair until it is live, the old one after that; NULL as long
					as there was none, number 0: there is none now. transaction_look */
	struct keyring *keys;        /* that wait for their certificate; NULL: not read yet (pending.h) */
	struct aftermath *aftermath; /* what a key compromise leaves to be done; or NULL */
	struct {
		unsigned int number; /* generation */
		char *why;           /* it is not good; NULL: it is */
		int64_t at;
	} standby_proof; /* the last one */
	char *trouble;   /* why the folder can't be worked with (a link that is not ours ...); NULL: none */
	bool passing;    /* the trouble is the machine's (no descriptors ...): certificate_refresh may end it */
	struct served *served;
	size_t nserved;
	bool elsewhere; /* no place at a loopback address showed it: those at the host's others are looked at too */
	struct last_swap last_swap;
	struct standing *standing;       /* what its CA says: site/revocation.h; NULL: nothing is looked at yet */
	struct transaction *transaction; /* under way, or NULL */
	unsigned int newest;             /* the highest number that a swap was to make live: never given twice */
	bool stapling;                   /* it gets a new OCSP response */
	bool swapping;                   /* the transaction is at work (not AWAITING, not STUCK) */
	struct {
		unsigned int number; /* a proved generation that waits for its transaction; 0: none */
		int64_t since_us;    /* CLOCK_MONOTONIC: ready since then */
		bool at_once;        /* it does not wait for others that are in work */
		unsigned int batch;  /* goes only together with those of the same batch; 0: with any */
		swap_done_cb cb;
		void *data;
	} ready;
	struct consumers *consumers; /* other programs that read the pair: consumer.c */
};

/* Opens (or makes) the folder, sweeps what a crash left, reads live and standby. NULL and fault when the folder can't
 * be used at all. */
struct certificate *certificate_new(struct site *site, const struct certificate_settings *settings,
				    struct fault *fault);
void certificate_free(struct certificate *c);
/* A generation of this number is to go live: even if somebody removes it, no other gets its number. */
void certificate_count(struct certificate *c, unsigned int number);
/* Reads live and standby again from the links. */
void certificate_refresh(struct certificate *c);

/* Names that a replacement must cover: the configured ones, else those of the live certificate. Not the caller's. */
const struct words *certificate_names(const struct certificate *c);
int certificate_owner(const struct certificate *c, struct store_owner *ret, struct fault *fault);
const char *certificate_trust(const struct certificate *c); /* path of the trust store that counts */

/* Takes them over, and says which of them are owed: the plain port 80 beside it is not. Where none is, all are. */
void certificate_set_served(struct certificate *c, struct served *served, size_t n);
void certificate_set_last_swap(struct certificate *c, const struct last_swap *last); /* copies, saves */
/* Is the key or the certificate of a generation refused? The denial, or NULL. */
const struct denial *certificate_denial(const struct certificate *c, const struct meta *meta);
#endif
