#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "swap/policy.h"

#define DAY 86400

/* README's and PRODUCT's table of the sixteen cases, in one string each: which letters. */
Test(policy, within_24_hours_and_within_5_days)
{
	for (char c = 'a'; c <= 'p'; c++) {
		const struct revocation_case *k = policy_case(c);
		cr_assert_not_null(k);
		cr_expect_eq(k->letter, c, "%c", c);
		cr_expect_eq(k->within, strchr("abcde", c) ? DAY : 5 * DAY, "%c", c);
		cr_expect(k->meaning && *k->meaning && k->needs && *k->needs, "%c", c);
	}
}

Test(policy, who_needs_a_new_key_and_who_a_person)
{
	for (char c = 'a'; c <= 'p'; c++) {
		cr_expect_eq(policy_case(c)->new_key, strchr("bcdfp", c) != NULL, "%c", c);
		cr_expect_eq(policy_case(c)->person, strchr("bghjkm", c) != NULL, "%c", c);
		/* i: without that name; n: another CA */
		cr_expect_eq(policy_case(c)->reissue, strchr("bghijkmn", c) == NULL, "%c", c);
	}
}

Test(policy, the_reasons_of_the_baseline_requirements)
{
	static const char *const letters[10] = {[0] = "ano", [1] = "cdp", [4] = "efl", [5] = "i", [9] = "bghjkm"};
	for (char c = 'a'; c <= 'p'; c++) {
		int code = -1;
		cr_assert_eq(policy_reason(policy_case(c)->reason, &code), 0, "%c", c);
		cr_assert(code >= 0 && code < 10 && letters[code], "%c: %d", c, code);
		cr_expect_not_null(strchr(letters[code], c), "%c: %d", c, code);
	}
}

Test(policy, the_unknown_case_is_24_hours)
{
	const struct revocation_case *k = policy_case(0);
	cr_assert_not_null(k);
	cr_expect(k->letter == 0 && k->within == DAY && !k->person && !k->new_key);
	for (int c = 1; c < 256; c++)
		cr_expect_eq(policy_case((char)c) != NULL, c >= 'a' && c <= 'p', "%d", c);
}

Test(policy, reasons_by_name_and_number)
{
	/* RFC 5280 5.3.1 */
	static const char *const names[] = {
		"unspecified",   "keyCompromise",        "cACompromise",    "affiliationChanged",
		"superseded",    "cessationOfOperation", "certificateHold", NULL,
		"removeFromCRL", "privilegeWithdrawn",   "aACompromise"};
	for (int i = 0; i < (int)ARRAY_SIZE(names); i++) {
		char number[8];
		int code = -1;
		snprintf(number, sizeof number, "%d", i);
		if (!names[i]) {
			cr_expect_null(policy_reason_name(i));
			cr_expect_eq(policy_reason(number, &code), -ENOENT);
			continue;
		}
		cr_expect_str_eq(policy_reason_name(i), names[i]);
		cr_expect(policy_reason(names[i], &code) == 0 && code == i);
		code = -1;
		cr_expect(policy_reason(number, &code) == 0 && code == i);
		AUTO_FREE char *capitals = xstrdup(names[i]);
		for (char *p = capitals; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		code = -1;
		cr_expect(policy_reason(capitals, &code) == 0 && code == i, "%s", capitals);
	}
	static const char *const bad[] = {"", "7", "11", "-1", "1x", "key", "keyCompromise ", "99999999999999999999"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int code = 77;
		cr_expect_eq(policy_reason(bad[i], &code), -ENOENT, "%s", bad[i]);
		cr_expect_eq(code, 77);
	}
	cr_expect_null(policy_reason_name(-1));
	cr_expect_null(policy_reason_name(11));
}
