#include <criterion/criterion.h>

#include "base/memory.h"
#include "swap/backoff.h"

#define NOW 1795456200 /* 2026-11-23T17:50:00Z */

Test(backoff, what_clients_say)
{
	static const struct {
		const char *output;
		int64_t seconds;
	} rows[] = {
		{"", 0},
		{"An unexpected error occurred: connection refused", 0},
		{"retry after a cup of tea", 0},
		{"HTTP/1.1 503\nRetry-After: 120\n", 120},
		{"retry-after: 120, more", 120},
		{"urn:ietf:params:acme:error:rateLimited", BACKOFF_LONGEST},
		{"urn:ietf:params:acme:error:rateLimited :: too many certificates (5) already issued, retry after "
		 "2026-11-23 18:50:00 UTC: see https://...",
		 3600},
		{"retry after 2026-11-23T17:51:00Z", 60},
		{"retry after 2020-01-01 00:00:00 UTC", 1},
		{"Retry-After: 999999999999", BACKOFF_BELIEVED},
		{"Retry-After: -5", 0},
		{"Retry-After: 10\nRetry-After: 90\n", 90},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_expect_eq(backoff_said(rows[i].output, NOW), rows[i].seconds, "%s", rows[i].output);
}

Test(backoff, longer_each_time_and_never_past_a_quarter_of_what_is_left)
{
	int64_t day = 86400;
	cr_expect_eq(backoff_wait(1, 0, day, 0), 60);
	cr_expect_eq(backoff_wait(2, 0, day, 0), 120);
	cr_expect_eq(backoff_wait(4, 0, day, 0), 480);
	cr_expect_eq(backoff_wait(4000000000u, 0, day, 0), BACKOFF_LONGEST);
	cr_expect_eq(backoff_wait(20, 0, 1200, 0), 300);
	cr_expect_eq(backoff_wait(20, 0, -5, 0), 60);
	cr_expect_eq(backoff_wait(1, 7200, 600, 0), 7200, "the CA's word is longer than what is left");
	for (uint32_t dice = 0; dice < 2000; dice += 7) {
		int64_t wait = backoff_wait(7, 0, 30 * day, dice);
		cr_expect(wait > 2800 && wait <= 3600, "%lld", (long long)wait);
		cr_expect_geq(backoff_wait(1, 100, day, dice), 100);
	}
}
