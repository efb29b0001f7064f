/* Times as an operator writes them, and back with this host's time zone. */
#ifndef CTL_WHEN_H
#define CTL_WHEN_H
#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

/* RFC 3339 with its offset; "2026-11-24 12:00", seconds optional, in this host's zone; "now"; "+18h", "-30m" from
 * `now`. *ret_guessed (may be NULL): the zone or the day was ours, so it should be shown back. 0 or -EINVAL with a
 * text. A local time that a change of clocks skips or repeats is an error: it would be an hour wrong. */
int when_parse(const char *s, int64_t now, int64_t *ret, bool *ret_guessed, struct fault *fault);

/* "2026-11-24 12:00:00 JST (2026-11-24T03:00:00Z)"; buf >= 96 bytes; returns buf. */
const char *when_text(int64_t seconds, char *buf);
#define WHEN_TEXT 96
#endif
