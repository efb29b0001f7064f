#include "site/patrol.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "site/places.h"
#include "site/transaction.h"

#define FIRST_MS 2000
#define STUCK_MS 10000 /* a person is at work, and waits for the word that it is over */

#define LOOKS_AT_ONCE 2
#define LOOK_TOGETHER 16 /* certificates in one look: one worker asks for all of them */

struct beat {
	struct patrol *patrol;
	struct certificate *certificate;
	struct timer *timer;
	struct beat *next; /* in the queue */
	bool due;          /* waits in the queue, or is looked at */
	bool differed;     /* said once */
	int64_t soon_ms;   /* the next look where not every place shows the live pair; longer each time */
};

struct look {
	struct patrol *patrol;
	struct beat *beats[LOOK_TOGETHER];
	size_t n;
	struct journal *journal; /* of this look only; never saved */
	struct places_round *round;
};

/* Thousands of certificates are due at the same moment; few are looked at. */
struct patrol {
	struct beat *beats;
	size_t n;
	struct beat *first, **last; /* those that are due */
	struct look looks[LOOKS_AT_ONCE];
};

static void on_beat(void *data);

/* Places that answer, but with another certificate than the live one. */
static size_t count_others(const struct certificate *c, const char **ret_endpoint)
{
	size_t n = 0;
	for (size_t i = 0; i < c->nserved; i++) {
		const struct served *s = &c->served[i];
		if (!s->owed || digest_is_zero(&s->sha256) || digest_equal(&s->sha256, &c->live.sha256))
			continue;
		*ret_endpoint = s->endpoint;
		n++;
	}
	return n;
}

static bool shows_live(const struct certificate *c)
{
	for (size_t i = 0; i < c->nserved; i++)
		if (c->served[i].owed && !digest_equal(&c->served[i].sha256, &c->live.sha256))
			return false;
	return c->nserved || !c->settings->servers.n;
}

/* A server that starts tells nobody: where something is missing the next look comes after as long again as it has been
 * missing, so that what `status` says is never much older than that. */
static void plan_next(struct beat *b)
{
	int64_t every = b->certificate->settings->check_interval_ms;
	bool stuck = transaction_state(b->certificate) == TXN_STUCK;
	bool missing = stuck || (b->certificate->live.number && !shows_live(b->certificate));
	int64_t soon = b->soon_ms ? 2 * b->soon_ms : FIRST_MS;
	if (stuck && soon > STUCK_MS)
		soon = STUCK_MS;
	b->soon_ms = !missing ? 0 : soon < every ? soon : every;
	timer_close(b->timer);
	b->timer = timer_start(b->certificate->site->loop, missing ? b->soon_ms : every, on_beat, b);
}

static void start_looks(struct patrol *p);

static void judge(struct beat *b)
{
	struct certificate *c = b->certificate;
	const char *endpoint = "";
	size_t others = c->live.number && !c->swapping ? count_others(c, &endpoint) : 0;
	if (others && !b->differed)
		log_warning("not-served", "%s: %zu of %zu places show another certificate than the live one, %s first",
			    c->settings->name, others, c->nserved, endpoint);
	b->differed = others > 0;
	b->due = false;
	if (shows_live(c))
		transaction_look_again(c);
	plan_next(b);
}

static void on_look(const struct places_verdict *verdict, void *data)
{
	struct look *look = data;
	(void)verdict; /* a baseline judges nothing */
	look->round = NULL;
	journal_free(look->journal);
	look->journal = NULL;
	for (size_t i = 0; i < look->n; i++)
		judge(look->beats[i]);
	start_looks(look->patrol);
}

/* The first of the queue, without those that are being swapped: a swap looks for itself. */
static void take_due(struct patrol *p, struct look *look)
{
	look->n = 0;
	while (p->first && look->n < LOOK_TOGETHER) {
		struct beat *b = p->first;
		p->first = b->next;
		if (!b->certificate->swapping) {
			look->beats[look->n++] = b;
			continue;
		}
		b->due = false;
		plan_next(b);
	}
	if (!p->first)
		p->last = &p->first;
}

static void begin(struct look *look)
{
	struct certificate *certificates[LOOK_TOGETHER];
	look->journal = journal_new(0, look->n, 0);
	for (size_t i = 0; i < look->n; i++) {
		certificates[i] = look->beats[i]->certificate;
		look->journal->certificates[i].old_key = places_key(certificates[i]->live.key_type);
	}
	places_list(look->journal, certificates);
	look->round =
		places_look(certificates[0]->site, look->journal, certificates, PLACES_BASELINE, 0, on_look, look);
}

static void start_looks(struct patrol *p)
{
	for (size_t i = 0; i < LOOKS_AT_ONCE; i++) {
		struct look *look = &p->looks[i];
		if (look->round || !p->first)
			continue;
		take_due(p, look);
		if (look->n)
			begin(look);
	}
}

static void on_beat(void *data)
{
	struct beat *b = data;
	struct patrol *p = b->patrol;
	if (b->due)
		return;
	b->due = true;
	b->next = NULL;
	*p->last = b;
	p->last = &b->next;
	start_looks(p);
}

void patrol_review(struct patrol *p, const struct certificate *c)
{
	struct beat *b = p ? &p->beats[c->index] : NULL;
	if (!b || b->due)
		return;
	b->soon_ms = 0;
	plan_next(b);
}

struct patrol *patrol_start(struct site *site)
{
	struct patrol *p = xcalloc(1, sizeof *p);
	p->n = site->ncertificates;
	p->beats = xcalloc(p->n, sizeof *p->beats);
	p->last = &p->first;
	for (size_t i = 0; i < LOOKS_AT_ONCE; i++)
		p->looks[i].patrol = p;
	for (size_t i = 0; i < p->n; i++) {
		struct beat *b = &p->beats[i];
		b->patrol = p;
		b->certificate = site->certificates[i];
		b->timer = timer_start(site->loop, 0, on_beat, b);
	}
	return p;
}

void patrol_close(struct patrol *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		timer_close(p->beats[i].timer);
	for (size_t i = 0; i < LOOKS_AT_ONCE; i++) {
		places_close(p->looks[i].round);
		journal_free(p->looks[i].journal);
	}
	free(p->beats);
	free(p);
}
