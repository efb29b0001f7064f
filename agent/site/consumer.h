/* Consumers: other programs of this host that read the pair of a certificate (Postfix, Dovecot, HAProxy ...). Once the
 * web servers have committed, each is told to read its files again, by its `reload` command through certswap-exec, and
 * looked at by a handshake, STARTTLS included. One that fails never takes the web servers back: an alert, and another
 * try, with growing pauses. What each has shown is kept in NAME/consumers.json, over restarts. Runs in certswapd. */
#ifndef SITE_CONSUMER_H
#define SITE_CONSUMER_H
#include <jansson.h>

#include "site/certificate.h"

void consumers_open(struct site *site);  /* takes up what a stop has left; before the first incidents_review */
void consumers_close(struct site *site); /* kills what runs, no callbacks */
/* The live pair may have changed, or a swap has ended: who has to read it again begins. */
void consumers_review(struct certificate *c);

/* Has every consumer shown the live pair, or been waived for it? Without consumers: yes. */
bool consumers_verified(const struct certificate *c);
/* Is a first try for the live pair still to end? While it is, nobody has to be asked. */
bool consumers_at_work(const struct certificate *c);
void consumers_unverified(const struct certificate *c, struct words *ret); /* adds their names */
char *consumers_problem(const struct certificate *c);                      /* what each said last; the caller's */
json_t *consumers_json(const struct certificate *c);                       /* for `status` */

/* Calls back once, from the loop: as soon as no first try is to be waited for. */
typedef void (*consumers_cb)(struct certificate *c, void *data);
void consumers_wait(struct certificate *c, consumers_cb cb, void *data);

/* A person says that this consumer need not show the live pair; for this pair alone. -ENOENT: no such consumer;
 * -EALREADY: nothing is asked of it. */
int consumer_waive(struct certificate *c, const char *consumer, const char *why, struct fault *fault);
#endif
