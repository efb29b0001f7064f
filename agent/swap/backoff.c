#include "swap/backoff.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

/* "retry after 2026-11-24 12:00:00 UTC", with T and Z as well. 0: no time there. */
static int64_t time_after(const char *s)
{
	char text[32], day[11], clock[9];
	int64_t t;
	if (sscanf(s, "%10[0-9-]%*1[ T]%8[0-9:]", day, clock) != 2)
		return 0;
	snprintf(text, sizeof text, "%sT%sZ", day, clock);
	return text_to_time(text, &t) == 0 ? t : 0;
}

static int64_t seconds_after(const char *s, int64_t now)
{
	s += strspn(s, " :\"'=");
	int64_t at = time_after(s);
	if (at)
		return at > now ? at - now : 1;
	char *end;
	long seconds = strtol(s, &end, 10);
	bool is_number = end != s && (*end == '\0' || strchr(" \n\t,.;s\"'}", *end));
	return is_number && seconds > 0 ? seconds : 0;
}

int64_t backoff_said(const char *output, int64_t now)
{
	int64_t longest = 0;
	bool limited = strcasestr(output, "rateLimited") || strcasestr(output, "too many certificates");
	for (const char *s = output; *s; s++) {
		if (strncasecmp(s, "retry-after", 11) != 0 && strncasecmp(s, "retry after", 11) != 0)
			continue;
		int64_t said = seconds_after(s + 11, now);
		longest = said > longest ? said : longest;
	}
	if (!longest && limited)
		longest = BACKOFF_LONGEST;
	return longest < BACKOFF_BELIEVED ? longest : BACKOFF_BELIEVED;
}

int64_t backoff_wait(unsigned int n, int64_t said, int64_t left, uint32_t dice)
{
	int64_t wait = BACKOFF_FIRST;
	for (unsigned int k = 1; k < n && wait < BACKOFF_LONGEST; k++)
		wait *= 2;
	wait = wait < BACKOFF_LONGEST ? wait : BACKOFF_LONGEST;
	wait -= wait * (int64_t)(dice % 1000) / 5000;
	if (said)
		return said + wait * (int64_t)(dice % 1000) / 5000;
	int64_t quarter = left > 0 ? left / 4 : BACKOFF_FIRST;
	if (wait > quarter)
		wait = quarter;
	return wait > BACKOFF_FIRST / 2 ? wait : BACKOFF_FIRST / 2;
}
