/* The acts of a swap: each does one thing to the outside world, brings the facts in the journal's struct txn up to date
 * and reports once how it went. Which act comes when is the plan's business (swap/plan.h); all of them may be repeated.
 * Runs in certswapd. */
#ifndef SITE_ACTS_H
#define SITE_ACTS_H
#include "site/certificate.h"
#include "site/places.h"
#include "swap/journal.h"
#include "swap/plan.h"

struct act;                                                    /* one running act */
typedef void (*act_done_cb)(enum txn_event event, void *data); /* DONE, FAILED or SERVER_BROKEN */

/* The reason where a link is a stranger's; of the name of its certificate. */
#define ACT_FOREIGN "%s: live was changed by somebody else in the meantime; it stays as they left it"

struct act_spec {
	struct site *site;
	struct journal *journal;
	struct certificate **certificates; /* beside journal->certificates */
	struct server **servers;           /* beside journal->servers; never NULL inside */
	bool recovering;                   /* the first look after a restart: short, a reload may never have come */
	int *parents;                      /* beside them: pidfds of parents that a hook found alive, or -1 */
};
/* Calls back exactly once, never from inside. Not for TXN_ACT_NONE and TXN_ACT_WAIT. */
struct act *act_start(const struct act_spec *spec, enum txn_act what, act_done_cb cb, void *data);
void act_go(struct act *act);    /* its step is on disk: the hooks `reload` and `start` may begin */
void act_close(struct act *act); /* no callback; after the callback it is gone by itself */

/* Looks at every certificate's `live`; also ends exchanges that a crash cut off. 0 or negative errno. */
int act_look_at_disk(struct journal *j, struct certificate *const *certificates, struct fault *fault);

/* Is some server up that was not at the last look? (AWAITING) Fills runs and ran; DONE: yes, FAILED: no. */
struct act *act_look_for_servers(const struct act_spec *spec, act_done_cb cb, void *data);
#endif
