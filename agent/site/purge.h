/* What holds a key that is refused for good (a confirmed denial) is removed whole: generations, once the replacement is
 * proved everywhere, the incident is closed, and no link, no journal and no configuration in force names them; refused
 * files in rejected/ that hold such a key. Runs in certswapd. */
#ifndef SITE_PURGE_H
#define SITE_PURGE_H
#include "site/site.h"

struct purge *purge_open(struct site *site); /* looks soon, and once a day */
void purge_close(struct purge *purge);
void purge_soon(struct site *site); /* what stood in the way may be gone */
#endif
