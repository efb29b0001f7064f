/* What acts.c and preflight.c share. Nobody else includes this. Runs in certswapd. */
#ifndef SITE_ACTS_PARTS_H
#define SITE_ACTS_PARTS_H
#include "site/acts.h"

struct act {
	struct act_spec spec;
	enum txn_act what;
	act_done_cb cb;
	void *data;
	struct hook_call *calls;       /* one for each server */
	size_t asked;                  /* hooks whose answer is missing */
	size_t done, refused;          /* answers so far */
	void (*next)(struct act *act); /* when all hooks of this step have answered */
	char *candidate, *live;        /* folders that a rehearsal is about, a line each; NULL otherwise */
	struct places_round *round;
	struct baseline *baseline; /* PREFLIGHT */
	bool hooks_done,
		broken_before;  /* PREFLIGHT: who is asked beside the baseline has answered; a config test failed */
	struct poller **deaths; /* a parent that dies ends the look at once */
	struct timer *idle;     /* PROBE_NEW: asks a server whose wire does not turn for its own word (refusal.c) */
	uint64_t *ticks;        /* processor time of each parent, at the last look of that timer */
	bool doubting;          /* they are being asked */
	struct timer *later;
	enum txn_event event; /* to report */
};

typedef void (*answer_fn)(struct act *act, size_t server, enum server_answer answer, const char *output);
struct hook_call {
	struct act *act;
	size_t server;
	answer_fn fn;
};

static inline struct txn *act_txn(const struct act *act)
{
	return &act->spec.journal->txn;
}

static inline const char *act_server_name(const struct act *act, size_t server)
{
	return act->spec.journal->servers[server];
}

/* Asks every server that `which` chooses (NULL: all); `next` runs when all have answered, at once where none was asked.
 */
void act_ask(struct act *act, enum server_verb verb, bool (*which)(const struct txn_server *), answer_fn fn,
	     void (*next)(struct act *));
void act_report(struct act *act, enum txn_event event); /* the end of the act, soon */
char *act_brief(const char *output); /* the first line of a hook's output, for reasons; the caller's */
void act_on_alive(struct act *act, size_t server, enum server_answer answer, const char *output);
bool act_runs(const struct txn_server *s);
bool act_runs_not(const struct txn_server *s);
void act_recall_parents(struct act *act); /* runs and ran of the servers whose parent is known without asking */

void act_start_round(struct act *act, int64_t deadline_ms); /* a look at the wire; takes the place of one under way */
void act_look_who_runs(struct act *act);                    /* then the act is over */

void act_preflight(struct act *act);     /* preflight.c */
void act_doubt(struct act *act);         /* refusal.c; only beside a round */
void act_doubt_no_more(struct act *act); /* what the wire shows is as wanted: nobody's word is needed */
#endif
