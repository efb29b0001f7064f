#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "swap/hours.h"

static int64_t at(const char *s)
{
	int64_t t;
	cr_assert(text_to_time(s, &t) == 0);
	return t;
}

static void japan(void)
{
	setenv("TZ", "JST-9", 1);
	tzset();
}

Test(hours, open_and_closed, .init = japan)
{
	static const char desk[] = "Mon-Fri 09:00-18:00, Sat 10:00-12:00";
	cr_expect(hours_is_open("", at("2026-11-22T03:00:00Z")));
	cr_expect(hours_is_open(desk, at("2026-11-24T09:00:00+09:00"))); /* a Tuesday */
	cr_expect(!hours_is_open(desk, at("2026-11-24T08:59:59+09:00")));
	cr_expect(!hours_is_open(desk, at("2026-11-24T18:00:00+09:00")));
	cr_expect(hours_is_open(desk, at("2026-11-28T11:59:59+09:00")));
	cr_expect(!hours_is_open(desk, at("2026-11-29T11:00:00+09:00")));
	cr_expect(hours_is_open("Sat-Mon 00:00-24:00", at("2026-11-29T11:00:00+09:00")));
	cr_expect(!hours_is_open("Sat-Mon 00:00-24:00", at("2026-11-25T11:00:00+09:00")));
}

Test(hours, next_time, .init = japan)
{
	static const char desk[] = "Mon-Fri 09:00-18:00";
	int64_t friday_evening = at("2026-11-27T18:30:30+09:00"), noon = at("2026-11-27T12:00:30+09:00");
	cr_expect(hours_next(desk, noon) == noon);
	cr_expect(hours_next(desk, friday_evening) == at("2026-11-30T09:00:00+09:00"));
	cr_expect(hours_next("never", noon) == 0);
}
