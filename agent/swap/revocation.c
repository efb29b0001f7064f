#include "swap/revocation.h"

#include "base/memory.h"

#define DAY          ((int64_t)86400)
#define HOUR_MS      ((int64_t)3600 * 1000)
#define DAY_MS       ((int64_t)24 * HOUR_MS)
#define BYTES_A_DAY  ((int64_t)1 << 30)
#define RETRY_MS     ((int64_t)60 * 1000)
#define AFTER_NEXT   ((int64_t)5 * 60 * 1000) /* a new list is seldom there in the very second */
#define MARCH_2026   1773532800               /* 2026-03-15T00:00:00Z */
#define OCSP_SLOWER  4
#define CRL_PUBLISH  DAY       /* BR 4.9.7 */
#define OCSP_PUBLISH (4 * DAY) /* BR 4.9.10 */

static const char *const status_name[] = {[REVOCATION_NONE] = "none",
					  [REVOCATION_UNKNOWN] = "unknown",
					  [REVOCATION_GOOD] = "good",
					  [REVOCATION_REVOKED] = "revoked"};
_Static_assert(ARRAY_SIZE(status_name) == REVOCATION_STATUSES, "a name for each");
static const char *const source_name[] = {[REVOCATION_CRL] = "crl", [REVOCATION_OCSP] = "ocsp"};
_Static_assert(ARRAY_SIZE(source_name) == REVOCATION_SOURCES, "a name for each");

const char *revocation_status_name(enum revocation_status status)
{
	return status_name[status];
}

const char *revocation_source_name(enum revocation_source source)
{
	return source_name[source];
}

static bool is_fresh(const struct revocation_answer *a, int64_t now)
{
	return a->status == REVOCATION_GOOD && now <= a->next_update + REVOCATION_TOLERANCE;
}

struct revocation_verdict revocation_judge(const struct revocation_answer answers[REVOCATION_SOURCES], int64_t now)
{
	struct revocation_verdict v = {.status = REVOCATION_NONE};
	for (enum revocation_source s = 0; s < REVOCATION_SOURCES; s++) {
		const struct revocation_answer *a = &answers[s];
		if (a->status == REVOCATION_REVOKED)
			return (struct revocation_verdict){REVOCATION_REVOKED, s, a};
		if (!a->asked)
			continue;
		if (is_fresh(a, now) && v.status != REVOCATION_GOOD)
			v = (struct revocation_verdict){REVOCATION_GOOD, s, a};
		else if (v.status == REVOCATION_NONE)
			v = (struct revocation_verdict){REVOCATION_UNKNOWN, s, a};
	}
	return v;
}

bool revocation_changed(const struct revocation_answer *from, const struct revocation_answer *to)
{
	if (to->status != REVOCATION_REVOKED)
		return false;
	return from->status != REVOCATION_REVOKED || from->reason != to->reason;
}

int64_t revocation_bound(const struct revocation_answer answers[REVOCATION_SOURCES], bool publicly_trusted,
			 const int64_t interval_ms[REVOCATION_SOURCES], int64_t now)
{
	static const int64_t within[] = {[REVOCATION_CRL] = CRL_PUBLISH, [REVOCATION_OCSP] = OCSP_PUBLISH};
	int64_t best = -1;
	for (enum revocation_source s = 0; s < REVOCATION_SOURCES; s++) {
		const struct revocation_answer *a = &answers[s];
		if (!a->asked || !is_fresh(a, now))
			continue;
		int64_t publish = a->next_update - a->this_update;
		if (publicly_trusted && publish > within[s])
			publish = within[s];
		int64_t all = publish + (interval_ms[s] + 999) / 1000;
		if (best < 0 || all < best)
			best = all;
	}
	return best;
}

bool revocation_short_lived(int64_t not_before, int64_t not_after)
{
	return not_after - not_before < (not_before >= MARCH_2026 ? 7 : 10) * DAY;
}

int64_t revocation_interval(enum revocation_source source, int64_t configured_ms, int64_t bytes)
{
	int64_t ms = source == REVOCATION_OCSP ? configured_ms * OCSP_SLOWER : configured_ms;
	int64_t polite = source == REVOCATION_CRL ? bytes / (BYTES_A_DAY / (DAY_MS / 1000)) * 1000 : 0;
	return ms < polite ? polite : ms;
}

int64_t revocation_wait(int64_t interval_ms, unsigned int failures, int64_t until_next_update_ms, uint32_t random)
{
	int64_t wait = interval_ms;
	if (failures) {
		int64_t most = interval_ms > HOUR_MS ? interval_ms : HOUR_MS;
		wait = interval_ms < RETRY_MS ? interval_ms : RETRY_MS;
		for (unsigned int i = 1; i < failures && wait < most; i++)
			wait *= 2;
		wait = wait < most ? wait : most;
	} else if (until_next_update_ms >= 0 && until_next_update_ms + AFTER_NEXT < wait) {
		wait = until_next_update_ms + AFTER_NEXT;
	}
	int64_t tenth = wait / 10;
	return wait - tenth + (int64_t)(random % (uint64_t)(2 * tenth + 1));
}
