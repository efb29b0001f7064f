/* After a compromise of the key, once the new pair is proved: session ticket key files that the servers name are
 * pointed out, or rotated (rotate_tickets); old workers, whose connections began with the old key, end after `drain`.
 * What is left to do is in NAME/aftermath.json, so that a restart goes on with it. Runs in certswapd. */
#ifndef SITE_AFTERMATH_H
#define SITE_AFTERMATH_H
#include "site/certificate.h"

/* A swap of c has ended; to be asked before its incident closes. */
void aftermath_review(struct certificate *c);
void aftermath_resume(struct certificate *c);
void aftermath_close(struct certificate *c);
#endif
