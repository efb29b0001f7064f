/* What a renewalInfo address answers. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/memory.h"
#include "fetch/ari.h"

static int reads(const char *json, struct ari_answer *a)
{
	struct fault fault = {0};
	int r = ari_read(json, strlen(json), a, &fault);
	cr_expect((r < 0) == (*fault.text != '\0'));
	return r;
}

Test(fetch_ari, answers)
{
	struct ari_answer a;
	cr_assert_eq(
		reads("{\"suggestedWindow\":{\"start\":\"2026-11-23T00:00:00Z\",\"end\":\"2026-11-24T01:00:00+01:00\"},"
		      "\"explanationURL\":\"https://ca.test/why\",\"later\":1}",
		      &a),
		0);
	cr_expect_eq(a.end - a.start, 86400);
	cr_expect_str_eq(a.explanation, "https://ca.test/why");
	cr_assert_eq(reads("{\"suggestedWindow\":{\"start\":\"2026-11-23T00:00:00Z\",\"end\":\"2026-11-23T00:00:01Z\"},"
			   "\"explanationURL\":\"javascript:alert(1)\"}",
			   &a),
		     0);
	cr_expect_str_eq(a.explanation, "");
}

Test(fetch_ari, as_if_none_had_come)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"{}",
		"{\"suggestedWindow\":[]}",
		"{\"suggestedWindow\":{\"start\":\"2026-11-23T00:00:00Z\"}}",
		"{\"suggestedWindow\":{\"start\":1,\"end\":2}}",
		"{\"suggestedWindow\":{\"start\":\"2026-11-23T00:00:00Z\",\"end\":\"2026-11-23T00:00:00Z\"}}",
		"{\"suggestedWindow\":{\"start\":\"2026-11-24T00:00:00Z\",\"end\":\"2026-11-23T00:00:00Z\"}}",
		"{\"suggestedWindow\":{\"start\":\"yesterday\",\"end\":\"2026-11-23T00:00:00Z\"}}",
		"{\"suggestedWindow\":{\"start\":\"2026-11-23T00:00:00Z\",\"end\":\"2026-11-24T00:00:00Z\"}} x",
	};
	struct ari_answer a;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_expect_lt(reads(bad[i], &a), 0, "%s", bad[i]);
		cr_expect_eq(a.end, 0);
	}
	char *large = xcalloc(1, ARI_ANSWER_MAX + 2);
	memset(large, ' ', ARI_ANSWER_MAX + 1);
	cr_expect_lt(reads(large, &a), 0);
	free(large);
}

Test(fetch_ari, retry_after)
{
	const int64_t now = 1795449600; /* Mon, 23 Nov 2026 16:00:00 GMT */
	cr_expect_eq(ari_retry_after("21600", now), 21600);
	cr_expect_eq(ari_retry_after(" 0 \r\n", now), 0);
	cr_expect_eq(ari_retry_after("Mon, 23 Nov 2026 17:00:00 GMT", now), 3600);
	cr_expect_eq(ari_retry_after("Monday, 23-Nov-26 17:00:00 GMT", now), 3600);
	cr_expect_eq(ari_retry_after("Mon, 23 Nov 2026 15:00:00 GMT", now), 0, "past");
	cr_expect_lt(ari_retry_after("", now), 0);
	cr_expect_lt(ari_retry_after("-5", now), 0);
	cr_expect_lt(ari_retry_after("5 minutes", now), 0);
	cr_expect_lt(ari_retry_after("99999999999999999999", now), 0);
	cr_expect_lt(ari_retry_after("soon", now), 0);
}
