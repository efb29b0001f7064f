/* `certswapctl status --json` (CONTRACT) as an object. Runs in certswapd; nothing is asked of anybody, only what is
 * known is told. */
#ifndef SITE_STATUS_H
#define SITE_STATUS_H
#include <jansson.h>

#include "base/text.h"
#include "site/site.h"

json_t *status_json(const struct site *site,
		    const char *only); /* only: one certificate's name, or NULL for all; the caller's */
/* The same, appended as text: a certificate at a time, since the tree of 10,000 takes six times as much. */
void status_write(const struct site *site, const char *only, struct text *ret);
#endif
