/* A pair that is about to go live, or to stand by: is it, or a certificate in its chain, published as revoked? What is
 * known already costs nothing; the rest is asked at once, for CANDIDATE_MS at most. Runs in certswapd. */
#ifndef SITE_CANDIDATE_H
#define SITE_CANDIDATE_H
#include "site/certificate.h"
#include "wire/sources.h"

#define CANDIDATE_MS 2000

/* revoked: what is, for a person; NULL: nothing that anybody said in time. */
typedef void (*candidate_cb)(const char *revoked, void *data);
struct candidate;
/* fullchain: a descriptor of its certificates, the caller's. Calls back exactly once, never from inside. */
struct candidate *candidate_start(struct certificate *c, const struct source_file *chain, int fullchain,
				  candidate_cb cb, void *data);
void candidates_close(struct site *site); /* no callbacks */
/* Whether there is anything to ask or to know: where not, candidate_start need not be called. */
bool candidate_has_sources(const struct certificate *c, const struct source_file *chain);
#endif
