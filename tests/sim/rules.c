#include "rules.h"

const char *const wrong_name[WRONGS] = {
	[WRONG_COMMITTED] = "COMMITTED but not everywhere new",
	[WRONG_ROLLED_BACK] = "ROLLED_BACK but not everywhere as before",
	[WRONG_TOUCHED] = "given up as untouched, but touched",
	[WRONG_FOREIGN] = "FOREIGN without a stranger, or the rest unproved",
	[WRONG_LOST] = "a stranger's pair lost",
	[WRONG_DOWN] = "ended with a server down or broken",
	[WRONG_STUCK] = "STUCK without a failure",
	[WRONG_REFUSED_BACK] = "a refused old pair put back while the new one serves",
	[WRONG_REFUSED_KEPT] = "a refused new pair kept while the old one is good",
	[WRONG_RELOAD] = "reloaded twice without a look",
	[WRONG_USELESS] = "not finished without a reason",
	[WRONG_DEAD_END] = "can't finish",
};

const char *const mutant_name[MUTANTS] = {
	[MUTANT_NONE] = "none",
	[MUTANT_NO_PROBE_AFTER_RESTORE] = "no probe after a restore",
	[MUTANT_PLAIN_RENAME] = "plain rename instead of exchange and look",
	[MUTANT_RELOAD_AGAIN] = "a crash in RELOADING goes back to RELOADING",
	[MUTANT_FIRST_SERVER_COMMITS] = "the first server that turned commits",
	[MUTANT_NO_SETTLING] = "after a crash no look at what came out",
	[MUTANT_NO_START] = "a dead server is not started",
	[MUTANT_REFUSED_GOES_BACK] = "the plan does not know that the old pair is refused",
	[MUTANT_UNDO_WITHOUT_LOOK] = "the exchange back is not looked at",
	[MUTANT_CRASH_COSTS_TRIES] = "a crash costs a try",
	[MUTANT_NOTICE_IGNORED] = "a notice on the new pair is ignored",
	[MUTANT_BLIND_ROLLBACK_TO_REFUSED] = "STUCK is never chosen over a refused pair",
	[MUTANT_GIVES_UP] = "after the reload it goes back at once",
	[MUTANT_LEAVES_DEAD] = "undone although a server is dead",
	[MUTANT_DISCARDS_HALF] = "a failed exchange discards what is half in",
	[MUTANT_STRANGER_ENDS_ALL] = "a stranger at one certificate ends the batch at once",
	[MUTANT_STANDS_STILL] = "a dead server is waited for",
};

struct facts {
	struct txn txn;
	struct txn_server servers[WORLD_SERVERS];
	struct txn_certificate certificates[WORLD_CERTIFICATES];
};

static void facts_from(const struct kind *k, const struct world *w, struct facts *f)
{
	f->txn = (struct txn){.state = (enum txn_state)w->state,
			      .servers = f->servers,
			      .nservers = k->servers,
			      .certificates = f->certificates,
			      .ncertificates = k->certificates,
			      .tries_left = w->tries};
	for (size_t i = 0; i < k->certificates; i++) {
		const struct world_certificate *c = &w->certificate[i];
		f->certificates[i] = (struct txn_certificate){.disk = (enum txn_disk)c->disk,
							      .first = c->first,
							      .old_refused = c->old_refused,
							      .new_refused = c->new_refused};
	}
	for (size_t i = 0; i < k->servers; i++) {
		const struct world_server *v = &w->server[i];
		f->servers[i] = (struct txn_server){
			.ran = v->ran, .served = v->served, .runs = v->runs, .wire = (enum txn_wire)v->wire};
	}
}

static bool some_server_turned(const struct txn *txn)
{
	for (size_t i = 0; i < txn->nservers; i++)
		if (txn->servers[i].runs && txn->servers[i].served && txn->servers[i].wire == TXN_WIRE_WANTED)
			return true;
	return false;
}

static void blind_the_plan(enum mutant mutant, struct txn *txn)
{
	for (size_t i = 0; i < txn->ncertificates; i++) {
		txn->certificates[i].old_refused &= mutant != MUTANT_REFUSED_GOES_BACK;
		txn->certificates[i].new_refused &= mutant != MUTANT_NOTICE_IGNORED;
	}
}

/* Where the mutant goes instead of `to`. */
static enum txn_state mutate(enum mutant mutant, const struct txn *txn, enum txn_event event, enum txn_state to)
{
	bool recovers = event == TXN_EVENT_RECOVER, done = event == TXN_EVENT_DONE;
	enum txn_state at = txn->state;
	if (mutant == MUTANT_NO_PROBE_AFTER_RESTORE && at == TXN_ROLLING_BACK && done)
		return TXN_ROLLED_BACK;
	if (mutant == MUTANT_RELOAD_AGAIN && at == TXN_RELOADING && recovers)
		return TXN_RELOADING;
	if (mutant == MUTANT_FIRST_SERVER_COMMITS && at == TXN_VERIFYING && done && txn->nservers > 1 &&
	    some_server_turned(txn))
		return TXN_COMMITTED;
	if (mutant == MUTANT_NO_START && to == TXN_RB_STARTING)
		return TXN_STUCK;
	if (mutant == MUTANT_BLIND_ROLLBACK_TO_REFUSED && to == TXN_STUCK && at == TXN_VERIFYING)
		return TXN_ROLLING_BACK;
	if (mutant == MUTANT_GIVES_UP && at == TXN_RELOADING && done)
		return TXN_ROLLING_BACK;
	if (mutant == MUTANT_LEAVES_DEAD && to == TXN_RB_STARTING)
		return TXN_ROLLED_BACK;
	if (mutant == MUTANT_DISCARDS_HALF && at == TXN_INSTALLING && event == TXN_EVENT_BLOCKED)
		return TXN_DISCARDED;
	if (mutant == MUTANT_STRANGER_ENDS_ALL && at == TXN_INSTALLING && done && to == TXN_ROLLING_BACK)
		return TXN_FOREIGN;
	if (mutant == MUTANT_STANDS_STILL && to == TXN_RB_STARTING)
		return TXN_RB_VERIFYING;
	return to;
}

struct plan_step rules_next(const struct kind *kind, enum mutant mutant, const struct world *world,
			    enum txn_event event)
{
	struct facts f;
	facts_from(kind, world, &f);
	blind_the_plan(mutant, &f.txn);
	struct plan_step step = plan_next(&f.txn, event);
	enum txn_state to = mutate(mutant, &f.txn, event, step.state);
	if (mutant == MUTANT_STANDS_STILL && to != step.state)
		step.tries_left++;
	step.state = to;
	if (mutant == MUTANT_CRASH_COSTS_TRIES && event == TXN_EVENT_RECOVER)
		step.tries_left = world->tries;
	return step;
}

/* ---- what must hold ---- */

static bool shows_everywhere(const struct kind *k, const struct world_server *v, enum pair pair)
{
	bool any = false;
	for (size_t i = 0; i < k->certificates; i++) {
		if (v->shown[i] != PAIR_ELSE && v->shown[i] != pair)
			return false;
		any |= v->shown[i] == pair;
	}
	return any;
}

static bool some_server_is_down(const struct kind *k, const struct world *w)
{
	for (size_t i = 0; i < k->servers; i++)
		if (w->server[i].health == HEALTH_DOWN)
			return true;
	return false;
}

unsigned int rules_check_step(const struct kind *kind, const struct world *before, enum txn_event event,
			      enum txn_state to)
{
	if (to == TXN_AWAITING && before->state != TXN_AWAITING)
		return some_server_is_down(kind, before) ? 0 : 1u << WRONG_USELESS;
	if (to != TXN_ROLLING_BACK || event == TXN_EVENT_RECOVER)
		return 0;
	bool refused = false;
	for (size_t i = 0; i < kind->certificates; i++) {
		const struct world_certificate *c = &before->certificate[i];
		refused |= c->live == PAIR_NEW && c->disk == TXN_DISK_NEW && !c->first && c->old_refused;
	}
	for (size_t i = 0; refused && i < kind->servers; i++) {
		const struct world_server *v = &before->server[i];
		if (v->served && v->health == HEALTH_GOOD && shows_everywhere(kind, v, PAIR_NEW))
			return 1u << WRONG_REFUSED_BACK;
	}
	return 0;
}

/* A stranger's pair stays where he put it. Only where the way back was cut off (undo_failed), or where a crash hid
 * which of two strangers was the later one, it may lie under the other name. */
static bool is_stranger_kept(const struct world *w, const struct world_certificate *c)
{
	if (c->newest <= PAIR_NEW || c->live == c->newest)
		return true;
	bool told = w->state == TXN_FOREIGN || w->state == TXN_STUCK;
	bool two = c->newest == PAIR_STRANGER2 && c->live == PAIR_STRANGER;
	return told && c->next == c->newest && (w->undo_failed || two);
}

/* Is this certificate proved where it now is, at this server? */
static bool is_proved(const struct world_certificate *c, const struct world_server *v, size_t i)
{
	unsigned shown = v->shown[i];
	if (shown == PAIR_ELSE || c->newest == PAIR_OLD)
		return true;
	if (c->live == PAIR_NEW)
		return shown == PAIR_NEW || (!v->served && shown != PAIR_OLD);
	if (c->live == PAIR_OLD)
		return shown == PAIR_OLD || shown == v->base[i] || (v->base[i] == PAIR_NONE && shown != PAIR_NEW);
	return true;
}

static bool all_proved(const struct kind *k, const struct world *w)
{
	for (size_t i = 0; i < k->servers; i++)
		for (size_t c = 0; w->server[i].health != HEALTH_DOWN && c < k->certificates; c++)
			if (!is_proved(&w->certificate[c], &w->server[i], c))
				return false;
	return true;
}

static size_t count_live(const struct kind *k, const struct world *w, enum pair pair)
{
	size_t n = 0;
	for (size_t i = 0; i < k->certificates; i++)
		n += w->certificate[i].live == pair;
	return n;
}

static bool is_down_wrong(const struct kind *k, const struct world *w)
{
	for (size_t i = 0; i < k->servers; i++) {
		const struct world_server *v = &w->server[i];
		if (v->health == HEALTH_BROKEN || v->died_by_us)
			return true;
		/* whom somebody else stopped before a hook of ours ran is not ours to start */
		if (w->acted && v->ran && v->health == HEALTH_DOWN)
			return true;
	}
	return false;
}

/* A pair known to be bad stays only where there is nothing good to go back to. */
static bool is_refused_kept(const struct kind *k, const struct world *w)
{
	bool hit = false;
	for (size_t i = 0; i < k->certificates; i++) {
		const struct world_certificate *c = &w->certificate[i];
		if (!c->first && c->old_refused && c->live == PAIR_NEW)
			return false;
		hit |= !c->first && c->new_refused && c->live == PAIR_NEW;
	}
	return hit;
}

static unsigned int check_forward(const struct kind *k, const struct world *w)
{
	bool served = false;
	for (size_t i = 0; i < k->servers; i++)
		served |= w->server[i].served;
	bool good = count_live(k, w, PAIR_NEW) == k->certificates && served == (w->state == TXN_COMMITTED);
	return (good && all_proved(k, w) ? 0 : 1u << WRONG_COMMITTED) |
	       (is_refused_kept(k, w) ? 1u << WRONG_REFUSED_KEPT : 0);
}

static bool is_back(const struct kind *k, const struct world *w)
{
	for (size_t i = 0; i < k->certificates; i++)
		if (w->certificate[i].live != PAIR_OLD && !w->certificate[i].first)
			return false;
	return all_proved(k, w);
}

static bool was_a_stranger_here(const struct kind *k, const struct world *w)
{
	for (size_t i = 0; i < k->certificates; i++)
		if (w->certificate[i].newest)
			return true;
	return false;
}

unsigned int rules_check_final(const struct kind *kind, const struct world *w)
{
	unsigned int wrong = 0;
	for (size_t i = 0; i < kind->certificates; i++)
		if (!is_stranger_kept(w, &w->certificate[i]))
			wrong |= 1u << WRONG_LOST;
	if (w->state == TXN_STUCK)
		/* against somebody who stops the server again and again there is no remedy */
		return wrong | (w->injected || w->stops > 1 ? 0 : 1u << WRONG_STUCK);
	if (is_down_wrong(kind, w))
		wrong |= 1u << WRONG_DOWN;
	if (w->state == TXN_COMMITTED || w->state == TXN_UNSERVED)
		return wrong | check_forward(kind, w);
	if (w->state == TXN_ROLLED_BACK)
		return wrong | (is_back(kind, w) ? 0 : 1u << WRONG_ROLLED_BACK);
	if (w->state == TXN_FOREIGN) {
		bool reason = w->injected || was_a_stranger_here(kind, w);
		return wrong | (reason && all_proved(kind, w) ? 0 : 1u << WRONG_FOREIGN);
	}
	return wrong | (count_live(kind, w, PAIR_NEW) || w->acted ? 1u << WRONG_TOUCHED : 0);
}

unsigned int rules_check_always(const struct kind *kind, const struct world *w)
{
	for (size_t i = 0; i < kind->certificates; i++) {
		const struct world_certificate *c = &w->certificate[i];
		if (c->newest > PAIR_NEW && c->newest != c->live && c->newest != c->next)
			return 1u << WRONG_LOST;
	}
	return 0;
}
