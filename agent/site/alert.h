/* The `alert` command of the configuration: one JSON event on its standard input (CONTRACT "An alert"). Never blocks
 * anything: it runs beside, one at a time, the most severe first, with a time limit. STATE/alerts.jsonl holds what
 * waits and what was told, so nothing is lost over a restart and no state is told twice; the command is run again, with
 * growing pauses, until its exit status is 0. Runs in certswapd. */
#ifndef SITE_ALERT_H
#define SITE_ALERT_H
#include "site/site.h"

enum alert_severity { ALERT_INFO, ALERT_TICKET, ALERT_PAGE };
struct alert {
	const char *event; /* "opened", "swapped", "rolled-back", "stuck" ... */
	enum alert_severity severity;
	const char *certificate; /* or NULL */
	unsigned int incident;   /* 0: none */
	int64_t deadline;        /* 0: none */
	const char *text, *what_to_do;
	const char *state; /* what tells this state of (event, certificate, incident) from another one; NULL: nothing */
};

struct alerts;
struct alerts *alerts_open(struct site *site, struct fault *fault); /* takes up what waits; NULL and fault */
void alerts_close(struct alerts *alerts);                           /* kills a running command: it is run again */

/* Tells it once for each (event, certificate, incident, state). */
void alert_send(struct site *site, const struct alert *alert);
/* The state is over: when it comes back, it is told again. */
void alert_over(struct site *site, const char *event, const char *certificate, unsigned int incident,
		const char *state);
#endif
