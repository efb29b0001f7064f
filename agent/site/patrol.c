#include "site/patrol.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "site/places.h"

#define FIRST_MS 2000

struct beat {
	struct certificate *certificate;
	struct timer *timer;
	struct journal *journal; /* of this look only; never saved */
	struct places_round *round;
	int64_t soon_ms; /* the next look where not every place shows the live pair; longer each time */
	bool differed;   /* said once */
};

static void look(void *data);

struct patrol {
	struct beat *beats;
	size_t n;
};

/* Places that answer, but with another certificate than the live one. */
static size_t count_others(const struct certificate *c, const char **ret_endpoint)
{
	size_t n = 0;
	for (size_t i = 0; i < c->nserved; i++) {
		const struct served *s = &c->served[i];
		if (!*s->server_name || digest_is_zero(&s->sha256) || digest_equal(&s->sha256, &c->live.sha256))
			continue;
		*ret_endpoint = s->endpoint;
		n++;
	}
	return n;
}

static bool shows_live(const struct certificate *c)
{
	for (size_t i = 0; i < c->nserved; i++)
		if (*c->served[i].server_name && !digest_equal(&c->served[i].sha256, &c->live.sha256))
			return false;
	return c->nserved || !c->settings->servers.n;
}

/* A server that starts tells nobody: where something is missing the next look comes after as long again as it has been
 * missing, so that what `status` says is never much older than that. */
static void look_next(struct beat *b)
{
	int64_t every = b->certificate->settings->check_interval_ms;
	bool missing = b->certificate->live.number && !shows_live(b->certificate);
	int64_t soon = b->soon_ms ? 2 * b->soon_ms : FIRST_MS;
	b->soon_ms = !missing ? 0 : soon < every ? soon : every;
	timer_close(b->timer);
	b->timer = timer_start(b->certificate->site->loop, missing ? b->soon_ms : every, look, b);
}

static void on_look(const struct places_verdict *verdict, void *data)
{
	struct beat *b = data;
	struct certificate *c = b->certificate;
	const char *endpoint = "";
	(void)verdict; /* a baseline judges nothing */
	b->round = NULL;
	journal_free(b->journal);
	b->journal = NULL;
	size_t others = c->live.number && !c->swapping ? count_others(c, &endpoint) : 0;
	if (others && !b->differed)
		log_warning("not-served", "%s: %zu of %zu places show another certificate than the live one, %s first",
			    c->settings->name, others, c->nserved, endpoint);
	b->differed = others > 0;
	look_next(b);
}

static void look(void *data)
{
	struct beat *b = data;
	struct certificate *c = b->certificate;
	if (b->round)
		return;
	if (c->swapping) /* a swap looks for itself */
		return look_next(b);
	b->journal = journal_new(0, 1, 0);
	b->journal->certificates[0].old_key = places_key(c->live.key_type);
	places_list(b->journal, &c);
	b->round = places_look(c->site, b->journal, &c, PLACES_BASELINE, 0, on_look, b);
}

void patrol_review(struct patrol *p, const struct certificate *c)
{
	for (size_t i = 0; p && i < p->n; i++) {
		struct beat *b = &p->beats[i];
		if (b->certificate != c || b->round)
			continue;
		b->soon_ms = 0;
		look_next(b);
	}
}

struct patrol *patrol_start(struct site *site)
{
	struct patrol *p = xcalloc(1, sizeof *p);
	p->n = site->ncertificates;
	p->beats = xcalloc(p->n, sizeof *p->beats);
	for (size_t i = 0; i < p->n; i++) {
		struct beat *b = &p->beats[i];
		b->certificate = site->certificates[i];
		b->timer = timer_start(site->loop, 0, look, b);
	}
	return p;
}

void patrol_close(struct patrol *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		timer_close(p->beats[i].timer);
		places_close(p->beats[i].round);
		journal_free(p->beats[i].journal);
	}
	free(p->beats);
	free(p);
}
