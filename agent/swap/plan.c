#include "swap/plan.h"

/* The act of each state. */
static const enum txn_act acts[] = {
	[TXN_STAGED] = TXN_ACT_NONE,
	[TXN_PREFLIGHT] = TXN_ACT_PREFLIGHT,
	[TXN_INSTALLING] = TXN_ACT_EXCHANGE,
	[TXN_INSTALLED] = TXN_ACT_LOOK_SERVERS,
	[TXN_RELOADING] = TXN_ACT_RELOAD,
	[TXN_VERIFYING] = TXN_ACT_PROBE_NEW,
	[TXN_STARTING] = TXN_ACT_START,
	[TXN_AWAITING] = TXN_ACT_WAIT,
	[TXN_ROLLING_BACK] = TXN_ACT_EXCHANGE_BACK,
	[TXN_RB_VERIFYING] = TXN_ACT_PROBE_OLD,
	[TXN_RB_RELOADING] = TXN_ACT_RELOAD,
	[TXN_RB_STARTING] = TXN_ACT_START,
	[TXN_COMMITTED] = TXN_ACT_NONE,
	[TXN_UNSERVED] = TXN_ACT_NONE,
	[TXN_ROLLED_BACK] = TXN_ACT_NONE,
	[TXN_DISCARDED] = TXN_ACT_NONE,
	[TXN_HELD] = TXN_ACT_NONE,
	[TXN_FOREIGN] = TXN_ACT_NONE,
	[TXN_STUCK] = TXN_ACT_NONE,
};
_Static_assert(sizeof acts / sizeof *acts == TXN_STATES, "a state has no act");

static struct plan_step go_with(enum txn_state state, unsigned tries)
{
	return (struct plan_step){.state = state, .act = acts[state], .tries_left = (uint8_t)tries};
}

static struct plan_step go(const struct txn *txn, enum txn_state state)
{
	return go_with(state, txn->tries_left);
}

static struct plan_step stay(const struct txn *txn)
{
	return (struct plan_step){.state = txn->state, .act = TXN_ACT_NONE, .tries_left = txn->tries_left};
}

/* Uses up one try; only where tries_left is not 0. */
static struct plan_step again(const struct txn *txn, enum txn_state state)
{
	return go_with(state, txn->tries_left - 1u);
}

/* ---- the certificates ---- */

static size_t count_disk(const struct txn *txn, enum txn_disk disk)
{
	size_t n = 0;
	for (size_t i = 0; i < txn->ncertificates; i++)
		n += txn->certificates[i].disk == disk;
	return n;
}

/* Is this one of those that TXN_ACT_EXCHANGE_BACK would turn? */
static bool can_go_back(const struct txn_certificate *c)
{
	return c->disk == TXN_DISK_NEW && !c->first;
}

static bool goes_back_to_refused(const struct txn_certificate *c)
{
	return can_go_back(c) && c->old_refused;
}

static bool is_live_and_refused(const struct txn_certificate *c)
{
	return can_go_back(c) && c->new_refused;
}

static bool is_refused(const struct txn_certificate *c)
{
	return c->disk != TXN_DISK_FOREIGN && c->new_refused;
}

static bool is_not_back(const struct txn_certificate *c)
{
	return c->disk == TXN_DISK_FOREIGN || can_go_back(c);
}

static bool is_not_first(const struct txn_certificate *c)
{
	return !c->first;
}

static bool any(const struct txn *txn, bool (*is)(const struct txn_certificate *))
{
	for (size_t i = 0; i < txn->ncertificates; i++)
		if (is(&txn->certificates[i]))
			return true;
	return false;
}

/* Going back would put a refused pair into service again. One such certificate holds its whole batch: a batch goes one
 * way. */
static bool back_is_refused(const struct txn *txn)
{
	return any(txn, goes_back_to_refused);
}

/* A notice hit a pair that is live now, and the old ones are good: leave it. A first pair can't be left: without it a
 * server whose configuration names it does not start. */
static bool must_turn_back(const struct txn *txn)
{
	return !back_is_refused(txn) && any(txn, is_live_and_refused);
}

/* ---- the servers ---- */

static bool is_dead(const struct txn_server *s)
{
	return s->ran && (!s->runs || s->wire == TXN_WIRE_DEAD);
}

/* It runs and does not show what is wanted, or could not be looked at. */
static bool is_wrong(const struct txn_server *s)
{
	return s->runs && s->wire != TXN_WIRE_WANTED;
}

static bool is_broken(const struct txn_server *s)
{
	return is_dead(s) || (s->runs && s->wire == TXN_WIRE_BROKEN);
}

static bool shows_wanted(const struct txn_server *s)
{
	return s->served && s->runs && s->wire == TXN_WIRE_WANTED;
}

static bool runs(const struct txn_server *s)
{
	return s->runs;
}

static bool runs_not(const struct txn_server *s)
{
	return !s->runs;
}

static bool has_served(const struct txn_server *s)
{
	return s->served;
}

static bool any_server(const struct txn *txn, bool (*is)(const struct txn_server *))
{
	for (size_t i = 0; i < txn->nservers; i++)
		if (is(&txn->servers[i]))
			return true;
	return false;
}

/* ---- the ways out ---- */

/* All looks are good in the forward direction. */
static struct plan_step finish(const struct txn *txn)
{
	if (count_disk(txn, TXN_DISK_NEW) < txn->ncertificates)
		return go(txn, TXN_FOREIGN);
	return go(txn, any_server(txn, has_served) ? TXN_COMMITTED : TXN_UNSERVED);
}

/* All looks are good in the direction back. */
static struct plan_step undone(const struct txn *txn)
{
	return go(txn, any(txn, is_not_back) ? TXN_FOREIGN : TXN_ROLLED_BACK);
}

static struct plan_step roll_back(void)
{
	return go_with(TXN_ROLLING_BACK, TXN_RELOAD_TRIES);
}

/* Forward does not work. A refused old pair comes back only where otherwise nothing would serve. */
static struct plan_step give_up(const struct txn *txn)
{
	if (!back_is_refused(txn))
		return roll_back();
	if (any_server(txn, is_broken) && !any_server(txn, shows_wanted))
		return roll_back();
	return go(txn, TXN_STUCK);
}

/* ---- state by state ---- */

static struct plan_step staged(const struct txn *txn, enum txn_event event)
{
	if (any(txn, is_refused))
		return go(txn, TXN_DISCARDED);
	switch (event) {
	case TXN_EVENT_DONE:
		return go_with(TXN_PREFLIGHT, TXN_RELOAD_TRIES);
	case TXN_EVENT_FAILED:
		return go(txn, TXN_DISCARDED);
	case TXN_EVENT_RECOVER:
		return go(txn, TXN_STAGED);
	case TXN_EVENT_BLOCKED:
		return go(txn, TXN_HELD);
	case TXN_EVENT_NOTICE:
	case TXN_EVENT_SERVER_UP:
	case TXN_EVENTS:
		break;
	}
	return stay(txn);
}

static struct plan_step preflight(const struct txn *txn, enum txn_event event)
{
	if (any(txn, is_refused))
		return go(txn, TXN_DISCARDED);
	switch (event) {
	case TXN_EVENT_DONE:
		return go(txn, TXN_INSTALLING);
	case TXN_EVENT_FAILED:
		return go(txn, TXN_DISCARDED);
	case TXN_EVENT_BLOCKED:
		return go(txn, TXN_HELD);
	case TXN_EVENT_RECOVER: /* the baseline is taken anew */
		return go(txn, TXN_STAGED);
	case TXN_EVENT_NOTICE:
	case TXN_EVENT_SERVER_UP:
	case TXN_EVENTS:
		break;
	}
	return stay(txn);
}

/* Decides by the disk alone, also after FAILED and RECOVER. A notice waits for the end of the exchange. */
static struct plan_step installing(const struct txn *txn, enum txn_event event)
{
	if (event == TXN_EVENT_NOTICE || event == TXN_EVENT_SERVER_UP)
		return stay(txn);
	bool refused = any(txn, is_refused), recover = event == TXN_EVENT_RECOVER;
	bool failed = event == TXN_EVENT_FAILED || event == TXN_EVENT_BLOCKED;
	size_t turned = count_disk(txn, TXN_DISK_NEW), foreign = count_disk(txn, TXN_DISK_FOREIGN);
	if (turned == txn->ncertificates)
		return must_turn_back(txn) ? roll_back() : go(txn, TXN_INSTALLED);
	if (!turned &&
	    foreign) /* failed: a stranger's pair came out and could not be given back; the next look tries */
		return failed ? roll_back() : go(txn, TXN_FOREIGN);
	if (!turned)
		return go(txn, refused                      ? TXN_DISCARDED
			       : recover                    ? TXN_STAGED
			       : event == TXN_EVENT_BLOCKED ? TXN_HELD
							    : TXN_DISCARDED);
	if (recover && !foreign && !refused)
		return go(txn, TXN_INSTALLING);
	/* some are in and some can't follow: where the way back is refused, go on with those that are in */
	return back_is_refused(txn) ? go(txn, TXN_INSTALLED) : roll_back();
}

static struct plan_step installed(const struct txn *txn, enum txn_event event)
{
	if (must_turn_back(txn))
		return roll_back();
	switch (event) {
	case TXN_EVENT_DONE:
		/* nothing can show a pair that was not there: no server is touched */
		if (!any(txn, is_not_first) || !txn->nservers)
			return finish(txn);
		if (any_server(txn, runs))
			return go_with(TXN_RELOADING, TXN_RELOAD_TRIES);
		return go_with(any_server(txn, is_dead) ? TXN_VERIFYING : TXN_AWAITING, TXN_RELOAD_TRIES);
	case TXN_EVENT_FAILED:
		if (txn->tries_left)
			return again(txn, TXN_INSTALLED);
		return back_is_refused(txn) ? go_with(TXN_VERIFYING, TXN_RELOAD_TRIES) : roll_back();
	case TXN_EVENT_RECOVER:
		return go(txn, TXN_INSTALLED);
	case TXN_EVENT_BLOCKED:
	case TXN_EVENT_NOTICE:
	case TXN_EVENT_SERVER_UP:
	case TXN_EVENTS:
		break;
	}
	return stay(txn);
}

/* RELOADING and STARTING: a hook is at work, a notice waits for its end. */
static struct plan_step acting(const struct txn *txn, enum txn_event event)
{
	switch (event) {
	case TXN_EVENT_DONE:
		return must_turn_back(txn) ? roll_back() : go(txn, TXN_VERIFYING);
	case TXN_EVENT_FAILED:
		/* a start also fails where somebody else was faster; and never back to a refused pair without a look */
		if (txn->state == TXN_STARTING || back_is_refused(txn))
			return go(txn, TXN_VERIFYING);
		return roll_back();
	case TXN_EVENT_RECOVER: /* it may have happened: look first; a crash costs no try */
		return go_with(TXN_VERIFYING, TXN_RELOAD_TRIES);
	case TXN_EVENT_BLOCKED:
	case TXN_EVENT_NOTICE:
	case TXN_EVENT_SERVER_UP:
	case TXN_EVENTS:
		break;
	}
	return stay(txn);
}

static struct plan_step looked(const struct txn *txn)
{
	if (any_server(txn, is_dead)) {
		if (back_is_refused(txn) && txn->tries_left)
			return again(txn, TXN_STARTING);
		return give_up(txn);
	}
	if (any_server(txn, is_wrong))
		return txn->tries_left ? again(txn, TXN_RELOADING) : give_up(txn);
	return any_server(txn, runs_not) ? go(txn, TXN_AWAITING) : finish(txn);
}

static struct plan_step verifying(const struct txn *txn, enum txn_event event)
{
	if (must_turn_back(txn))
		return roll_back();
	switch (event) {
	case TXN_EVENT_DONE:
		return looked(txn);
	case TXN_EVENT_FAILED:
		if (txn->tries_left)
			return again(txn, TXN_VERIFYING);
		/* blind: what the last look saw is no reason to serve a refused pair */
		return back_is_refused(txn) ? go(txn, TXN_STUCK) : roll_back();
	case TXN_EVENT_RECOVER:
		return go_with(TXN_VERIFYING, TXN_RELOAD_TRIES);
	case TXN_EVENT_BLOCKED:
	case TXN_EVENT_NOTICE:
	case TXN_EVENT_SERVER_UP:
	case TXN_EVENTS:
		break;
	}
	return stay(txn);
}

static struct plan_step awaiting(const struct txn *txn, enum txn_event event)
{
	if (must_turn_back(txn))
		return roll_back();
	if (event == TXN_EVENT_SERVER_UP)
		return go_with(TXN_VERIFYING, TXN_RELOAD_TRIES);
	return event == TXN_EVENT_RECOVER ? go(txn, TXN_AWAITING) : stay(txn);
}

static struct plan_step rolling_back(const struct txn *txn, enum txn_event event)
{
	if (event == TXN_EVENT_DONE) /* never believed without the wire */
		return go_with(TXN_RB_VERIFYING, TXN_RELOAD_TRIES);
	if (event == TXN_EVENT_FAILED) /* to a refused pair never without another look at who serves */
		return txn->tries_left && !back_is_refused(txn) ? again(txn, TXN_ROLLING_BACK) : go(txn, TXN_STUCK);
	return event == TXN_EVENT_RECOVER ? roll_back() : stay(txn);
}

static struct plan_step rb_verifying(const struct txn *txn, enum txn_event event)
{
	if (event == TXN_EVENT_RECOVER)
		return go_with(TXN_RB_VERIFYING, TXN_RELOAD_TRIES);
	if (event != TXN_EVENT_DONE && event != TXN_EVENT_FAILED)
		return stay(txn);
	bool dead = any_server(txn, is_dead);
	if (event == TXN_EVENT_DONE && !dead && !any_server(txn, is_wrong))
		return undone(txn);
	if (!txn->tries_left)
		return go(txn, TXN_STUCK);
	if (event == TXN_EVENT_FAILED)
		return again(txn, TXN_RB_VERIFYING);
	return again(txn, dead ? TXN_RB_STARTING : TXN_RB_RELOADING);
}

/* RB_RELOADING and RB_STARTING: the look tells what came of it. */
static struct plan_step rb_acting(const struct txn *txn, enum txn_event event)
{
	if (event == TXN_EVENT_DONE || event == TXN_EVENT_FAILED)
		return go(txn, TXN_RB_VERIFYING);
	return event == TXN_EVENT_RECOVER ? go_with(TXN_RB_VERIFYING, TXN_RELOAD_TRIES) : stay(txn);
}

/* A person mended what neither way could be ended for: all servers run and show what is on disk, and it alone. */
static struct plan_step stuck(const struct txn *txn, enum txn_event event)
{
	size_t new = count_disk(txn, TXN_DISK_NEW);
	if (event != TXN_EVENT_DONE || any_server(txn, is_wrong) || any_server(txn, runs_not))
		return stay(txn);
	if (new == txn->ncertificates)
		return finish(txn);
	return new || any(txn, is_not_back) ? stay(txn) : undone(txn);
}

struct plan_step plan_next(const struct txn *txn, enum txn_event event)
{
	switch (txn->state) {
	case TXN_STAGED:
		return staged(txn, event);
	case TXN_PREFLIGHT:
		return preflight(txn, event);
	case TXN_INSTALLING:
		return installing(txn, event);
	case TXN_INSTALLED:
		return installed(txn, event);
	case TXN_RELOADING:
	case TXN_STARTING:
		return acting(txn, event);
	case TXN_VERIFYING:
		return verifying(txn, event);
	case TXN_AWAITING:
		return awaiting(txn, event);
	case TXN_ROLLING_BACK:
		return rolling_back(txn, event);
	case TXN_RB_VERIFYING:
		return rb_verifying(txn, event);
	case TXN_RB_RELOADING:
	case TXN_RB_STARTING:
		return rb_acting(txn, event);
	case TXN_COMMITTED:
	case TXN_UNSERVED:
	case TXN_ROLLED_BACK:
	case TXN_DISCARDED:
	case TXN_HELD:
	case TXN_FOREIGN:
	case TXN_STATES:
		break;
	case TXN_STUCK:
		return stuck(txn, event);
	}
	return stay(txn);
}
