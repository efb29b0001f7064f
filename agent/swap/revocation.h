/* What is known about the revocation of a certificate, from all sources together: one verdict, how long a revocation
 * could go unnoticed, and when to look again. Pure. Runs in certswapd. */
#ifndef SWAP_REVOCATION_H
#define SWAP_REVOCATION_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum revocation_status {
	REVOCATION_NONE,    /* there is nobody to ask */
	REVOCATION_UNKNOWN, /* nobody has given a verified answer that is still fresh */
	REVOCATION_GOOD,
	REVOCATION_REVOKED,
	REVOCATION_STATUSES
};
const char *revocation_status_name(enum revocation_status status);

enum revocation_source { REVOCATION_CRL, REVOCATION_OCSP, REVOCATION_SOURCES };
const char *revocation_source_name(enum revocation_source source); /* "crl" "ocsp" */

/* The last verified answer of one source about one certificate; times in seconds. */
struct revocation_answer {
	bool asked; /* there is such a source, and it is configured */
	enum revocation_status status;
	int reason; /* CRLReason; -1: none was published */
	int64_t revoked_at, this_update, next_update, checked_at;
};
struct revocation_verdict {
	enum revocation_status status;
	enum revocation_source source; /* that said so; of no meaning where it is NONE or UNKNOWN */
	const struct revocation_answer *answer;
};
/* Revoked wins and is never taken back; good counts until nextUpdate (and CLOCK_TOLERANCE); else unknown. */
struct revocation_verdict revocation_judge(const struct revocation_answer answers[REVOCATION_SOURCES], int64_t now);
#define REVOCATION_TOLERANCE 300 /* seconds that clocks may differ */
/* Whether `to` says something that `from` did not: newly revoked, or another reason. */
bool revocation_changed(const struct revocation_answer *from, const struct revocation_answer *to);

/* Seconds from a revocation to its being known here, at worst: what the CA may take to publish, and our interval. A
 * public CA publishes a CRL within 24 h (BR 4.9.7), an OCSP answer within 4 days (4.9.10); any CA by the end of the
 * present answer's validity. The quickest of the sources that work counts. -1: no source works. */
int64_t revocation_bound(const struct revocation_answer answers[REVOCATION_SOURCES], bool publicly_trusted,
			 const int64_t interval_ms[REVOCATION_SOURCES], int64_t now);

/* A certificate that need never be revoked (BR 1.6.1: 7 days; 10 before 2026-03-15). */
bool revocation_short_lived(int64_t not_before, int64_t not_after);

/* How often a source is asked, milliseconds: as configured; OCSP, which changes more slowly, a quarter as often; a list
 * that is sent whole each time so that no more than 1 GiB a day comes. `bytes`: of the last answer. */
int64_t revocation_interval(enum revocation_source source, int64_t configured_ms, int64_t bytes);
/* When to ask again, milliseconds from now. After a failure sooner, then less and less often (1 min, 2, 4 ... 1 h);
 * after an answer at the interval, but soon after nextUpdate. A tenth of it is left to chance, so that not all come at
 * once. until_next_update_ms: negative where that is not known or passed. random: any number. */
int64_t revocation_wait(int64_t interval_ms, unsigned int failures, int64_t until_next_update_ms, uint32_t random);
#endif
