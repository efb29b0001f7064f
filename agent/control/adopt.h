/* adopt and release: pairs that a web server names are taken over, and given back, without a moment in which the server
 * could not start. What to do is worked out by certswapctl, which reads the web servers' configuration; here it is
 * done: certificates.d/NAME.conf, the present pair proved and live, the paths made links into live or the directives
 * pointed at it, tested, reloaded, looked at. A step that fails is undone. One at a time. Runs in certswapd. */
#ifndef SITE_ADOPT_H
#define SITE_ADOPT_H
#include "site/site.h"

void adopt_configured(struct site *site);       /* a configuration that was read again is in place */
bool adopt_is_at_work(const struct site *site); /* the configuration must not change now */
/* At a start: says which were cut off; none goes on by itself. */
void adopt_warn(const struct site *site);
void adopt_close(struct site *site); /* what is under way can be run again, or released */
#endif
