/* The judgement over a row of handshakes, without any. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "worker/verdict.h"

#define MS 1000
static const struct digest wanted = {{1}}, other = {{2}};

/* Handshakes of 1 ms, one after the other as the verdict asks; 'n' the wanted one, 'o' another, 'r' refused, 'd'
 * dropped, 'h' hopeless, 'u' the wanted one from a server that is not primed. Returns how many it took; the text's
 * length where it never came to an end. */
static size_t feed(struct verdict *v, const char *script, int64_t start)
{
	int64_t at = start;
	for (size_t i = 0; script[i]; i++) {
		struct outcome o = {.began_us = at, .ended_us = at + MS};
		o.hopeless = script[i] == 'h';
		o.kind = o.hopeless         ? OUTCOME_TLS_FAILED
			 : script[i] == 'r' ? OUTCOME_REFUSED
			 : script[i] == 'd' ? OUTCOME_DROPPED
					    : OUTCOME_SHOWN;
		o.unprimed = script[i] == 'u';
		o.sha256 = script[i] == 'n' || o.unprimed ? wanted : other;
		int64_t next = verdict_add(v, &o);
		cr_assert((next < 0) == v->done);
		if (v->done)
			return i + 1;
		cr_assert(next > o.ended_us, "it must not look without a pause");
		at = next;
	}
	return strlen(script);
}

static enum probe_result result(const struct verdict *v)
{
	struct probe_seen seen;
	verdict_report(v, &seen);
	free(seen.serial);
	free(seen.text);
	return seen.result;
}

Test(worker_verdict, three_in_a_row_after_the_first)
{
	struct verdict v;
	verdict_begin(&v, &wanted, 0, 1);
	cr_assert(feed(&v, "oonnnnnnnn", 1) == 6);
	cr_assert(result(&v) == PROBE_SHOWN);
}

Test(worker_verdict, settling_comes_before_the_row)
{
	struct verdict v;
	verdict_begin(&v, &wanted, 100, 1);
	size_t n = feed(&v, "nnnnnnnnnnnnnnnnnnnnnnnnnnnn", 1);
	cr_assert(v.done && n > 3 + 1 && n < 20, "%zu", n);
	cr_assert(v.shown.began_us >= v.first_expected_us + 100 * MS);
}

Test(worker_verdict, others_while_it_settles_are_tolerated)
{
	struct verdict v;
	verdict_begin(&v, &wanted, 100, 1);
	feed(&v, "nonononnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", 1);
	cr_assert(v.done && result(&v) == PROBE_SHOWN);
	cr_assert(!v.relapsed && v.row == 8, "where both were seen, eight in a row");
}

Test(worker_verdict, an_other_after_the_settling_starts_it_again)
{
	struct verdict v;
	verdict_begin(&v, &wanted, 10, 1);
	feed(&v, "nnno", 1);
	cr_assert(!v.done && v.relapsed);
	int64_t again = v.quiet_since_us;
	feed(&v, "nnnnnnnnnnnnnnnnnnnnnnnn", again + MS);
	cr_assert(v.done && v.shown.began_us >= again + 10 * MS);
	cr_assert(v.row == 8);
}

Test(worker_verdict, an_other_ends_the_row)
{
	struct verdict v;
	verdict_begin(&v, &wanted, 0, 1);
	cr_assert(feed(&v, "nnnonnnnnnnonnnnnnnnnnnn", 1) == 4 + 7 + 1 + 8);
}

Test(worker_verdict, failures)
{
	struct verdict v;
	verdict_begin(&v, &wanted, 0, 1);
	feed(&v, "ooor", 1);
	cr_assert(result(&v) == PROBE_NOT_EXPECTED, "one failure does not hide what was shown");
	feed(&v, "rr", 1);
	cr_assert(result(&v) == PROBE_REFUSED, "three do");
	verdict_begin(&v, &wanted, 0, 1);
	feed(&v, "nndn", 1);
	cr_assert(result(&v) == PROBE_NOT_ALONE, "time ran out before it was certain");
	verdict_begin(&v, &wanted, 0, 1);
	cr_assert(result(&v) == PROBE_NO_ANSWER);
}

Test(worker_verdict, what_is_hopeless_is_not_looked_at_again)
{
	struct verdict v;
	verdict_begin(&v, &wanted, 0, 1);
	cr_assert(feed(&v, "oohnnnn", 1) == 3);
	cr_assert(result(&v) == PROBE_TLS_FAILED);
}

Test(worker_verdict, a_server_without_its_responses_is_waited_for)
{
	struct verdict v;
	verdict_begin(&v, &wanted, 0, 1);
	cr_expect_eq(feed(&v, "uuuuuuunnnnnn", 1), 7 + 3);
	verdict_begin(&v, &wanted, 0, 1);
	cr_expect_eq(feed(&v, "uunnunnunnnnn", 1), 8 + 3, "each must bring one");
	cr_expect_eq(result(&v), PROBE_SHOWN);
}

Test(worker_verdict, a_response_that_never_comes_is_said)
{
	struct verdict v;
	struct probe_seen seen;
	struct outcome o = {.kind = OUTCOME_SHOWN, .sha256 = wanted, .demands_staple = true};
	verdict_begin(&v, &wanted, 0, 1);
	for (o.began_us = 1; !v.done; o.began_us++) {
		o.ended_us = o.began_us;
		verdict_add(&v, &o);
	}
	verdict_report(&v, &seen);
	cr_expect_eq(seen.result, PROBE_SHOWN, "it serves, so nothing goes back");
	cr_expect(strstr(seen.text, "must-staple"), "%s", seen.text);
	free(seen.serial);
	free(seen.text);
	v.shown.stapled = true;
	verdict_report(&v, &seen);
	cr_expect_str_empty(seen.text);
	free(seen.serial);
	free(seen.text);
}

Test(worker_verdict, one_look)
{
	struct verdict v;
	const struct digest none = {0};
	verdict_begin(&v, &none, 0, 1);
	cr_assert(feed(&v, "oo", 1) == 1 && result(&v) == PROBE_SHOWN);
	verdict_begin(&v, &none, 0, 1);
	cr_assert(feed(&v, "rr", 1) == 1 && result(&v) == PROBE_REFUSED);
	verdict_begin(&v, &none, 0, 1);
	cr_assert(feed(&v, "dddo", 1) == 4 && result(&v) == PROBE_SHOWN);
	verdict_begin(&v, &none, 0, 1);
	cr_assert(feed(&v, "dddddddddd", 1) == 5 && result(&v) == PROBE_TLS_FAILED);
}
