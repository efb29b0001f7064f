/* A CA's list of serials, as CAs and people write them, against the pairs here. */
#include "test_ctl_help.h"

#include <fcntl.h>
#include <openssl/bn.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/files.h"
#include "ctl/affected.h"
#include "swap/store.h"

struct seen {
	size_t n;
	uint64_t line;
};

static void count(void *context, size_t index, uint64_t line)
{
	struct seen *s = context;
	s->n += index == 0;
	s->line = line;
}

/* How often this text, in pieces of any size, names the serial. */
static size_t times(const char *hex, const char *text, size_t len)
{
	size_t first = 0;
	for (size_t piece = 1; piece <= len + 1; piece += 1 + len / 3) {
		struct seen s = {0};
		struct affected *a = affected_new(count, &s);
		affected_want(a, hex);
		affected_want(a, "ffffffffffffffffffffffff");
		for (size_t at = 0; at < len; at += piece)
			affected_feed(a, text + at, len - at < piece ? len - at : piece);
		affected_end(a);
		affected_free(a);
		if (piece == 1)
			first = s.n;
		cr_expect_eq(s.n, first, "pieces of %zu: %s", piece, text);
	}
	return first;
}

Test(ctl_triage, spellings)
{
	static const char *const good[] = {
		"a1b2c3d4e5f60718293a",
		"A1B2C3D4E5F60718293A\n",
		"00a1b2c3d4e5f60718293a\r\n",
		"0xA1B2C3D4E5F60718293A",
		"0x00A1B2C3D4E5F60718293A,",
		"a1:b2:c3:d4:e5:f6:07:18:29:3a",
		"00:A1:B2:C3:D4:E5:F6:07:18:29:3A revoked",
		"A1 B2 C3 D4 E5 F6 07 18 29 3A\n",
		"a1-b2-c3-d4-e5-f6-07-18-29-3a",
		"\"a1b2c3d4e5f60718293a\",\"shop.test\"\n",
		"1,shop.test,a1b2c3d4e5f60718293a,2026-02-29\n",
		"shop.test;\"a1b2c3d4e5f60718293a\";x",
		"Serial: A1:B2:C3:D4:E5:F6:07:18:29:3A",
		"Serial Number=a1b2c3d4e5f60718293a (mis-issued)",
		"2026-02-29 a1b2c3d4e5f60718293a",
		"2026-02-29 10:00:00 a1b2c3d4e5f60718293a bad",
		("\xef\xbb\xbf"
		 "a1b2c3d4e5f60718293a\r\n"),
		"763598635343510481938746",
		"dec:763598635343510481938746\n",
		"serial,name\n763598635343510481938746,x",
		"https://crt.sh/?serial=a1b2c3d4e5f60718293a",
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		cr_expect_geq(times("a1b2c3d4e5f60718293a", good[i], strlen(good[i])), 1, "%s", good[i]);
	static const char utf16[] =
		"\xff\xfe"
		"a\0001\0b\0002\0c\0003\0d\0004\0e\0005\0f\0006\0000\0007\0001\0008\0002\0009\0003\0a\0\r\0\n\0";
	cr_expect_eq(times("a1b2c3d4e5f60718293a", utf16, sizeof utf16 - 1), 1, "UTF-16");
	static const char *const others[] = {
		"a1b2c3d4e5f60718293b",  "a1b2c3d4e5f60718293a0", "1a1b2c3d4e5f60718293a",  "b2c3d4e5f60718293a",
		"a1b2c3d4e5f60718,293a", "xa1b2c3d4e5f60718293a", "a1b2c3d4\ne5f60718293a", "dec:a1b2c3d4e5f60718293a"};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		cr_expect_eq(times("a1b2c3d4e5f60718293a", others[i], strlen(others[i])), 0, "%s", others[i]);
}

Test(ctl_triage, short_serials_only_where_they_must_be_one)
{
	static const struct {
		const char *text;
		size_t times;
	} cases[] = {{"1f\n", 1},
		     {"2a\n0x1F\n", 1},
		     {"dec:31\n", 1},
		     {"1f shop\n", 0},
		     {"1f,shop\n", 0},
		     {"page 1f\n", 0},
		     {"name,Serial Number\nshop,1F\n1f,2\n", 1},
		     {"name;\"Certificate serial\"\nshop;\"00:1f\"", 1}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_eq(times("1f", cases[i].text, strlen(cases[i].text)), cases[i].times, "%s", cases[i].text);
}

Test(ctl_triage, decimal_as_openssl_writes_it)
{
	for (int i = 0; i < 300; i++) {
		BIGNUM *n = BN_new();
		BN_rand(n, 60 + i % 100, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY);
		char *hex = BN_bn2hex(n), *dec = BN_bn2dec(n);
		const char *h = hex + strspn(hex, "0");
		char small[64] = "";
		for (size_t k = 0; h[k] && k < sizeof small - 1; k++)
			small[k] = h[k] >= 'A' ? (char)(h[k] | 0x20) : h[k];
		AUTO_FREE char *said = xasprintf("dec:%s", dec);
		cr_expect_eq(times(small, said, strlen(said)), 1, "%s %s", small, dec);
		cr_expect_geq(times(small, hex, strlen(hex)), 1, "%s", hex);
		OPENSSL_free(hex);
		OPENSSL_free(dec);
		BN_free(n);
	}
}

Test(ctl_triage, a_line_without_end)
{
	struct seen s = {0};
	struct affected *a = affected_new(count, &s);
	affected_want(a, "a1b2c3d4e5f60718293a");
	char block[4096];
	memset(block, '7', sizeof block);
	for (int i = 0; i < 4000; i++)
		affected_feed(a, block, sizeof block);
	affected_feed(a, "\na1b2c3d4e5f60718293a\n", 22);
	affected_end(a);
	cr_expect_eq(s.n, 1);
	cr_expect_eq(s.line, 2);
	cr_expect_eq(affected_lines(a), 2);
	affected_free(a);
}

/* ---- the command ---- */

static void add_pair(const struct run *r, const char *name, unsigned int number, const char *link, const char *serial,
		     const char *issuer)
{
	AUTO_FREE char *path = xasprintf("%s/certificates/%s/gen/%06u", r->folder, name, number);
	AUTO_FREE char *made = xasprintf("mkdir -p %s", path);
	cr_assert_eq(system(made), 0);
	AUTO_CLOSE int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct meta meta = {.number = number,
			    .sha256 = hash_bytes(serial, strlen(serial)),
			    .spki = hash_bytes(name, strlen(name)),
			    .serial = xstrdup(serial),
			    .issuer = xstrdup(issuer),
			    .subject = xstrdup("CN=x"),
			    .key_type = xstrdup("ecdsa-p256"),
			    .origin = xstrdup("submit"),
			    .not_after = 1800000000};
	struct fault fault = {0};
	cr_assert_eq(meta_save(folder, &meta, &fault), 0, "%s", fault.text);
	meta_done(&meta);
	if (link) {
		AUTO_FREE char *target = xasprintf("gen/%06u", number);
		AUTO_FREE char *from = xasprintf("%s/certificates/%s/%s", r->folder, name, link);
		cr_assert_eq(symlink(target, from), 0);
	}
}

static void begin(struct run *r)
{
	run_begin(r);
	add_pair(r, "shop", 1, NULL, "aaaaaaaaaaaaaaaaaaaa01", "CN=Old CA");
	add_pair(r, "shop", 7, "live", "a1b2c3d4e5f60718293a", "CN=Test CA,O=Example");
	add_pair(r, "shop", 8, "standby", "b1b2c3d4e5f60718293a", "CN=Other CA");
	add_pair(r, "blog", 3, "live", "c1b2c3d4e5f60718293a", "CN=Test CA,O=Example");
}

static void save_list(const struct run *r, const char *name, const char *text, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", r->folder, name);
	size_t n = strlen(name);
	if (n > 3 && strcmp(name + n - 3, ".gz") == 0) {
		gzFile f = gzopen(path, "wb");
		cr_assert_eq(gzwrite(f, text, (unsigned int)strlen(text)), (int)strlen(text));
		gzclose(f);
	} else {
		write_text(path, text);
	}
}

Test(ctl_triage, says_who_is_hit)
{
	struct run r;
	char path[128];
	begin(&r);
	save_list(&r, "list.csv", "id,serial\r\n1,C1:B2:C3:D4:E5:F6:07:18:29:3A\r\n2,123456789012345678ab\r\n", path,
		  sizeof path);
	cr_expect_eq(run_words(&r, "triage", path), CTL_FAILED, "%s", r.err);
	cr_expect(strstr(r.out, "blog") && strstr(r.out, "live (3)") && !strstr(r.out, "shop"), "%s", r.out);
	cr_expect(strstr(r.out, "1 of 4 pairs here stand in the list (3 lines, 2 numbers)"), "%s", r.out);
	save_list(&r, "list.gz", "b1b2c3d4e5f60718293a\naaaaaaaaaaaaaaaaaaaa01\n", path, sizeof path);
	cr_expect_eq(run_words(&r, "triage", "--json", path), CTL_FAILED);
	cr_expect(strstr(r.out, "\"use\": \"standby\"") && strstr(r.out, "\"use\": \"kept\"") &&
			  strstr(r.out, "\"line\": 2"),
		  "%s", r.out);
	cr_expect_eq(run_words(&r, "triage", "--issuer", "Nobody", path), CTL_DONE, "%s", r.out);
	save_list(&r, "none", "00112233445566778899aa\n", path, sizeof path);
	cr_expect_eq(run_words(&r, "triage", path), CTL_DONE);
	save_list(&r, "words", "dear customer\n", path, sizeof path);
	cr_expect_eq(run_words(&r, "triage", path), CTL_FAILED);
	cr_expect(strstr(r.err, "is it the right file?"), "%s", r.err);
	char hex[DIGEST_HEX];
	struct digest d = hash_bytes("blog", 4);
	save_list(&r, "keys", digest_text(&d, hex), path, sizeof path);
	cr_expect_eq(run_words(&r, "triage", path), CTL_FAILED);
	cr_expect(strstr(r.out, "key"), "%s", r.out);
	run_end(&r);
}

Test(ctl_triage, what_can_not_be_read)
{
	struct run r;
	char path[128];
	begin(&r);
	cr_expect_eq(run_words(&r, "triage", "/nowhere/list"), CTL_FAILED);
	cr_expect_eq(run_words(&r, "triage", r.folder), CTL_FAILED, "a folder");
	save_list(&r, "zip", "PK\003\004....", path, sizeof path);
	cr_expect_eq(run_words(&r, "triage", path), CTL_FAILED);
	cr_expect(strstr(r.err, "spreadsheet"), "%s", r.err);
	struct text t = {0};
	for (int i = 0; i < 20000; i++)
		text_add(&t, "%08x%016x\n", i * 2654435761U, i);
	save_list(&r, "cut.gz", t.s, path, sizeof path);
	text_done(&t);
	cr_assert_eq(truncate(path, 20000), 0);
	cr_expect_eq(run_words(&r, "triage", path), CTL_FAILED, "cut off");
	cr_expect(strstr(r.err, "cut off"), "%s", r.err);
	run_end(&r);
}

Test(ctl_triage, a_serial_of_several_issuers)
{
	struct run r;
	char path[128];
	begin(&r);
	add_pair(&r, "wiki", 1, "live", "c1b2c3d4e5f60718293a", "CN=Private CA");
	save_list(&r, "list", "c1b2c3d4e5f60718293a\n", path, sizeof path);
	cr_expect_eq(run_words(&r, "triage", "--notice", path), CTL_FAILED);
	cr_expect(strstr(r.err, "several issuers"), "%s", r.err);
	cr_expect_eq(run_words(&r, "triage", "--issuer", "cn = private", path), CTL_FAILED);
	cr_expect(strstr(r.out, "wiki") && !strstr(r.out, "blog"), "%s", r.out);
	run_end(&r);
}

Test(ctl_triage, opens_incidents)
{
	struct run r;
	struct agent a;
	char path[128], hex[DIGEST_HEX];
	begin(&r);
	save_list(&r, "list", "c1b2c3d4e5f60718293a\naaaaaaaaaaaaaaaaaaaa01\n", path, sizeof path);
	cr_expect_eq(run_against(&r, &a, "{\"exit\":0,\"message\":\"incident 1\",\"result\":{}}\n", "triage",
				 "--notice", "--case", "l", path),
		     CTL_DONE, "%s", r.err);
	struct digest d = hash_bytes("c1b2c3d4e5f60718293a", 20);
	cr_expect(strstr(a.requests[0], digest_text(&d, hex)) && strstr(a.requests[0], "\"case\":\"l\""), "%s",
		  a.requests[0]);
	cr_expect_eq(a.asked, 1, "a generation that is only kept opens nothing");
	cr_expect(strstr(r.out, "incident 1"), "%s", r.out);
	cr_expect_eq(run_words(&r, "triage", "--notice", path), CTL_UNREACHABLE);
	run_end(&r);
}
