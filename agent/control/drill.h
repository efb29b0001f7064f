/* `drill NAME`: would the day go well? Each thing that it needs is tried without touching what is served: the standby
 * pair, the waiting key, the reissue command's own dry run, the CA's desk, a rehearsal with each server, the alert
 * command. With `live`, a copy of the live pair goes the whole way of a swap and is measured. Runs in certswapd. */
#ifndef SITE_DRILL_H
#define SITE_DRILL_H
#include <jansson.h>

#include "site/certificate.h"
#include "swap/policy.h"

struct drill_spec {
	struct certificate *certificate;
	const struct revocation_case *rule;
	bool live;
};
/* `result`, the callee's: { "items": [ { "what", "good", "text", "milliseconds" } ], "fastest", "within" ...,
 * "stopped_by": [ text ] }. good null: nobody can say. `what`: for a line of progress. */
typedef void (*drill_step_cb)(const char *what, void *data);
typedef void (*drill_done_cb)(json_t *result, void *data);
/* Calls back exactly once, never from inside. */
void drill_start(const struct drill_spec *spec, drill_step_cb step, drill_done_cb done, void *data);
#endif
