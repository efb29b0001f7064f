/* What one handshake after the other says about one place (wire/probe.h): when to look again, when it is proved, and
 * what to report when time is up. Pure: no sockets, no clock. Runs in a "probe" worker. */
#ifndef WORKER_VERDICT_H
#define WORKER_VERDICT_H
#include <stdbool.h>
#include <stdint.h>

#include "wire/probe.h"

enum outcome_kind {
	OUTCOME_SHOWN,      /* Certificate and proof of its key were seen */
	OUTCOME_REFUSED,    /* nothing listens there */
	OUTCOME_NO_ANSWER,  /* time ran out, or no way there */
	OUTCOME_TLS_FAILED, /* connected, and the other side does not do such a handshake */
	OUTCOME_DROPPED,    /* connected, and the connection ended in the middle: what a reload does */
	OUTCOME_KINDS
};
struct outcome {
	enum outcome_kind kind;
	struct digest sha256, spki; /* of the leaf, where it was shown */
	char serial[48];            /* lower-case hex without leading zeros, cut */
	int64_t began_us, ended_us; /* CLOCK_MONOTONIC */
	char text[256];             /* why it failed, for people */
	bool hopeless;              /* looking again changes nothing, and each visitor meets it */
	bool demands_staple;        /* the certificate does (RFC 7633) */
	bool stapled;               /* a response came with it */
	bool unasked;               /* none was asked for, since who asks gets no answer in time */
	bool unprimed; /* set by the prober: a process of the server may have no response yet, look again */
};

struct verdict {
	struct digest expect; /* zero: one look */
	int64_t settle_us;
	int64_t start_us;
	bool done;
	struct outcome shown;  /* the last that was shown; kind OUTCOME_KINDS: none yet */
	struct outcome failed; /* the last that failed */
	uint32_t handshakes, failures_in_row, retries;
	int64_t first_expected_us, last_other_us;
	int64_t quiet_since_us; /* from here on the settling counts */
	unsigned row;           /* expected handshakes after the settling, in a row */
	bool others_after;      /* others were seen after the first expected one */
	bool relapsed;          /* even after the settling */
	int64_t interval_us;
};
void verdict_begin(struct verdict *v, const struct digest *expect, uint32_t settle_ms, int64_t now_us);
/* Takes in the end of one attempt. Returns when the next should begin (CLOCK_MONOTONIC us), or -1 once v->done. */
int64_t verdict_add(struct verdict *v, const struct outcome *outcome);
/* Fills the report; called when done or when the deadline of the job has passed. The strings are the caller's. */
void verdict_report(const struct verdict *v, struct probe_seen *ret);
#endif
