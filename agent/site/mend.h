/* The link `live` of a certificate that somebody removed, or that leads to nothing: no web server could start with it.
 * Runs in certswapd. */
#ifndef SITE_MEND_H
#define SITE_MEND_H
#include <stdbool.h>

#include "site/certificate.h"

/* Is there no certificate behind `live`? Also where there never was one. */
bool mend_leads_nowhere(const struct certificate *c);
/* Is there a link, or something else under the name live, but no generation behind it? */
bool mend_is_gone(const struct certificate *c);
/* Where live leads nowhere: lets it name generation `right` again (0: the one of the last swap that succeeded),
 * whatever stood there being kept under another name; also where that generation is damaged, since what is left may do
 * to restore it. Where it is gone, and live leads to none that we know, removes a link: the next pair is a first one.
 * No web server is touched: it has the pair, or could not start. Not in the middle of a swap. 1: live was changed; 0:
 * not; -EAGAIN: the machine is in trouble, ask again. */
int mend_live(struct certificate *c, unsigned int right);
#endif
