/* Standby pairs are kept proved: once a day and at each configuration change each goes through the whole proof again;
 * what is no longer ready is told once, as a ticket. Runs in certswapd. */
#ifndef SITE_STANDBY_H
#define SITE_STANDBY_H
#include "site/certificate.h"

struct standbys *standbys_open(struct site *site); /* looks at all, one after the other */
void standbys_close(struct standbys *s);
void standbys_review(struct site *site); /* something changed that may concern all: look again soon */

/* Why the standby pair of c would not do; "" where it is ready. The caller's. */
char *standby_why(const struct certificate *c);
/* In what it protects less than it could: it shares the key or the issuing CA with the live pair; "" in nothing. */
const char *standby_weakness(const struct certificate *c);
void standby_was_proved(struct certificate *c); /* it came just now */
/* Another pair stands by, or none does: it is watched from now on, and an open incident may use it. */
void standby_changed(struct certificate *c);
#endif
