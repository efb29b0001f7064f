#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/transaction.h"
#include "site/transaction_parts.h"

#define HELD_RETRY_MS    30000
#define GENERATIONS_KEPT 5

static certificate_changed_cb on_change;

void transactions_on_change(certificate_changed_cb cb)
{
	on_change = cb;
}

void transactions_changed(const struct transaction *t)
{
	for (size_t i = 0; i < transaction_count(t) && on_change; i++)
		on_change(t->certificates[i]);
}

static bool is_success(enum txn_state state)
{
	return state == TXN_COMMITTED || state == TXN_UNSERVED;
}

enum txn_state transaction_state_for(const struct transaction *t, size_t i)
{
	const struct txn *txn = &t->journal->txn;
	bool in = txn->state == TXN_FOREIGN && !t->went_back && txn->certificates[i].disk == TXN_DISK_NEW;
	for (size_t k = 0; in && k < txn->nservers; k++)
		if (txn->servers[k].served)
			return TXN_COMMITTED;
	return in ? TXN_UNSERVED : txn->state;
}

static json_t *summary(const struct transaction *t, size_t i, int64_t milliseconds)
{
	char old[DIGEST_HEX], new[DIGEST_HEX];
	const struct journal_certificate *c = &t->journal->certificates[i];
	return json_pack("{sI, ss, sI, sI, ss, ss, sI}", "transaction", (json_int_t)t->journal->id, "state",
			 txn_state_name(transaction_state_for(t, i)), "from_generation", (json_int_t)c->old_number,
			 "to_generation", (json_int_t)c->new_number, "from_sha256", digest_text(&c->old_sha256, old),
			 "to_sha256", digest_text(&c->new_sha256, new), "milliseconds", (json_int_t)milliseconds);
}

/* Somebody else changed the link of another one: this one is as it was, and not to blame. */
static bool stands_by(const struct transaction *t, size_t i)
{
	return t->journal->txn.certificates[i].disk == TXN_DISK_OLD;
}

/* Of a batch that went back nobody knows yet who is to blame. */
static bool is_to_be_halved(const struct transaction *t)
{
	enum txn_state state = t->journal->txn.state;
	bool some_stand_by = false;
	for (size_t i = 0; i < transaction_count(t); i++)
		some_stand_by |= stands_by(t, i);
	return transaction_count(t) > 1 &&
	       (state == TXN_ROLLED_BACK || state == TXN_DISCARDED || (state == TXN_FOREIGN && some_stand_by));
}

/* What a server was told of and did not stay is not tried again by itself, by a later start neither. */
static struct digest undone_by(const struct transaction *t, size_t i)
{
	enum txn_state state = transaction_state_for(t, i);
	if (is_success(state) || state == TXN_AWAITING)
		return (struct digest){0};
	if ((state == TXN_ROLLED_BACK || state == TXN_STUCK) && !is_to_be_halved(t))
		return t->journal->certificates[i].new_sha256;
	return t->certificates[i]->last_swap.undone;
}

void transaction_record_end(struct transaction *t, size_t i)
{
	static const char *const words[TXN_STATES] = {
		[TXN_COMMITTED] = "the new certificate is served, and it alone",
		[TXN_UNSERVED] =
			"the new pair is live; no place showed the old one, so nothing could be proved on the wire",
		[TXN_ROLLED_BACK] = "back to the old pair",
		[TXN_DISCARDED] = "given up before anything was touched",
		[TXN_HELD] = "something on this host must be mended first; nothing was touched",
		[TXN_FOREIGN] = "somebody else changed the link; it stays as they left it",
		[TXN_STUCK] = "could be neither finished nor undone: a person is needed",
		[TXN_AWAITING] = "the new pair is live; a web server was down and will be looked at when it runs",
	};
	struct journal *j = t->journal;
	struct certificate *c = t->certificates[i];
	enum txn_state state = transaction_state_for(t, i);
	const struct last_swap last = {.at_ms = clock_wall_ms(),
				       .result = state,
				       .milliseconds = (clock_monotonic_us() - t->began_us) / 1000,
				       .reason = is_success(state) ? xstrdup("") : j->reason,
				       .from = is_success(state) ? j->certificates[i].old_number : c->last_swap.from,
				       .to = is_success(state) ? j->certificates[i].new_number : c->last_swap.to,
				       .undone = undone_by(t, i)};
	bool again =
		state == TXN_HELD && c->last_swap.result == TXN_HELD && strcmp(c->last_swap.reason, last.reason) == 0;
	certificate_set_last_swap(c, &last);
	if (!again) /* tried every 30 s: recorded once */
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
	if (is_success(transaction_state_for(t, i)) &&
	    c->standby.number == new &&store_set_standby(c->folder, 0, &fault) < 0)
		log_warning("record-failed", "%s: standby: %s", c->settings->name, fault.text);
	certificate_refresh(c);
	c->swapping = false;
	if (t->journal->txn.state == TXN_HELD) { /* tried again until what it waits for is mended */
		if (!c->ready.number)
			c->ready.number = new;
		return;
	}
	if (c->live.number != new && c->standby.number != new && c->ready.number != new)
		(void)store_remove(c->folder, new, NULL); /* the next prune takes what can't be removed now */
	(void)store_prune(c->folder, GENERATIONS_KEPT, NULL);
}

/* A pair that took the place of one that was gone went live without a word to the servers, as a first one does. But
 * they may still show what is gone: so it is swapped for itself. */
static void tell_servers(struct certificate *c, unsigned int number)
{
	if (c->ready.number || !c->settings->servers.n)
		return;
	c->ready.number = number;
	c->ready.batch = 0;
	c->ready.since_us = clock_monotonic_us();
	c->ready.at_once = true;
	c->ready.cb = NULL;
}

/* STUCK stays in sight, with its journal, until a newer swap of the certificate begins. */
static void stay_stuck(struct transaction *t)
{
	for (size_t i = 0; i < transaction_count(t); i++) {
		transaction_record_end(t, i);
		certificate_refresh(t->certificates[i]);
	}
	transaction_set_swapping(t, false);
	transaction_tell(t);
	transactions_changed(t);
	staging_start_after(t->site, 0); /* what came meanwhile overtakes it */
}

static void try_again(struct transaction *t, size_t i, unsigned int batch)
{
	struct certificate *c = t->certificates[i];
	if (c->ready.number) /* something newer came in the meantime */
		return;
	c->ready.number = t->journal->certificates[i].new_number;
	c->ready.batch = batch;
	c->ready.cb = t->callbacks[i];
	c->ready.data = t->data[i];
	t->callbacks[i] = NULL;
}

/* A batch that went back is tried again in two halves, until the one that is to blame stands alone; where somebody else
 * is to blame, without those whose links are his. */
static void halve(struct transaction *t)
{
	bool foreign = t->journal->txn.state == TXN_FOREIGN;
	audit_write(t->site->audit, "batch-halved", NULL, json_pack("{sI}", "transaction", (json_int_t)t->journal->id),
		    "%zu certificates went back together (%s); they are tried again in two halves%s",
		    transaction_count(t), t->journal->reason, foreign ? ", but for what somebody else changed" : "");
	for (size_t i = 0; i < transaction_count(t); i++)
		if (!foreign || stands_by(t, i))
			try_again(t, i, 2 * t->journal->id + (i >= transaction_count(t) / 2));
}

/* Whose links they are that ended it. */
static void name_foreign(struct transaction *t)
{
	for (size_t i = 0; i < transaction_count(t); i++)
		if (t->journal->txn.certificates[i].disk == TXN_DISK_FOREIGN)
			journal_reason(t->journal, ACT_FOREIGN, t->journal->certificates[i].name);
}

void transaction_end(struct transaction *t)
{
	struct site *site = t->site;
	enum txn_state state = t->journal->txn.state;
	if (state == TXN_FOREIGN)
		name_foreign(t);
	transaction_release_queues(t);
	t->journal->ended_at_ms = clock_wall_ms();
	if (state == TXN_STUCK)
		return stay_stuck(t);
	transaction_forget(t);
	if (!t->mended && is_to_be_halved(t))
		halve(t);
	for (size_t i = 0; i < transaction_count(t); i++) {
		struct certificate *c = t->certificates[i];
		bool again = t->journal->txn.certificates[i].first && is_success(transaction_state_for(t, i)) &&
			     c->last_swap.to;
		transaction_record_end(t, i);
		settle_certificate(t, i);
		if (again)
			tell_servers(c, t->journal->certificates[i].new_number);
	}
	transaction_tell(t);
	struct fault fault = {0};
	if (journal_remove(site->folders.journal, t->journal->id, &fault) < 0)
		log_warning("record-failed", "journal %u: %s", t->journal->id, fault.text);
	transactions_changed(t);
	transaction_free(t);
	staging_start_after(site, state == TXN_HELD ? HELD_RETRY_MS : 0);
}
