#include "swap/renewal.h"

#include <string.h>

bool renewal_window_is_valid(const struct renewal_window *w)
{
	return w->end > w->start;
}

int64_t renewal_ask_again(int64_t seconds)
{
	if (seconds < 0)
		return RENEWAL_RETRY_ELSE;
	return seconds < RENEWAL_RETRY_MIN   ? RENEWAL_RETRY_MIN
	       : seconds > RENEWAL_RETRY_MAX ? RENEWAL_RETRY_MAX
					     : seconds;
}

int64_t renewal_time(const struct renewal_window *w, uint64_t random)
{
	if (!renewal_window_is_valid(w))
		return w->start;
	uint64_t length = (uint64_t)w->end - (uint64_t)w->start;
	return (int64_t)((uint64_t)w->start + (uint64_t)(((unsigned __int128)length * random) >> 64));
}

enum renewal_sign renewal_judge(const struct renewal_window *now, const char *explanation,
				const struct renewal_window *before, const char *explanation_before, int64_t not_before,
				int64_t not_after)
{
	if (!renewal_window_is_valid(now))
		return RENEWAL_ORDINARY;
	if (renewal_window_is_valid(before) && now->end < before->start)
		return RENEWAL_MOVED;
	if (not_after > not_before && now->end < not_before + (not_after - not_before) / 5 * 2)
		return RENEWAL_EARLY;
	if (explanation && *explanation && (!explanation_before || strcmp(explanation, explanation_before) != 0))
		return RENEWAL_EXPLANATION;
	return RENEWAL_ORDINARY;
}
