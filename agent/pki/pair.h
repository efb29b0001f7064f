/* Which certificate of a pool is the one to prove, and which key is its? Used by the check worker. */
#ifndef PKI_PAIR_H
#define PKI_PAIR_H
#include "pki/pool.h"
#include "wire/check.h"

struct pair {
	const struct pool_cert *leaf; /* NULL: none */
	const struct pool_key *key;   /* NULL: none that fits */
};
/* `names` are those to be covered: of several leaves with a key the one that covers them, then the newest, wins. */
void pair_choose(const struct pool *pool, const struct check_request *r, const struct words *names, struct pair *ret);
/* Says what keeps it from being a pair: KEY_MISSING PAIR_MISMATCH KEY_ENCRYPTED UNREADABLE. */
void pair_judge(const struct pool *pool, const struct check_request *r, const struct pair *pair, struct findings *f);
#endif
