/* Reads what a renewalInfo address answers (RFC 9773 4.2). Runs in the fetch worker. */
#ifndef FETCH_ARI_H
#define FETCH_ARI_H
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"

#define ARI_ANSWER_MAX      ((size_t)64 << 10)
#define ARI_EXPLANATION_MAX 1000

struct ari_answer {
	int64_t start, end;                        /* suggestedWindow, seconds; start < end */
	char explanation[ARI_EXPLANATION_MAX + 1]; /* explanationURL, http or https, printable; "" : none */
};
/* jansson seeds its hashes at its first object: call json_object_seed() before the sandbox.
 * 0 or -EBADMSG: the answer must be treated as if none had come. Fields that RFC 9773 does not have are let pass. */
int ari_read(const void *bytes, size_t len, struct ari_answer *ret, struct fault *fault);

/* A Retry-After header (RFC 9110 10.2.3), seconds or a date, as seconds from `now`; < 0: not valid. Not clamped. */
int64_t ari_retry_after(const char *value, int64_t now);
#endif
