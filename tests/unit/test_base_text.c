#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"

/* ---- durations ---- */

Test(duration, is_read_with_its_unit)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {
		{"0s", 0},         {"250ms", 250},   {"30s", 30000},   {"15m", 900000}, {"24h", 86400000},
		{"5d", 432000000}, {"90m", 5400000}, {"1d", 86400000}, {"0005s", 5000}, {"3660d", 3660LL * 86400000},
		{"1ms", 1}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t ms = -1;
		cr_expect_eq(text_to_ms(rows[i].text, &ms), 0, "%s", rows[i].text);
		cr_expect_eq(ms, rows[i].ms, "%s: %lld", rows[i].text, (long long)ms);
	}
}

Test(duration, without_unit_or_with_junk_is_refused)
{
	static const char *const rows[] = {"",
					   "5",
					   "s",
					   "-5s",
					   "+5s",
					   " 5s",
					   "5 s",
					   "5s ",
					   "5S",
					   "5sec",
					   "1.5h",
					   "0x5s",
					   "5w",
					   "3661d",
					   "99999999999999999999s",
					   "9223372036854775807d",
					   "316224001s"};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t ms = 77;
		cr_expect_eq(text_to_ms(rows[i], &ms), -EINVAL, "%s", rows[i]);
		cr_expect_eq(ms, 77);
	}
}

Test(duration, is_written_in_the_largest_exact_unit)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {{0, "0s"},         {1, "1ms"},      {999, "999ms"},          {1000, "1s"},     {1500, "1500ms"},
		    {60000, "1m"},     {90000, "90s"},  {3600000, "1h"},         {86400000, "1d"}, {90000000, "25h"},
		    {432000000, "5d"}, {900000, "15m"}, {86400001, "86400001ms"}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char buf[24];
		int64_t back;
		cr_expect_str_eq(text_from_ms(rows[i].ms, buf), rows[i].text);
		cr_expect_eq(text_to_ms(buf, &back), 0);
		cr_expect_eq(back, rows[i].ms);
	}
}

Test(duration, for_people)
{
	char buf[48];
	cr_expect_str_eq(text_time_left(0, buf), "0 s");
	cr_expect_str_eq(text_time_left(59, buf), "59 s");
	cr_expect_str_eq(text_time_left(60, buf), "1 min");
	cr_expect_str_eq(text_time_left(3599, buf), "59 min");
	cr_expect_str_eq(text_time_left(85260, buf), "23 h 41 min");
	cr_expect_str_eq(text_time_left(86399, buf), "23 h 59 min");
	cr_expect_str_eq(text_time_left(3 * 86400 + 4 * 3600 + 59, buf), "3 d 4 h");
	cr_expect_str_eq(text_time_left(-12, buf), "overdue by 12 s");
	cr_expect_str_eq(text_time_left(-7200, buf), "overdue by 2 h 0 min");
}

/* ---- times ---- */

Test(time, with_zone_and_fraction)
{
	static const struct {
		const char *text;
		int64_t seconds;
	} rows[] = {{"1970-01-01T00:00:00Z", 0},
		    {"2026-11-23T17:50:00Z", 1795456200},
		    {"2026-11-23t17:50:00z", 1795456200},
		    {"2026-11-23 17:50:00Z", 1795456200},
		    {"2026-11-23T17:50:00.999999Z", 1795456200},
		    {"2026-11-24T02:50:00+09:00", 1795456200},
		    {"2026-11-23T12:20:00-05:30", 1795456200},
		    {"2026-11-23T17:50:00+00:00", 1795456200},
		    {"2026-11-23T17:50:00-00:00", 1795456200},
		    {"2026-11-23T17:50:00.5+00:00", 1795456200},
		    {"2024-02-29T00:00:00Z", 1709164800},
		    {"2000-02-29T23:59:59Z", 951868799},
		    {"9999-12-31T23:59:59Z", 253402300799},
		    {"2016-12-31T23:59:60Z", 1483228799},
		    {"1950-01-01T00:00:00Z", -631152000}, /* a private CA's notBefore */
		    {"0050-06-07T00:00:00Z", -60575731200}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t t = -1;
		cr_expect_eq(text_to_time(rows[i].text, &t), 0, "%s", rows[i].text);
		cr_expect_eq(t, rows[i].seconds, "%s: %lld", rows[i].text, (long long)t);
	}
}

Test(time, what_is_none_is_refused)
{
	static const char *const rows[] = {
		"",
		"now",
		"2026-11-23",
		"2026-11-23T17:50Z",
		"2026-11-23T17:50:00", /* no zone: whose hour? */
		"2026-11-23T17:50:00 UTC",
		"2026-11-23T17:50:00Zulu",
		"2026-11-23T17:50:00+9",
		"2026-11-23T17:50:00+09:00x",
		"2026-11-23T17:50:00+24:00",
		"2026-11-23T17:50:00+09:60",
		"2026-11-23T24:00:00Z",
		"2026-11-23T17:60:00Z",
		"2026-11-23T17:50:61Z",
		"2026-00-23T17:50:00Z",
		"2026-13-23T17:50:00Z",
		"2026-11-31T17:50:00Z",
		"2026-02-29T17:50:00Z",
		"2100-02-29T17:50:00Z",
		"2026-11-00T17:50:00Z",
		"26-11-23T17:50:00Z",
		"2026/11/23T17:50:00Z",
		"2026-11-23X17:50:00Z",
		"2026-11-23T05:-1:00Z",
		"2026-11-23T05:00:-1Z",
		"2026-11-23T05:00:+1Z",
		" 2026-11-23T05:00:00Z",
		"+026-11-23T05:00:00Z",
		"2026-1-2T3:4:5Z",
		"2026-11-23T17:50:00.Z",
		"2026-11-23T17:50:00+-9:00",
		"2026-11-23T17:50:00+ 9:00",
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t t;
		cr_expect_eq(text_to_time(rows[i], &t), -EINVAL, "%s", rows[i]);
	}
}

Test(time, there_and_back)
{
	static const int64_t rows[] = {-60589296000, -631152000, -1,         0,          1,
				       86399,        951782400,  1795456200, 4102444799, 253402300799};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char buf[32];
		int64_t t = -1;
		cr_expect_eq(text_to_time(text_from_time(rows[i], buf), &t), 0, "%s", buf);
		cr_expect_eq(t, rows[i], "%s", buf);
	}
	char buf[32];
	cr_expect_str_eq(text_from_time(1795456200, buf), "2026-11-23T17:50:00Z");
	cr_expect_str_eq(text_from_time_ms(1795456200007, buf), "2026-11-23T17:50:00.007Z");
	cr_expect_str_eq(text_from_time(INT64_MAX, buf), "?");
}

/* ---- hexadecimal ---- */

Test(hex, there_and_back)
{
	uint8_t all[256], back[256];
	char hex[513];
	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	text_hex(all, sizeof all, hex);
	cr_expect_eq(strncmp(hex, "000102030405060708090a0b0c0d0e0f10", 34), 0);
	cr_expect_str_eq(hex + 508, "feff");
	cr_expect_eq(text_unhex(hex, back, sizeof back), 0);
	cr_expect_arr_eq(all, back, sizeof all);
	cr_expect_eq(text_unhex("AbCd", back, 2), 0);
	cr_expect_eq(back[0] << 8 | back[1], 0xabcd);
	static const char *const bad[] = {"", "a", "abc", "abcde", "abcdef", "ab cd", "abcg", "ab-1", "0xab"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		back[0] = 0x77;
		cr_expect_eq(text_unhex(bad[i], back, 2), -EINVAL, "%s", bad[i]);
		cr_expect_eq(back[0], 0x77, "half of %s was taken", bad[i]);
	}
}

Test(digest, as_openssl_and_people_write_it)
{
	/* SHA-256 of "abc", FIPS 180-2 B.1 */
	static const char hex[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	char buf[DIGEST_HEX], colons[3 * 32];
	struct digest abc = hash_bytes("abc", 3), d, zero = {0};
	cr_expect_str_eq(digest_text(&abc, buf), hex);
	for (int i = 0; i < 32; i++)
		sprintf(colons + 3 * i, "%02X%s", abc.b[i], i < 31 ? ":" : "");
	cr_expect_eq(digest_parse(hex, &d), 0);
	cr_expect(digest_equal(&d, &abc));
	d = zero;
	cr_expect_eq(digest_parse(colons, &d), 0, "%s", colons);
	cr_expect(digest_equal(&d, &abc));
	cr_expect(digest_is_zero(&zero) && !digest_is_zero(&abc));
	zero.b[31] = 1;
	cr_expect_not(digest_is_zero(&zero));
	cr_expect_eq(digest_parse("", &d), -EINVAL);
	cr_expect_eq(digest_parse(hex + 1, &d), -EINVAL);
	AUTO_FREE char *longer = xasprintf("%s0", hex);
	cr_expect_eq(digest_parse(longer, &d), -EINVAL);
	longer[10] = 'x';
	longer[64] = '\0';
	cr_expect_eq(digest_parse(longer, &d), -EINVAL);
}

/* ---- what may be shown ---- */

static void expect_shown(const char *bytes, const char *shown)
{
	AUTO_FREE char *s = xstrdup(bytes);
	cr_expect_eq(text_printable(s), s);
	cr_expect_str_eq(s, shown);
}

Test(printable, no_byte_is_a_command)
{
	expect_shown("", "");
	expect_shown("plain text, with = and \"", "plain text, with = and \"");
	expect_shown("\x1b[31mred\x1b[0m", "?[31mred?[0m");
	expect_shown("two\nlines\r\ttab\x7f\x01", "two?lines??tab??");
	expect_shown("\xe6\x97\xa5\xe6\x9c\xac caf\xc3\xa9 \xf0\x9f\x94\x91",
		     "\xe6\x97\xa5\xe6\x9c\xac caf\xc3\xa9 \xf0\x9f\x94\x91");
	for (int c = 1; c < 256; c++) {
		char one[] = {'a', (char)c, 'b', '\0'};
		text_printable(one);
		cr_expect(one[0] == 'a' && one[2] == 'b');
		cr_expect_eq(one[1], c >= 0x20 && c < 0x7f ? c : '?', "byte %d", c);
	}
	AUTO_FREE char *csi = text_printable(xstrdup("\xc2\x9b"
						     "31m")); /* C1: CSI in UTF-8 */
	cr_expect_str_eq(csi, "??31m");
	expect_shown("latin-1 \xe9t\xe9", "latin-1 ?t?");
	expect_shown("cut \xe6\x97", "cut ??");
	expect_shown("\xc0\xaf \xe0\x80\xaf \xf0\x80\x80\xaf", "?? ??? ????"); /* overlong */
	expect_shown("\xed\xa0\x80 \xf4\x90\x80\x80 \xf5\x80\x80\x80", "??? ???? ????");
	expect_shown("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xc2\xa0",
		     "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xc2\xa0");
}

Test(name, of_a_certificate_or_server)
{
	char longest[66];
	memset(longest, 'a', sizeof longest);
	longest[64] = '\0';
	cr_expect(text_is_name(longest));
	longest[64] = 'a';
	longest[65] = '\0';
	static const char *const good[] = {"a", "shop", "Shop.example-2_x", "0", "_x", "a..b"};
	static const char *const bad[] = {"",    ".",           "..", ".hidden", "-n",   "a/b", "a b",
					  "a\n", "caf\xc3\xa9", "*",  "a:b",     "a\\b", "a%s"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect(text_is_name(good[i]), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_not(text_is_name(bad[i]), "%s", bad[i]);
	cr_expect_not(text_is_name(longest));
}

/* ---- names that a certificate covers (RFC 6125 6.4) ---- */

Test(covers, names_and_addresses)
{
	static const struct {
		const char *pattern, *name;
		bool covers;
	} rows[] = {
		{"a.test", "a.test", true},
		{"A.Test", "a.tEST", true},
		{"a.test.", "a.test", true},
		{"a.test", "a.test.", true},
		{"a.test", "b.test", false},
		{"a.test", "a.tes", false},
		{"a.tes", "a.test", false},
		{"a.test", "x.a.test", false},
		{"x.a.test", "a.test", false},
		{"*.a.test", "x.a.test", true},
		{"*.A.test", "X.a.TEST.", true},
		{"*.a.test", "a.test", false},
		{"*.a.test", "x.y.a.test", false}, /* the whole leftmost label only */
		{"*.a.test", ".a.test", false},
		{"*.a.test", "*.a.test", true}, /* a wildcard that must be covered */
		{"*.a.test", "*.b.test", false},
		{"x.a.test", "*.a.test", false},
		{"*.test", "*.a.test", false},
		{"w*.a.test", "www.a.test", false},
		{"*", "test", false},
		{"*.", "test", false},
		{"", "test", false},
		{"a.test", "", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"*.0.2.1", "192.0.2.1", false}, /* an address is no name */
		{"192.0.2.1", "192.0.2.1.", false},
		{"2001:db8::1", "2001:0DB8:0:0:0:0:0:1", true},
		{"2001:db8::1", "2001:db8::2", false},
		{"::ffff:192.0.2.1", "192.0.2.1", false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_expect_eq(text_name_covers(rows[i].pattern, rows[i].name), rows[i].covers, "%s %s", rows[i].pattern,
			     rows[i].name);
}

Test(covers, the_first_name_that_is_missing_is_named)
{
	struct words have = {0}, want = {0};
	const char *missing = "untouched";
	words_add(&have, "*.shop.test");
	words_add(&have, "shop.test");
	cr_expect(text_names_cover(&have, &want, &missing), "nothing is asked for");
	words_add(&want, "shop.test");
	words_add(&want, "www.shop.test");
	cr_expect(text_names_cover(&have, &want, &missing));
	cr_expect_str_eq(missing, "untouched");
	words_add(&want, "a.b.shop.test");
	words_add(&want, "other.test");
	cr_expect_not(text_names_cover(&have, &want, &missing));
	cr_expect_eq(missing, want.v[2]);
	cr_expect_not(text_names_cover(&have, &want, NULL));
	words_done(&have);
	cr_expect_not(text_names_cover(&have, &want, &missing));
	cr_expect_eq(missing, want.v[0]);
	words_done(&want);
}

/* ---- buffers, lists, faults ---- */

Test(buffer, grows_and_keeps_every_byte)
{
	struct text t = {0};
	for (int i = 0; i < 3000; i++)
		text_add(&t, "%04d", i);
	cr_assert_eq(t.len, 12000);
	cr_expect_eq(strlen(t.s), 12000);
	cr_expect_eq(strncmp(t.s + 4 * 2999, "2999", 5), 0);
	text_add_bytes(&t, "a\0b", 3);
	cr_expect_eq(t.len, 12003);
	cr_expect_eq(memcmp(t.s + 12000, "a\0b", 4), 0, "a NUL within, a NUL behind");
	text_done(&t);
	cr_expect(!t.s && !t.len && !t.cap);
	text_add_bytes(&t, NULL, 0);
	cr_expect_str_eq(t.s, "");
	text_done(&t);
}

Test(words, own_copies)
{
	struct words w = {0}, copy = {0};
	char changing[] = "one";
	words_add(&w, changing);
	changing[0] = 'X';
	words_add_n(&w, "two and more", 3);
	cr_expect(words_has(&w, "one") && words_has(&w, "two") && !words_has(&w, "ONE") && !words_has(&w, ""));
	words_copy(&copy, &w);
	words_done(&w);
	cr_expect(w.n == 0 && !w.v);
	AUTO_FREE char *joined = words_join(&copy, ", "), *none = words_join(&w, ", ");
	cr_expect_str_eq(joined, "one, two");
	cr_expect_str_eq(none, "");
	words_done(&copy);
}

Test(fault, trouble_of_the_machine_says_nothing_of_the_file)
{
	const int passing[] = {-EMFILE, -ENFILE, -ENOMEM, -EIO, -ENOSPC, -EINTR};
	for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
		cr_expect(fault_may_pass(passing[i]), "%s", strerror(-passing[i]));
	cr_expect_not(fault_may_pass(-EACCES));
	cr_expect_not(fault_may_pass(-ENOENT));
}

Test(fault, says_what_and_why_and_never_too_much)
{
	struct fault f = {0};
	cr_expect_eq(fault_set(&f, -EPERM, "no %s", "way"), -EPERM);
	cr_expect(f.code == -EPERM && strcmp(f.text, "no way") == 0);
	cr_expect_eq(fault_errno(&f, ENOENT, "can't open %s", "x"), -ENOENT);
	cr_expect_str_eq(f.text, "can't open x: No such file or directory");
	cr_expect_eq(fault_errno(&f, -ENOENT, "y"), -ENOENT);
	cr_expect_eq(fault_prefix(&f, f.code, "shop"), -ENOENT);
	cr_expect_str_eq(f.text, "shop: y: No such file or directory");
	cr_expect_eq(fault_set(NULL, -EIO, "dropped"), -EIO);
	cr_expect_eq(fault_errno(NULL, EIO, "dropped"), -EIO);
	char much[3000];
	memset(much, 'm', sizeof much - 1);
	much[sizeof much - 1] = '\0';
	fault_set(&f, -EIO, "%s", much);
	fault_prefix(&f, f.code, "%s", much);
	cr_expect_eq(strlen(f.text), sizeof f.text - 1);
	fault_errno(&f, EIO, "%s", much);
	cr_expect_eq(strlen(f.text), sizeof f.text - 1);
}
