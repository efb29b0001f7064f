#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "site/acts_parts.h"
#include "site/baseline.h"
#include "site/parent.h"

static void forget_candidate(struct act *act)
{
	free(act->candidate);
	free(act->live);
	act->candidate = act->live = NULL;
}

/* Did a place of the server (or one that could not be attributed) show an old pair at the baseline? */
static bool shows_ours(const struct journal *j, size_t server)
{
	for (size_t i = 0; i < j->nplaces; i++)
		if (j->places[i].turns >= 0 && (j->places[i].server < 0 || j->places[i].server == (int)server))
			return true;
	return false;
}

/* Which server owns the listening socket of each place? */
static void attribute_places(struct act *act)
{
	struct journal *j = act->spec.journal;
	for (size_t s = 0; s < j->txn.nservers; s++) {
		const struct server_settings *settings =
			settings_server(act->spec.site->settings, act_server_name(act, s));
		struct listeners l = {0};
		if (settings && j->txn.servers[s].ran)
			parent_listeners(settings, &l);
		for (size_t i = 0; i < j->nplaces; i++)
			if (j->places[i].server < 0 && listeners_have(&l, j->places[i].endpoint))
				j->places[i].server = (int)s;
		free(l.v);
	}
}

/* Both halves have ended. */
static void conclude_preflight(struct act *act)
{
	struct journal *j = act->spec.journal;
	if (!act->hooks_done || act->baseline)
		return;
	attribute_places(act);
	for (size_t i = 0; i < j->txn.nservers; i++)
		j->txn.servers[i].served = j->txn.servers[i].ran && shows_ours(j, i);
	act_report(act, act->broken_before ? TXN_EVENT_BLOCKED : act->refused ? TXN_EVENT_FAILED : TXN_EVENT_DONE);
}

static void on_baseline(const struct places_verdict *verdict, void *data)
{
	struct act *act = data;
	act->baseline = NULL;
	if (verdict->text) { /* only a worker that failed says something at a baseline */
		journal_reason(act->spec.journal, "%s", verdict->text);
		act->broken_before = true;
	}
	conclude_preflight(act);
}

static void hooks_answered(struct act *act)
{
	struct txn *txn = act_txn(act);
	forget_candidate(act);
	for (size_t i = 0; i < txn->nservers; i++)
		txn->servers[i].wire = TXN_WIRE_UNKNOWN;
	act->hooks_done = true;
	conclude_preflight(act);
}

static void on_configtest(struct act *act, size_t server, enum server_answer answer, const char *output)
{
	AUTO_FREE char *said = act_brief(output);
	if (answer != SERVER_REFUSED)
		return;
	journal_reason(act->spec.journal, "%s: its own configuration is broken, without us too: %s",
		       act_server_name(act, server), said);
	act->broken_before = true;
}

/* wire is used as a mark until the wire is looked at */
static bool has_no_rehearsal(const struct txn_server *s)
{
	return s->runs && s->wire == TXN_WIRE_OTHER;
}

static void after_rehearsal(struct act *act)
{
	act_ask(act, SERVER_CONFIGTEST, has_no_rehearsal, on_configtest, hooks_answered);
}

/* The hook refuses only where the live pair passes the same rehearsal; where that fails too, a reload would be the end
 * of the server, whatever its config test says. Where it can't tell, our own proof of the pair stands, and the bare
 * config test says whether a reload is safe at all. A kind without a rehearsal keeps its old
 * configuration when a new one fails. */
static void on_rehearsal(struct act *act, size_t server, enum server_answer answer, const char *output)
{
	AUTO_FREE char *said = act_brief(output);
	if (answer == SERVER_REFUSED) {
		journal_reason(act->spec.journal, "%s refused the new pair in a rehearsal: %s",
			       act_server_name(act, server), said);
		act->refused++;
	} else if (answer == SERVER_BROKEN_BEFORE) {
		journal_reason(act->spec.journal, "%s: its own configuration is broken, without us too: %s",
			       act_server_name(act, server), said);
		act->broken_before = true;
	} else if (answer == SERVER_BROKEN || answer == SERVER_CANT_TELL) {
		log_info("rehearsal-skipped", "%s: %s", act_server_name(act, server), said);
		act_txn(act)->servers[server].wire = TXN_WIRE_OTHER;
	}
}

/* A batch is rehearsed as a whole: all of its pairs in their places at once. */
static void rehearse(struct act *act)
{
	const struct journal *j = act->spec.journal;
	const char *state = act->spec.site->settings->state_dir;
	struct text old = {0}, new = {0};
	for (size_t i = 0; i < act_txn(act)->ncertificates; i++) {
		const struct journal_certificate *c = &j->certificates[i];
		const char *line = old.len ? "\n" : "";
		char folder[32];
		if (!c->old_number)
			continue;
		text_add(&old, "%s%s/certificates/%s/%s", line, state, c->name,
			 store_generation_path(c->old_number, folder));
		text_add(&new, "%s%s/certificates/%s/%s", line, state, c->name,
			 store_generation_path(c->new_number, folder));
	}
	if (new.len > SERVER_CANDIDATES_MAX) {
		text_done(&old);
		text_done(&new);
	}
	act->live = old.s;
	act->candidate = new.s;
	act_ask(act, SERVER_REHEARSE, act_runs, on_rehearsal, after_rehearsal);
}

void act_preflight(struct act *act)
{
	struct txn *txn = act_txn(act);
	for (size_t i = 0; i < txn->nservers; i++)
		txn->servers[i] = (struct txn_server){0};
	act_recall_parents(act);
	act->baseline = baseline_look(act->spec.site, act->spec.journal, act->spec.certificates, on_baseline, act);
	act_ask(act, SERVER_ALIVE, act_runs_not, act_on_alive, rehearse);
}
