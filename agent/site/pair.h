/* One pair on its way: proved, made a generation, then swapped in or kept as standby. Runs in certswapd. */
#ifndef SITE_PAIR_H
#define SITE_PAIR_H
#include "site/prove.h"

enum pair_outcome {
	PAIR_LIVE,      /* the wire showed it */
	PAIR_INSTALLED, /* live on disk; nothing served the old one, or a server is down: not proved on the wire */
	PAIR_STANDBY,   /* kept as standby */
	PAIR_SAME,      /* live already */
	PAIR_REFUSED,   /* the proof found something, or the pair may not go live; nothing was touched */
	PAIR_FAILED,    /* went back to what worked, or is stuck */
	PAIR_HELD, /* proved, but the host does not let it be swapped in: tried again by itself until it is mended */
	PAIR_UNPROVED,  /* the machine was in trouble: nothing is known of the pair, hand it over again later */
	PAIR_UNREAD,    /* a worker died or fell silent over it: a few more times, then it is refused */
	PAIR_INCOMPLETE /* only a CA certificate of its chain is missing, which may still come (`patient`) */
};
struct pair_spec {
	struct certificate *certificate;
	const struct prove_input *inputs;
	size_t ninputs;
	struct digest leaf; /* SHA-256 of the leaf's DER */
	struct digest spki; /* of its key, which may wait for it here (pending.h); zero: the key is among the inputs */
	bool standby;       /* keep it, do not swap */
	bool at_once;       /* swap it without waiting for others */
	bool automatic;     /* came by itself: must not be older than what is live */
	bool patient;       /* its files may still be on their way: no refusal where only its chain is incomplete */
	unsigned int restores; /* the live generation whose content it is, which somebody wrote over; 0: another.
				* Refused where another pair is ready or live by then */
	const char *origin;
	const struct words *accepted; /* or NULL */
	const char *why;              /* of what is accepted; or NULL */
};
/* text: one line or more for a person; next: what to do, or NULL. */
typedef void (*pair_cb)(enum pair_outcome outcome, const char *text, const char *next, void *data);

/* Calls back exactly once, never from inside this call. */
void pair_start(const struct pair_spec *spec, pair_cb cb, void *data);
/* What a person is to do where a swap of the certificate has ended so; the caller's, or NULL. */
char *pair_what_to_do(const struct certificate *c, enum txn_state state);
/* Swaps in a generation that is there (standby, an older one), proved again before. accepted, why: as in pair_spec. */
void pair_swap_generation(struct certificate *c, unsigned int number, const struct words *accepted, const char *why,
			  pair_cb cb, void *data);
#endif
