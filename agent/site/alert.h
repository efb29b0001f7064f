/* The `alert` command of the configuration: one JSON event on its standard input (CONTRACT "An alert"). Never blocks
 * anything: it runs beside, with a time limit, and its failure is logged. Runs in certswapd. */
#ifndef SITE_ALERT_H
#define SITE_ALERT_H
#include "site/site.h"

enum alert_severity { ALERT_INFO, ALERT_TICKET, ALERT_PAGE };
struct alert {
	const char *event; /* "notice", "swapped", "rolled-back", "stuck" ... */
	enum alert_severity severity;
	const char *certificate; /* or NULL */
	unsigned int incident;   /* 0: none */
	int64_t deadline;        /* 0: none */
	const char *text, *what_to_do;
};
void alert_send(struct site *site, const struct alert *alert);
#endif
