#include "swap/hours.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MINUTE 60
#define REACH  (8 * 24 * 3600)

static int day_of(const char *name)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	for (int i = 0; i < 7; i++)
		if (strncasecmp(days[i], name, 3) == 0)
			return i;
	return -1;
}

/* One part: "Mon-Fri 09:00-18:00" or "Sat 10:00-12:00". */
static bool covers(const char *part, int day, int minute)
{
	char first[4], last[4];
	int h1, m1, h2, m2;
	bool range = sscanf(part, " %3[A-Za-z]-%3[A-Za-z] %2d:%2d-%2d:%2d", first, last, &h1, &m1, &h2, &m2) == 6;
	if (!range && sscanf(part, " %3[A-Za-z] %2d:%2d-%2d:%2d", first, &h1, &m1, &h2, &m2) != 5)
		return false;
	int from = day_of(first), to = range ? day_of(last) : from;
	if (from < 0 || to < 0)
		return false;
	bool on = from <= to ? day >= from && day <= to : day >= from || day <= to;
	return on && minute >= h1 * 60 + m1 && minute < h2 * 60 + m2;
}

bool hours_is_open(const char *hours, int64_t at)
{
	struct tm local;
	time_t t = (time_t)at;
	if (!*hours)
		return true;
	localtime_r(&t, &local);
	for (const char *part = hours; part; part = strchr(part, ','), part += part != NULL)
		if (covers(part, local.tm_wday, local.tm_hour * 60 + local.tm_min))
			return true;
	return false;
}

int64_t hours_next(const char *hours, int64_t from)
{
	if (hours_is_open(hours, from))
		return from;
	int64_t at = from - from % MINUTE;
	for (int64_t end = at + REACH; at < end; at += MINUTE)
		if (at >= from && hours_is_open(hours, at))
			return at;
	return 0;
}
