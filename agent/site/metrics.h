/* The state in Prometheus' text format (0.0.4): what `certswapctl metrics` prints, and what stands in `metrics_file`,
 * which is put in place whole when a state changes and every METRICS_HEARTBEAT_MS, so that a dead agent can be told
 * from a quiet one. Runs in certswapd. */
#ifndef SITE_METRICS_H
#define SITE_METRICS_H
#include <jansson.h>
#include <stdint.h>

#include "site/site.h"

#define METRICS_HEARTBEAT_MS 15000

/* Of what status_json says; times in seconds since 1970. The caller frees. */
char *metrics_render(const json_t *status, int64_t started_at, int64_t now);
char *metrics_text(const struct site *site); /* the same, of now */

struct metrics;
struct metrics *metrics_open(struct site *site); /* NULL where the configuration names no file */
void metrics_close(struct metrics *metrics);     /* the file stays, and its heartbeat with it */
void metrics_changed(struct metrics *metrics); /* the file follows once the present callbacks are done; NULL is fine */
#endif
