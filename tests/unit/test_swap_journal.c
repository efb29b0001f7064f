#include "test_files_help.h"

#include "swap/journal.h"

#define ASSERT_OK(call) cr_assert_eq(call, 0, "%s", fault.text)
static struct fault fault;

static struct digest digest_of(unsigned int first)
{
	struct digest d;
	for (unsigned int i = 0; i < sizeof d.b; i++)
		d.b[i] = (uint8_t)(first + i);
	return d;
}

/* No two fields hold the same value, and none its default. */
static struct journal *make_journal(void)
{
	struct journal *j = journal_new(7, 2, 3);
	j->txn.state = TXN_RB_STARTING;
	j->txn.tries_left = 2;
	j->started_at_ms = 1795449600123;
	j->ended_at_ms = 1795449600456;
	for (unsigned int i = 0; i < 2; i++) {
		j->certificates[i] = (struct journal_certificate){.name = xasprintf("shop%u", i),
								  .old_number = 10 + i,
								  .new_number = 20 + i,
								  .old_sha256 = digest_of(1 + i),
								  .new_sha256 = digest_of(101 + i),
								  .old_key = (uint8_t)(1 + i),
								  .new_key = (uint8_t)(3 + i)};
		j->txn.certificates[i] = (struct txn_certificate){
			.disk = i ? TXN_DISK_FOREIGN : TXN_DISK_NEW, .first = !i, .old_refused = i, .new_refused = !i};
	}
	for (unsigned int i = 0; i < 3; i++) {
		j->servers[i] = xasprintf("server%u", i);
		j->txn.servers[i] = (struct txn_server){
			.ran = i == 0, .served = i == 1, .runs = i == 2, .wire = (enum txn_wire)(TXN_WIRE_OTHER + i)};
	}
	j->nplaces = 2;
	j->places = xcalloc(2, sizeof *j->places);
	j->places[0] = (struct journal_place){.endpoint = xstrdup("[::1]:443"),
					      .server_name = xstrdup("shop.test"),
					      .starttls = 2,
					      .proxy_protocol = true,
					      .version = 2,
					      .before = digest_of(50),
					      .turns = 1,
					      .server = 2,
					      .belongs = 1};
	j->places[1] = (struct journal_place){
		.endpoint = xstrdup("127.0.0.1:25"), .server_name = xstrdup(""), .turns = -1, .server = -1};
	journal_reason(j, "caf\xc3\xa9: \"%s\"", "why\n");
	return j;
}

static void expect_same(const struct journal *a, const struct journal *b)
{
	cr_assert(a->id == b->id && a->txn.ncertificates == b->txn.ncertificates &&
		  a->txn.nservers == b->txn.nservers && a->nplaces == b->nplaces);
	cr_expect(a->txn.state == b->txn.state && a->txn.tries_left == b->txn.tries_left);
	cr_expect(a->started_at_ms == b->started_at_ms && a->ended_at_ms == b->ended_at_ms);
	cr_expect_str_eq(a->reason, b->reason);
	for (size_t i = 0; i < a->txn.ncertificates; i++) {
		const struct journal_certificate *x = &a->certificates[i], *y = &b->certificates[i];
		const struct txn_certificate *f = &a->txn.certificates[i], *g = &b->txn.certificates[i];
		cr_expect_str_eq(x->name, y->name);
		cr_expect(x->old_number == y->old_number && x->new_number == y->new_number);
		cr_expect(digest_equal(&x->old_sha256, &y->old_sha256) && digest_equal(&x->new_sha256, &y->new_sha256));
		cr_expect(x->old_key == y->old_key && x->new_key == y->new_key);
		cr_expect(f->disk == g->disk && f->first == g->first && f->old_refused == g->old_refused &&
			  f->new_refused == g->new_refused);
	}
	for (size_t i = 0; i < a->txn.nservers; i++) {
		const struct txn_server *f = &a->txn.servers[i], *g = &b->txn.servers[i];
		cr_expect_str_eq(a->servers[i], b->servers[i]);
		cr_expect(f->ran == g->ran && f->served == g->served && f->runs == g->runs && f->wire == g->wire);
	}
	for (size_t i = 0; i < a->nplaces; i++) {
		const struct journal_place *x = &a->places[i], *y = &b->places[i];
		cr_expect_str_eq(x->endpoint, y->endpoint);
		cr_expect_str_eq(x->server_name, y->server_name);
		cr_expect(x->starttls == y->starttls && x->proxy_protocol == y->proxy_protocol &&
			  digest_equal(&x->before, &y->before) && x->turns == y->turns && x->server == y->server &&
			  x->belongs == y->belongs);
	}
}

static void expect_round_trip(const struct journal *j)
{
	struct journal *back = NULL;
	ASSERT_OK(journal_save(files_folder, j, &fault));
	ASSERT_OK(journal_load(files_folder, j->id, &back, &fault));
	expect_same(j, back);
	journal_free(back);
}

FILES_TEST(journal, every_field_comes_back)
{
	struct journal *j = make_journal();
	cr_expect_str_eq(j->reason, "caf\xc3\xa9: \"why?\"");
	expect_round_trip(j);
	AUTO_FREE char *syncs = xasprintf(" .000007.json.new %s", files_name());
	cr_expect_str_eq(files_syncs.log, syncs);
	cr_expect_eq(files_mode(files_folder, "000007.json"), 0600);
	for (unsigned int s = 0; s < TXN_STATES; s++) {
		j->txn.state = (enum txn_state)s;
		expect_round_trip(j);
	}
	journal_free(j);
	j = journal_new(4000000000, 1, 0);
	j->certificates[0].name = xstrdup("first");
	j->certificates[0].new_number = 999999999;
	expect_round_trip(j);
	journal_free(j);
	journal_free(NULL);
}

FILES_TEST(journal, reasons_are_added_once_and_bounded)
{
	struct journal *j = make_journal();
	AUTO_FREE char *both = xasprintf("%s; then: another", j->reason);
	journal_reason(j, "another");
	journal_reason(j, "another");
	cr_expect_str_eq(j->reason, both);
	for (int i = 0; i < 1000; i++)
		journal_reason(j, "number %d of many", i);
	cr_expect_lt(strlen(j->reason), 1100);
	journal_free(j);
}

/* Loads what stands there; a crash fails the test. */
static int load_damaged(void)
{
	struct journal *j = NULL;
	fault = (struct fault){0};
	int r = journal_load(files_folder, 7, &j, &fault);
	if (r == 0)
		journal_free(j);
	else
		cr_expect(*fault.text && fault.code == r);
	return r;
}

FILES_TEST(journal, cut_off_at_any_byte_is_an_error)
{
	struct journal *j = make_journal();
	ASSERT_OK(journal_save(files_folder, j, &fault));
	journal_free(j);
	AUTO_FREE char *bytes = xstrdup(files_get(files_folder, "000007.json"));
	for (size_t n = 0; n < strlen(bytes); n++) {
		files_put_bytes(files_folder, "000007.json", bytes, n);
		cr_expect_eq(load_damaged(), -EBADMSG, "%zu bytes", n);
	}
}

FILES_TEST(journal, damaged_at_any_byte_is_an_error_or_another_journal)
{
	static const char put[] = {'\0', '"', '}', ']', '9', '-', (char)0xff};
	struct journal *j = make_journal();
	ASSERT_OK(journal_save(files_folder, j, &fault));
	journal_free(j);
	AUTO_FREE char *bytes = xstrdup(files_get(files_folder, "000007.json"));
	size_t len = strlen(bytes), refused = 0;
	for (size_t i = 0; i < len; i++) {
		char was = bytes[i];
		bytes[i] = put[i % sizeof put];
		files_put_bytes(files_folder, "000007.json", bytes, len);
		refused += load_damaged() < 0;
		bytes[i] = was;
	}
	cr_expect_gt(refused, len / 3);
}

static void expect_refused(const char *from, const char *to)
{
	struct journal *j = make_journal();
	ASSERT_OK(journal_save(files_folder, j, &fault));
	journal_free(j);
	AUTO_FREE char *bytes = xstrdup(files_get(files_folder, "000007.json"));
	char *at = strstr(bytes, from);
	cr_assert_not_null(at, "%s", from);
	struct text t = {0};
	text_add(&t, "%.*s%s%s", (int)(at - bytes), bytes, to, at + strlen(from));
	files_put(files_folder, "000007.json", t.s);
	text_done(&t);
	cr_expect_eq(load_damaged(), -EBADMSG, "%s instead of %s", to, from);
}

FILES_TEST(journal, a_field_that_is_wrong_is_named)
{
	static const char *const rows[][2] = {
		{"\"RB_STARTING\"", "\"RB_STARTLED\""},
		{"\"RB_STARTING\"", "3"},
		{"\"tries_left\": 2", "\"tries_left\": 256"},
		{"\"tries_left\": 2", "\"tries_left\": -1"},
		{"\"tries_left\": 2", "\"tries_left\": 2.5"},
		{"\"tries_left\": 2", "\"tries_left\": \"2\""},
		{"\"tries_left\": 2", "\"tries_left\": 2, \"tries_left\": 2"},
		{"\"started_at_ms\"", "\"started_at\""},
		{"\"ended_at_ms\"", "\"ended_at\""},
		{"\"reason\"", "\"because\""},
		{"\"certificates\"", "\"certificate\""},
		{"\"servers\"", "\"server_\""},
		{"\"places\"", "\"place_\""},
		{"\"shop1\"", "null"},
		{"\"old\": 11", "\"old\": -11"},
		{"\"old\": 11", "\"old\": 1000000000"},
		{"\"new\": 21", "\"new\": true"},
		{"\"new\": 21", "\"new\": 99999999999999999999"},
		{"\"old_key\": 2", "\"old_key\": 300"},
		{"\"new_key\": 4", "\"new_key\": -4"},
		{"\"disk\": 2", "\"disk\": 3"},
		{"\"old_sha256\": \"02", "\"old_sha256\": \"2"},
		{"\"new_sha256\": \"66", "\"new_sha256\": \"zz"},
		{"\"first\": true", "\"first\": 1"},
		{"\"old_refused\": false", "\"old_refused\": null"},
		{"\"new_refused\": true", "\"new_refused_\": true"},
		{"\"server2\"", "2"},
		{"\"ran\": true", "\"ran\": \"true\""},
		{"\"served\": true", "\"served_\": true"},
		{"\"runs\": true", "\"runs\": 0"},
		{"\"wire\": 4", "\"wire\": 5"},
		{"\"[::1]:443\"", "[]"},
		{"\"shop.test\"", "{}"},
		{"\"starttls\": 2", "\"starttls\": 256"},
		{"\"proxy_protocol\": true", "\"proxy_protocol\": 1"},
		{"\"before\": \"32", "\"before\": \""},
		{"\"turns\": 1", "\"turns\": \"1\""},
		{"\"server\": 2", "\"server\": null"},
		{"\"belongs\": 1", "\"belongs\": 2"},
		{"\"belongs\": 1", "\"belongs\": -1"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect_refused(rows[i][0], rows[i][1]);
	expect_refused("\"tries_left\": 2", "\"tries_left\": 700");
	cr_expect_str_eq(fault.text, "journal 000007.json is damaged: tries_left is missing or wrong");
}

FILES_TEST(journal, of_no_certificate_or_of_something_else_is_refused)
{
	static const char *const rows[] = {
		"",
		"null",
		"[]",
		"{}",
		"7",
		"{\"id\": 7, \"state\": \"STAGED\", \"tries_left\": 3, \"started_at_ms\": 0, "
		"\"ended_at_ms\": 0, \"reason\": \"\", \"certificates\": [], \"servers\": [], "
		"\"places\": []}",
		"{\"id\": 7, \"state\": \"STAGED\", \"tries_left\": 3, \"started_at_ms\": 0, "
		"\"ended_at_ms\": 0, \"reason\": \"\", \"certificates\": [1, null], \"servers\": "
		"[[]], \"places\": [true]}"};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		files_put(files_folder, "000007.json", rows[i]);
		cr_expect_eq(load_damaged(), -EBADMSG, "%s", rows[i]);
	}
	cr_assert_eq(unlinkat(files_folder, "000007.json", 0), 0);
	cr_expect_eq(load_damaged(), -ENOENT);
	files_set_link(files_folder, "000007.json", "elsewhere");
	cr_expect_eq(load_damaged(), -ELOOP);
}

/* A record that lacks a place or a certificate would be the wrong one to recover by. */
FILES_TEST(journal, what_cant_be_written_whole_is_not_written)
{
	struct journal *j = make_journal();
	free(j->places[1].server_name);
	j->places[1].server_name = xstrdup("latin-1 \xe9");
	cr_expect_eq(journal_save(files_folder, j, &fault), -EINVAL);
	cr_expect_str_eq(files_all(files_folder), "");
	free(j->places[1].server_name);
	j->places[1].server_name = xstrdup("a.test");
	free(j->certificates[1].name);
	j->certificates[1].name = xstrdup("\xff");
	cr_expect_eq(journal_save(files_folder, j, &fault), -EINVAL);
	free(j->certificates[1].name);
	j->certificates[1].name = xstrdup("shop1");
	free(j->servers[0]);
	j->servers[0] = xstrdup("\xc3");
	cr_expect_eq(journal_save(files_folder, j, &fault), -EINVAL);
	cr_expect_str_eq(files_all(files_folder), "");
	journal_free(j);
}

FILES_TEST(journal, list_and_remove)
{
	static const unsigned int made[] = {12, 3, 1000001, 999999};
	unsigned int *ids;
	size_t n;
	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		struct journal *j = make_journal();
		j->id = made[i];
		ASSERT_OK(journal_save(files_folder, j, &fault));
		journal_free(j);
	}
	static const char *const others[] = {"000005.json.bak", "5.json", "x.json", "000006", ".000008.json.new"};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		files_put(files_folder, others[i], "x");
	ASSERT_OK(journal_list(files_folder, &ids, &n, &fault));
	cr_assert_eq(n, 4);
	cr_expect(ids[0] == 3 && ids[1] == 12 && ids[2] == 999999 && ids[3] == 1000001, "ascending");
	free(ids);
	ASSERT_OK(journal_remove(files_folder, 12, &fault));
	ASSERT_OK(journal_remove(files_folder, 12, &fault));
	ASSERT_OK(journal_list(files_folder, &ids, &n, &fault));
	cr_expect_eq(n, 3);
	free(ids);
}

FILES_TEST(journal, a_full_disk_has_room_kept_for_it)
{
	files_small_disk(256);
	ASSERT_OK(journal_reserve(files_folder, &fault));
	ASSERT_OK(journal_reserve(files_folder, &fault));
	struct journal *j = make_journal();
	ASSERT_OK(journal_save(files_folder, j, &fault));
	files_fill_disk();
	j->txn.state = TXN_ROLLING_BACK;
	for (int i = 0; i < 20; i++) /* each step of the swap that was begun */
		expect_round_trip(j);
	cr_expect_not(files_exist(files_folder, ".reserve"));
	files_fill_disk();
	cr_expect_neq(journal_reserve(files_folder, &fault), 0, "no new swap begins on a full disk");
	cr_expect_not(files_exist(files_folder, ".reserve"), "a half of it would be taken for the whole");
	files_free_disk();
	ASSERT_OK(journal_reserve(files_folder, &fault));
	cr_expect(files_exist(files_folder, ".reserve"));
	journal_free(j);
}

FILES_TEST(journal, without_the_room_it_says_so_and_the_old_record_stays)
{
	files_small_disk(64);
	struct journal *j = make_journal(), *back;
	ASSERT_OK(journal_save(files_folder, j, &fault));
	files_fill_disk();
	j->txn.state = TXN_COMMITTED;
	cr_expect_eq(journal_save(files_folder, j, &fault), -ENOSPC);
	cr_expect_not_null(strstr(fault.text, "No space left"));
	ASSERT_OK(journal_load(files_folder, 7, &back, &fault));
	cr_expect_eq(back->txn.state, TXN_RB_STARTING);
	journal_free(back);
	files_free_disk();
	files_read_only(true);
	cr_expect_eq(journal_save(files_folder, j, &fault), -EROFS);
	files_read_only(false);
	journal_free(j);
}

FILES_TEST(journal, a_failed_sync_is_told)
{
	struct journal *j = make_journal();
	for (int at = 1; at <= 2; at++) {
		files_syncs.fail_at = at;
		cr_expect_eq(journal_save(files_folder, j, &fault), -EIO);
	}
	journal_free(j);
}

/* Ten thousand certificates replaced at once: what was written must be read again after a crash. */
FILES_TEST(journal, of_a_large_batch)
{
	const size_t n = 10000, places = 4 * n;
	struct journal *back, *j = journal_new(8, n, 1);
	j->txn.state = TXN_INSTALLING;
	j->servers[0] = xstrdup("nginx");
	j->nplaces = places;
	j->places = xcalloc(places, sizeof *j->places);
	for (size_t i = 0; i < n; i++) {
		j->certificates[i] = (struct journal_certificate){
			.name = xasprintf("www.customer-%zu.example.jp", i), .old_number = 1, .new_number = 2};
		for (size_t k = 4 * i; k < 4 * i + 4; k++)
			j->places[k] = (struct journal_place){.endpoint = xstrdup("[2001:db8:1234:5678::1]:443"),
							      .server_name = xasprintf("customer-%zu.example.jp", i),
							      .before = digest_of((unsigned int)k),
							      .turns = (int)i,
							      .belongs = (int)i};
	}
	ASSERT_OK(journal_save(files_folder, j, &fault));
	ASSERT_OK(journal_load(files_folder, 8, &back, &fault));
	expect_same(j, back);
	journal_free(back);
	journal_free(j);
}
