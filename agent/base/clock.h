/* Two clocks: one for durations, that nobody sets, and the wall clock for what people and certificates say. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include <stdint.h>

int64_t clock_monotonic_us(void); /* microseconds since some start; never goes back */
int64_t clock_wall_ms(void);      /* milliseconds since 1970-01-01T00:00:00Z */
int64_t clock_wall(void);         /* seconds since 1970-01-01T00:00:00Z */
#endif
