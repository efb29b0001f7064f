#include "site/baseline.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

#define FRESH_US (2 * 1000 * 1000) /* a look ahead that began earlier is too old */

struct baseline {
	struct site *site;
	struct journal *ahead; /* of a look ahead, whose places it is about; NULL: the transaction's own look */
	uint64_t swaps;        /* site->swaps when it began */
	int64_t began_us;
	struct journal *about; /* the one or the other, with its certificates */
	struct certificate **certificates;
	size_t elsewhere;           /* of these, when the look began */
	struct places_round *round; /* NULL: it has ended */
	bool failed;
	struct journal *into; /* who waits for it; NULL: nobody yet */
	places_cb cb;
	void *data;
	struct timer *later;
};

void baseline_close(struct baseline *b)
{
	if (!b)
		return;
	places_close(b->round);
	timer_close(b->later);
	journal_free(b->ahead);
	free(b->certificates);
	free(b);
}

void baseline_forget(struct site *site)
{
	baseline_close(site->ahead);
	site->ahead = NULL;
}

static void report(struct baseline *b, const struct places_verdict *verdict)
{
	b->cb(verdict, b->data);
	baseline_close(b);
}

static void hand_over(void *data)
{
	struct baseline *b = data;
	const struct places_verdict verdict = {0};
	struct journal_place *places = b->into->places;
	size_t n = b->into->nplaces;
	b->into->places = b->ahead->places;
	b->into->nplaces = b->ahead->nplaces;
	b->ahead->places = places;
	b->ahead->nplaces = n;
	report(b, &verdict);
}

static size_t count_elsewhere(const struct baseline *b)
{
	size_t n = 0;
	for (size_t i = 0; i < b->about->txn.ncertificates; i++)
		n += b->certificates[i]->elsewhere;
	return n;
}

static void look(struct baseline *b, places_cb cb)
{
	b->elsewhere = count_elsewhere(b);
	places_list(b->about, b->certificates);
	b->round = places_look(b->site, b->about, b->certificates, PLACES_BASELINE, 0, cb, b);
}

/* Where a pair was shown at no loopback address, the list of places is longer now: once more. */
static bool looks_again(struct baseline *b, places_cb cb)
{
	b->round = NULL;
	if (count_elsewhere(b) <= b->elsewhere)
		return false;
	look(b, cb);
	return true;
}

static void on_own(const struct places_verdict *verdict, void *data)
{
	struct baseline *b = data;
	if (!looks_again(b, on_own))
		report(b, verdict);
}

static void begin(struct baseline *b, struct journal *j, struct certificate *const *certificates, places_cb cb)
{
	b->about = j;
	b->certificates = xmemdup(certificates, j->txn.ncertificates * sizeof(*certificates));
	look(b, cb);
}

/* A worker that failed is nothing to go by: who waits looks by itself, and finds the trouble or not. */
static void on_ahead(const struct places_verdict *verdict, void *data)
{
	struct baseline *b = data;
	if (looks_again(b, on_ahead))
		return;
	b->failed = verdict->text != NULL;
	if (b->into && b->failed)
		report(b, verdict);
	else if (b->into)
		hand_over(b);
}

static bool is_swapping(const struct site *site)
{
	for (size_t i = 0; i < site->ncertificates; i++)
		if (site->certificates[i]->swapping)
			return true;
	return false;
}

void baseline_ahead(struct certificate *c)
{
	struct site *site = c->site;
	if (!c->live.number || c->settings->manage == MANAGE_OBSERVE || site->in_work > 1 || is_swapping(site))
		return;
	baseline_forget(site);
	struct baseline *b = xcalloc(1, sizeof *b);
	*b = (struct baseline){.site = site, .swaps = site->swaps, .began_us = clock_monotonic_us()};
	b->ahead = journal_new(0, 1, 0);
	b->ahead->certificates[0].name = xstrdup(c->settings->name);
	b->ahead->certificates[0].old_number = c->live.number;
	b->ahead->certificates[0].old_sha256 = c->live.sha256;
	b->ahead->certificates[0].old_key = places_key(c->live.key_type);
	begin(b, b->ahead, &c, on_ahead);
	site->ahead = b;
}

/* `j` itself is the one swap that has begun since. */
static bool is_good_for(const struct baseline *b, const struct journal *j)
{
	if (!b || b->failed || j->txn.ncertificates != 1 || b->site->swaps != b->swaps + 1 ||
	    clock_monotonic_us() - b->began_us > FRESH_US)
		return false;
	const struct journal_certificate *seen = &b->ahead->certificates[0], *now = &j->certificates[0];
	return strcmp(seen->name, now->name) == 0 && seen->old_number == now->old_number &&
	       digest_equal(&seen->old_sha256, &now->old_sha256);
}

struct baseline *baseline_look(struct site *site, struct journal *j, struct certificate *const *certificates,
			       places_cb cb, void *data)
{
	struct baseline *b = site->ahead;
	if (is_good_for(b, j)) {
		site->ahead = NULL;
		b->into = j;
		if (!b->round)
			b->later = timer_start(site->loop, 0, hand_over, b);
	} else {
		baseline_forget(site);
		b = xcalloc(1, sizeof *b);
		b->site = site;
		begin(b, j, certificates, on_own);
	}
	b->cb = cb;
	b->data = data;
	return b;
}
