#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/serial.h"
#include "ctl/when.h"

#define NOW 1795428000 /* 2026-11-23T10:00:00Z */

static void set_zone(const char *zone)
{
	setenv("TZ", zone, 1);
	tzset();
}

static int64_t at(const char *s)
{
	int64_t t = -1;
	struct fault fault = {0};
	int r = when_parse(s, NOW, &t, NULL, &fault);
	cr_expect(r == 0 || *fault.text, "a refusal says why");
	return r == 0 ? t : -1;
}

Test(ctl_when, forms)
{
	set_zone("JST-9");
	bool guessed = true;
	int64_t t;
	cr_expect_eq(at("2026-11-23T10:00:00Z"), NOW);
	cr_expect_eq(at("2026-11-23T19:00:00+09:00"), NOW);
	cr_expect_eq(at("2026-11-23 19:00"), NOW, "local");
	cr_expect_eq(at("2026-11-23 19:00:00"), NOW);
	cr_expect_eq(at("2026-11-23T19:00"), NOW);
	cr_expect_eq(at("+18h"), NOW + 18 * 3600);
	cr_expect_eq(at("-30m"), NOW - 1800);
	cr_expect_eq(at("now"), NOW);
	cr_expect_eq(when_parse("2026-11-23T10:00:00Z", NOW, &t, &guessed, NULL), 0);
	cr_expect_not(guessed);
	cr_expect_eq(when_parse("+1h", NOW, &t, &guessed, NULL), 0);
	cr_expect(guessed);
}

Test(ctl_when, nonsense)
{
	static const char *const bad[] = {
		"",   "tomorrow", "2026-11-24",       "2026-02-30 10:00",     "2026-13-01 10:00", "+18",
		"+h", "12:00",    "2026-11-24 25:00", "2026-11-24 12:00 JST", "+99999d",          "1"};
	set_zone("UTC");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_eq(at(bad[i]), -1, "%s", bad[i]);
}

Test(ctl_when, clocks_that_change)
{
	set_zone("CET-1CEST,M3.5.0,M10.5.0/3"); /* Berlin */
	cr_expect_eq(at("2026-03-29 02:30"), -1, "this hour does not exist");
	cr_expect_eq(at("2026-10-25 02:30"), -1, "this hour exists twice");
	cr_expect_eq(at("2026-03-29 03:30"), at("2026-03-29T01:30:00Z"));
	cr_expect_eq(at("2026-10-25T02:30:00+02:00"), at("2026-10-25T00:30:00Z"), "an offset makes it clear");
	cr_expect_eq(at("2026-07-01 12:00"), at("2026-07-01T10:00:00Z"));
}

Test(ctl_when, shown_with_the_zone)
{
	char buf[WHEN_TEXT];
	set_zone("JST-9");
	cr_expect_str_eq(when_text(NOW, buf), "2026-11-23 19:00:00 JST (2026-11-23T10:00:00Z)");
}

Test(ctl_when, numbers_as_they_come)
{
	json_int_t n;
	cr_expect(serial_is_plausible("0A:bc:00"));
	cr_expect(serial_is_plausible("0x1f"));
	cr_expect(serial_is_plausible("dec:123456789012345678901234567890"));
	cr_expect_not(serial_is_plausible(""));
	cr_expect_not(serial_is_plausible("0x"));
	cr_expect_not(serial_is_plausible("dec:12a"));
	cr_expect_not(serial_is_plausible("12-34"));
	cr_expect_eq(incident_number("#12", &n), 0);
	cr_expect_eq(n, 12);
	cr_expect_neq(incident_number("", &n), 0);
	cr_expect_neq(incident_number("-1", &n), 0);
	cr_expect_neq(incident_number("12x", &n), 0);
	cr_expect_neq(incident_number("99999999999999999999", &n), 0);
}
