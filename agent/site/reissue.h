/* The `reissue` command of a certificate: an ACME client that gets the replacement in an incident. It runs beside, by
 * certswap-exec, with bounded time and output; what it gets arrives through `watch`. Persistent: an attempt is on disk
 * before it starts. Runs in certswapd. */
#ifndef SITE_REISSUE_H
#define SITE_REISSUE_H
#include "site/incident.h"

enum reissue_state {
	REISSUE_NONE,    /* not configured, or it can't answer this case */
	REISSUE_RUNNING, /* or its result is on its way */
	REISSUE_WAITING, /* for its next try */
	REISSUE_STOPPED, /* it is not run again for this incident; its story says why */
};
/* Starts it where it is due. */
enum reissue_state reissue_advance(struct certificate *c, struct incident *i);

/* A pair that is not known here has appeared in a folder of `watch`, before it is proved. */
void reissue_arrived(struct certificate *c, const char *serial, int64_t not_before);
/* It went live, or waits for its turn. */
void reissue_settled(struct certificate *c);
/* It was refused, or its swap went back: what was issued for us is not asked for again. */
void reissue_refused(struct certificate *c, const struct digest *leaf, const char *text);
#endif
