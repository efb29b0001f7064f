/* What places.c (what the answers mean) and places_ask.c (how they are got) share. Nobody else includes this. Runs in
 * certswapd. */
#ifndef SITE_PLACES_PARTS_H
#define SITE_PLACES_PARTS_H
#include "site/places.h"

struct places_round {
	struct site *site;
	struct journal *journal;
	struct certificate **certificates;
	enum places_goal goal;
	places_cb cb;
	void *data;
	struct places_job {
		struct places_round *round;
		struct job *job;
		size_t first, n;
	} * jobs;
	size_t njobs, left, next; /* left: have not ended; next: the first that has not begun */
	int64_t deadline_ms;      /* of each job */
	bool ahead;               /* the first job goes alone, until the server has turned */
	bool *turned;             /* which servers have, as that job saw */
	size_t nplaces;           /* the journal may be gone when the round closes */
	struct probe_seen *seen;  /* one for each place; moved out of the replies */
	bool *asked, *now;        /* ever; in the jobs under way */
	size_t *same;             /* the place whose answer is this one's too; itself: it is asked */
	bool with_header;         /* the second look of a baseline: places that may want a PROXY header */
	struct fault fault;       /* of a worker */
	struct timer *timer;      /* calls back when there was nothing to ask */
};

/* Of a certificate that a stranger changed, or that is not where this goal wants it, a place need only give a
 * handshake. */
bool places_any_will_do(const struct places_round *round, const struct journal_place *p);
/* What the place should show; zero: one look, any handshake will do. */
struct digest places_wanted(const struct places_round *round, const struct journal_place *p);
bool places_was_silent(const struct journal_place *p); /* at the baseline */

/* Asks the places that are set in `now`, each job for deadline_ms at most; then `seen` of each holds its answer, and
 * places_answered is called, never from inside. */
void places_ask(struct places_round *round, int64_t deadline_ms);
void places_answered(void *data); /* the round; a timer's callback too */
void places_forget_seen(struct probe_seen *seen);
#endif
