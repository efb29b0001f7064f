/* `certswapctl status --json` (CONTRACT) as an object. Runs in certswapd; nothing is asked of anybody, only what is
 * known is told. */
#ifndef SITE_STATUS_H
#define SITE_STATUS_H
#include <jansson.h>

#include "site/site.h"

json_t *status_json(const struct site *site,
		    const char *only); /* only: one certificate's name, or NULL for all; the caller's */
#endif
