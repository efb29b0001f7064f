#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "site/alert.h"
#include "site/ladder.h"
#include "swap/backoff.h"

#define TICK_MS        1000
#define URGENT_SECONDS ((int64_t)6 * 3600)
#define PASSED         100

static void tell_time(struct certificate *c, struct incident *i, const char *event, enum alert_severity severity,
		      const char *text)
{
	char until[32];
	bool waits = i->stage == INCIDENT_CONFIRMATION;
	AUTO_FREE char *next =
		waits ? xasprintf("a proved replacement waits: certswapctl confirm %s", i->certificate)
		      : xasprintf("certswapctl incident %u shows what was tried; certswapctl submit --name %s FILE...",
				  i->id, i->certificate);
	const struct alert alert = {.event = event,
				    .severity = severity,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = text,
				    .state = text_from_time(i->deadline, until), /* another deadline is told anew */
				    .what_to_do = next};
	incident_tell(c->site, i, "%s", text);
	alert_send(c->site, &alert);
}

/* The highest mark that is behind us; 0: none yet. */
static unsigned int mark_of(const struct incident *i, int64_t now)
{
	static const unsigned int marks[] = {PASSED, 90, 75, 50};
	int64_t from = i->received_at < i->opened_at ? i->received_at : i->opened_at, whole = i->deadline - from;
	if (whole <= 0)
		return now >= i->deadline ? PASSED : 0;
	for (size_t k = 0; k < ARRAY_SIZE(marks); k++)
		if (now - from >= whole / 100 * marks[k] + whole % 100 * marks[k] / 100)
			return marks[k];
	return 0;
}

static void tell_mark(struct certificate *c, struct incident *i, unsigned int mark)
{
	static const char *const events[] = {"time-50", "time-75", "time-90"};
	char until[32];
	bool early = i->kind == INCIDENT_EARLY;
	i->percent = mark;
	text_from_time(i->deadline, until);
	if (mark == PASSED) {
		AUTO_FREE char *text = xasprintf("%s: the deadline of serial %s, %s, has passed and it is not replaced",
						 i->certificate, i->serial, until);
		return tell_time(c, i, "deadline-passed", early ? ALERT_TICKET : ALERT_PAGE, text);
	}
	AUTO_FREE char *text = xasprintf("%s: %u %% of the time until serial %s %s, %s, is over", i->certificate, mark,
					 i->serial, early ? "should be renewed" : "is revoked", until);
	tell_time(c, i, events[mark == 90 ? 2 : mark == 75], ALERT_INFO, text);
}

static void tell_urgent(struct certificate *c, struct incident *i)
{
	i->urgent = true;
	AUTO_FREE char *text =
		xasprintf("%s: less than 6 h until serial %s is revoked, and no proved replacement is here",
			  i->certificate, i->serial);
	tell_time(c, i, "urgent", ALERT_PAGE, text);
}

/* Something that only the time decides: a person did not confirm, the next try, a reminder. */
static bool is_due(const struct certificate *c, const struct incident *i, int64_t now)
{
	int64_t at;
	if (i->replaced_at)
		return true;
	if (i->stage == INCIDENT_CONFIRMATION && ladder_goes_at(c, i, &at) && now >= at)
		return true;
	const struct reissue *r = &i->reissue;
	return r->next_at && !r->stopped && !r->child && (now >= r->next_at || r->next_at > now + BACKOFF_BELIEVED);
}

/* True: the certificate has to look at its facts again. */
static bool look_at(struct certificate *c, struct incident *i)
{
	int64_t now = clock_wall();
	unsigned int mark = mark_of(i, now);
	bool open = !i->replaced_at && i->kind != INCIDENT_REVOKED && !i->only_standby;
	if (open && mark > i->percent)
		tell_mark(c, i, mark);
	if (open && !i->urgent && i->kind == INCIDENT_NOTICE && i->percent < PASSED &&
	    i->deadline - now < URGENT_SECONDS && !ladder_has_candidate(c, i))
		tell_urgent(c, i);
	return is_due(c, i, now);
}

static void tick(void *data)
{
	struct site *site = data;
	if (!site->nincidents)
		return deadlines_close(site);
	for (size_t n = 0; n < site->ncertificates; n++) { /* a review may close incidents */
		struct certificate *c = site->certificates[n];
		bool due = false;
		for (size_t k = 0; k < site->nincidents; k++)
			if (site->incidents[k]->owner == c)
				due |= look_at(c, site->incidents[k]);
		if (due)
			incidents_review(c);
	}
}

void deadlines_start(struct site *site)
{
	if (!site->tick)
		site->tick = timer_repeat(site->loop, TICK_MS, TICK_MS, tick, site);
}

void deadlines_close(struct site *site)
{
	timer_close(site->tick);
	site->tick = NULL;
}
