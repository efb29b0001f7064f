/* Looking at the wire when nothing happens: at the start, and every `check.interval` of each certificate, sooner where
 * a place does not show the live pair, so that `status` tells what visitors see. Changes nothing. Runs in certswapd. */
#ifndef SITE_PATROL_H
#define SITE_PATROL_H
#include "site/certificate.h"

struct patrol;
struct patrol *patrol_start(struct site *site); /* the first round begins at once, in the background */
/* A swap of the certificate has ended. NULL is fine. */
void patrol_review(struct patrol *patrol, const struct certificate *certificate);
void patrol_close(struct patrol *patrol);
#endif
