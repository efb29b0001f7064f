#include "test_site_help.h"

#include "site/notice.h"

static struct site *site;
static struct fault fault;
static struct notice notice;

#define CA_A "CN=Test CA A,O=Example Trust"
#define CA_B "CN=Test CA B,O=Other Trust"

/* shop and mail have the same key; shop and news the same serial, of different issuers. */
static void begin(void)
{
	site = site_make(files_folder, files_path);
	struct certificate *shop = site_add(site, "shop"), *mail = site_add(site, "mail"),
			   *news = site_add(site, "news");
	site_add(site, "empty");
	site_hold(&shop->live, "1a2b3c", CA_A, "shop live", "key 1");
	site_hold(&shop->standby, "77", CA_B, "shop standby", "key 2");
	site_hold(&mail->live, "ff", CA_A, "mail live", "key 1");
	site_hold(&news->live, "1a2b3c", CA_B, "news live", "key 3");
	news->live.issuer_ski = xstrdup("00112233445566778899aabbccddeeff00112233");
	site_hold(&news->standby, "88", CA_A, "news standby", "key 1");
}

/* The names of what is hit, in order; a '+' behind a standby. Good until the next call. */
static const char *hits_of(const struct notice_hits *hits)
{
	static char names[256];
	names[0] = '\0';
	for (size_t i = 0; i < hits->n; i++) {
		const struct certificate *c = hits->v[i].certificate;
		strcat(names, i ? " " : "");
		strcat(names, c->settings->name);
		strcat(names, hits->v[i].meta == &c->standby ? "+" : "");
	}
	return names;
}

/* Reads a notice; what it hits, or NULL where it is refused: then *ret is the error. */
static const char *read_text(const char *json, bool file, int *ret)
{
	json_error_t error;
	struct notice_hits hits = {0};
	json_t *o = json_loads(json, 0, &error);
	cr_assert_not_null(o, "%s: %s", json, error.text);
	*ret = notice_read(site, o, file, &notice, &hits, &fault);
	const char *names = *ret == 0 ? hits_of(&hits) : NULL;
	if (*ret == 0)
		free(hits.v);
	notice.reference = NULL; /* it lives as long as the object */
	json_decref(o);
	return names;
}

static void expect_hits(const char *json, const char *want)
{
	int r;
	const char *names = read_text(json, true, &r);
	cr_expect_eq(r, 0, "%s: %s", json, fault.text);
	if (names)
		cr_expect_str_eq(names, want, "%s", json);
}

static void expect_refused(const char *json, int error, const char *says)
{
	int r;
	read_text(json, true, &r);
	cr_expect_eq(r, error, "%s: %d %s", json, r, fault.text);
	cr_expect_eq(fault.code, error);
	cr_expect_not_null(strstr(fault.text, says), "%s", fault.text);
}

SITE_TEST(notice, names_the_live_certificate)
{
	begin();
	expect_hits("{\"certificate\": \"shop\"}", "shop");
	expect_refused("{\"certificate\": \"empty\"}", -ENOENT, "has no certificate yet");
	expect_refused("{\"certificate\": \"other\"}", -ENOENT, "there is no certificate named other");
	expect_hits("{\"certificate\": \"shop\", \"serial\": \"77\"}", "shop+");
	expect_refused("{\"certificate\": \"shop\", \"serial\": \"78\"}", -ENOENT, "");
	expect_refused("{\"certificate\": \"mail\", \"serial\": \"1a2b3c\"}", -ENOENT, "");
	site_done(site);
}

SITE_TEST(notice, a_serial_as_people_write_it)
{
	static const char *const same[] = {"1a2b3c",      "1A2B3C",         "1A:2B:3C", "00:1a:2b:3c",
					   "0x1a2b3c",    "0X001A2B3C",     "1a 2b 3c", "01a2b3c",
					   "dec:1715004", "dec:0001715004", ":1a2b3c:"};
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		AUTO_FREE char *json = xasprintf("{\"serial\": \"%s\", \"issuer\": \"Test CA A\"}", same[i]);
		expect_hits(json, "shop");
	}
	static const char *const wrong[] = {
		"1a2b3g", "dec:",    "dec:1a",
		"dec:-5", "-1a2b3c", "1a2b3c\\n",
		"0x0x1a", "1.5",     "dec:99999999999999999999999999999999999999999999999999999999999999999999"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		AUTO_FREE char *json = xasprintf("{\"serial\": \"%s\"}", wrong[i]);
		expect_refused(json, -EINVAL, "is not hexadecimal");
	}
	AUTO_FREE char *zeros = xasprintf("{\"serial\": \"%0400d1a2b3c\", \"issuer\": \"Test CA A\"}", 0);
	expect_hits(zeros, "shop");
	AUTO_FREE char *much = xasprintf("{\"serial\": \"1%0400d\"}", 0);
	expect_refused(much, -EINVAL, "is not hexadecimal");
	site_done(site);
}

/* Known values, of another implementation. */
SITE_TEST(notice, decimal_serials_of_any_length)
{
	static const struct {
		const char *decimal, *hex;
	} rows[] = {
		{"0", "0"},
		{"1", "1"},
		{"255", "ff"},
		{"256", "100"},
		{"4294967296", "100000000"},
		{"18446744073709551615", "ffffffffffffffff"},
		{"18446744073709551616", "10000000000000000"},
		{"340282366920938463463374607431768211455", "ffffffffffffffffffffffffffffffff"},
		{"1461501637330902918203684832716283019655932542975", "ffffffffffffffffffffffffffffffffffffffff"},
		{"730750818665451459101842416358141509827966271488", "8000000000000000000000000000000000000000"},
		{"23456789012345678901234567890123456789", "11a59cfd058f3a4ba15580e8ae398115"},
	};
	begin();
	struct meta *live = &site_certificate(site, "mail")->live;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		free(live->serial);
		live->serial = xstrdup(rows[i].hex);
		AUTO_FREE char *json =
			xasprintf("{\"certificate\": \"mail\", \"serial\": \"dec:%s\"}", rows[i].decimal);
		expect_hits(json, "mail");
	}
	site_done(site);
}

SITE_TEST(notice, a_serial_of_several_issuers_opens_nothing)
{
	begin();
	expect_refused("{\"serial\": \"1a2b3c\"}", -EEXIST, "several issuers");
	cr_expect(strstr(fault.text, "shop: " CA_A) && strstr(fault.text, "news: " CA_B), "%s", fault.text);
	expect_hits("{\"serial\": \"1a2b3c\", \"issuer\": \"cn=test ca b, o=other trust\"}", "news");
	expect_hits("{\"serial\": \"1a2b3c\", \"issuer\": \"CN = \\\"Test CA A\\\", O = Example Trust\"}", "shop");
	expect_refused("{\"serial\": \"1a2b3c\", \"issuer\": \"Test CA C\"}", -ENOENT, "");
	expect_refused("{\"serial\": \"1a2b3c\", \"issuer\": \"CN=Test CA\"}", -EEXIST,
		       "several issuers"); /* fits both */
	expect_hits("{\"serial\": \"1a2b3c\", \"certificate\": \"news\"}", "news");
	expect_hits("{\"serial\": \"ff\"}", "mail");
	site_done(site);
}

static char *with_digest(const char *field, const char *word, const char *more)
{
	char hex[DIGEST_HEX];
	struct digest d = site_digest(word);
	return xasprintf("{\"%s\": \"%s\"%s}", field, digest_text(&d, hex), more);
}

SITE_TEST(notice, fingerprints_of_certificates_and_keys)
{
	begin();
	AUTO_FREE char *certificate = with_digest("sha256", "shop standby", "");
	expect_hits(certificate, "shop+");
	AUTO_FREE char *key = with_digest("spki_sha256", "key 1", "");
	expect_hits(key, "shop mail news+");
	AUTO_FREE char *either = with_digest("fingerprint", "news live", "");
	expect_hits(either, "news");
	AUTO_FREE char *with_name = with_digest("spki_sha256", "key 1", ", \"certificate\": \"news\"");
	expect_hits(with_name, "news+");
	AUTO_FREE char *none = with_digest("sha256", "nobody's", "");
	expect_refused(none, -ENOENT, "nothing here is meant");
	expect_refused("{\"sha256\": \"abcd\"}", -EINVAL, "is not a SHA-256 fingerprint");
	site_done(site);
}

SITE_TEST(notice, a_compromised_key_hits_all_that_have_it)
{
	static const char *const more[] = {"\"case\": \"c\"",  "\"case\": \"b\"", "\"case\": \"d\"",
					   "\"case\": \"f\"",  "\"case\": \"p\"", "\"reason\": \"keyCompromise\"",
					   "\"reason\": \"1\""};
	static const char *const less[] = {"\"case\": \"a\"",  "\"case\": \"e\"",
					   "\"case\": \"l\"",  "\"reason\": \"superseded\"",
					   "\"reason\": \"\"", "\"scope\": \"key\""};
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		AUTO_FREE char *json = xasprintf("{\"certificate\": \"mail\", %s}", more[i]);
		expect_hits(json, "mail shop news+");
	}
	for (size_t i = 0; i < ARRAY_SIZE(less); i++) {
		AUTO_FREE char *json = xasprintf("{\"certificate\": \"mail\", %s}", less[i]);
		expect_hits(json, "mail");
	}
	site_done(site);
}

SITE_TEST(notice, what_it_says_is_read)
{
	begin();
	expect_hits("{\"certificate\": \"shop\"}", "shop");
	cr_expect(notice.case_letter == 0 && notice.reason == -1 && !notice.host_scope && !notice.received_at &&
		  !notice.revoke_at);
	expect_hits("{\"certificate\": \"shop\", \"case\": \"l\", \"reason\": \"superseded\", \"scope\": \"host\", "
		    "\"received_at\": \"2026-11-24T02:50:00+09:00\", \"revoke_at\": \"2026-11-23T12:20:00.25-05:30\", "
		    "\"reference\": \"CA ticket 4711\"}",
		    "shop mail news news+"); /* every key on this disk */
	cr_expect(notice.case_letter == 'l' && notice.reason == 4 && notice.host_scope);
	cr_expect_eq(notice.received_at, 1795456200);
	cr_expect_eq(notice.revoke_at, 1795456200);
	expect_hits("{\"certificate\": \"shop\", \"case\": null, \"revoke_at\": null, \"reference\": null}", "shop");
	json_t *o = json_pack("{ss, ss}", "certificate", "shop", "reference", "CA ticket 4711");
	struct notice_hits hits;
	cr_assert_eq(notice_read(site, o, true, &notice, &hits, &fault), 0);
	cr_expect_str_eq(notice.reference, "CA ticket 4711");
	free(hits.v);
	json_decref(o);
	site_done(site);
}

SITE_TEST(notice, a_field_that_is_wrong_is_named)
{
	static const char *const rows[][2] = {
		{"\"case\": \"q\"", "case:"},
		{"\"case\": \"C\"", "case:"},
		{"\"case\": \"cc\"", "case:"},
		{"\"case\": 3", "case:"},
		{"\"reason\": \"stolen\"", "reason:"},
		{"\"reason\": 1", "reason:"},
		{"\"scope\": \"world\"", "scope:"},
		{"\"scope\": []", "scope:"},
		{"\"received_at\": \"yesterday\"", "received_at:"},
		{"\"received_at\": \"2026-11-23T17:50:00\"", "received_at:"},
		{"\"revoke_at\": 1795456200", "revoke_at:"},
		{"\"revoke_at\": \"2026-11-31T00:00:00Z\"", "revoke_at:"},
		{"\"reference\": 4711", "reference"},
		{"\"serial\": 1715004", "must be strings"},
		{"\"issuer\": {}", "must be strings"},
		{"\"sha256\": true", "must be strings"},
	};
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_FREE char *json = xasprintf("{\"certificate\": \"shop\", %s}", rows[i][0]);
		expect_refused(json, -EINVAL, rows[i][1]);
	}
	expect_refused("{}", -EINVAL, "names nothing");
	expect_refused("{\"issuer\": \"Test CA A\", \"case\": \"c\"}", -EINVAL, "names nothing");
	site_done(site);
}

SITE_TEST(notice, an_unknown_field_is_an_error_in_a_file_only)
{
	int r;
	begin();
	expect_refused("{\"certificate\": \"shop\", \"deadline\": \"soon\"}", -EINVAL, "unknown field \"deadline\"");
	const char *names = read_text("{\"certificate\": \"shop\", \"command\": \"notice\"}", false, &r);
	cr_expect_eq(r, 0, "%s", fault.text);
	cr_expect_str_eq(names, "shop");
	site_done(site);
}

/* ---- the drop box ---- */

static void stop(void *data)
{
	loop_stop(site->loop);
}

static void look_once(void)
{
	cr_assert_eq(notices_watch(site, &fault), 0, "%s", fault.text);
	struct timer *t = timer_start(site->loop, 50, stop, NULL); /* the look itself comes at once */
	loop_run(site->loop);
	timer_close(t);
	notices_close(site);
}

SITE_TEST(notice_box, what_cant_be_taken_is_rejected_with_its_reason)
{
	static const struct {
		const char *name, *content, *why;
	} rows[] = {{"1-garbage.json", "dear customer,", "not a JSON object"},
		    {"2-list.json", "[]", "not a JSON object"},
		    {"3-two.json", "{\"certificate\": \"shop\"} {}", "not a JSON object"},
		    {"4-twice.json", "{\"certificate\": \"shop\", \"certificate\": \"mail\"}", "not a JSON object"},
		    {"5-unknown.json", "{\"certificate\": \"shop\", \"x\": 1}", "unknown field \"x\""},
		    {"6-nobody.json", "{\"serial\": \"abcdef\"}", "nothing here is meant"},
		    {"7-several.json", "{\"serial\": \"1a2b3c\"}", "several issuers"},
		    {"8-empty.json", "", "not a JSON object"}};
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		files_put(site->folders.notices, rows[i].name, rows[i].content);
	files_set_link(site->folders.notices, "9-link.json", "../certificates");
	files_put(site->folders.notices, ".hidden", "still being written");
	look_once();
	cr_expect_str_eq(files_all(site->folders.notices), ".hidden ");
	struct words rejected = {0};
	cr_assert_eq(files_list(site->folders.rejected, true, &rejected, &fault), 0);
	cr_assert_eq(rejected.n, ARRAY_SIZE(rows) + 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *folder = NULL;
		for (size_t k = 0; k < rejected.n; k++)
			folder = strstr(rejected.v[k], rows[i].name) ? rejected.v[k] : folder;
		cr_assert_not_null(folder, "%s", rows[i].name);
		AUTO_FREE char *why = xasprintf("%s/why.txt", folder), *file = xasprintf("%s/%s", folder, rows[i].name);
		cr_expect_not_null(strstr(files_get(site->folders.rejected, why), rows[i].why), "%s: %s", rows[i].name,
				   files_get(site->folders.rejected, why));
		cr_expect_str_eq(files_get(site->folders.rejected, file), rows[i].content);
	}
	words_done(&rejected);
	site_done(site);
}

SITE_TEST(notice, issuer_by_its_key_identifier)
{
	begin();
	expect_hits(
		"{\"serial\": \"1a2b3c\", \"issuer\": \"00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33\"}",
		"news");
	expect_hits("{\"serial\": \"1a2b3c\", \"issuer\": \"00112233445566778899aabbccddeeff00112233\"}", "news");
	int r;
	cr_expect_null(read_text("{\"serial\": \"1a2b3c\", \"issuer\": \"0011223344556677\"}", true, &r),
		       "a part of one");
	site_done(site);
}
