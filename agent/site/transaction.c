#include "site/transaction.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/acts.h"
#include "site/audit.h"

#define LOOK_FOR_SERVERS_MS 2000
#define HELD_RETRY_MS       30000
#define GENERATIONS_KEPT    5

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
	struct timer *timer;        /* AWAITING */
	enum txn_event resume_with; /* once the queues are ours */
	int64_t began_us;
};

static certificate_changed_cb on_change;

void transactions_on_change(certificate_changed_cb cb)
{
	on_change = cb;
}

static void advance(struct transaction *t, enum txn_event event);

static size_t count(const struct transaction *t)
{
	return t->journal->txn.ncertificates;
}

/* ---- beginning and end of the object ---- */

static void remember(struct transaction *t)
{
	struct site *site = t->site;
	site->transactions = xrealloc(site->transactions, (site->ntransactions + 1) * sizeof(*site->transactions));
	site->transactions[site->ntransactions++] = t;
	for (size_t i = 0; i < count(t); i++)
		t->certificates[i]->transaction = t;
}

static void forget(struct transaction *t)
{
	struct site *site = t->site;
	for (size_t i = 0; i < site->ntransactions; i++)
		if (site->transactions[i] == t)
			site->transactions[i] = site->transactions[--site->ntransactions];
	for (size_t i = 0; i < count(t); i++)
		if (t->certificates[i]->transaction == t)
			t->certificates[i]->transaction = NULL;
}

static void transaction_free(struct transaction *t)
{
	act_close(t->act);
	timer_close(t->timer);
	if (t->hold)
		server_release_all(t->hold);
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

static void set_swapping(struct transaction *t, bool swapping)
{
	for (size_t i = 0; i < count(t); i++)
		t->certificates[i]->swapping = swapping;
}

static void tell(struct transaction *t, enum txn_state state)
{
	for (size_t i = 0; i < count(t); i++) {
		swap_done_cb cb = t->callbacks[i];
		t->callbacks[i] = NULL;
		if (cb)
			cb(t->certificates[i], state, t->journal->reason, t->data[i]);
	}
}

/* ---- the end of a transaction ---- */

static bool is_success(enum txn_state state)
{
	return state == TXN_COMMITTED || state == TXN_UNSERVED;
}

static json_t *summary(const struct transaction *t, size_t i, int64_t milliseconds)
{
	char old[DIGEST_HEX], new[DIGEST_HEX];
	const struct journal_certificate *c = &t->journal->certificates[i];
	return json_pack("{sI, ss, sI, sI, ss, ss, sI}", "transaction", (json_int_t)t->journal->id, "state",
			 txn_state_name(t->journal->txn.state), "from_generation", (json_int_t)c->old_number,
			 "to_generation", (json_int_t)c->new_number, "from_sha256", digest_text(&c->old_sha256, old),
			 "to_sha256", digest_text(&c->new_sha256, new), "milliseconds", (json_int_t)milliseconds);
}

static void record_end(struct transaction *t, size_t i)
{
	static const char *const words[TXN_STATES] = {
		[TXN_COMMITTED] = "the new certificate is served, and it alone",
		[TXN_UNSERVED] =
			"the new pair is live; no place showed the old one, so nothing could be proved on the wire",
		[TXN_ROLLED_BACK] = "back to the old pair",
		[TXN_DISCARDED] = "given up before anything was touched",
		[TXN_HELD] = "the web server's own configuration is broken; nothing was touched",
		[TXN_FOREIGN] = "somebody else changed the link; it stays as they left it",
		[TXN_STUCK] = "could be neither finished nor undone: a person is needed",
		[TXN_AWAITING] = "the new pair is live; a web server was down and will be looked at when it runs",
	};
	struct journal *j = t->journal;
	struct certificate *c = t->certificates[i];
	enum txn_state state = j->txn.state;
	const struct last_swap last = {.at_ms = clock_wall_ms(),
				       .result = state,
				       .milliseconds = (clock_monotonic_us() - t->began_us) / 1000,
				       .reason = is_success(state) ? xstrdup("") : j->reason};
	certificate_set_last_swap(c, &last);
	audit_write(t->site->audit, "swap-ended", c->settings->name, summary(t, i, last.milliseconds), "%s%s%s",
		    words[state], *last.reason ? ": " : "", last.reason);
	if (is_success(state))
		free(last.reason);
}

/* The certificate after a swap that is over: the links are read again, a standby that is live now is no standby any
 * more. */
static void settle_certificate(struct transaction *t, size_t i)
{
	struct fault fault = {0};
	struct certificate *c = t->certificates[i];
	unsigned int new = t->journal->certificates[i].new_number;
	if (is_success(t->journal->txn.state) && c->standby.number == new &&store_set_standby(c->folder, 0, &fault) < 0)
		log_warning("record-failed", "%s: standby: %s", c->settings->name, fault.text);
	certificate_refresh(c);
	c->swapping = false;
	if (t->journal->txn.state == TXN_HELD) { /* tried again until the web server's configuration is mended */
		if (!c->ready.number)
			c->ready.number = new;
		return;
	}
	if (c->live.number != new && c->standby.number != new && c->ready.number != new)
		(void)store_remove(c->folder, new, NULL); /* the next prune takes what can't be removed now */
	(void)store_prune(c->folder, GENERATIONS_KEPT, NULL);
}

/* STUCK stays in sight, with its journal, until a newer swap of the certificate begins. */
static void stay_stuck(struct transaction *t)
{
	for (size_t i = 0; i < count(t); i++) {
		record_end(t, i);
		certificate_refresh(t->certificates[i]);
	}
	set_swapping(t, false);
	tell(t, TXN_STUCK);
	for (size_t i = 0; i < count(t) && on_change; i++)
		on_change(t->certificates[i]);
}

static void start_ready_after(struct site *site, int64_t ms);

/* A batch that went back is tried again in two halves, until the one that is to blame stands alone. */
static void halve(struct transaction *t)
{
	audit_write(t->site->audit, "batch-halved", NULL, json_pack("{sI}", "transaction", (json_int_t)t->journal->id),
		    "%zu certificates went back together (%s); they are tried again in two halves", count(t),
		    t->journal->reason);
	for (size_t i = 0; i < count(t); i++) {
		struct certificate *c = t->certificates[i];
		if (c->ready.number) /* something newer came in the meantime */
			continue;
		c->ready.number = t->journal->certificates[i].new_number;
		c->ready.batch = 2 * t->journal->id + (i >= count(t) / 2);
		c->ready.cb = t->callbacks[i];
		c->ready.data = t->data[i];
		t->callbacks[i] = NULL;
	}
}

static bool is_to_be_halved(const struct transaction *t)
{
	enum txn_state state = t->journal->txn.state;
	return count(t) > 1 && (state == TXN_ROLLED_BACK || state == TXN_DISCARDED);
}

static void end(struct transaction *t)
{
	struct site *site = t->site;
	enum txn_state state = t->journal->txn.state;
	if (t->hold)
		server_release_all(t->hold);
	t->hold = NULL;
	t->journal->ended_at_ms = clock_wall_ms();
	if (state == TXN_STUCK)
		return stay_stuck(t);
	forget(t);
	if (is_to_be_halved(t))
		halve(t);
	for (size_t i = 0; i < count(t); i++) {
		record_end(t, i);
		settle_certificate(t, i);
	}
	tell(t, state);
	struct fault fault = {0};
	if (journal_remove(site->folders.journal, t->journal->id, &fault) < 0)
		log_warning("record-failed", "journal %u: %s", t->journal->id, fault.text);
	for (size_t i = 0; i < count(t) && on_change; i++)
		on_change(t->certificates[i]);
	transaction_free(t);
	start_ready_after(site, state == TXN_HELD ? HELD_RETRY_MS : 0);
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

static void take_queues(struct transaction *t, enum txn_event then)
{
	t->resume_with = then;
	set_swapping(t, true);
	t->hold = server_take_all(t->site->loop, t->servers, t->journal->txn.nservers, on_held, t);
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
	take_queues(t, TXN_EVENT_SERVER_UP);
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
	server_release_all(t->hold);
	t->hold = NULL;
	for (size_t i = 0; i < count(t); i++) {
		certificate_refresh(t->certificates[i]);
		record_end(t, i);
	}
	set_swapping(t, false);
	t->timer = timer_start(t->site->loop, LOOK_FOR_SERVERS_MS, look_for_servers, t);
	tell(t, TXN_AWAITING);
	for (size_t i = 0; i < count(t) && on_change; i++)
		on_change(t->certificates[i]);
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
	if (journal_save(t->site->folders.journal, t->journal, &fault) == 0)
		return true;
	log_error("journal-failed", "%s", fault.text);
	if (step->state != TXN_PREFLIGHT && step->state != TXN_INSTALLING)
		return true;
	journal_reason(t->journal, "%s", fault.text);
	txn->state = before;
	return false;
}

static void refresh_refusals(struct transaction *t)
{
	for (size_t i = 0; i < count(t); i++) {
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

static void advance(struct transaction *t, enum txn_event event)
{
	struct plan_step step = plan_next(&t->journal->txn, event);
	if (step.act == TXN_ACT_NONE && !txn_state_is_final(step.state) && event != TXN_EVENT_RECOVER)
		return;
	if (!journal_step(t, &step)) {
		step = plan_next(&t->journal->txn, TXN_EVENT_FAILED);
		t->journal->txn.state = step.state;
	}
	log_debug("swap-state", "transaction %u: %s", t->journal->id, txn_state_name(step.state));
	if (step.state == TXN_STAGED)
		return advance(t, TXN_EVENT_DONE); /* begins anew; the queues are ours already */
	if (txn_state_is_final(step.state))
		return end(t);
	if (step.act == TXN_ACT_WAIT)
		return wait_for_server(t);
	struct act_spec spec = spec_of(t);
	t->act = act_start(&spec, step.act, on_act_done, t);
}

/* ---- staging ---- */

static struct transaction *transaction_new(struct site *site, struct journal *journal)
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

static bool is_free(const struct certificate *c)
{
	return !c->transaction || !c->swapping;
}

static bool same_servers(const struct certificate *a, const struct certificate *b)
{
	const struct words *x = &a->settings->servers, *y = &b->settings->servers;
	if (x->n != y->n)
		return false;
	for (size_t i = 0; i < x->n; i++)
		if (strcmp(x->v[i], y->v[i]) != 0)
			return false;
	return true;
}

/* An older transaction of this certificate that waits or is stuck is over: what it was about is replaced now. */
static void supersede(struct certificate *c)
{
	struct transaction *old = c->transaction;
	if (!old || count(old) > 1)
		return; /* of a batch the others are still waited for */
	(void)journal_remove(old->site->folders.journal, old->journal->id, NULL);
	forget(old);
	transaction_free(old);
}

static void take_ready(struct transaction *t, size_t i, struct certificate *c)
{
	struct journal_certificate *jc = &t->journal->certificates[i];
	struct meta meta = {0};
	supersede(c);
	t->certificates[i] = c;
	t->callbacks[i] = c->ready.cb;
	t->data[i] = c->ready.data;
	jc->name = xstrdup(c->settings->name);
	jc->old_number = c->live.number;
	jc->old_sha256 = c->live.sha256;
	jc->new_number = c->ready.number;
	jc->old_key = places_key(c->live.key_type);
	if (store_read_meta(c->folder, jc->new_number, &meta, NULL) == 0) {
		jc->new_sha256 = meta.sha256;
		jc->new_key = places_key(meta.key_type);
	}
	meta_done(&meta);
	t->journal->txn.certificates[i].first = !c->live.number;
	c->ready.number = c->ready.batch = 0;
	c->ready.cb = NULL;
}

/* One transaction for `first` and all that are ready for the same servers. A first pair touches no server: nothing
 * names it yet. */
static void begin(struct site *site, struct certificate *first)
{
	struct certificate **together = xcalloc(site->ncertificates, sizeof(*together));
	size_t n = 0;
	for (size_t i = 0; i < site->ncertificates; i++) {
		struct certificate *c = site->certificates[i];
		if (c->ready.number && is_free(c) && same_servers(first, c) && !c->live.number == !first->live.number &&
		    c->ready.batch == first->ready.batch)
			together[n++] = c;
	}
	const struct words *servers = &first->settings->servers;
	size_t nservers = first->live.number ? servers->n : 0;
	struct journal *journal = journal_new(++site->last_transaction, n, nservers);
	journal->started_at_ms = clock_wall_ms();
	struct transaction *t = transaction_new(site, journal);
	for (size_t i = 0; i < nservers; i++) {
		journal->servers[i] = xstrdup(servers->v[i]);
		t->servers[i] = site_server(site, servers->v[i]);
	}
	for (size_t i = 0; i < n; i++)
		take_ready(t, i, together[i]);
	free(together);
	remember(t);
	refresh_refusals(t);
	(void)journal_reserve(site->folders.journal,
			      NULL); /* a full disk shows at the first journal write, before anything is touched */
	take_queues(t, TXN_EVENT_DONE);
}

static void start_ready(void *data)
{
	struct site *site = data;
	timer_close(site->start_timer);
	site->start_timer = NULL;
	for (size_t i = 0; i < site->ncertificates; i++)
		if (site->certificates[i]->ready.number && is_free(site->certificates[i]))
			begin(site, site->certificates[i]);
}

static void start_ready_after(struct site *site, int64_t ms)
{
	timer_close(site->start_timer);
	site->start_timer = timer_start(site->loop, ms, start_ready, site);
}

int transaction_stage(struct certificate *c, unsigned int number, swap_done_cb cb, void *data, struct fault *fault)
{
	if (c->settings->manage == MANAGE_OBSERVE)
		return fault_set(
			fault, -EPERM,
			"%s is only observed (manage = \"observe\"): set manage = \"swap\" to let certswap replace it",
			c->settings->name);
	if (c->live.number == number)
		return fault_set(fault, -EINVAL, "generation %u of %s is live already", number, c->settings->name);
	if (c->trouble)
		return fault_set(fault, -EINVAL, "%s can't be swapped: %s", c->settings->name, c->trouble);
	if (c->ready.number && c->ready.cb)
		c->ready.cb(c, TXN_DISCARDED, "a newer pair took its place before it was swapped in", c->ready.data);
	c->ready.number = number;
	c->ready.batch = 0;
	c->ready.cb = cb;
	c->ready.data = data;
	start_ready_after(c->site, 0);
	return 0;
}

/* ---- after a restart ---- */

/* Finds the objects that a journal names; false where the configuration has no such certificate or server any more. */
static bool attach(struct transaction *t)
{
	for (size_t i = 0; i < count(t); i++) {
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
	if (act_look_at_disk(journal, t->certificates, &fault) < 0)
		log_error("journal-failed", "transaction %u: %s", id, fault.text);
	for (size_t i = 0; i < journal->txn.nservers; i++)
		journal->txn.servers[i].wire = TXN_WIRE_UNKNOWN;
	for (size_t i = 0; i < count(t); i++)
		certificate_refresh(t->certificates[i]);
	remember(t);
	audit_write(site->audit, "swap-recovered", NULL, json_pack("{sI}", "transaction", (json_int_t)id),
		    "transaction %u was in %s when the agent stopped", id, txn_state_name(journal->txn.state));
}

int transactions_recover(struct site *site, struct fault *fault)
{
	unsigned int *ids;
	size_t n;
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
	refresh_refusals(t);
	if (state == TXN_STUCK)
		return set_swapping(t, false);
	if (txn_state_is_final(state))
		return end(t); /* only what comes after the end was cut off */
	if (state == TXN_AWAITING) {
		set_swapping(t, false);
		t->timer = timer_start(t->site->loop, 0, look_for_servers, t);
		return;
	}
	t->recovering = true;
	take_queues(t, TXN_EVENT_RECOVER);
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
}

/* ---- what others ask ---- */

void transactions_notice(struct site *site)
{
	for (size_t i = site->ntransactions; i-- > 0;) {
		struct transaction *t = site->transactions[i];
		refresh_refusals(t);
		if (t->journal->txn.state != TXN_AWAITING || t->hold)
			continue; /* looks at its facts when its act is done */
		if (plan_next(&t->journal->txn, TXN_EVENT_NOTICE).state == TXN_AWAITING)
			continue;
		act_close(t->act);
		t->act = NULL;
		timer_close(t->timer);
		t->timer = NULL;
		take_queues(t, TXN_EVENT_NOTICE);
	}
}

bool transactions_at_work(const struct site *site)
{
	for (size_t i = 0; i < site->ncertificates; i++)
		if (site->certificates[i]->swapping || site->certificates[i]->ready.number)
			return true;
	return false;
}

enum txn_state transaction_state(const struct certificate *c)
{
	return c->transaction ? c->transaction->journal->txn.state : TXN_STATES;
}

const char *transaction_reason(const struct certificate *c)
{
	return c->transaction ? c->transaction->journal->reason : "";
}

void transaction_unverified(const struct certificate *c, struct words *ret)
{
	const struct journal *j = c->transaction ? c->transaction->journal : NULL;
	for (size_t i = 0; j && i < j->txn.nservers; i++)
		if (j->txn.servers[i].wire != TXN_WIRE_WANTED)
			words_add(ret, j->servers[i]);
}

char *transaction_way_out(const struct certificate *c)
{
	char old[32];
	struct text t = {0};
	const struct journal *j = c->transaction ? c->transaction->journal : NULL;
	const char *state = c->site->settings->state_dir;
	for (size_t i = 0; j && i < j->txn.ncertificates; i++)
		if (j->certificates[i].old_number)
			text_add(&t, "ln -sfn %s %s/certificates/%s/live\n",
				 store_generation_path(j->certificates[i].old_number, old), state,
				 j->certificates[i].name);
	for (size_t i = 0; j && i < j->txn.nservers; i++) {
		const struct server_settings *s = settings_server(c->site->settings, j->servers[i]);
		bool known = s && (strcmp(s->kind, "nginx") == 0 || strcmp(s->kind, "apache") == 0);
		if (known)
			text_add(&t, "%s -t && systemctl restart %s   # or start %s as you do otherwise\n", s->binary,
				 s->name, s->name);
		else
			text_add(&t, "# restart %s as you do otherwise\n", j->servers[i]);
	}
	text_add(&t, "certswapctl status %s", c->settings->name);
	return t.s;
}
