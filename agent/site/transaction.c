#include "site/transaction.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/incident.h"
#include "site/transaction_parts.h"
#include "swap/record.h"

#define LOOK_FOR_SERVERS_MS 2000

static void advance(struct transaction *t, enum txn_event event);

/* ---- beginning and end of the object ---- */

void transaction_remember(struct transaction *t)
{
	struct site *site = t->site;
	site->transactions = xrealloc(site->transactions, (site->ntransactions + 1) * sizeof(*site->transactions));
	site->transactions[site->ntransactions++] = t;
	for (size_t i = 0; i < transaction_count(t); i++)
		t->certificates[i]->transaction = t;
}

void transaction_forget(struct transaction *t)
{
	struct site *site = t->site;
	for (size_t i = 0; i < site->ntransactions; i++)
		if (site->transactions[i] == t)
			site->transactions[i] = site->transactions[--site->ntransactions];
	for (size_t i = 0; i < transaction_count(t); i++)
		if (t->certificates[i]->transaction == t)
			t->certificates[i]->transaction = NULL;
}

void transaction_free(struct transaction *t)
{
	act_close(t->act);
	timer_close(t->timer);
	transaction_release_queues(t);
	for (size_t i = 0; i < t->journal->txn.nservers; i++)
		auto_close_(&t->parents[i]);
	journal_free(t->journal);
	free(t->parents);
	free(t->certificates);
	free(t->servers);
	free(t->callbacks);
	free(t->data);
	free(t);
}

void transaction_set_swapping(struct transaction *t, bool swapping)
{
	for (size_t i = 0; i < transaction_count(t); i++)
		t->certificates[i]->swapping = swapping;
}

void transaction_tell(struct transaction *t)
{
	for (size_t i = 0; i < transaction_count(t); i++) {
		swap_done_cb cb = t->callbacks[i];
		t->callbacks[i] = NULL;
		if (cb)
			cb(t->certificates[i], transaction_state_for(t, i), t->journal->reason, t->data[i]);
	}
}
struct transaction *transaction_new(struct site *site, struct journal *journal)
{
	struct transaction *t = xcalloc(1, sizeof *t);
	t->site = site;
	t->journal = journal;
	t->certificates = xcalloc(journal->txn.ncertificates, sizeof(*t->certificates));
	t->servers = xcalloc(journal->txn.nservers, sizeof(*t->servers));
	t->callbacks = xcalloc(journal->txn.ncertificates, sizeof(*t->callbacks));
	t->data = xcalloc(journal->txn.ncertificates, sizeof(*t->data));
	t->began_us = clock_monotonic_us();
	t->parents = xcalloc(journal->txn.nservers, sizeof *t->parents);
	for (size_t i = 0; i < journal->txn.nservers; i++)
		t->parents[i] = -1;
	return t;
}

/* ---- driving ---- */

static void on_act_done(enum txn_event event, void *data)
{
	struct transaction *t = data;
	t->act = NULL;
	t->recovering = false;
	advance(t, event);
}

static void on_held(void *data)
{
	struct transaction *t = data;
	advance(t, t->resume_with);
}

void transaction_take_queues(struct transaction *t, enum txn_event then)
{
	t->resume_with = then;
	t->site->swaps++;
	transaction_set_swapping(t, true);
	jobs_hold_refill(t->site->jobs);
	t->hold = server_take_all(t->site->loop, t->servers, t->journal->txn.nservers, on_held, t);
}

void transaction_release_queues(struct transaction *t)
{
	if (!t->hold)
		return;
	server_release_all(t->hold);
	t->hold = NULL;
	jobs_release_refill(t->site->jobs);
}

static void look_for_servers(void *data);

static void on_looked_for_servers(enum txn_event event, void *data)
{
	struct transaction *t = data;
	t->act = NULL;
	if (event != TXN_EVENT_DONE) {
		t->timer = timer_start(t->site->loop, LOOK_FOR_SERVERS_MS, look_for_servers, t);
		return;
	}
	transaction_take_queues(t, TXN_EVENT_SERVER_UP);
}

static struct act_spec spec_of(const struct transaction *t)
{
	return (struct act_spec){.site = t->site,
				 .journal = t->journal,
				 .certificates = t->certificates,
				 .recovering = t->recovering,
				 .parents = t->parents,
				 .servers = t->servers};
}

static void look_for_servers(void *data)
{
	struct transaction *t = data;
	struct act_spec spec = spec_of(t);
	timer_close(t->timer);
	t->timer = NULL;
	t->act = act_look_for_servers(&spec, on_looked_for_servers, t);
}

/* AWAITING: live is new; who asked is told what it waits for, and the queues go to others. */
static void wait_for_server(struct transaction *t)
{
	transaction_release_queues(t);
	for (size_t i = 0; i < transaction_count(t); i++) {
		certificate_refresh(t->certificates[i]);
		transaction_record_end(t, i);
	}
	transaction_set_swapping(t, false);
	t->timer = timer_start(t->site->loop, LOOK_FOR_SERVERS_MS, look_for_servers, t);
	transaction_tell(t);
	transactions_changed(t);
	staging_start_after(t->site, 0); /* what came meanwhile overtakes it */
}

/* Journals the step. Where that fails, nothing new may be touched; what was begun must still be ended, and what the
 * journal says last leads to the same end after a crash. */
static bool journal_step(struct transaction *t, const struct plan_step *step)
{
	struct fault fault = {0};
	struct txn *txn = &t->journal->txn;
	enum txn_state before = txn->state;
	txn->state = step->state;
	txn->tries_left = step->tries_left;
	if (step->state == TXN_INSTALLED) /* after a crash in INSTALLING the links on disk say the same */
		return true;
	if (journal_save(t->site->folders.journal, t->journal, &fault) == 0)
		return true;
	log_error("journal-failed", "%s", fault.text);
	if (step->state != TXN_PREFLIGHT && step->state != TXN_INSTALLING)
		return true;
	journal_reason(t->journal, "%s", fault.text);
	txn->state = before;
	return false;
}

void transaction_refresh_refusals(struct transaction *t)
{
	for (size_t i = 0; i < transaction_count(t); i++) {
		const struct journal_certificate *jc = &t->journal->certificates[i];
		struct txn_certificate *facts = &t->journal->txn.certificates[i];
		struct meta meta = {0};
		if (jc->old_number && store_read_meta(t->certificates[i]->folder, jc->old_number, &meta, NULL) == 0)
			facts->old_refused = certificate_denial(t->certificates[i], &meta) != NULL;
		meta_done(&meta);
		if (store_read_meta(t->certificates[i]->folder, jc->new_number, &meta, NULL) == 0)
			facts->new_refused = certificate_denial(t->certificates[i], &meta) != NULL;
		meta_done(&meta);
	}
}

/* Somebody wrote over an old generation, or removed it: no server starts with it, so it is no better than a refused
 * one. True: the plan does not know that yet. */
static bool finds_damage(struct transaction *t)
{
	bool found = false;
	for (size_t i = 0; i < transaction_count(t); i++) {
		const struct journal_certificate *jc = &t->journal->certificates[i];
		struct txn_certificate *facts = &t->journal->txn.certificates[i];
		struct meta meta = {0};
		if (facts->old_refused || !jc->old_number)
			continue;
		int r = store_read_meta(t->certificates[i]->folder, jc->old_number, &meta, NULL);
		unsigned int changed = r < 0 ? 0 : store_changed_files(t->certificates[i]->folder, &meta);
		facts->old_refused = r < 0 ? !fault_may_pass(r) : changed && changed != STORE_UNREADABLE;
		found |= facts->old_refused;
		meta_done(&meta);
	}
	return found;
}

static void begin_act(struct transaction *t, enum txn_act act)
{
	struct act_spec spec = spec_of(t);
	t->act = act_start(&spec, act, on_act_done, t);
}

static void advance(struct transaction *t, enum txn_event event)
{
	struct plan_step step = plan_next(&t->journal->txn, event);
	if (step.state == TXN_ROLLING_BACK && t->journal->txn.state != TXN_ROLLING_BACK && finds_damage(t))
		step = plan_next(&t->journal->txn, event);
	if (step.act == TXN_ACT_NONE && !txn_state_is_final(step.state) && event != TXN_EVENT_RECOVER)
		return;
	t->went_back |= step.state == TXN_ROLLING_BACK;
	/* under way while the step is being journalled: a preflight only looks, and hooks that change something wait
	 * for act_go */
	bool acts = step.act == TXN_ACT_PREFLIGHT || step.act == TXN_ACT_RELOAD || step.act == TXN_ACT_START;
	if (acts)
		begin_act(t, step.act);
	if (!journal_step(t, &step)) {
		act_close(t->act);
		t->act = NULL;
		acts = false;
		step = plan_next(&t->journal->txn, TXN_EVENT_BLOCKED);
		t->journal->txn.state = step.state;
	}
	log_debug("swap-state", "transaction %u: %s", t->journal->id, txn_state_name(step.state));
	if (step.state == TXN_STAGED)
		return advance(t, TXN_EVENT_DONE); /* begins anew; the queues are ours already */
	if (txn_state_is_final(step.state))
		return transaction_end(t);
	if (step.act == TXN_ACT_WAIT)
		return wait_for_server(t);
	transaction_tell_state(t);
	if (!acts)
		begin_act(t, step.act);
	act_go(t->act);
	incidents_sync(t->site);
}

/* ---- after a restart ---- */

/* Finds the objects that a journal names; false where the configuration has no such certificate or server any more. */
static bool attach(struct transaction *t)
{
	for (size_t i = 0; i < transaction_count(t); i++) {
		t->certificates[i] = site_certificate(t->site, t->journal->certificates[i].name);
		if (!t->certificates[i])
			return false;
	}
	for (size_t i = 0; i < t->journal->txn.nservers; i++) {
		t->servers[i] = site_server(t->site, t->journal->servers[i]);
		if (!t->servers[i])
			return false;
	}
	return true;
}

static void recover_one(struct site *site, unsigned int id)
{
	struct fault fault = {0};
	struct journal *journal;
	if (journal_load(site->folders.journal, id, &journal, &fault) < 0) {
		log_error("journal-failed", "%s: its certificates stay as they are on disk", fault.text);
		return;
	}
	struct transaction *t = transaction_new(site, journal);
	if (!attach(t)) {
		log_warning("journal-left",
			    "transaction %u names a certificate or server that is not configured any more", id);
		return transaction_free(t);
	}
	t->began_us -= (clock_wall_ms() - journal->started_at_ms) * 1000;
	t->went_back = journal->txn.state >= TXN_ROLLING_BACK;
	if (act_look_at_disk(journal, t->certificates, &fault) < 0)
		log_error("journal-failed", "transaction %u: %s", id, fault.text);
	for (size_t i = 0; i < journal->txn.nservers; i++)
		journal->txn.servers[i].wire = TXN_WIRE_UNKNOWN;
	for (size_t i = 0; i < transaction_count(t); i++)
		certificate_refresh(t->certificates[i]);
	for (size_t i = 0; i < transaction_count(t); i++)
		certificate_count(t->certificates[i], journal->certificates[i].new_number);
	transaction_remember(t);
	audit_write(site->audit, "swap-recovered", NULL, json_pack("{sI}", "transaction", (json_int_t)id),
		    "transaction %u was in %s when the agent stopped", id, txn_state_name(journal->txn.state));
}

static void load_numbers(struct site *site)
{
	json_t *record;
	struct fault fault = {0};
	int r = record_load(site->folders.state, STAGING_NUMBERS, &record, &fault);
	if (r < 0 && r != -ENOENT)
		log_warning("record-failed", "%s: %s; numbers of transactions may come again", STAGING_NUMBERS,
			    fault.text);
	if (r < 0)
		return;
	struct reader reader = {.object = record};
	int64_t last = record_number(&reader, "last");
	if (last > 0 && last < 1000000000)
		site->last_transaction = site->kept_transaction = (unsigned int)last;
	json_decref(record);
}

int transactions_recover(struct site *site, struct fault *fault)
{
	unsigned int *ids;
	size_t n;
	load_numbers(site);
	int r = journal_list(site->folders.journal, &ids, &n, fault);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		site->last_transaction = ids[i] > site->last_transaction ? ids[i] : site->last_transaction;
		recover_one(site, ids[i]);
	}
	free(ids);
	return 0;
}

static void resume(struct transaction *t)
{
	enum txn_state state = t->journal->txn.state;
	transaction_refresh_refusals(t);
	if (state == TXN_STUCK)
		return transaction_set_swapping(t, false);
	if (txn_state_is_final(state))
		return transaction_end(t); /* only what comes after the end was cut off */
	if (state == TXN_AWAITING) {
		transaction_set_swapping(t, false);
		t->timer = timer_start(t->site->loop, 0, look_for_servers, t);
		return;
	}
	t->recovering = true;
	transaction_take_queues(t, TXN_EVENT_RECOVER);
}

void transactions_resume(struct site *site)
{
	size_t n = site->ntransactions;
	struct transaction **all = xmemdup(site->transactions, n * sizeof(*all));
	for (size_t i = 0; i < n; i++)
		resume(all[i]);
	free(all);
}

void transactions_close(struct site *site)
{
	timer_close(site->start_timer);
	site->start_timer = NULL;
	for (size_t i = 0; i < site->ntransactions; i++)
		transaction_free(site->transactions[i]);
	free(site->transactions);
	site->transactions = NULL;
	site->ntransactions = 0;
	site->in_work = 0; /* its jobs end with no callback */
}

/* ---- what others ask ---- */

void transactions_notice(struct site *site)
{
	for (size_t i = site->ntransactions; i-- > 0;) {
		struct transaction *t = site->transactions[i];
		transaction_refresh_refusals(t);
		if (t->journal->txn.state != TXN_AWAITING || t->hold)
			continue; /* looks at its facts when its act is done */
		if (plan_next(&t->journal->txn, TXN_EVENT_NOTICE).state == TXN_AWAITING)
			continue;
		act_close(t->act);
		t->act = NULL;
		timer_close(t->timer);
		t->timer = NULL;
		transaction_take_queues(t, TXN_EVENT_NOTICE);
	}
}

/* ---- STUCK, and a person may have mended it ---- */

/* No newer swap of one of its certificates has begun, or is about to: that ends it. */
static bool is_the_newest(const struct transaction *t)
{
	for (size_t i = 0; i < transaction_count(t); i++)
		if (t->certificates[i]->transaction != t || t->certificates[i]->ready.number)
			return false;
	return true;
}

static void on_looked_again(enum txn_event event, void *data)
{
	struct transaction *t = data;
	t->act = NULL;
	if (!is_the_newest(t) || plan_next(&t->journal->txn, event).state == TXN_STUCK)
		return;
	t->mended = true;
	audit_write(t->site->audit, "swap-mended", NULL, json_pack("{sI}", "transaction", (json_int_t)t->journal->id),
		    "transaction %u was stuck: what is live is served again", t->journal->id);
	advance(t, event);
}

static void on_found_servers(enum txn_event event, void *data)
{
	struct transaction *t = data;
	struct act_spec spec = spec_of(t);
	t->act = NULL;
	for (size_t i = 0; i < t->journal->txn.nservers; i++)
		if (!t->journal->txn.servers[i].runs || event != TXN_EVENT_DONE)
			return;
	spec.recovering = true; /* nobody was told to turn: a short look */
	bool back = t->journal->txn.certificates[0].disk == TXN_DISK_OLD;
	t->act = act_start(&spec, back ? TXN_ACT_PROBE_OLD : TXN_ACT_PROBE_NEW, on_looked_again, t);
}

void transaction_look_again(struct certificate *c)
{
	struct transaction *t = c->transaction;
	if (!t || t->journal->txn.state != TXN_STUCK || t->act || !is_the_newest(t))
		return;
	if (act_look_at_disk(t->journal, t->certificates, NULL) < 0)
		return;
	for (size_t i = 0; i < t->journal->txn.nservers; i++)
		t->journal->txn.servers[i].runs = false;
	struct act_spec spec = spec_of(t);
	t->act = act_look_for_servers(&spec, on_found_servers, t);
}
