#include "test_files_help.h"

#include "swap/record.h"

#define ASSERT_OK(call) cr_assert_eq(call, 0, "%s", fault.text)
static struct fault fault;

FILES_TEST(record, there_and_back)
{
	struct words names = {0};
	struct digest d = hash_bytes("abc", 3);
	json_t *record, *back;
	words_add(&names, "a");
	words_add(&names, "\xe6\x97\xa5");
	record = json_pack("{ss, sI, sb, so, so, so, so}", "string", "x", "number", (json_int_t)INT64_MAX, "bool", 1,
			   "digest", record_from_digest(&d), "words", record_from_words(&names), "time",
			   record_from_time(1795449600), "never", record_from_time(0));
	ASSERT_OK(record_save(files_folder, "r.json", record, &fault));
	ASSERT_OK(record_load(files_folder, "r.json", &back, &fault));
	cr_expect(json_equal(record, back));
	struct reader r = {.object = back};
	cr_expect_str_eq(record_string(&r, "string"), "x");
	cr_expect_eq(record_number(&r, "number"), INT64_MAX);
	cr_expect(record_bool(&r, "bool"));
	struct digest e = record_digest(&r, "digest");
	cr_expect(digest_equal(&d, &e));
	struct words w = record_words(&r, "words");
	cr_expect(w.n == 2 && strcmp(w.v[1], names.v[1]) == 0);
	cr_expect_eq(record_time(&r, "time"), 1795449600);
	cr_expect_eq(record_time(&r, "never"), 0);
	cr_expect_not_null(record_array(&r, "words"));
	cr_expect_not(r.failed, "%s", r.field);
	words_done(&w);
	words_done(&names);
	json_decref(record);
	json_decref(back);
}

FILES_TEST(record, the_first_wrong_field_is_named)
{
	json_t *o = json_pack("{ss, sI, s[ss], s[si], sn}", "s", "x", "n", (json_int_t)1, "w", "a", "b", "mixed", "a",
			      1, "null");
	struct reader r = {.object = o};
	cr_expect_str_eq(record_string(&r, "missing"), "");
	cr_expect(r.failed && strcmp(r.field, "missing") == 0);
	cr_expect_eq(record_number(&r, "s"), 0);
	cr_expect_str_eq(r.field, "missing");
	static const char *const fields[] = {"n", "w", "null", "none"};
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		r = (struct reader){.object = o};
		cr_expect(*record_string(&r, fields[i]) == '\0' && r.failed, "%s", fields[i]);
		r = (struct reader){.object = o};
		cr_expect(!record_bool(&r, fields[i]) && r.failed, "%s", fields[i]);
		r = (struct reader){.object = o};
		(void)record_digest(&r, fields[i]);
		cr_expect(r.failed, "%s", fields[i]);
	}
	r = (struct reader){.object = o};
	struct words w = record_words(&r, "mixed");
	cr_expect(r.failed && strcmp(r.field, "mixed") == 0);
	words_done(&w);
	r = (struct reader){.object = o};
	w = record_words(&r, "s");
	cr_expect(r.failed && !w.n);
	r = (struct reader){.object = o};
	cr_expect(record_time(&r, "s") == 0 && r.failed);
	r = (struct reader){.object = o};
	cr_expect(record_time(&r, "none") == 0 && r.failed);
	r = (struct reader){.object = o};
	cr_expect(record_array(&r, "s") == NULL && r.failed);
	json_decref(o);
}

FILES_TEST(record, damaged_files_are_refused)
{
	static const char *const rows[] = {
		"", "{", "[]", "null", "{\"a\": 1, \"a\": 2}", "{} x", "{\"a\": \"\xff\"}", "{\"a\": 1e999}"};
	json_t *o = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		files_put(files_folder, "r.json", rows[i]);
		cr_expect_eq(record_load(files_folder, "r.json", &o, &fault), -EBADMSG, "%s", rows[i]);
		cr_expect_not_null(strstr(fault.text, "r.json is damaged"));
	}
	AUTO_FREE char *deep = xcalloc(1, 200001);
	memset(deep, '[', 200000);
	memcpy(deep, "{\"a\":", 5);
	files_put(files_folder, "r.json", deep);
	cr_expect_eq(record_load(files_folder, "r.json", &o, &fault), -EBADMSG);
	AUTO_CLOSE int fd = openat(files_folder, "big.json", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(ftruncate(fd, RECORD_MAX + 1), 0);
	cr_expect_eq(record_load(files_folder, "big.json", &o, &fault), -EFBIG);
	cr_expect_null(o);
}

/* A list without one of its words would be another list. */
FILES_TEST(record, words_that_json_cant_hold_are_no_record)
{
	struct words w = {0};
	words_add(&w, "a.test");
	words_add(&w, "latin-1 \xe9");
	json_t *array = record_from_words(&w);
	cr_expect_null(array);
	json_decref(array);
	words_done(&w);
	array = record_from_words(&w);
	cr_expect(array && json_array_size(array) == 0);
	json_decref(array);
}
