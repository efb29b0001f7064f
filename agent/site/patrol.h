/* Looking at the wire when nothing happens: at the start, and every `check.interval` of each certificate, so that
 * `status` tells what visitors see. Changes nothing. Runs in certswapd. */
#ifndef SITE_PATROL_H
#define SITE_PATROL_H
#include "site/certificate.h"

struct patrol;
struct patrol *patrol_start(struct site *site); /* the first round begins at once, in the background */
void patrol_close(struct patrol *patrol);
#endif
