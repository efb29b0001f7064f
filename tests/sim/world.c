#include "world.h"

#include <stdlib.h>

#include "rules.h"
#include "swap/plan.h"

enum link_step { LINK_LOOK, LINK_EXCHANGE, LINK_CHECK };

struct scene { /* what every step needs */
	const struct kind *kind;
	enum mutant mutant;
	const struct world *from;
	struct moves *moves;
};

static struct world *move(struct scene *s, const char *what)
{
	if (s->moves->n == WORLD_MOVES)
		abort();
	size_t i = s->moves->n++;
	s->moves->move[i].world = *s->from;
	s->moves->move[i].what = what;
	s->moves->move[i].wrong = 0;
	return &s->moves->move[i].world;
}

static struct world *fault(struct scene *s, const char *what)
{
	struct world *w = move(s, what);
	w->bad--;
	w->injected = w->disturbed = true;
	return w;
}

static struct world *calm(struct scene *s, const char *what)
{
	s->moves->calm = (int)s->moves->n;
	return move(s, what);
}

/* Tells the plan, journals its step. Always the last thing done to the newest move. */
static void tell(struct scene *s, struct world *w, enum txn_event event)
{
	unsigned int *wrong = &s->moves->move[s->moves->n - 1].wrong;
	struct plan_step step = rules_next(s->kind, s->mutant, w, event);
	bool enters = step.act != TXN_ACT_NONE || step.state != w->state;
	*wrong |= rules_check_step(s->kind, w, event, step.state);
	w->state = (uint8_t)step.state;
	w->tries = step.tries_left;
	if (enters)
		w->at = w->failed = w->link = w->put = w->expected = 0;
	if (enters && txn_state_is_final(step.state))
		*wrong |= rules_check_final(s->kind, w);
}

/* ---- one exchange of live and next, effect by effect ---- */

static bool is_ours(unsigned pair)
{
	return pair == PAIR_OLD || pair == PAIR_NEW;
}

static void exchange(struct world_certificate *c)
{
	uint8_t live = c->live;
	c->live = c->next;
	c->next = live;
}

static void set_disk(struct world_certificate *c)
{
	c->disk = (uint8_t)(c->live == PAIR_OLD ? TXN_DISK_OLD : c->live == PAIR_NEW ? TXN_DISK_NEW : TXN_DISK_FOREIGN);
}

/* A look at the links outside of an exchange also ends one that could not be undone. */
static void look_at_disk(const struct scene *s, struct world *w)
{
	for (size_t i = 0; i < s->kind->certificates; i++) {
		struct world_certificate *c = &w->certificate[i];
		if (c->next > PAIR_NEW && is_ours(c->live) && s->mutant != MUTANT_NO_SETTLING) {
			exchange(c);
			w->undo_failed = false;
		}
		set_disk(c);
	}
}

/* What comes out must be what was put in last; else it is newer and is given back. */
static void link_check(struct scene *s, struct world *w, struct world_certificate *c)
{
	bool blind = s->mutant == MUTANT_UNDO_WITHOUT_LOOK && w->put > PAIR_NEW;
	if (c->next == w->expected || blind) {
		c->next = PAIR_NONE;
		w->link = LINK_LOOK;
		return;
	}
	uint8_t ours = w->put;
	w->put = c->next;
	w->expected = ours;
	exchange(c);
}

/* One effect; true once `live` is settled. to NONE: after a crash, only settles. */
static bool link_step(struct scene *s, struct world *w, struct world_certificate *c, uint8_t from, uint8_t to)
{
	switch ((enum link_step)w->link) {
	case LINK_LOOK:
		if (is_ours(c->next)) {
			c->next = PAIR_NONE;
		} else if (c->next && is_ours(c->live) && s->mutant != MUTANT_NO_SETTLING) {
			w->put = c->next;
			w->expected = c->live;
			exchange(c);
			w->link = LINK_CHECK;
		} else if (c->next || !to || c->live != from) {
			return true;
		} else if (c->first) {
			c->live = to; /* made only where there is none */
		} else {
			c->next = to;
			w->link = LINK_EXCHANGE;
		}
		return false;
	case LINK_EXCHANGE:
		w->put = to;
		w->expected = from;
		exchange(c);
		w->link = LINK_CHECK;
		if (s->mutant == MUTANT_PLAIN_RENAME) {
			c->next = PAIR_NONE;
			w->link = LINK_LOOK;
		}
		return false;
	case LINK_CHECK:
		link_check(s, w, c);
		return false;
	}
	return true;
}

/* ---- the acts ---- */

static void act_exchange(struct scene *s, bool back)
{
	const struct world *from = s->from;
	uint8_t want = back ? PAIR_OLD : PAIR_NEW, is = back ? PAIR_NEW : PAIR_OLD;
	if (from->at == s->kind->certificates) {
		enum txn_event failed = back ? TXN_EVENT_FAILED : TXN_EVENT_BLOCKED;
		tell(s, calm(s, "journal"), from->failed ? failed : TXN_EVENT_DONE);
		return;
	}
	const struct world_certificate *now = &from->certificate[from->at];
	struct world *w = calm(s, "link");
	struct world_certificate *c = &w->certificate[w->at];
	bool skip = now->disk != (back ? TXN_DISK_NEW : TXN_DISK_OLD) || (back && now->first);
	if (skip || link_step(s, w, c, is, want)) {
		w->link = 0;
		w->at++;
		if (!skip)
			set_disk(c);
		if (c->disk == TXN_DISK_FOREIGN && !back) /* stops at a stranger */
			w->at = s->kind->certificates;
		return;
	}
	bool removes = w->link == LINK_LOOK && c->live == now->live;
	if (!from->bad || removes)
		return;
	w = fault(s, "link fails");
	c = &w->certificate[w->at];
	set_disk(c);
	if (from->link == LINK_CHECK) { /* a stranger's pair came out and can't be given back now */
		w->undo_failed = true;
		c->disk = TXN_DISK_FOREIGN;
	}
	w->failed = 1;
	w->link = 0;
	w->at = s->kind->certificates;
}

static void load(const struct world *w, struct world_server *v)
{
	for (size_t i = 0; i < WORLD_CERTIFICATES; i++)
		if (v->shown[i] != PAIR_ELSE)
			v->shown[i] = w->certificate[i].live;
	v->health = HEALTH_GOOD;
	v->died_by_us = false;
}

/* The hook of server `at` came to an end. */
static struct world_server *hook(struct world *w, bool failed)
{
	w->failed = (uint8_t)(w->failed + failed);
	w->acted = true;
	return &w->server[w->at++];
}

static void act_reload(struct scene *s)
{
	const struct world *from = s->from;
	size_t asked = 0;
	for (size_t i = 0; i < s->kind->servers; i++)
		asked += from->server[i].runs;
	if (from->at == s->kind->servers) {
		struct world *w = calm(s, "journal");
		for (size_t i = 0; i < s->kind->servers; i++)
			w->server[i].wire = TXN_WIRE_UNKNOWN;
		tell(s, w, from->failed && from->failed == asked ? TXN_EVENT_FAILED : TXN_EVENT_DONE);
		return;
	}
	const struct world_server *now = &from->server[from->at];
	if (!now->runs) {
		calm(s, "no reload")->at++;
		return;
	}
	struct world *w = calm(s, now->health ? "reload" : "reload of a dead server");
	struct world_server *v = hook(w, now->health == HEALTH_DOWN);
	if (now->reloaded)
		s->moves->move[s->moves->n - 1].wrong |= 1u << WRONG_RELOAD;
	v->reloaded = true;
	if (now->health)
		load(w, v);
	if (!from->bad || now->health == HEALTH_DOWN)
		return;
	hook(fault(s, "reload does nothing"), false)->reloaded = true;
	hook(fault(s, "reload hook fails"), true)->reloaded = true;
	v = hook(fault(s, "server dies at the reload"), false);
	v->health = HEALTH_DOWN;
	v->died_by_us = v->reloaded = true;
	w = fault(s, "server breaks at the reload");
	v = hook(w, false);
	load(w, v);
	v->health = HEALTH_BROKEN;
	v->reloaded = true;
}

static void act_start(struct scene *s)
{
	const struct world *from = s->from;
	if (from->at == s->kind->servers) {
		tell(s, calm(s, "journal"), from->failed ? TXN_EVENT_FAILED : TXN_EVENT_DONE);
		return;
	}
	const struct world_server *now = &from->server[from->at];
	if (!now->ran || now->runs) {
		calm(s, "no start")->at++;
		return;
	}
	struct world *w = calm(s, now->health ? "start of a running server" : "start");
	struct world_server *v = hook(w, now->health);
	if (now->health == HEALTH_DOWN)
		load(w, v);
	if (from->bad && now->health == HEALTH_DOWN)
		hook(fault(s, "start fails"), true);
}

static void act_preflight(struct scene *s)
{
	struct world *w = calm(s, "preflight");
	for (size_t i = 0; i < s->kind->servers; i++) {
		struct world_server *v = &w->server[i];
		v->ran = v->runs = v->health != HEALTH_DOWN;
		v->served = false;
		for (size_t c = 0; c < s->kind->certificates; c++) {
			v->base[c] = v->ran ? v->shown[c] : PAIR_NONE;
			v->served |= v->base[c] == PAIR_OLD;
		}
		v->wire = TXN_WIRE_UNKNOWN;
	}
	tell(s, w, TXN_EVENT_DONE);
	if (!s->from->bad)
		return;
	tell(s, fault(s, "preflight fails"), TXN_EVENT_FAILED);
	tell(s, fault(s, "the configuration is broken without us"), TXN_EVENT_BLOCKED);
}

/* Does this server show what is wanted of this certificate? */
static bool shows_wanted(const struct world_certificate *c, const struct world_server *v, size_t i, bool back)
{
	unsigned shown = v->shown[i], base = v->base[i];
	if (shown == PAIR_ELSE || c->disk != (back ? TXN_DISK_OLD : TXN_DISK_NEW))
		return true;
	if (base == PAIR_NONE)
		return shown != (back ? PAIR_NEW : PAIR_OLD);
	return back ? shown == PAIR_OLD || shown == base : shown == PAIR_NEW || (base != PAIR_OLD && shown == base);
}

static void look_at_servers(const struct kind *k, struct world *w, bool probe, bool back)
{
	for (size_t i = 0; i < k->servers; i++) {
		struct world_server *v = &w->server[i];
		v->runs = v->health != HEALTH_DOWN;
		v->ran |= v->runs;
		v->wire = TXN_WIRE_UNKNOWN;
		if (!probe)
			continue;
		v->reloaded = false;
		bool wanted = true;
		for (size_t c = 0; c < k->certificates; c++) {
			wanted &= shows_wanted(&w->certificate[c], v, c, back);
			v->served |= v->runs && v->base[c] == PAIR_NONE && v->shown[c] == PAIR_NEW;
		}
		v->wire = (uint8_t)(v->health == HEALTH_DOWN     ? TXN_WIRE_DEAD
				    : v->health == HEALTH_BROKEN ? TXN_WIRE_BROKEN
				    : wanted                     ? TXN_WIRE_WANTED
								 : TXN_WIRE_OTHER);
	}
}

static void act_look(struct scene *s, bool probe, bool back)
{
	struct world *w = calm(s, probe ? "probe" : "look at the servers");
	look_at_disk(s, w);
	look_at_servers(s->kind, w, probe, back);
	tell(s, w, TXN_EVENT_DONE);
	if (!s->from->bad)
		return;
	tell(s, fault(s, "the look fails"), TXN_EVENT_FAILED);
	for (size_t i = 0; probe && i < s->kind->servers; i++) {
		if (s->from->server[i].health != HEALTH_GOOD)
			continue;
		w = fault(s, "the probe sees something else");
		look_at_disk(s, w);
		look_at_servers(s->kind, w, probe, back);
		w->server[i].wire = TXN_WIRE_OTHER;
		tell(s, w, TXN_EVENT_DONE);
	}
}

static void act_wait(struct scene *s)
{
	for (size_t i = 0; i < s->kind->servers; i++)
		if (!s->from->server[i].runs && s->from->server[i].health != HEALTH_DOWN) {
			tell(s, move(s, "a server is up"), TXN_EVENT_SERVER_UP);
			return;
		}
}

/* After a crash: settles each link, then asks the plan. */
static void recover(struct scene *s)
{
	struct world *w = calm(s, "recover");
	if (w->at < s->kind->certificates) {
		if (link_step(s, w, &w->certificate[w->at], PAIR_NONE, PAIR_NONE)) {
			set_disk(&w->certificate[w->at++]);
			w->link = 0;
		}
		return;
	}
	w->dead = false;
	w->at = 0;
	tell(s, w, TXN_EVENT_RECOVER);
}

static void act(struct scene *s)
{
	static void (*const simple[TXN_STATES])(struct scene *) = {
		[TXN_PREFLIGHT] = act_preflight, [TXN_RELOADING] = act_reload,    [TXN_STARTING] = act_start,
		[TXN_AWAITING] = act_wait,       [TXN_RB_RELOADING] = act_reload, [TXN_RB_STARTING] = act_start,
	};
	unsigned state = s->from->state;
	if (simple[state])
		simple[state](s);
	else if (state == TXN_STAGED)
		tell(s, calm(s, "begin"), TXN_EVENT_DONE);
	else if (state == TXN_INSTALLING || state == TXN_ROLLING_BACK)
		act_exchange(s, state == TXN_ROLLING_BACK);
	else
		act_look(s, state != TXN_INSTALLED, state == TXN_RB_VERIFYING);
}

/* ---- what others do ---- */

static struct world *disturb(struct scene *s, const char *what)
{
	struct world *w = move(s, what);
	w->bad--;
	w->disturbed = true;
	return w;
}

static void crash(struct world *w)
{
	w->bad--;
	w->dead = true;
	w->at = w->failed = w->link = w->put = w->expected = 0;
	for (size_t i = 0; i < WORLD_SERVERS; i++)
		w->server[i].wire = TXN_WIRE_UNKNOWN;
}

/* A notice is an event of the loop: it can't come between the journal and the end of an exchange. */
static void notice(struct scene *s, size_t i, bool old)
{
	const struct world *from = s->from;
	bool exchanging = from->state == TXN_INSTALLING || from->state == TXN_ROLLING_BACK;
	if (from->dead || exchanging || (old ? from->certificate[i].old_refused : from->certificate[i].new_refused))
		return;
	for (int dies = 0; dies <= (from->bad > 1); dies++) {
		struct world *w = disturb(s, old ? "notice on the old pair" : "notice on the new pair");
		*(old ? &w->certificate[i].old_refused : &w->certificate[i].new_refused) = true;
		if (dies)
			crash(w);
		else
			tell(s, w, TXN_EVENT_NOTICE);
	}
}

static void strangers(struct scene *s)
{
	for (size_t i = 0; s->from->bad && i < s->kind->certificates; i++) {
		const struct world_certificate *now = &s->from->certificate[i];
		if (now->newest == PAIR_NONE && now->live == PAIR_NEW) {
			struct world *w = disturb(s, "a stranger puts the old pair back");
			w->certificate[i].live = w->certificate[i].newest = PAIR_OLD;
		}
		if (now->newest == PAIR_STRANGER2)
			continue;
		struct world *w = disturb(s, "a stranger replaces the pair");
		w->certificate[i].live = w->certificate[i].newest =
			now->newest == PAIR_STRANGER ? PAIR_STRANGER2 : PAIR_STRANGER;
	}
}

static void others(struct scene *s)
{
	const struct world *from = s->from;
	if (from->bad)
		crash(move(s, "CRASH"));
	for (size_t i = 0; from->bad && i < s->kind->certificates; i++) {
		if (!from->certificate[i].first)
			notice(s, i, true);
		notice(s, i, false);
	}
	strangers(s);
	for (size_t i = 0; i < s->kind->servers; i++) {
		struct world *w = move(s, "somebody restarts the server");
		load(w, &w->server[i]);
		if (!from->bad || from->server[i].health == HEALTH_DOWN)
			continue;
		w = disturb(s, "somebody stops the server");
		w->stops = w->stops < 2 ? (uint8_t)(w->stops + 1) : 2;
		w->server[i].health = HEALTH_DOWN;
	}
}

void world_moves(const struct kind *kind, enum mutant mutant, const struct world *world, struct moves *ret)
{
	struct scene s = {.kind = kind, .mutant = mutant, .from = world, .moves = ret};
	ret->n = 0;
	ret->calm = -1;
	if (txn_state_is_final((enum txn_state)world->state))
		return;
	if (world->dead)
		recover(&s);
	else
		act(&s);
	others(&s);
	for (size_t i = 0; i < ret->n; i++)
		ret->move[i].wrong |= rules_check_always(kind, &ret->move[i].world);
}
