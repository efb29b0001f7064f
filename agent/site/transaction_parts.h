/* What the files of a transaction share: transaction.c drives it, staging.c begins it, transaction_end.c ends it,
 * transaction_view.c tells others about it. Nobody else includes this. Runs in certswapd. */
#ifndef SITE_TRANSACTION_PARTS_H
#define SITE_TRANSACTION_PARTS_H
#include "site/acts.h"

struct transaction {
	struct site *site;
	struct journal *journal;
	struct certificate **certificates;
	struct server **servers;
	int *parents;            /* pidfds, see acts.h */
	swap_done_cb *callbacks; /* one for each certificate; NULL once it was called */
	void **data;
	struct server_hold *hold;
	struct act *act;
	bool recovering;            /* the first act after a restart */
	bool mended;                /* it was STUCK */
	bool went_back;             /* or a restart can't tell any more */
	struct timer *timer;        /* AWAITING */
	enum txn_event resume_with; /* once the queues are ours */
	int64_t began_us;
};

static inline size_t transaction_count(const struct transaction *t)
{
	return t->journal->txn.ncertificates;
}

struct transaction *transaction_new(struct site *site, struct journal *journal); /* takes the journal over */
void transaction_free(struct transaction *t);
void transaction_remember(struct transaction *t); /* among those of the site, and at its certificates */
void transaction_forget(struct transaction *t);
void transaction_set_swapping(struct transaction *t, bool swapping);
/* Asks anew whether the pairs are refused. */
void transaction_refresh_refusals(struct transaction *t);
/* Goes on with `then` as soon as the queues of all its servers are held. */
void transaction_take_queues(struct transaction *t, enum txn_event then);
void transaction_release_queues(struct transaction *t); /* nothing where it holds none */

/* Tells who waits what is done in this state. */
void transaction_tell_state(const struct transaction *t);

/* Its state is final: records it, tells who asked, frees it (STUCK stays). */
void transaction_end(struct transaction *t);
void transaction_record_end(struct transaction *t, size_t i);
/* Its state, as it is for this certificate: in a batch that ends because somebody else changed the link of another one
 * (FOREIGN), a pair that is in was looked at and is there for good. */
enum txn_state transaction_state_for(const struct transaction *t, size_t i);
/* The callbacks that have not been called yet. */
void transaction_tell(struct transaction *t);
void transactions_changed(const struct transaction *t); /* its certificates have changed */

#define STAGING_NUMBERS "transactions.json" /* of STATE: no transaction has had a number above its `last` */
/* Begins transactions for what is ready, after a while. */
void staging_start_after(struct site *site, int64_t ms);
#endif
