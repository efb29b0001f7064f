/* STATE/audit.jsonl: what was learned, decided and done, one JSON object a line, append-only, each with the SHA-256 of
 * the line before, so that a line taken out or changed shows (`certswapctl log --verify`). */
#ifndef SITE_AUDIT_H
#define SITE_AUDIT_H
#include <jansson.h>

#include "base/fault.h"

struct audit;
/* Opens the log in STATE and reads where its chain stands. An incomplete last line (power cut) is ended and the chain
 * goes on after it. NULL and fault if it can't. */
struct audit *audit_open(int state, struct fault *fault);
void audit_close(struct audit *audit);

/* Appends a line and syncs it. `certificate` may be NULL. `more` (an object or NULL) is taken over: its fields are
 * added. Failing to write is logged, and does not stop the agent: promise 1 stands above the record. Also logs the
 * event for the journal. */
void audit_write(struct audit *audit, const char *event, const char *certificate, json_t *more, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* The same, but the caller has something better to do than to wait for the disk: the next audit_write or audit_sync
 * makes it durable. */
void audit_write_soon(struct audit *audit, const char *event, const char *certificate, json_t *more, const char *format,
		      ...) __attribute__((format(printf, 5, 6)));
void audit_sync(struct audit *audit); /* nothing where nothing waits for it */
#endif
