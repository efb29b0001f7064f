#include "test_files_help.h"

#include "site/audit.h"

static struct fault fault;

static struct audit *open_audit(void)
{
	struct audit *audit = audit_open(files_folder, &fault);
	cr_assert_not_null(audit, "%s", fault.text);
	return audit;
}

static void write_one(const char *text)
{
	struct audit *audit = open_audit();
	audit_write(audit, "test", "shop", NULL, "%s", text);
	audit_close(audit);
}

/* Goes over the whole log: each line that is JSON must hold the hash of the line before, whatever that was. Returns how
 * many lines there are; *ret_cut: how many are no JSON. */
static size_t verify(size_t *ret_cut)
{
	char *bytes, hex[DIGEST_HEX];
	size_t len, n = 0;
	struct digest last = {0};
	*ret_cut = 0;
	cr_assert_eq(files_read(files_folder, "audit.jsonl", 64 << 20, &bytes, &len, &fault), 0, "%s", fault.text);
	cr_expect(len == 0 || bytes[len - 1] == '\n', "the last line is not ended");
	for (char *line = bytes, *end; (end = memchr(line, '\n', len - (size_t)(line - bytes))); line = end + 1) {
		json_t *o = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
		n++;
		if (json_is_object(o)) {
			cr_expect_str_eq(json_string_value(json_object_get(o, "previous")), digest_text(&last, hex),
					 "line %zu", n);
		} else {
			*ret_cut += 1;
		}
		json_decref(o);
		last = hash_bytes(line, (size_t)(end - line));
	}
	free(bytes);
	return n;
}

static void expect_chain(size_t lines, size_t cut)
{
	size_t found_cut, found = verify(&found_cut);
	cr_expect_eq(found, lines, "%zu lines", found);
	cr_expect_eq(found_cut, cut, "%zu cut lines", found_cut);
}

FILES_TEST(audit, one_line_an_event_each_with_the_hash_of_the_one_before)
{
	struct audit *audit = open_audit();
	audit_write(audit, "started", NULL, NULL, "version %d", 1);
	audit_write(audit, "notice", "shop", json_pack("{si, ss}", "incident", 7, "case", "c"),
		    "two\nlines \"\xe6\x97\xa5\"");
	audit_close(audit);
	cr_expect_str_eq(files_syncs.log, " audit.jsonl audit.jsonl");
	cr_expect_eq(files_mode(files_folder, "audit.jsonl"), 0600);
	write_one("after a restart");
	expect_chain(3, 0);
	const char *second = strchr(files_get(files_folder, "audit.jsonl"), '\n') + 1;
	json_t *o = json_loadb(second, strcspn(second, "\n"), 0, NULL);
	cr_assert_not_null(o);
	cr_expect_str_eq(json_string_value(json_object_get(o, "event")), "notice");
	cr_expect_str_eq(json_string_value(json_object_get(o, "certificate")), "shop");
	cr_expect_str_eq(json_string_value(json_object_get(o, "text")), "two?lines \"\xe6\x97\xa5\"");
	cr_expect_str_eq(json_string_value(json_object_get(o, "case")), "c");
	cr_expect_eq(json_integer_value(json_object_get(o, "incident")), 7);
	json_decref(o);
}

FILES_TEST(audit, no_text_is_too_odd_for_it)
{
	write_one("latin-1 \xe9, C1 \xc2\x9b, cut \xe6\x97");
	expect_chain(1, 0);
	cr_expect_not_null(strstr(files_get(files_folder, "audit.jsonl"), "latin-1 ?, C1 ??, cut ??"));
}

FILES_TEST(audit, what_is_handed_over_cant_forge_the_chain)
{
	struct audit *audit = open_audit();
	audit_write(audit, "one", NULL, json_pack("{ss}", "previous", "forged"), "x");
	audit_write(audit, "two", NULL, NULL, "y");
	audit_close(audit);
	expect_chain(2, 0);
}

FILES_TEST(audit, goes_on_after_a_line_cut_off_at_any_byte)
{
	write_one("first");
	write_one("second");
	AUTO_FREE char *bytes = xstrdup(files_get(files_folder, "audit.jsonl"));
	size_t len = strlen(bytes), first = (size_t)(strchr(bytes, '\n') - bytes) + 1;
	for (size_t n = 0; n <= len; n++) {
		files_put_bytes(files_folder, "audit.jsonl", bytes, n);
		write_one("after the crash");
		bool whole = n == 0 || n == first - 1 || n == first || n >= len - 1;
		size_t before = n == 0 ? 0 : n <= first ? 1 : 2;
		expect_chain(before + 1, whole ? 0 : 1);
	}
}

FILES_TEST(audit, goes_on_after_zeros)
{
	write_one("first");
	AUTO_FREE char *bytes = xstrdup(files_get(files_folder, "audit.jsonl"));
	size_t len = strlen(bytes);
	AUTO_FREE char *zeros = xcalloc(1, len + 5000);
	memcpy(zeros, bytes, len);
	files_put_bytes(files_folder, "audit.jsonl", zeros, len + 5000);
	write_one("after the power cut");
	expect_chain(3, 1);
}

FILES_TEST(audit, goes_on_after_a_line_of_any_length)
{
	static const size_t lengths[] = {65000, 65535, 65536, 65537, 131072, 200000, 1000000};
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		AUTO_FREE char *much = xmalloc(lengths[i] + 1);
		memset(much, 'm', lengths[i]);
		much[lengths[i]] = '\0';
		(void)unlinkat(files_folder, "audit.jsonl", 0);
		write_one(much); /* the first line of the file */
		write_one("short");
		write_one(much);
		write_one("short");
		expect_chain(4, 0);
	}
}

FILES_TEST(audit, goes_on_where_lines_end_at_any_place_of_a_block)
{
	for (size_t fill = 65530; fill < 65546; fill++) {
		AUTO_FREE char *line = xmalloc(fill + 1);
		memset(line, 'x', fill);
		line[fill] = '\n';
		files_put_bytes(files_folder, "audit.jsonl", line, fill + 1); /* whole blocks, no JSON */
		write_one("next");
		expect_chain(2, 1);
		files_put_bytes(files_folder, "audit.jsonl", line, fill); /* cut off */
		write_one("next");
		expect_chain(2, 1);
		AUTO_CLOSE int fd = openat(files_folder, "audit.jsonl", O_WRONLY | O_APPEND | O_CLOEXEC);
		cr_assert_eq(write(fd, line, fill), (ssize_t)fill); /* cut off, with lines before it */
		write_one("next");
		expect_chain(4, 2);
	}
}

FILES_TEST(audit, a_full_disk_stops_nobody_and_breaks_no_chain)
{
	char text[6000];
	memset(text, 't', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	files_small_disk(64);
	struct audit *audit = open_audit();
	audit_write(audit, "first", NULL, NULL, "before");
	files_fill_disk();
	audit_write(audit, "lost", NULL, NULL, "%s", text); /* a part of it still fits into the last block */
	audit_write(audit, "lost", NULL, NULL, "%s", text);
	files_free_disk();
	audit_write(audit, "second", NULL, NULL, "after");
	audit_write(audit, "third", NULL, NULL, "after");
	audit_close(audit);
	size_t cut, lines = verify(&cut);
	cr_expect(lines - cut == 3 && cut <= 2, "%zu lines, %zu cut", lines, cut);
	write_one("after a restart");
	size_t again = verify(&cut);
	cr_expect_eq(again, lines + 1);
}

FILES_TEST(audit, a_failed_sync_breaks_no_chain)
{
	struct audit *audit = open_audit();
	audit_write(audit, "first", NULL, NULL, "x");
	files_syncs.fail_at = 1;
	audit_write(audit, "second", NULL, NULL, "its bytes are there all the same");
	audit_write(audit, "third", NULL, NULL, "x");
	audit_close(audit);
	expect_chain(3, 0);
}

FILES_TEST(audit, opens_on_a_full_disk_after_a_cut)
{
	char block[8192];
	files_small_disk(64);
	memset(block, 'x', sizeof block);
	write_one("first");
	AUTO_CLOSE int fd = openat(files_folder, "audit.jsonl", O_WRONLY | O_APPEND | O_CLOEXEC);
	struct stat st;
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_gt(write(fd, block, sizeof block - (size_t)st.st_size), 0); /* not one byte fits behind it */
	files_fill_disk();
	struct audit *audit = open_audit(); /* what was begun must be ended: recovery can't wait for an empty disk */
	audit_write(audit, "lost", NULL, NULL, "x");
	files_free_disk();
	audit_write(audit, "kept", NULL, NULL, "x");
	audit_close(audit);
	expect_chain(3, 1);
}

FILES_TEST(audit, a_link_in_its_place_is_not_followed)
{
	files_set_link(files_folder, "audit.jsonl", "elsewhere");
	cr_expect_null(audit_open(files_folder, &fault));
	cr_expect_eq(fault.code, -ELOOP);
	cr_expect_not(files_exist(files_folder, "elsewhere"));
	audit_close(NULL);
}

FILES_TEST(audit, what_need_not_wait_for_the_disk_is_in_the_chain_too)
{
	struct audit *audit = open_audit();
	audit_write_soon(audit, "test", "shop", NULL, "%s", "first");
	audit_sync(audit);
	audit_sync(audit);
	audit_write(audit, "test", "shop", NULL, "%s", "second");
	audit_write_soon(audit, "test", "shop", NULL, "%s", "third");
	audit_close(audit);
	write_one("fourth");
	expect_chain(4, 0);
}
