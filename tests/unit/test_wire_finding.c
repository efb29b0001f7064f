#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "wire/check.h"
#include "wire/finding.h"

Test(wire_finding, every_code_has_its_row)
{
	for (int i = 0; i < FINDING_CODES; i++) {
		enum finding_code code;
		const char *name = finding_name((enum finding_code)i), *todo = finding_what_to_do((enum finding_code)i);
		cr_assert(name && todo, "code %d", i);
		cr_expect(finding_parse(name, &code) == 0 && code == (enum finding_code)i, "%s", name);
		cr_expect(todo[strlen(todo) - 1] == '.', "%s: one sentence", name);
	}
	enum finding_code code;
	cr_expect_eq(finding_parse("NO_SUCH", &code), -ENOENT);
	cr_expect_eq(finding_parse("", &code), -ENOENT);
	for (int i = 0; i < CHECK_OUTPUTS; i++)
		cr_expect(strstr(check_output_name[i], ".pem"));
}

Test(wire_finding, what_a_person_may_let_pass)
{
	static const enum finding_code never[] = {FINDING_PAIR_MISMATCH, FINDING_KEY_MISSING, FINDING_HANDSHAKE_FAILED,
						  FINDING_UNREADABLE, FINDING_KEY_DENIED};
	int refused = 0;
	for (int i = 0; i < FINDING_CODES; i++)
		refused += !finding_can_be_accepted((enum finding_code)i);
	cr_expect_eq(refused, 5);
	for (int i = 0; i < 5; i++)
		cr_expect_not(finding_can_be_accepted(never[i]));
}

Test(wire_finding, worst)
{
	struct findings f = {0};
	cr_expect_null(findings_worst(&f));
	cr_expect_not(findings_block(&f));
	findings_add(&f, FINDING_SAME_AS_LIVE, FINDING_INFO, "i");
	findings_add(&f, FINDING_MUST_STAPLE, FINDING_WARN, "w1");
	findings_add(&f, FINDING_NO_STATUS_SOURCE, FINDING_WARN, "w2");
	cr_expect_str_eq(findings_worst(&f)->text, "w1");
	cr_expect_not(findings_block(&f));
	findings_add(&f, FINDING_EXPIRED, FINDING_BLOCK, "b");
	cr_expect(findings_block(&f));
	cr_expect_str_eq(severity_name(findings_worst(&f)->severity), "block");
	findings_done(&f);
}

Test(wire_finding, text_is_cut_and_harmless)
{
	struct findings f = {0};
	char text[3000];
	memset(text, 'x', sizeof text);
	memcpy(text + 996, "\xc3\xa4\xc3\xa4", 4);
	text[sizeof text - 1] = '\0';
	findings_add(&f, FINDING_EXPIRED, FINDING_BLOCK, "%s", text);
	findings_add(&f, FINDING_EXPIRED, FINDING_BLOCK, "%s", "a\033[2Jb\n");
	size_t n = strlen(f.v[0].text);
	cr_expect(n <= 1000 && strcmp(f.v[0].text + n - 4, "x...") == 0, "%s", f.v[0].text + n - 8);
	cr_expect_str_eq(f.v[1].text, "a?[2Jb?");
	findings_done(&f);
}
