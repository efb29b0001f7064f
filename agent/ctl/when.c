#include "ctl/when.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

static int parse_relative(const char *s, int64_t now, int64_t *ret, struct fault *fault)
{
	int64_t ms;
	if (text_to_ms(s + 1, &ms) < 0)
		return fault_set(fault, -EINVAL, "%s is not a time from now: +18h, +5d, -30m", s);
	*ret = *s == '+' ? now + ms / 1000 : now - ms / 1000;
	return 0;
}

/* The instant with that local time and the wanted daylight saving; false: there is none. */
static bool local_instant(const struct tm *wanted, int isdst, time_t *ret)
{
	struct tm tm = *wanted;
	tm.tm_isdst = isdst;
	*ret = mktime(&tm);
	return *ret != (time_t)-1 && tm.tm_isdst == isdst && tm.tm_year == wanted->tm_year &&
	       tm.tm_mon == wanted->tm_mon && tm.tm_mday == wanted->tm_mday && tm.tm_hour == wanted->tm_hour &&
	       tm.tm_min == wanted->tm_min;
}

static int parse_local(const char *s, int64_t *ret, struct fault *fault)
{
	static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S",
					      "%Y-%m-%dT%H:%M"};
	struct tm tm;
	const char *end = NULL;
	for (size_t i = 0; i < sizeof formats / sizeof *formats && !(end && !*end); i++) {
		memset(&tm, 0, sizeof tm);
		end = strptime(s, formats[i], &tm);
	}
	if (!end || *end || tm.tm_year < 70)
		return fault_set(fault, -EINVAL,
				 "%s is not a time: 2026-11-24T12:00:00Z, \"2026-11-24 12:00\" (local), or +18h", s);
	time_t winter, summer;
	bool is_winter = local_instant(&tm, 0, &winter), is_summer = local_instant(&tm, 1, &summer);
	if (is_winter && is_summer && winter != summer)
		return fault_set(
			fault, -EINVAL,
			"%s happens twice here, the clocks change; give it with its offset: 2026-11-24T12:00:00+01:00",
			s);
	if (!is_winter && !is_summer)
		return fault_set(fault, -EINVAL, "there is no %s here: no such day, or the clocks change then", s);
	*ret = is_winter ? winter : summer;
	return 0;
}

int when_parse(const char *s, int64_t now, int64_t *ret, bool *ret_guessed, struct fault *fault)
{
	bool exact = text_to_time(s, ret) == 0;
	if (ret_guessed)
		*ret_guessed = !exact;
	if (exact)
		return 0;
	if (strcmp(s, "now") == 0) {
		*ret = now;
		return 0;
	}
	if (*s == '+' || *s == '-')
		return parse_relative(s, now, ret, fault);
	return parse_local(s, ret, fault);
}

const char *when_text(int64_t seconds, char *buf)
{
	time_t t = (time_t)seconds;
	struct tm tm;
	char utc[32], local[48];
	text_from_time(seconds, utc);
	if (localtime_r(&t, &tm) && strftime(local, sizeof local, "%Y-%m-%d %H:%M:%S %Z", &tm))
		snprintf(buf, WHEN_TEXT, "%s (%s)", local, utc);
	else
		snprintf(buf, WHEN_TEXT, "%s", utc);
	return buf;
}
