#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "site/acts_parts.h"
#include "site/audit.h"
#include "site/baseline.h"
#include "site/parent.h"

#define AFTER_DEATH_MS 500
#define TRY_AGAIN_MS   300 /* before what the disk did not let us do, or see, is tried again */
#define LOOK_MS        1000
#define VERIFY_MS      10000 /* how long one round waits for the wire to turn before another reload is tried */
#define LOADING_MS     5     /* and for each certificate more, since a server loads all of them again */

static void drop_deaths(struct act *act)
{
	for (size_t i = 0; act->deaths && i < act_txn(act)->nservers; i++)
		poller_close(act->deaths[i]);
	free(act->deaths);
	act->deaths = NULL;
}

void act_close(struct act *act)
{
	if (!act)
		return;
	drop_deaths(act);
	places_close(act->round);
	baseline_close(act->baseline);
	timer_close(act->later);
	timer_close(act->idle);
	for (size_t i = 0; act->asked && i < act_txn(act)->nservers; i++)
		server_forget(act->spec.servers[i], &act->calls[i]);
	free(act->ticks);
	free(act->candidate);
	free(act->live);
	free(act->calls);
	free(act);
}

static void report_now(void *data)
{
	struct act *act = data;
	act->cb(act->event, act->data);
	act_close(act);
}

static void report_after(struct act *act, enum txn_event event, int64_t ms)
{
	act->event = event;
	act->later = timer_start(act->spec.site->loop, ms, report_now, act);
}

void act_report(struct act *act, enum txn_event event)
{
	report_after(act, event, 0);
}

/* ---- asking servers ---- */

bool act_runs(const struct txn_server *s)
{
	return s->runs;
}

static bool is_down(const struct txn_server *s)
{
	return s->ran && !s->runs;
}

bool act_runs_not(const struct txn_server *s)
{
	return !s->runs;
}

static void on_answer(enum server_answer answer, const char *output, void *data)
{
	struct hook_call *call = data;
	struct act *act = call->act;
	call->fn(act, call->server, answer, output);
	if (--act->asked == 0)
		act->next(act);
}

/* Asks every server that `which` chooses (NULL: all); `next` runs when all have answered, at once where none was asked.
 */
void act_ask(struct act *act, enum server_verb verb, bool (*which)(const struct txn_server *), answer_fn fn,
	     void (*next)(struct act *))
{
	const struct txn *txn = act_txn(act);
	act->next = next;
	act->asked = 1; /* ours, so that nothing ends before all are asked */
	for (size_t i = 0; i < txn->nservers; i++) {
		if (which && !which(&txn->servers[i]))
			continue;
		act->calls[i] = (struct hook_call){.act = act, .server = i, .fn = fn};
		act->asked++;
		if (verb == SERVER_RELOAD || verb == SERVER_START)
			server_ask_to_wait(act->spec.servers[i], verb, on_answer, &act->calls[i]);
		else
			server_ask(act->spec.servers[i], verb, act->candidate, act->live, on_answer, &act->calls[i]);
	}
	if (--act->asked == 0)
		next(act);
}

void act_go(struct act *act)
{
	for (size_t i = 0; i < act_txn(act)->nservers; i++)
		server_go(act->spec.servers[i], &act->calls[i]);
}

/* The first line of a hook's output, for reasons. */
char *act_brief(const char *output)
{
	size_t n = output ? strcspn(output, "\n") : 0;
	return n ? xstrndup(output, n < 400 ? n : 400) : xstrdup("it said nothing");
}

/* From an answer of the hook on, the parent is known by a descriptor of its own: whether it lives is seen without
 * asking again. */
static void keep_parent(struct act *act, size_t server, bool alive)
{
	int *fd = &act->spec.parents[server];
	const struct server_settings *s = server_settings(act->spec.servers[server]);
	auto_close_(fd);
	*fd = alive ? parent_open(s) : -1;
	if (*fd >= 0)
		server_keep_parent(act->spec.servers[server], parent_pid(s), fcntl(*fd, F_DUPFD_CLOEXEC, 0));
}

/* Known without asking: its parent is the one that the hook found, and lives. */
static bool is_known_alive(const struct act *act, size_t server)
{
	struct pollfd p = {.fd = act->spec.parents[server], .events = POLLIN};
	return p.fd >= 0 && poll(&p, 1, 0) == 0;
}

void act_recall_parents(struct act *act)
{
	for (size_t i = 0; i < act_txn(act)->nservers; i++) {
		struct txn_server *facts = &act_txn(act)->servers[i];
		const struct server_settings *s = settings_server(act->spec.site->settings, act_server_name(act, i));
		int known = s ? server_parent(act->spec.servers[i], parent_pid(s)) : -1;
		auto_close_(&act->spec.parents[i]);
		act->spec.parents[i] = known < 0 ? -1 : fcntl(known, F_DUPFD_CLOEXEC, 0);
		facts->runs = facts->ran = act->spec.parents[i] >= 0;
	}
}

void act_on_alive(struct act *act, size_t server, enum server_answer answer, const char *output)
{
	struct txn_server *s = &act_txn(act)->servers[server];
	s->runs = answer != SERVER_REFUSED; /* who can't tell is taken for running: the reload and the wire will show */
	s->ran |= s->runs;
	keep_parent(act, server, answer == SERVER_DONE);
	if (answer != SERVER_DONE && answer != SERVER_REFUSED) {
		AUTO_FREE char *said = act_brief(output);
		log_warning("hook-failed", "%s: alive: %s", act_server_name(act, server), said);
	}
}

/* Known without asking: the parent that the hook found has ended. */
static bool is_known_dead(const struct act *act, size_t server)
{
	struct pollfd p = {.fd = act->spec.parents[server], .events = POLLIN};
	return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

/* Fills act_runs, by the descriptors where they tell, else by asking. */
static void look_who_runs(struct act *act, void (*next)(struct act *))
{
	struct txn *txn = act_txn(act);
	for (size_t i = 0; i < txn->nservers; i++)
		txn->servers[i].runs = is_known_alive(act, i);
	act_ask(act, SERVER_ALIVE, act_runs_not, act_on_alive, next);
}

/* ---- INSTALLING and ROLLING_BACK ---- */

int act_look_at_disk(struct journal *j, struct certificate *const *certificates, struct fault *fault)
{
	for (size_t i = 0; i < j->txn.ncertificates; i++) {
		const struct journal_certificate *c = &j->certificates[i];
		int r = store_look(certificates[i]->folder, c->old_number, c->new_number, &j->txn.certificates[i].disk,
				   fault);
		if (r < 0)
			return fault_prefix(fault, r, "%s", c->name);
	}
	return 0;
}

/* Somebody may have removed or changed the new generation since it was proved: no server loads what is left. 0; -ESTALE
 * where it is so; or another error: it can't be told now. */
static int look_at_candidate(const struct certificate *certificate, const struct journal_certificate *c,
			     struct fault *fault)
{
	struct meta meta = {0};
	int r = store_read_meta(certificate->folder, c->new_number, &meta, fault);
	if (r < 0)
		return fault_may_pass(r) ? r : fault_prefix(fault, -ESTALE, "the new pair");
	unsigned int changed = store_changed_files(certificate->folder, &meta);
	bool same = digest_equal(&meta.sha256, &c->new_sha256);
	meta_done(&meta);
	if (changed == STORE_UNREADABLE || digest_is_zero(&c->new_sha256))
		return fault_set(fault, -EAGAIN, "generation %u can't be read now", c->new_number);
	if (changed || !same)
		return fault_set(fault, -ESTALE, "somebody changed generation %u after it was proved", c->new_number);
	return 0;
}

static int exchange_one(struct act *act, size_t i, bool back, struct fault *fault)
{
	struct journal *j = act->spec.journal;
	const struct journal_certificate *c = &j->certificates[i];
	struct txn_certificate *facts = &j->txn.certificates[i];
	bool foreign;
	int r = back ? 0 : look_at_candidate(act->spec.certificates[i], c, fault);
	if (r < 0)
		return r;
	r = store_exchange(act->spec.certificates[i]->folder, back ? c->new_number : c->old_number,
			   back ? c->old_number : c->new_number, &foreign, fault);
	if (r < 0)
		return r;
	facts->disk = foreign ? TXN_DISK_FOREIGN : back ? TXN_DISK_OLD : TXN_DISK_NEW;
	if (foreign)
		journal_reason(j, ACT_FOREIGN, c->name);
	return 0;
}

static void exchange(struct act *act, bool back)
{
	struct fault fault = {0};
	struct journal *j = act->spec.journal;
	bool foreign = false;
	int r = 0;
	for (size_t i = 0; r == 0 && i < j->txn.ncertificates && (back || !foreign); i++) {
		struct txn_certificate *facts = &j->txn.certificates[i];
		if (facts->disk != (back ? TXN_DISK_NEW : TXN_DISK_OLD) || (back && facts->first))
			continue;
		r = exchange_one(act, i, back, &fault);
		foreign |= facts->disk == TXN_DISK_FOREIGN;
	}
	if (r < 0)
		journal_reason(j, "live could not be changed: %s", fault.text);
	if (r < 0 && act_look_at_disk(j, act->spec.certificates, NULL) < 0)
		for (size_t i = 0; i < j->txn.ncertificates; i++)
			j->txn.certificates[i].disk =
				TXN_DISK_FOREIGN; /* not known: taken for touched, never for untouched */
	bool failed = back || r == -ESTALE;
	enum txn_event trouble = failed ? TXN_EVENT_FAILED : TXN_EVENT_BLOCKED;
	report_after(act, r == 0 ? TXN_EVENT_DONE : trouble, r < 0 && back ? TRY_AGAIN_MS : 0);
}

/* ---- RELOADING and STARTING ---- */

static void on_command(struct act *act, size_t server, enum server_answer answer, const char *output)
{
	AUTO_FREE char *said = act_brief(output);
	if (answer == SERVER_DONE) {
		act->done++;
		return;
	}
	act->refused++;
	const char *verb = act->what == TXN_ACT_RELOAD ? "reload" : "start";
	journal_reason(act->spec.journal, "%s did not %s: %s", act_server_name(act, server), verb, said);
	log_warning("hook-failed", "%s: %s: %s", act_server_name(act, server), verb, said);
}

static void commanded(struct act *act)
{
	bool none = act->refused && !act->done; /* partly done is done: the look tells the rest */
	act_report(act, none ? TXN_EVENT_FAILED : TXN_EVENT_DONE);
}

/* ---- looking at the wire ---- */

static void looked(struct act *act)
{
	struct fault fault = {0};
	struct txn *txn = act_txn(act);
	for (size_t i = 0; i < txn->nservers; i++)
		if (!txn->servers[i].runs)
			txn->servers[i].wire = TXN_WIRE_DEAD;
	if (act_look_at_disk(act->spec.journal, act->spec.certificates, &fault) < 0) {
		journal_reason(act->spec.journal, "%s", fault.text);
		return report_after(act, TXN_EVENT_FAILED, TRY_AGAIN_MS);
	}
	act_report(act, TXN_EVENT_DONE);
}

void act_look_who_runs(struct act *act)
{
	look_who_runs(act, looked);
}

static void on_wire(const struct places_verdict *verdict, void *data)
{
	struct act *act = data;
	struct txn *txn = act_txn(act);
	act->round = NULL;
	drop_deaths(act);
	for (size_t i = 0; i < txn->nservers; i++) {
		const struct places_part *part = &verdict->parts[i];
		txn->servers[i].wire = part->wire;
		txn->servers[i].served |= act->what == TXN_ACT_PROBE_NEW && part->turned > 0;
	}
	if (verdict->text)
		log_info("wire", "%s", verdict->text);
	if (verdict->note)
		audit_write(act->spec.site->audit, "unstapled",
			    act->spec.journal->certificates[verdict->note_about].name, NULL, "%s", verdict->note);
	if (verdict->text && act->what == TXN_ACT_PROBE_NEW && !txn->tries_left)
		journal_reason(act->spec.journal, "the wire did not turn: %s", verdict->text);
	timer_close(act->idle);
	act->idle = NULL;
	if (!verdict->text)
		act_doubt_no_more(act);
	if (!act->doubting)
		act_look_who_runs(act);
}

static enum places_goal goal_of(const struct act *act)
{
	const struct txn *txn = act_txn(act);
	bool all_run = true;
	for (size_t i = 0; i < txn->nservers; i++)
		all_run &= txn->servers[i].runs;
	if (act->what != TXN_ACT_PROBE_NEW)
		return PLACES_OLD;
	return all_run ? PLACES_NEW_ALL : PLACES_NEW;
}

void act_start_round(struct act *act, int64_t deadline_ms)
{
	places_close(act->round);
	act->round = places_look(act->spec.site, act->spec.journal, act->spec.certificates, goal_of(act), deadline_ms,
				 on_wire, act);
}

/* A parent died while we looked: no need to wait long for the wire. What the other servers show is still looked at. */
static void on_parent_death(void *data)
{
	struct act *act = data;
	drop_deaths(act);
	journal_reason(act->spec.journal, "a web server died after the reload");
	act_start_round(act, AFTER_DEATH_MS);
}

static void watch_parents(struct act *act)
{
	const struct txn *txn = act_txn(act);
	act->deaths = xcalloc(txn->nservers, sizeof(*act->deaths));
	for (size_t i = 0; i < txn->nservers; i++)
		if (is_known_alive(act, i))
			act->deaths[i] = poller_start(act->spec.site->loop, act->spec.parents[i], on_parent_death, act);
}

/* What was not told to turn is only looked at: after a restart, and on the way back before its first reload. A server
 * that shows the new pair must not go on with that while nobody does anything about it. */
static int64_t look_ms(const struct act *act)
{
	bool before_reload = act->what == TXN_ACT_PROBE_OLD && act_txn(act)->tries_left == TXN_RELOAD_TRIES;
	if (act->spec.recovering || before_reload)
		return LOOK_MS;
	return VERIFY_MS + (int64_t)act->spec.site->ncertificates * LOADING_MS;
}

static void look_at_wire(struct act *act)
{
	struct journal *j = act->spec.journal;
	for (size_t i = 0; act->what == TXN_ACT_PROBE_NEW && i < j->txn.nservers; i++)
		if (j->txn.servers[i].runs)
			places_add_server(j, act->spec.certificates, i);
	bool dead = false;
	for (size_t i = 0; i < j->txn.nservers; i++)
		dead |= is_known_dead(act, i) || is_down(&j->txn.servers[i]);
	if (dead) /* before we came to look */
		return on_parent_death(act);
	watch_parents(act);
	act_start_round(act, look_ms(act));
	if (act->what == TXN_ACT_PROBE_NEW && !act->spec.recovering)
		act_doubt(act);
}

/* ---- the table ---- */

static void run_exchange(struct act *act)
{
	exchange(act, false);
}

/* The try before may have turned some links, and its last look may have failed. */
static void run_exchange_back(struct act *act)
{
	struct fault fault = {0};
	if (act_look_at_disk(act->spec.journal, act->spec.certificates, &fault) == 0)
		return exchange(act, true);
	journal_reason(act->spec.journal, "live could not be changed: %s", fault.text);
	report_after(act, TXN_EVENT_FAILED, TRY_AGAIN_MS);
}

static void run_reload(struct act *act)
{
	act_ask(act, SERVER_RELOAD, act_runs, on_command, commanded);
}

static void run_start(struct act *act)
{
	act_ask(act, SERVER_START, is_down, on_command, commanded);
}

static void run_look_servers(struct act *act)
{
	look_who_runs(act, looked);
}

static void (*const run[TXN_ACTS])(struct act *act) = {
	[TXN_ACT_PREFLIGHT] = act_preflight,       [TXN_ACT_EXCHANGE] = run_exchange,
	[TXN_ACT_LOOK_SERVERS] = run_look_servers, [TXN_ACT_RELOAD] = run_reload,
	[TXN_ACT_PROBE_NEW] = look_at_wire,        [TXN_ACT_EXCHANGE_BACK] = run_exchange_back,
	[TXN_ACT_PROBE_OLD] = look_at_wire,        [TXN_ACT_START] = run_start,
};

static struct act *act_new(const struct act_spec *spec, act_done_cb cb, void *data)
{
	struct act *act = xcalloc(1, sizeof *act);
	*act = (struct act){.spec = *spec, .cb = cb, .data = data};
	act->calls = xcalloc(spec->journal->txn.nservers, sizeof *act->calls);
	return act;
}

struct act *act_start(const struct act_spec *spec, enum txn_act what, act_done_cb cb, void *data)
{
	struct act *act = act_new(spec, cb, data);
	act->what = what;
	run[what](act);
	return act;
}

static void found_servers(struct act *act)
{
	act_report(act, act->done ? TXN_EVENT_DONE : TXN_EVENT_FAILED);
}

static void on_maybe_up(struct act *act, size_t server, enum server_answer answer, const char *output)
{
	if (answer != SERVER_DONE)
		return;
	act_txn(act)->servers[server].runs = act_txn(act)->servers[server].ran = true;
	keep_parent(act, server, true);
	act->done++;
}

struct act *act_look_for_servers(const struct act_spec *spec, act_done_cb cb, void *data)
{
	struct act *act = act_new(spec, cb, data);
	act_ask(act, SERVER_ALIVE, act_runs_not, on_maybe_up, found_servers);
	return act;
}
