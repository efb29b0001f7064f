#include "test_files_help.h"

#include "swap/denied.h"

#define ASSERT_OK(call) cr_assert_eq(call, 0, "%s", fault.text)
#define SINCE           1795449600
static struct fault fault;

static struct digest digest_of(uint8_t byte)
{
	struct digest d;
	memset(d.b, byte, sizeof d.b);
	return d;
}

static bool add(struct denied *d, bool is_key, uint8_t byte, bool confirmed, unsigned int incident, const char *reason)
{
	const struct denial denial = {.is_key = is_key,
				      .digest = digest_of(byte),
				      .since = SINCE,
				      .confirmed = confirmed,
				      .incident = incident,
				      .reason = (char *)(uintptr_t)reason};
	return denied_add(d, &denial);
}

static const struct denial *find(const struct denied *d, bool is_key, uint8_t byte)
{
	const struct digest digest = digest_of(byte);
	return denied_find(d, is_key, &digest);
}

FILES_TEST(denied, there_and_back)
{
	struct denied d, back;
	ASSERT_OK(denied_load(files_folder, &d, &fault)); /* no file: nothing is refused */
	cr_expect_eq(d.n, 0);
	cr_expect(add(&d, true, 0xab, true, 0, "found on a USB stick:  two spaces, caf\xc3\xa9"));
	cr_expect(add(&d, false, 0xab, false, 4000000000, "noticed\nas to be revoked"));
	cr_expect(add(&d, true, 0x01, false, 3, ""));
	ASSERT_OK(denied_save(files_folder, &d, &fault));
	AUTO_FREE char *syncs = xasprintf(" .denied.new %s", files_name());
	cr_expect_str_eq(files_syncs.log, syncs);
	cr_expect_eq(files_mode(files_folder, "denied"), 0600);
	ASSERT_OK(denied_load(files_folder, &back, &fault));
	cr_assert_eq(back.n, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct denial *a = &d.v[i], *b = &back.v[i];
		cr_expect(a->is_key == b->is_key && digest_equal(&a->digest, &b->digest) && b->since == SINCE &&
			  a->confirmed == b->confirmed && a->incident == b->incident);
		cr_expect_str_eq(a->reason, b->reason);
	}
	cr_expect_str_eq(back.v[1].reason, "noticed?as to be revoked", "one line an entry");
	denied_done(&d);
	denied_done(&back);
	ASSERT_OK(denied_save(files_folder, &d, &fault));
	cr_expect_str_eq(files_get(files_folder, "denied"), "");
	ASSERT_OK(denied_load(files_folder, &d, &fault));
	cr_expect_eq(d.n, 0);
}

FILES_TEST(denied, keys_and_certificates_are_not_mixed_up)
{
	struct denied d = {0};
	add(&d, true, 1, true, 0, "a key");
	add(&d, false, 2, true, 0, "a certificate");
	cr_expect_str_eq(find(&d, true, 1)->reason, "a key");
	cr_expect_str_eq(find(&d, false, 2)->reason, "a certificate");
	cr_expect_null(find(&d, false, 1));
	cr_expect_null(find(&d, true, 2));
	cr_expect_null(find(&d, true, 3));
	denied_done(&d);
}

#define HEX  "abababababababababababababababababababababababababababababababab"
#define GOOD "key " HEX " 2026-11-23T16:00:00Z confirmed 0 good\n"

static void expect_refused(const char *bytes, size_t len)
{
	struct denied d = {.n = 77};
	files_put_bytes(files_folder, "denied", bytes, len);
	fault = (struct fault){0};
	cr_expect_lt(denied_load(files_folder, &d, &fault), 0, "taken: %s", bytes);
	cr_expect(d.n == 0 && !d.v && *fault.text, "%s", bytes);
}

FILES_TEST(denied, a_line_that_cant_be_read_allows_nothing)
{
	static const char *const lines[] = {
		"garbage",
		"keys " HEX " 2026-11-23T16:00:00Z confirmed 0 x",
		"KEY " HEX " 2026-11-23T16:00:00Z confirmed 0 x",
		"key " HEX "ab 2026-11-23T16:00:00Z confirmed 0 x",
		"key abab 2026-11-23T16:00:00Z confirmed 0 x",
		"key z" HEX " 2026-11-23T16:00:00Z confirmed 0 x",
		"key " HEX " yesterday confirmed 0 x",
		"key " HEX " 2026-13-23T16:00:00Z confirmed 0 x",
		"key " HEX " 2026-11-23T16:00:00Z maybe 0 x",
		"key " HEX " 2026-11-23T16:00:00Z confirmed x",
		"key " HEX " 2026-11-23T16:00:00Z confirmed",
		"key " HEX " 2026-11-23T16:00:00Z",
		("key " HEX),
		"key",
		"# a comment",
	};
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		AUTO_FREE char *file = xasprintf(GOOD "%s\n" GOOD, lines[i]);
		expect_refused(file, strlen(file));
		cr_expect_not_null(strstr(fault.text, "line 2"), "%s", fault.text);
	}
}

FILES_TEST(denied, cut_off_within_a_line_is_refused)
{
	for (size_t n = strlen(GOOD) + 1; n < 2 * strlen(GOOD) - strlen("0 good\n"); n++)
		expect_refused(GOOD GOOD, n);
}

/* After a power cut some filesystems show zeros where a file was being written. */
FILES_TEST(denied, a_zero_byte_hides_nothing_behind_it)
{
	char zeros[300] = {0};
	expect_refused(zeros, sizeof zeros);
	memcpy(zeros, GOOD, strlen(GOOD));
	memcpy(zeros + 200, GOOD, 100);
	expect_refused(zeros, sizeof zeros);
}

FILES_TEST(denied, a_file_that_cant_be_read_is_an_error)
{
	struct denied d;
	files_set_link(files_folder, "denied", "elsewhere");
	cr_expect_eq(denied_load(files_folder, &d, &fault), -ELOOP);
	cr_assert_eq(unlinkat(files_folder, "denied", 0), 0);
	AUTO_CLOSE int fd = openat(files_folder, "denied", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(ftruncate(fd, 17 * 1024 * 1024), 0);
	cr_expect_eq(denied_load(files_folder, &d, &fault), -EFBIG);
	files_syncs.fail_at = 1;
	d = (struct denied){0};
	cr_expect_eq(denied_save(files_folder, &d, &fault), -EIO);
}

FILES_TEST(denied, adding_makes_stricter_only)
{
	struct denied d = {0};
	char reason[] = "first";
	cr_expect(add(&d, true, 1, false, 5, reason));
	reason[0] = 'X';
	cr_expect_str_eq(find(&d, true, 1)->reason, "first", "a copy");
	cr_expect_not(add(&d, true, 1, false, 5, "again"));
	cr_expect(add(&d, true, 1, true, 5, "confirmed"));
	cr_expect(find(&d, true, 1)->confirmed);
	cr_expect_not(add(&d, true, 1, false, 5, "weaker"));
	cr_expect(find(&d, true, 1)->confirmed);
	cr_expect_eq(d.n, 1);
	denied_done(&d);
}

FILES_TEST(denied, confirmed_by_a_person)
{
	struct denied d = {0};
	const struct digest one = digest_of(1), two = digest_of(2), three = digest_of(3);
	add(&d, true, 1, false, 5, "key");
	add(&d, false, 2, false, 5, "certificate");
	cr_expect(denied_confirm(&d, &one));
	cr_expect_not(denied_confirm(&d, &one), "it was already");
	cr_expect_not(denied_confirm(&d, &two), "a certificate is no key");
	cr_expect_not(denied_confirm(&d, &three));
	cr_expect(find(&d, true, 1)->confirmed);
	cr_expect_not(find(&d, false, 2)->confirmed);
	denied_done(&d);
}

FILES_TEST(denied, removed_by_digest_and_by_incident)
{
	struct denied d = {0};
	const struct digest two = digest_of(2), nine = digest_of(9);
	add(&d, true, 1, false, 5, "a");
	add(&d, true, 2, true, 5, "b");
	add(&d, false, 2, false, 5, "c");
	add(&d, true, 3, false, 6, "d");
	add(&d, true, 4, false, 5, "e");
	cr_expect_eq(denied_remove_incident(&d, 7), 0);
	cr_expect_eq(denied_remove_incident(&d, 5), 3, "what is confirmed stays");
	cr_expect_eq(d.n, 2);
	cr_expect_str_eq(find(&d, true, 2)->reason, "b");
	cr_expect_str_eq(find(&d, true, 3)->reason, "d");
	add(&d, false, 2, false, 8, "c");
	cr_expect_eq(denied_remove(&d, &nine), 0);
	cr_expect_eq(denied_remove(&d, &two), 2, "as key and as certificate");
	cr_expect_eq(d.n, 1);
	cr_expect_not_null(find(&d, true, 3));
	denied_done(&d);
}

/* One key in two certificates: a notice opens an incident for each. */
FILES_TEST(denied, a_withdrawn_notice_lifts_nothing_that_another_demands)
{
	struct denied d = {0};
	const struct digest key = digest_of(1);
	add(&d, true, 1, false, 5, "shop: key compromised");
	cr_expect(add(&d, true, 1, false, 6, "mail: key compromised"));
	cr_expect_not(add(&d, true, 1, false, 6, "mail: key compromised"));
	ASSERT_OK(denied_save(files_folder, &d, &fault));
	denied_done(&d);
	ASSERT_OK(denied_load(files_folder, &d, &fault));
	denied_remove_incident(&d, 5);
	cr_assert_not_null(find(&d, true, 1), "the key would be taken again while incident 6 is open");
	denied_remove_incident(&d, 6);
	cr_expect_null(find(&d, true, 1));
	add(&d, true, 1, false, 5, "shop: key compromised");
	add(&d, true, 1, false, 6, "mail: key compromised");
	cr_expect(denied_confirm(&d, &key));
	denied_remove_incident(&d, 5);
	denied_remove_incident(&d, 6);
	cr_assert_not_null(find(&d, true, 1));
	cr_expect(find(&d, true, 1)->confirmed);
	denied_remove(&d, &key);
	cr_expect_null(find(&d, true, 1), "a person lifts all of it");
	add(&d, true, 1, false, 5, "shop: key compromised");
	add(&d, true, 1, false, 6, "mail: key compromised");
	cr_expect(add(&d, true, 1, true, 0, "a person"), "stricter");
	denied_remove_incident(&d, 5);
	denied_remove_incident(&d, 6);
	cr_expect(find(&d, true, 1) && find(&d, true, 1)->confirmed);
	denied_done(&d);
}
