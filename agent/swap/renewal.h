/* What ACME Renewal Information means for a certificate (RFC 9773, and how CAs use it). Pure. Used by certswapd. */
#ifndef SWAP_RENEWAL_H
#define SWAP_RENEWAL_H
#include <stdbool.h>
#include <stdint.h>

#define RENEWAL_RETRY_MIN  ((int64_t)60) /* seconds: Retry-After is clamped to these (RFC 9773 4.3.2) */
#define RENEWAL_RETRY_MAX  ((int64_t)86400)
#define RENEWAL_RETRY_ELSE ((int64_t)6 * 3600) /* after an answer that is no good, or without Retry-After (4.3.3) */

struct renewal_window {
	int64_t start, end; /* seconds; both 0: none was ever seen */
};
bool renewal_window_is_valid(const struct renewal_window *w); /* end after start; else as if nothing had come (4.2) */

/* Seconds until the next question. `seconds` < 0: there was no usable Retry-After. */
int64_t renewal_ask_again(int64_t seconds);
/* A time inside the window, `random` out of 2^64 (4.2). In the past: at once. */
int64_t renewal_time(const struct renewal_window *w, uint64_t random);

enum renewal_sign {
	RENEWAL_ORDINARY,
	RENEWAL_MOVED,       /* ends before the start of an earlier stored window */
	RENEWAL_EARLY,       /* ends before 40 % of the lifetime: no CA plans so */
	RENEWAL_EXPLANATION, /* an explanation that was not there before */
};
/* A wish for an early renewal, or only the plan? A window in the past alone is none: Boulder puts it at two thirds of
 * the lifetime, at half of it below ten days. URLs: "" or NULL for none. */
enum renewal_sign renewal_judge(const struct renewal_window *now, const char *explanation,
				const struct renewal_window *before, const char *explanation_before, int64_t not_before,
				int64_t not_after);
#endif
