#include <criterion/criterion.h>

#include "swap/revocation.h"

#define NOW 2000000000
#define DAY 86400

static struct revocation_answer answer(enum revocation_status status, int64_t next)
{
	return (struct revocation_answer){
		.asked = true, .status = status, .reason = -1, .this_update = NOW - DAY, .next_update = next};
}

Test(revocation, one_verdict_from_all)
{
	struct revocation_answer a[REVOCATION_SOURCES] = {0};
	cr_expect_eq(revocation_judge(a, NOW).status, REVOCATION_NONE);
	a[REVOCATION_CRL].asked = true;
	a[REVOCATION_CRL].status = REVOCATION_UNKNOWN;
	cr_expect_eq(revocation_judge(a, NOW).status, REVOCATION_UNKNOWN);
	a[REVOCATION_OCSP] = answer(REVOCATION_GOOD, NOW + DAY);
	cr_expect_eq(revocation_judge(a, NOW).status, REVOCATION_GOOD);
	cr_expect_eq(revocation_judge(a, NOW).source, REVOCATION_OCSP);
	a[REVOCATION_OCSP].next_update = NOW - REVOCATION_TOLERANCE - 1; /* good is good as long as it is fresh */
	cr_expect_eq(revocation_judge(a, NOW).status, REVOCATION_UNKNOWN);
	a[REVOCATION_OCSP] = answer(REVOCATION_REVOKED, NOW - 100 * DAY); /* revoked for ever, and wins */
	a[REVOCATION_CRL] = answer(REVOCATION_GOOD, NOW + DAY);
	cr_expect_eq(revocation_judge(a, NOW).status, REVOCATION_REVOKED);
	a[REVOCATION_OCSP].asked = false; /* also where the source is not configured any more */
	cr_expect_eq(revocation_judge(a, NOW).status, REVOCATION_REVOKED);
}

Test(revocation, the_bound)
{
	struct revocation_answer a[REVOCATION_SOURCES] = {0};
	const int64_t every[] = {900000, 3600000};
	cr_expect_eq(revocation_bound(a, true, every, NOW), -1);
	a[REVOCATION_CRL] = answer(REVOCATION_GOOD, NOW + 6 * DAY);
	cr_expect_eq(revocation_bound(a, true, every, NOW), DAY + 900);      /* "24h15m" */
	cr_expect_eq(revocation_bound(a, false, every, NOW), 7 * DAY + 900); /* nothing binds a private CA */
	a[REVOCATION_OCSP] = answer(REVOCATION_GOOD, NOW + 3600);
	cr_expect_eq(revocation_bound(a, false, every, NOW), DAY + 3600 + 3600);
	a[REVOCATION_CRL].next_update = a[REVOCATION_OCSP].next_update = NOW - DAY; /* neither works */
	cr_expect_eq(revocation_bound(a, false, every, NOW), -1);
}

Test(revocation, when_to_ask_again)
{
	for (uint32_t random = 0; random < 1000; random += 37) {
		int64_t wait = revocation_wait(900000, 0, -1, random * 7919);
		cr_expect(wait >= 810000 && wait <= 990000, "%lld", (long long)wait);
		cr_expect_leq(revocation_wait(900000, 0, 60000, random), 396000); /* soon after nextUpdate */
		cr_expect_leq(revocation_wait(900000, 1, -1, random), 66000);
		cr_expect_leq(revocation_wait(900000, 40, -1, random), 3960000); /* no more than an hour apart */
		cr_expect_geq(revocation_wait(900000, 40, -1, random), 3240000);
		cr_expect_leq(revocation_wait(1000, 1, -1, random), 1100);
	}
	cr_expect_eq(revocation_interval(REVOCATION_CRL, 900000, 1000), 900000);
	cr_expect_eq(revocation_interval(REVOCATION_OCSP, 900000, 1000), 3600000);
	cr_expect_gt(revocation_interval(REVOCATION_CRL, 900000, 70 << 20),
		     5000000); /* 70 MB, 17 times a day at most */
}

Test(revocation, short_lived)
{
	cr_expect(revocation_short_lived(NOW, NOW + 6 * DAY));
	cr_expect_not(revocation_short_lived(NOW, NOW + 7 * DAY));
	cr_expect(revocation_short_lived(1760000000, 1760000000 + 9 * DAY));
}

Test(revocation, what_is_new)
{
	struct revocation_answer good = answer(REVOCATION_GOOD, NOW), revoked = answer(REVOCATION_REVOKED, NOW);
	struct revocation_answer compromised = revoked;
	compromised.reason = 1;
	cr_expect_not(revocation_changed(&revoked, &good));
	cr_expect(revocation_changed(&good, &revoked));
	cr_expect_not(revocation_changed(&revoked, &revoked));
	cr_expect(revocation_changed(&revoked, &compromised)); /* the reason came later (BR 7.2.2) */
}
