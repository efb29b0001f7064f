/* What the places of a transaction show before it touches anything. Where a single pair is being proved it is asked
 * meanwhile, so that nobody waits for it after the proof. Runs in certswapd. */
#ifndef SITE_BASELINE_H
#define SITE_BASELINE_H
#include "site/places.h"

/* A pair for `c` is being proved, and is to be swapped in: looks at its places, unless another one is in work. */
void baseline_ahead(struct certificate *c);
void baseline_forget(struct site *site); /* that look, wherever it is */

/* Lists the places of `j` and fills `before` and `turns` of each: by the look ahead where it is of the last moment and
 * no swap began or was under way since it did, else by one of its own. Calls back exactly once, never from inside; of
 * the verdict only `text` counts: why nothing could be learnt. */
struct baseline;
struct baseline *baseline_look(struct site *site, struct journal *j, struct certificate *const *certificates,
			       places_cb cb, void *data);
void baseline_close(struct baseline *b); /* no callback; after the callback it is gone by itself */
#endif
