/* The search for a replacement while an incident is open, best source first, all at once where they don't exclude each
 * other: the standby pair (or one that waits for a person), the reissue command, what somebody hands in. The files
 * response.c (how an incident is opened), ladder.c, deadline.c (its clock), after.c (once it is replaced) and reissue.c
 * share what stands here. Runs in certswapd. */
#ifndef SITE_LADDER_H
#define SITE_LADDER_H
#include "site/incident.h"

/* The facts about c have changed: each of its incidents looks again, and goes on where it can. May free incidents. */
void incidents_review(struct certificate *c);

/* What comes by itself (through `watch`) while an incident waits for a person: */
enum ladder_hold {
	LADDER_GOES, /* goes live as always */
	LADDER_KEPT, /* is proved and kept as standby until the person has spoken */
	LADDER_LEFT, /* is left where it lies: another one waits already */
};
enum ladder_hold ladder_hold(const struct certificate *c);
bool ladder_needs_person(const struct certificate *c, const struct incident *i);
/* When what waits for a person goes live by itself: confirm_by before the deadline. False: never. */
bool ladder_goes_at(const struct certificate *c, const struct incident *i, int64_t *ret_at);
/* Is there a proved pair that the incident can use, at once or after a person's word? */
bool ladder_has_candidate(const struct certificate *c, const struct incident *i);

/* Answers everybody who waits for the incident (incident_wait). */
void incident_answer(struct incident *i, bool done, const char *text, const char *next);
/* Takes it off the list of open ones; the caller tells why, and frees it. */
void incident_close(struct site *site, struct incident *i);

/* The wire shows the replacement everywhere. May free the incident. */
void after_replaced(struct certificate *c, struct incident *i);
/* Replaced, and something is still to do or to be seen. May free the incident. */
void after_review(struct certificate *c, struct incident *i);

/* Looks at the wall clock every second as long as an incident is open: no deadline is slept past when the clock is set,
 * and one that is set back tells nothing twice. */
void deadlines_start(struct site *site);
void deadlines_close(struct site *site);
#endif
