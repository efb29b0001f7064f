#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/dropbox.h"
#include "site/incident.h"
#include "site/mend.h"
#include "site/response.h"
#include "site/transaction.h"
#include "site/transaction_parts.h"
#include "site/watched.h"
#include "swap/record.h"

#define NUMBERS_KEPT 99
#define MOMENT_MS    2000 /* a proof takes some 20 ms: nothing came to its end for so long, then nobody waits for it */
#define WORK_AHEAD   32   /* two for each worker that runs at once */
#define BATCH_MS     (60 * 1000) /* a pair waits no longer for others, however steadily they come */

/* Numbers are in the audit log for ever: none is used twice, whatever a restart forgets. They are kept by the hundred,
 * so that a swap rarely waits for the disk; a restart leaves a gap. */
static unsigned int next_number(struct site *site)
{
	struct fault fault = {0};
	unsigned int number = ++site->last_transaction;
	if (number <= site->kept_transaction)
		return number;
	json_t *record = json_pack("{sI}", "last", (json_int_t)number + NUMBERS_KEPT);
	if (record_save(site->folders.state, STAGING_NUMBERS, record, &fault) == 0)
		site->kept_transaction = number + NUMBERS_KEPT;
	else
		log_warning("record-failed", "%s: %s", STAGING_NUMBERS, fault.text);
	json_decref(record);
	return number;
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
	c->transaction = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < transaction_count(old); i++)
		if (old->certificates[i]->transaction == old)
			return; /* of a batch the others are still waited for */
	(void)journal_remove(old->site->folders.journal, old->journal->id, NULL);
	transaction_forget(old);
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

/* How much of a batch fits, in bytes of folders that a rehearsal is told. What does not fit goes in the next one. */
static size_t room_for(const struct site *site, const struct certificate *first)
{
	for (size_t i = 0; first->live.number && i < first->settings->servers.n; i++)
		if (server_has(site_server(site, first->settings->servers.v[i]), SERVER_REHEARSE))
			return SERVER_CANDIDATES_MAX;
	return SIZE_MAX;
}

static size_t bytes_of_folder(const struct certificate *c)
{
	return strlen(c->site->settings->state_dir) + strlen(c->settings->name) +
	       sizeof "/certificates//gen/4294967295\n";
}

/* Somebody may have turned the link, and been left in peace. What stands there now is what the swap replaces. */
static void see_live(struct certificate *c)
{
	if (!c->trouble && store_link_number(c->folder, "live", NULL) == (int)c->live.number && !mend_is_gone(c))
		return;
	certificate_refresh(c);
	(void)mend_live(c, 0);
}

/* One transaction for `first` and all that are ready for the same servers. A first pair touches no server: nothing
 * names it yet. */
static void begin(struct site *site, struct certificate *first)
{
	struct certificate **together = xcalloc(site->ncertificates, sizeof(*together));
	size_t n = 0, room = room_for(site, first);
	for (size_t i = 0; i < site->ncertificates; i++) {
		struct certificate *c = site->certificates[i];
		size_t bytes = bytes_of_folder(c);
		if (!c->ready.number || !is_free(c) || !same_servers(first, c) ||
		    !c->live.number != !first->live.number || c->ready.batch != first->ready.batch)
			continue;
		if (bytes > room)
			break;
		room -= bytes;
		together[n++] = c;
	}
	const struct words *servers = &first->settings->servers;
	size_t nservers = first->live.number ? servers->n : 0;
	struct journal *journal = journal_new(next_number(site), n, nservers);
	journal->started_at_ms = clock_wall_ms();
	struct transaction *t = transaction_new(site, journal);
	for (size_t i = 0; i < nservers; i++) {
		journal->servers[i] = xstrdup(servers->v[i]);
		t->servers[i] = site_server(site, servers->v[i]);
	}
	for (size_t i = 0; i < n; i++)
		take_ready(t, i, together[i]);
	free(together);
	transaction_remember(t);
	transaction_refresh_refusals(t);
	(void)journal_reserve(site->folders.journal,
			      NULL); /* a full disk shows at the first journal write, before anything is touched */
	transaction_take_queues(t, TXN_EVENT_DONE);
}

/* How long `c` waits for what is being read or proved at this very moment, so that all goes in one reload, in ms; 0:
 * not at all. It goes as soon as nothing is in work any more, or what is in work gets no further. */
static int64_t waits_for_others(const struct site *site, const struct certificate *c)
{
	int64_t now_us = clock_monotonic_us();
	int64_t last_us = site->progress_us > c->ready.since_us ? site->progress_us : c->ready.since_us;
	int64_t left_ms = MOMENT_MS - (now_us - last_us) / 1000;
	if (!site->in_work || !c->live.number || c->ready.at_once || c->ready.batch ||
	    (now_us - c->ready.since_us) / 1000 > BATCH_MS)
		return 0;
	return left_ms > 0 ? left_ms : 0;
}

/* Does one begin now? Else in how many ms; 0: none is ready. */
static bool is_time(const struct site *site, int64_t *ret_wait_ms)
{
	bool now = false;
	*ret_wait_ms = 0;
	for (size_t i = 0; i < site->ncertificates; i++) {
		const struct certificate *c = site->certificates[i];
		if (!c->ready.number || !is_free(c))
			continue;
		int64_t ms = waits_for_others(site, c);
		now |= !ms;
		*ret_wait_ms = ms > *ret_wait_ms ? ms : *ret_wait_ms;
	}
	return now;
}

static void start_ready(void *data)
{
	struct site *site = data;
	timer_close(site->start_timer);
	site->start_timer = NULL;
	int64_t wait_ms;
	bool now = is_time(site, &wait_ms);
	if (!now) /* else in the preflight */
		incidents_sync(site);
	for (size_t i = 0; i < site->ncertificates && now; i++)
		if (site->certificates[i]->ready.number && is_free(site->certificates[i]))
			see_live(site->certificates[i]); /* what was held may have waited for long */
	for (size_t i = 0; i < site->ncertificates && now; i++) {
		struct certificate *c = site->certificates[i];
		if (c->ready.number && is_free(c) && !waits_for_others(site, c))
			begin(site, c);
	}
	if (wait_ms)
		staging_start_after(site, wait_ms);
}

void staging_work_begins(struct site *site)
{
	site->in_work++;
}

bool staging_is_full(const struct site *site)
{
	return site->in_work >= WORK_AHEAD;
}

/* Not one for each that ended: they look through all that waits. Incidents first, as many as there is room for. */
static void go_on(struct site *site)
{
	unsigned int room = WORK_AHEAD - site->in_work;
	for (size_t i = 0; i < site->nincidents && room; i++) {
		struct incident *incident = site->incidents[i];
		if (!incident->waits_turn)
			continue;
		incident->waits_turn = false;
		incident_review_in(site, incident, 0);
		room--;
	}
	if (site->dropbox)
		dropbox_look_soon(site->dropbox);
	if (site->watched)
		watched_go_on(site->watched);
}

void staging_work_ended(struct site *site)
{
	site->progress_us = clock_monotonic_us();
	if (--site->in_work == WORK_AHEAD / 2 || !site->in_work)
		go_on(site);
	if (site->in_work)
		return;
	for (size_t i = 0; i < site->ncertificates; i++) {
		const struct certificate *c = site->certificates[i];
		if (c->ready.number && is_free(c) && c->last_swap.result != TXN_HELD)
			return staging_start_after(site, 0);
	}
}

void staging_start_after(struct site *site, int64_t ms)
{
	timer_close(site->start_timer);
	site->start_timer = timer_start(site->loop, ms, start_ready, site);
}

int transaction_stage(struct certificate *c, unsigned int number, bool at_once, swap_done_cb cb, void *data,
		      struct fault *fault)
{
	if (c->settings->manage == MANAGE_OBSERVE)
		return fault_set(
			fault, -EPERM,
			"%s is only observed (manage = \"observe\"): set manage = \"swap\" to let certswap replace it",
			c->settings->name);
	if (!c->swapping)
		see_live(c);
	if (c->live.number == number)
		return fault_set(fault, -EINVAL, "generation %u of %s is live already", number, c->settings->name);
	if (c->trouble)
		return fault_set(fault, c->passing ? -EAGAIN : -EINVAL, "%s can't be swapped: %s", c->settings->name,
				 c->trouble);
	swap_done_cb older = c->ready.number ? c->ready.cb : NULL;
	void *older_data = c->ready.data;
	certificate_count(c, number);
	c->ready.number = number;
	c->ready.batch = 0;
	c->ready.since_us = clock_monotonic_us();
	c->ready.at_once = at_once;
	c->ready.cb = cb;
	c->ready.data = data;
	staging_start_after(c->site, 0);
	if (older)
		older(c, TXN_DISCARDED, "a newer pair took its place before it was swapped in", older_data);
	return 0;
}
