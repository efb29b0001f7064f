/* Swaps: proved generations are staged, those for the same servers go together in one transaction, and the plan
 * (swap/plan.h) drives it to an end, through a crash too. Runs in certswapd. */
#ifndef SITE_TRANSACTION_H
#define SITE_TRANSACTION_H
#include "site/certificate.h"

/* Asks that generation `number` becomes live. It starts when the certificate has no swap under way, together with all
 * others that are ready then; unless `at_once` it waits a moment for those that are in work. A newer one takes the
 * place of one that has not started: that one's callback gets TXN_DISCARDED. Calls back once, never from inside.
 * -EPERM: the configuration says observe. -EINVAL: it is live already. */
int transaction_stage(struct certificate *c, unsigned int number, bool at_once, swap_done_cb cb, void *data,
		      struct fault *fault);

/* Files are being read, or a pair is being proved, that may end in a swap: what is ready meanwhile waits a moment, so
 * that all goes in one reload. Each that begins must end. */
void staging_work_begins(struct site *site);
void staging_work_ended(struct site *site);
/* So much is in work that what can wait does: each holds descriptors until a worker is free. Who waited is told:
 * incident_review_in, dropbox_look_soon, watched_go_on. */
bool staging_is_full(const struct site *site);

/* Before the daemon says that it is ready: finishes on disk what a crash cut off, and keeps the transactions for
 * transactions_resume. Returns 0 or negative errno: a journal that can't be read keeps its certificates from being
 * touched, and is not fatal. */
int transactions_recover(struct site *site, struct fault *fault);
/* Then: takes up where the journal stands, in the background. */
void transactions_resume(struct site *site);
void transactions_close(struct site *site); /* at the end; the journals stay for the next start */

/* A denial or a notice came in: every transaction looks at its pairs again. */
void transactions_notice(struct site *site);
/* Is any at work (not AWAITING, not STUCK)? */
bool transactions_at_work(const struct site *site);
/* The journal's state of the certificate's transaction, for `status`; TXN_STATES: there is none. */
enum txn_state transaction_state(const struct certificate *c);
const char *transaction_reason(const struct certificate *c);
/* Reads c->coming and c->going: what a swap under way, or one that is ready, brings and takes away. */
void transaction_look(struct certificate *c);
/* Names of servers that have not shown the new pair (AWAITING), for `status`; the caller's. */
void transaction_unverified(const struct certificate *c, struct words *ret);

/* STUCK, and the places show the live pair: looks whether a person mended it, in the background. Where the servers run
 * and show it alone, the swap ends as what it came to (COMMITTED, ROLLED_BACK). Nothing where it is not STUCK. */
void transaction_look_again(struct certificate *c);
/* STUCK: the commands for a person, a line each: they put the old pair back, or where that is refused leave the new
 * one, and restart the servers; the caller's. */
char *transaction_way_out(const struct certificate *c);

/* Called after every change of a certificate (a swap's end). Set once by site.c. */
typedef void (*certificate_changed_cb)(struct certificate *c);
void transactions_on_change(certificate_changed_cb cb);

/* Called at each step on the way of a pair, for who waits and wants to know: "reloading nginx, apache". v: the
 * certificates that take it together. Set once by control. */
typedef void (*certificate_step_cb)(struct certificate *const *v, size_t n, const char *doing);
void transactions_on_step(certificate_step_cb cb);
void transaction_tell_step(struct certificate *const *v, size_t n, const char *doing);
#endif
