/* Renewal Information: when to ask, when to renew, and what is more than the plan. */
#include <criterion/criterion.h>

#include "swap/renewal.h"

#define DAY ((int64_t)86400)

Test(swap_renewal, when_to_ask_again)
{
	cr_expect_eq(renewal_ask_again(-1), RENEWAL_RETRY_ELSE);
	cr_expect_eq(renewal_ask_again(0), 60);
	cr_expect_eq(renewal_ask_again(3600), 3600);
	cr_expect_eq(renewal_ask_again(INT64_MAX), DAY);
}

Test(swap_renewal, a_time_in_the_window)
{
	const struct renewal_window w = {1000, 2000};
	cr_expect_eq(renewal_time(&w, 0), 1000);
	cr_expect_eq(renewal_time(&w, UINT64_MAX / 2 + 1), 1500);
	cr_expect_eq(renewal_time(&w, UINT64_MAX), 1999);
	cr_expect_eq(renewal_time(&(struct renewal_window){-62167219200, 253402300799}, UINT64_MAX), 253402300798);
}

Test(swap_renewal, the_plan_and_more)
{
	const struct renewal_window none = {0, 0}, plan = {60 * DAY, 62 * DAY}, earlier = {59 * DAY, 61 * DAY},
				    moved = {50 * DAY, 59 * DAY}, now = {5 * DAY, 6 * DAY}, wrong = {9, 9};
	cr_expect_eq(renewal_judge(&plan, "", &none, "", 0, 90 * DAY), RENEWAL_ORDINARY);
	cr_expect_eq(renewal_judge(&plan, NULL, &plan, NULL, 0, 90 * DAY), RENEWAL_ORDINARY);
	cr_expect_eq(renewal_judge(&earlier, "", &plan, "", 0, 90 * DAY), RENEWAL_ORDINARY, "they overlap");
	cr_expect_eq(renewal_judge(&moved, "", &plan, "", 0, 90 * DAY), RENEWAL_MOVED);
	cr_expect_eq(renewal_judge(&now, "", &none, "", 0, 90 * DAY), RENEWAL_EARLY);
	cr_expect_eq(renewal_judge(&now, "", &none, "", 0, 6 * DAY), RENEWAL_ORDINARY);
	cr_expect_eq(renewal_judge(&plan, "https://x", &plan, "", 0, 90 * DAY), RENEWAL_EXPLANATION);
	cr_expect_eq(renewal_judge(&plan, "https://x", &plan, "https://x", 0, 90 * DAY), RENEWAL_ORDINARY);
	cr_expect_eq(renewal_judge(&wrong, "https://x", &plan, "", 0, 90 * DAY), RENEWAL_ORDINARY);
}
