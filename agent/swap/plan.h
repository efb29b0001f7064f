/* The state table of the swap (docs/architecture.md has it as a picture): a pure function. The caller brings the facts
 * in struct txn up to date, says what happened, journals the step that it gets together with the facts, durably, and
 * only then acts. Each act can be repeated. tests/sim/ runs this very function through every interleaving of crashes,
 * failures and strangers. What that search takes for granted of the caller:
 * - A last look and the journal of the final state that follows from it are one turn of the loop.
 * - EXCHANGE and EXCHANGE_BACK run in the turn that journalled their state: no notice comes in between. What comes out
 *   must be what was put in last, also when a stranger's pair is given back: else it is newer, and is given back in
 *   turn. A stranger's link under the other name is never removed.
 * - Where a step leaves a state whose act still runs (PREFLIGHT, PROBE_*, WAIT, LOOK_SERVERS; a notice does that), the
 *   act is dropped and its end is not reported. RELOAD and START are never left.
 * - Every look at the disk, first of all the one before RECOVER, ends an exchange that a crash or an error cut off
 *   before its look; if it can't: TXN_EVENT_FAILED. Before RECOVER every wire becomes TXN_WIRE_UNKNOWN.
 * - STAGED has no act: once all queues are held, the caller says DONE. AWAITING gave the queues back: they are taken
 *   again before any other act.
 * - STUCK has no act either. Where the wire shows what is on disk again, the caller looks at the servers and the places
 *   and says DONE: it is over, or stays. */
#ifndef SWAP_PLAN_H
#define SWAP_PLAN_H
#include "swap/state.h"

enum txn_event {
	TXN_EVENT_DONE,      /* the state's act was done; the facts say how things look now */
	TXN_EVENT_FAILED,    /* the state's act could not be done */
	TXN_EVENT_BLOCKED,   /* nothing was touched, and the host must be mended first: a server's configuration broken
			      without us   too, a full disk, no worker ...: tried again (HELD) */
	TXN_EVENT_NOTICE,    /* old_refused or new_refused of a certificate changed */
	TXN_EVENT_SERVER_UP, /* AWAITING: a server that was down runs */
	TXN_EVENT_RECOVER,   /* certswapd started and found this transaction in the journal; disk facts are fresh */
	TXN_EVENTS
};

/* What to do on entering a state. One act a state; TXN_ACT_NONE for final states. */
enum txn_act {
	TXN_ACT_NONE,
	TXN_ACT_PREFLIGHT,     /* fills ran, served, runs */
	TXN_ACT_EXCHANGE,      /* every certificate that is TXN_DISK_OLD: to new; stops at a stranger; fills disk */
	TXN_ACT_LOOK_SERVERS,  /* fills runs and disk; whoever runs now also ran */
	TXN_ACT_RELOAD,        /* every server that runs; partly done is DONE */
	TXN_ACT_PROBE_NEW,     /* fills wire, runs and then disk; what is wanted is the new pair; whoever runs now also
				  ran. Places of a certificate that is not TXN_DISK_NEW need only give a handshake */
	TXN_ACT_WAIT,          /* for a server to come up; releases the queues */
	TXN_ACT_EXCHANGE_BACK, /* every certificate that is TXN_DISK_NEW and not first: to old; fills disk */
	TXN_ACT_PROBE_OLD,     /* as PROBE_NEW; what is wanted is the baseline; a server that was down then must not
				  show a new pair. Only certificates with TXN_DISK_OLD are judged */
	TXN_ACT_START,         /* every server with ran && !runs */
	TXN_ACTS
};

struct plan_step {
	enum txn_state state;
	enum txn_act act;
	uint8_t tries_left;
};
/* An event that does not belong to the state changes nothing: it gives the present state with TXN_ACT_NONE. */
struct plan_step plan_next(const struct txn *txn, enum txn_event event);
#endif
