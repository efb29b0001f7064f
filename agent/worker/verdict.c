#include "worker/verdict.h"

#include <string.h>

#include "base/memory.h"

#define MS 1000 /* microseconds */
/* Between two looks: short at first, since most swaps are there within milliseconds; never a burden to the server. */
#define INTERVAL_FIRST  (3 * MS)
#define INTERVAL_MOST   (25 * MS)
#define PATIENT_AFTER   (3000 * MS)
#define INTERVAL_SLOW   (100 * MS)
#define INTERVAL_SETTLE (10 * MS)
#define ROW_CLEAN       3 /* in a row, where no other was seen after the first expected one */
#define ROW_MIXED       8 /* where both were seen: three in a row come by chance from a server that shows both */
#define DROPPED_RETRIES 4
#define FAILURES_TELL   3 /* failures in a row that outweigh what was shown before */

void verdict_begin(struct verdict *v, const struct digest *expect, uint32_t settle_ms, int64_t now_us)
{
	*v = (struct verdict){.expect = *expect,
			      .settle_us = (int64_t)settle_ms * MS,
			      .start_us = now_us,
			      .interval_us = INTERVAL_FIRST};
	v->shown.kind = v->failed.kind = OUTCOME_KINDS;
}

static int64_t finish(struct verdict *v)
{
	v->done = true;
	return -1;
}

/* The next look while it is not there yet, or does not answer. */
static int64_t wait_more(struct verdict *v, int64_t now)
{
	int64_t at = now + v->interval_us;
	int64_t most = now - v->start_us > PATIENT_AFTER ? INTERVAL_SLOW : INTERVAL_MOST;
	v->interval_us = v->interval_us * 3 / 2;
	if (v->interval_us > most)
		v->interval_us = most;
	return at;
}

/* The next look while it settles, or to fill the row. */
static int64_t settle_more(const struct verdict *v, int64_t now)
{
	int64_t settled = v->quiet_since_us + v->settle_us;
	int64_t next = now + INTERVAL_SETTLE;
	if (now >= settled)
		return now + INTERVAL_FIRST;
	return next < settled ? next : settled;
}

static int64_t add_expected(struct verdict *v, const struct outcome *o)
{
	if (!v->first_expected_us) {
		v->first_expected_us = v->quiet_since_us = o->ended_us;
	} else if (o->began_us >= v->quiet_since_us + v->settle_us) {
		v->row = o->unprimed ? 0 : v->row + 1;
		if (v->row >= (v->others_after ? ROW_MIXED : ROW_CLEAN))
			return finish(v);
	}
	v->interval_us = INTERVAL_FIRST;
	return settle_more(v, o->ended_us);
}

static int64_t add_other(struct verdict *v, const struct outcome *o)
{
	v->last_other_us = o->began_us;
	if (!v->first_expected_us)
		return wait_more(v, o->ended_us);
	v->others_after = true;
	v->row = 0;
	if (v->relapsed || o->began_us >= v->quiet_since_us + v->settle_us) {
		v->relapsed = true;
		v->quiet_since_us = o->ended_us;
	}
	return settle_more(v, o->ended_us);
}

int64_t verdict_add(struct verdict *v, const struct outcome *o)
{
	bool one_look = digest_is_zero(&v->expect);
	if (o->kind != OUTCOME_SHOWN) {
		v->failed = *o;
		v->failures_in_row++;
		if (o->hopeless)
			return finish(v);
		if (one_look && (o->kind != OUTCOME_DROPPED || v->retries++ >= DROPPED_RETRIES))
			return finish(v);
		return wait_more(v, o->ended_us);
	}
	v->shown = *o;
	v->handshakes++;
	v->failures_in_row = 0;
	if (one_look)
		return finish(v);
	return digest_equal(&o->sha256, &v->expect) ? add_expected(v, o) : add_other(v, o);
}

static enum probe_result failure_result(enum outcome_kind kind)
{
	switch (kind) {
	case OUTCOME_REFUSED:
		return PROBE_REFUSED;
	case OUTCOME_TLS_FAILED:
	case OUTCOME_DROPPED:
		return PROBE_TLS_FAILED;
	case OUTCOME_SHOWN:
	case OUTCOME_NO_ANSWER:
	case OUTCOME_KINDS:
		break;
	}
	return PROBE_NO_ANSWER;
}

static bool failure_tells(const struct verdict *v)
{
	return !v->handshakes || v->failures_in_row >= FAILURES_TELL || (v->failures_in_row && v->failed.hopeless) ||
	       (v->failures_in_row && v->failed.kind == OUTCOME_NO_ANSWER);
}

/* What visitors meet although the right certificate is shown; "": nothing. */
static const char *remark(const struct outcome *o)
{
	if (o->unasked)
		return "it shows the certificate, but kept waiting who asked for a stapled OCSP response, as browsers "
		       "do: does the CA's responder answer it? (Apache: SSLUseStapling, SSLStaplingResponderTimeout)";
	if (o->demands_staple && !o->stapled)
		return "the certificate demands a stapled OCSP response (must-staple), and the server brings none";
	return "";
}

void verdict_report(const struct verdict *v, struct probe_seen *ret)
{
	*ret = (struct probe_seen){.handshakes = v->handshakes,
				   .first_expected_us = v->first_expected_us,
				   .last_other_us = v->last_other_us,
				   .sha256 = v->shown.sha256,
				   .spki = v->shown.spki,
				   .serial = xstrdup(v->shown.serial)};
	if (v->done && v->handshakes && !v->failures_in_row) {
		ret->result = PROBE_SHOWN;
		ret->text = xstrdup(remark(&v->shown));
	} else if (failure_tells(v)) {
		ret->result = failure_result(v->failed.kind);
		ret->text = xstrdup(v->failed.text[0] ? v->failed.text : "no time was left for a handshake");
	} else if (!v->first_expected_us) {
		ret->result = PROBE_NOT_EXPECTED;
		ret->text = xasprintf("it goes on showing another certificate (serial %s) after %u handshakes",
				      v->shown.serial, v->handshakes);
	} else {
		ret->result = PROBE_NOT_ALONE;
		ret->text =
			v->others_after
				? xasprintf("it shows the expected certificate and others in turn (last: serial %s)",
					    v->shown.serial)
				: xstrdup("it showed the expected certificate, but time ran out before it was "
					  "certain that it is the only one");
	}
}
