#include "test_files_help.h"

#include <jansson.h>

#include "swap/meta.h"

#define ASSERT_OK(call) cr_assert_eq(call, 0, "%s", fault.text)
static struct fault fault;

static struct meta make_meta(void)
{
	struct meta m = {.number = 7,
			 .sha256 = hash_bytes("1", 1),
			 .spki = hash_bytes("2", 1),
			 .issuer_spki = hash_bytes("3", 1),
			 .serial = xstrdup("1a2b"),
			 .issuer = xstrdup("CN=Test \"CA\",O=\xe6\x97\xa5"),
			 .issuer_ski = xstrdup("0a1b"),
			 .subject = xstrdup("CN=shop.test"),
			 .key_type = xstrdup("rsa-2048"),
			 .origin = xstrdup("drop box"),
			 .not_before = 1795449600,
			 .not_after = 253402300799,
			 .made_at = 1795449601,
			 .publicly_trusted = true};
	words_add(&m.names, "shop.test");
	words_add(&m.names, "*.shop.test");
	words_add(&m.accepted, "SCT_MISSING");
	m.files = xcalloc(STORE_FILES, sizeof *m.files);
	for (unsigned int i = 0; i < STORE_FILES; i++)
		m.files[i] = hash_bytes(&i, sizeof i);
	return m;
}

static void expect_same(const struct meta *a, const struct meta *b)
{
	AUTO_FREE char *names_a = words_join(&a->names, " "), *names_b = words_join(&b->names, " ");
	AUTO_FREE char *accepted_a = words_join(&a->accepted, " "), *accepted_b = words_join(&b->accepted, " ");
	cr_expect(a->number == b->number && a->not_before == b->not_before && a->not_after == b->not_after &&
		  a->made_at == b->made_at && a->publicly_trusted == b->publicly_trusted);
	cr_expect(digest_equal(&a->sha256, &b->sha256) && digest_equal(&a->spki, &b->spki) &&
		  digest_equal(&a->issuer_spki, &b->issuer_spki));
	cr_expect_str_eq(a->serial, b->serial);
	cr_expect_str_eq(a->issuer, b->issuer);
	cr_expect_str_eq(a->issuer_ski, b->issuer_ski);
	cr_expect_str_eq(a->subject, b->subject);
	cr_expect_str_eq(a->key_type, b->key_type);
	cr_expect_str_eq(a->origin, b->origin);
	cr_expect_str_eq(names_a, names_b);
	cr_expect_str_eq(accepted_a, accepted_b);
	cr_expect_arr_eq(a->files, b->files, STORE_FILES * sizeof *a->files);
}

FILES_TEST(meta, every_field_comes_back_and_is_copied)
{
	struct meta m = make_meta(), back, copy = {0};
	ASSERT_OK(meta_save(files_folder, &m, &fault));
	ASSERT_OK(meta_load(files_folder, &back, &fault));
	expect_same(&m, &back);
	meta_copy(&copy, &back);
	meta_done(&back);
	cr_expect(!back.number && !back.serial && !back.names.v);
	expect_same(&m, &copy);
	meta_done(&copy);
	m.not_before = -631152000; /* 1950, as some private roots have it */
	ASSERT_OK(meta_save(files_folder, &m, &fault));
	ASSERT_OK(meta_load(files_folder, &back, &fault));
	expect_same(&m, &back);
	meta_done(&back);
	meta_done(&m);
	meta_done(&m);
}

FILES_TEST(meta, cut_off_or_damaged_is_an_error_and_never_a_crash)
{
	struct meta m = make_meta();
	ASSERT_OK(meta_save(files_folder, &m, &fault));
	meta_done(&m);
	AUTO_FREE char *bytes = xstrdup(files_get(files_folder, "meta.json"));
	size_t len = strlen(bytes);
	for (size_t n = 0; n < len; n++) {
		files_put_bytes(files_folder, "meta.json", bytes, n);
		cr_expect_eq(meta_load(files_folder, &m, &fault), -EBADMSG, "%zu bytes", n);
	}
	for (size_t i = 0; i < len; i++) {
		char was = bytes[i];
		bytes[i] = "\"}9\xff"[i % 4];
		files_put_bytes(files_folder, "meta.json", bytes, len);
		if (meta_load(files_folder, &m, &fault) == 0)
			meta_done(&m);
		bytes[i] = was;
	}
}

FILES_TEST(meta, each_field_is_needed)
{
	struct meta m = make_meta();
	json_error_t error;
	ASSERT_OK(meta_save(files_folder, &m, &fault));
	meta_done(&m);
	AUTO_FREE char *bytes = xstrdup(files_get(files_folder, "meta.json"));
	json_t *whole = json_loads(bytes, 0, &error);
	const char *key;
	json_t *value;
	json_object_del(whole, "issuer_ski"); /* older ones have none */
	cr_assert_eq(json_object_size(whole), 16);
	json_object_foreach(whole, key, value)
	{
		json_t *without = json_copy(whole);
		json_object_del(without, key);
		AUTO_FREE char *dumped = json_dumps(without, 0);
		json_decref(without);
		files_put(files_folder, "meta.json", dumped);
		cr_expect_eq(meta_load(files_folder, &m, &fault), -EBADMSG, "without %s", key);
		AUTO_FREE char *text = xasprintf("meta.json is damaged: %s is missing or wrong", key);
		cr_expect_str_eq(fault.text, text);
	}
	json_array_remove(json_object_get(whole, "files"), 4);
	AUTO_FREE char *dumped = json_dumps(whole, 0);
	json_decref(whole);
	files_put(files_folder, "meta.json", dumped);
	cr_expect_eq(meta_load(files_folder, &m, &fault), -EBADMSG, "a file's digest is missing");
}

FILES_TEST(meta, names_that_json_cant_hold_are_an_error)
{
	struct meta m = make_meta();
	words_add(&m.names, "latin-1 \xe9");
	cr_expect_eq(meta_save(files_folder, &m, &fault), -EINVAL);
	free(m.names.v[--m.names.n]);
	free(m.subject);
	m.subject = xstrdup("\xff");
	cr_expect_eq(meta_save(files_folder, &m, &fault), -EINVAL);
	cr_expect_str_eq(files_all(files_folder), "");
	meta_done(&m);
}
