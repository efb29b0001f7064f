/* discover --check: what would happen to a certificate on the day of its revocation. Runs in certswapctl; the network
 * is asked by fetch workers alone. */
#ifndef CTL_OUTLOOK_H
#define CTL_OUTLOOK_H
#include "ctl/discover.h"

enum outlook_status { OUTLOOK_GOOD, OUTLOOK_REVOKED, OUTLOOK_UNKNOWN, OUTLOOK_STATUSES };
extern const char *const outlook_status_name[OUTLOOK_STATUSES]; /* of --json */

struct outlook {
	enum outlook_status status; /* of the leaf and of the intermediates in its file; the worst counts */
	char *status_text;          /* by which source, when, or why it is unknown */
	const char *managed;        /* its NAME in certswap.conf; NULL: certswap does not look after it */
	const char *client;         /* the ACME client whose tree it lies in; NULL: none */
	char *noticed;              /* who would notice a revocation, and how late */
	char *replaced;             /* how long a replacement would take */
	struct words missing;       /* what to do before the day */
	bool inside;                /* a public certificate, but every address is one of a closed network */
};
/* The certificate of certswap.conf whose live pair this is, or that its link leads to; NULL: none. */
const struct certificate_settings *outlook_managing(const struct ctl *ctl, const struct discovered *d);
/* Asks and judges. `ret` is released with outlook_done. */
void outlook_make(struct ctl *ctl, const char *trust, const struct discovered *d, struct outlook *ret);
void outlook_ask(struct ctl *ctl, const char *trust, const struct discovered *d, struct outlook *o); /* status alone */
void outlook_done(struct outlook *o);

/* Is this address of a listen directive one that only this host or a private network reaches? (RFC 1918, 4193, 3927,
 * 4291 2.5.6, 6598, loopback, unix sockets.) "*:443" and names: not known, so no. */
bool outlook_is_inside(const char *address);
#endif
