/* Folders that somebody else fills (`watch` in the configuration: an ACME client's). Only read, links followed: certbot
 * turns its links one by one, lego writes in place, dehydrated's links carry a date. Whatever the order, nothing
 * happens until a leaf and its key are both there; what was refused or rolled back is remembered by content and not
 * tried again. Runs in certswapd. */
#ifndef SITE_WATCHED_H
#define SITE_WATCHED_H
#include "site/certificate.h"

struct watched; /* all watched folders of the site */
/* Looks once, then at each change and every few minutes. A folder that is not there yet is looked for. */
struct watched *watched_open(struct site *site);
/* Less is in work: who waited for that looks (transaction.h, staging_is_full). */
void watched_go_on(struct watched *watched);
/* A denial was lifted: what was refused may be good now. */
void watched_forget_refusals(struct watched *watched);
/* A swap of the certificate has ended: what its folders hold is looked at again. */
void watched_review(struct watched *watched, const struct certificate *c);
void watched_close(struct watched *watched);
#endif
