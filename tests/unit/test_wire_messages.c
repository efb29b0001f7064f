/* What is sent comes back; what is cut anywhere, or lies in a number, is refused and leaves nothing behind. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "wire/check.h"
#include "wire/identify.h"

static char *copy(const char *s)
{
	return xstrdup(s);
}

static struct check_request a_request(void)
{
	struct check_request r = {.files = 3,
				  .roles = xcalloc(3, 1),
				  .leaf = hash_bytes("a", 1),
				  .profile = CHECK_PROFILE_PRIVATE,
				  .older_blocks = true,
				  .system_trust = true,
				  .denied = xcalloc(2, sizeof(struct digest)),
				  .ndenied = 2,
				  .now = 1795449600};
	r.roles[1] = CHECK_LIVE;
	r.roles[2] = CHECK_PASSWORD;
	r.denied[1] = hash_bytes("b", 1);
	words_add(&r.names, "a.test");
	words_add(&r.names, "b.test");
	words_add(&r.accepted, "KEY_SIZE");
	words_add(&r.pins, "sha256/x");
	return r;
}

static struct check_reply a_reply(void)
{
	struct check_reply r = {.sha256 = hash_bytes("c", 1),
				.spki = hash_bytes("d", 1),
				.serial = copy("1f"),
				.issuer = copy("CN=CA"),
				.subject = copy("CN=a.test"),
				.key_type = copy("ecdsa-p256"),
				.not_before = -1,
				.not_after = INT64_MAX,
				.written = true,
				.issuer_spki = hash_bytes("e", 1),
				.issuer_ski = copy("0a1b")};
	findings_add(&r.findings, FINDING_EXPIRED, FINDING_BLOCK, "It expired on %s.", "2026-01-01");
	findings_add(&r.findings, FINDING_MUST_STAPLE, FINDING_WARN, "staple");
	words_add(&r.names, "a.test");
	return r;
}

static struct identify_reply an_identify_reply(void)
{
	struct identify_reply r = {.v = xcalloc(2, sizeof(struct object)), .n = 2};
	r.v[0] = (struct object){.kind = OBJECT_LEAF,
				 .file = 7,
				 .sha256 = hash_bytes("f", 1),
				 .not_after = 5,
				 .serial = copy("1"),
				 .issuer = copy("CN=x"),
				 .text = copy("leaf")};
	words_add(&r.v[0].names, "a.test");
	r.v[1] = (struct object){.kind = OBJECT_NOTHING, .text = copy("empty file")};
	return r;
}

/* 0 where it is taken (and then it is freed), else the error */
static int take_request(struct unpacker u)
{
	struct check_request r;
	int e = check_request_unpack(&u, &r);
	check_request_done(&r);
	return e;
}

static int take_reply(struct unpacker u)
{
	struct check_reply r;
	int e = check_reply_unpack(&u, &r);
	check_reply_done(&r);
	return e;
}

static int take_identify_request(struct unpacker u)
{
	struct identify_request r;
	return identify_request_unpack(&u, &r);
}

static int take_identify_reply(struct unpacker u)
{
	struct identify_reply r;
	int e = identify_reply_unpack(&u, &r);
	identify_reply_done(&r);
	return e;
}

/* Cut at every byte, one byte too many, and every byte replaced: the last must not crash, whatever it gives. */
static void torture(struct packer *p, int (*take)(struct unpacker))
{
	cr_assert(!p->failed && take((struct unpacker){.bytes = p->bytes, .len = p->len}) == 0);
	for (size_t len = 0; len < p->len; len++) {
		uint8_t *cut = xmemdup(p->bytes, len);
		cr_expect_eq(take((struct unpacker){.bytes = cut, .len = len}), -EBADMSG, "%zu of %zu bytes", len,
			     p->len);
		free(cut);
	}
	uint8_t *longer = xcalloc(p->len + 1, 1);
	memcpy(longer, p->bytes, p->len);
	cr_expect_eq(take((struct unpacker){.bytes = longer, .len = p->len + 1}), -EBADMSG);
	for (size_t i = 0; i < p->len; i++) {
		for (int v = 0; v < 256; v += 51) {
			longer[i] = (uint8_t)(p->bytes[i] ^ v);
			int e = take((struct unpacker){.bytes = longer, .len = p->len});
			cr_expect(e == 0 || e == -EBADMSG);
		}
		longer[i] = p->bytes[i];
	}
	free(longer);
	packer_done(p);
}

Test(wire_messages, cut_and_changed)
{
	struct packer p = {0};
	struct check_request request = a_request();
	check_request_pack(&p, &request);
	torture(&p, take_request);
	check_request_done(&request);
	struct check_reply reply = a_reply();
	check_reply_pack(&p, &reply);
	torture(&p, take_reply);
	check_reply_done(&reply);
	identify_request_pack(&p, &(struct identify_request){.files = 3, .passwords = 1});
	torture(&p, take_identify_request);
	struct identify_reply identified = an_identify_reply();
	identify_reply_pack(&p, &identified);
	torture(&p, take_identify_reply);
	identify_reply_done(&identified);
}

Test(wire_messages, request_comes_back)
{
	struct packer p = {0};
	struct check_request a = a_request(), b;
	check_request_pack(&p, &a);
	cr_assert_eq(check_request_unpack(&(struct unpacker){.bytes = p.bytes, .len = p.len}, &b), 0);
	cr_expect(b.files == 3 && memcmp(a.roles, b.roles, 3) == 0 && digest_equal(&a.leaf, &b.leaf));
	cr_expect(b.names.n == 2 && strcmp(b.names.v[1], "b.test") == 0 && words_has(&b.accepted, "KEY_SIZE") &&
		  words_has(&b.pins, "sha256/x"));
	cr_expect(b.profile == CHECK_PROFILE_PRIVATE && b.older_blocks && !b.write_out && b.system_trust);
	cr_expect(b.ndenied == 2 && digest_equal(&a.denied[1], &b.denied[1]) && b.now == a.now);
	packer_done(&p);
	check_request_done(&a);
	check_request_done(&b);
}

Test(wire_messages, reply_comes_back)
{
	struct packer p = {0};
	struct check_reply a = a_reply(), b;
	check_reply_pack(&p, &a);
	cr_assert_eq(check_reply_unpack(&(struct unpacker){.bytes = p.bytes, .len = p.len}, &b), 0);
	cr_expect(b.findings.n == 2 && b.findings.v[0].code == FINDING_EXPIRED && findings_block(&b.findings));
	cr_expect_str_eq(b.findings.v[0].text, "It expired on 2026-01-01.");
	cr_expect(digest_equal(&a.sha256, &b.sha256) && digest_equal(&a.spki, &b.spki) &&
		  digest_equal(&a.issuer_spki, &b.issuer_spki));
	cr_expect_str_eq(b.serial, "1f");
	cr_expect_str_eq(b.issuer, "CN=CA");
	cr_expect_str_eq(b.subject, "CN=a.test");
	cr_expect_str_eq(b.key_type, "ecdsa-p256");
	cr_expect(b.not_before == -1 && b.not_after == INT64_MAX && b.written && !b.publicly_trusted && b.names.n == 1);
	packer_done(&p);
	check_reply_done(&a);
	check_reply_done(&b);
}

Test(wire_messages, identified_comes_back)
{
	struct packer p = {0};
	struct identify_reply a = an_identify_reply(), b;
	identify_reply_pack(&p, &a);
	cr_assert_eq(identify_reply_unpack(&(struct unpacker){.bytes = p.bytes, .len = p.len}, &b), 0);
	cr_expect(b.n == 2 && b.v[0].kind == OBJECT_LEAF && b.v[0].file == 7 && b.v[0].not_after == 5);
	cr_expect(digest_equal(&a.v[0].sha256, &b.v[0].sha256) && words_has(&b.v[0].names, "a.test"));
	cr_expect_str_eq(b.v[1].text, "empty file");
	packer_done(&p);
	identify_reply_done(&a);
	identify_reply_done(&b);
}

Test(wire_messages, too_much_is_not_sent)
{
	struct packer p = {0};
	struct check_request r = a_request();
	free(r.denied);
	r.ndenied = WIRE_LIST_MAX;
	r.denied = xcalloc(r.ndenied, sizeof *r.denied);
	check_request_pack(&p, &r);
	cr_expect(p.failed);
	packer_done(&p);
	check_request_done(&r);
}
