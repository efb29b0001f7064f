/* When a CA's desk is open: "Mon-Fri 09:00-18:00, Sat 10:00-12:00" of the option ca.hours, in local time. Pure but for
 * the time zone. Runs in certswapd. */
#ifndef SWAP_HOURS_H
#define SWAP_HOURS_H
#include <stdbool.h>
#include <stdint.h>

/* Is it open at this moment? hours "": always. Text of another form: never. */
bool hours_is_open(const char *hours, int64_t at);
/* The first minute from `from` on at which it is open; 0: none within eight days. */
int64_t hours_next(const char *hours, int64_t from);
#endif
