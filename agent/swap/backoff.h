/* When to run the `reissue` command again after it failed: by the client's own words where it says that the CA limits
 * it, else longer each time. Pure. Runs in certswapd. */
#ifndef SWAP_BACKOFF_H
#define SWAP_BACKOFF_H
#include <stdint.h>

#define BACKOFF_FIRST    60          /* seconds after the first failure */
#define BACKOFF_LONGEST  3600        /* where nobody says how long */
#define BACKOFF_BELIEVED (7 * 86400) /* a client that says longer is not believed */

/* Seconds from `now` until the CA may be asked again, by what an ACME client has printed: Retry-After (RFC 9110 10.2.3)
 * in seconds, "retry after 2026-11-24 12:00:00 UTC" as Let's Encrypt says, or the longest for a rateLimited problem
 * (RFC 8555 6.7) without a time. 0: it says nothing of the kind. */
int64_t backoff_said(const char *output, int64_t now);

/* Seconds to wait after the nth failure in a row (n >= 1). said: from backoff_said. left: seconds to the deadline;
 * while the client says nothing, at most a quarter of them, but never less than the first. dice: any number; spreads
 * hosts that failed together by up to a fifth. */
int64_t backoff_wait(unsigned int n, int64_t said, int64_t left, uint32_t dice);
#endif
