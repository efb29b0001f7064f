#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "wire/fetch.h"
#include "wire/message.h"
#include "wire/sources.h"

static struct fetch_item item = {.id = (char[]){"1f"}, .ca = true};

Test(wire_fetch, request_there_and_back)
{
	struct fetch_request r = {.kind = FETCH_CRL,
				  .deadline_ms = 1000,
				  .number = (char[]){"0a"},
				  .this_update = 77,
				  .child = {{1, 2}},
				  .redirects = 3,
				  .v = &item,
				  .n = 1},
			     back;
	struct packer p = {0};
	words_add(&r.urls, "http://a.example/1.crl");
	words_add(&r.deny, "169.254.0.0/16");
	fetch_request_pack(&p, &r);
	cr_assert_not(p.failed);
	struct unpacker u = {.bytes = p.bytes, .len = p.len};
	cr_assert_eq(fetch_request_unpack(&u, &back), 0);
	cr_expect_str_eq(back.urls.v[0], "http://a.example/1.crl");
	cr_expect_str_eq(back.deny.v[0], "169.254.0.0/16");
	cr_expect_str_eq(back.number, "0a");
	cr_expect_str_eq(back.proxy, "");
	cr_expect(back.n == 1 && back.v[0].ca && strcmp(back.v[0].id, "1f") == 0);
	cr_expect(back.this_update == 77 && back.redirects == 3 && digest_equal(&back.child, &r.child));
	fetch_request_done(&back);
	for (size_t cut = 0; cut < p.len; cut++) {
		struct unpacker part = {.bytes = p.bytes, .len = cut};
		cr_expect_eq(fetch_request_unpack(&part, &back), -EBADMSG, "cut at %zu", cut);
	}
	p.bytes[0] = FETCH_KINDS;
	u = (struct unpacker){.bytes = p.bytes, .len = p.len};
	cr_expect_eq(fetch_request_unpack(&u, &back), -EBADMSG);
	words_done(&r.urls);
	words_done(&r.deny);
	packer_done(&p);
}

Test(wire_fetch, reply_there_and_back)
{
	struct fetch_seen seen[2] = {{.status = FETCH_REVOKED, .reason = 1, .revoked_at = 5},
				     {.status = FETCH_UNKNOWN, .reason = -1, .text = (char[]){"try-later\x1b[2J"}}};
	struct fetch_reply r = {.result = FETCH_ANSWERED, .etag = (char[]){"\"x\""}, .v = seen, .n = 2}, back;
	struct packer p = {0};
	fetch_reply_pack(&p, &r);
	struct unpacker u = {.bytes = p.bytes, .len = p.len};
	cr_assert_eq(fetch_reply_unpack(&u, &back), 0);
	cr_expect(back.v[0].status == FETCH_REVOKED && back.v[0].reason == 1 && back.v[0].revoked_at == 5);
	cr_expect_eq(back.v[1].reason, -1);
	cr_expect_str_eq(back.v[1].text, "try-later?[2J"); /* nothing for a terminal to obey */
	fetch_reply_done(&back);
	for (size_t cut = 0; cut < p.len; cut++) {
		struct unpacker part = {.bytes = p.bytes, .len = cut};
		cr_expect_eq(fetch_reply_unpack(&part, &back), -EBADMSG, "cut at %zu", cut);
	}
	packer_done(&p);
}

Test(wire_fetch, the_largest_fit)
{
	struct fetch_item *items = xcalloc(FETCH_ITEMS_MAX, sizeof *items);
	struct fetch_seen *seen = xcalloc(FETCH_ITEMS_MAX, sizeof *seen);
	char id[] = "1234567890123456789012345678901234567890";
	for (size_t i = 0; i < FETCH_ITEMS_MAX; i++)
		items[i].id = id;
	struct fetch_request q = {.v = items, .n = FETCH_ITEMS_MAX};
	struct fetch_reply r = {.v = seen, .n = FETCH_ITEMS_MAX};
	struct packer p = {0}, p2 = {0};
	for (size_t i = 0; i < FETCH_URLS_MAX; i++) {
		char url[FETCH_URL_MAX + 1];
		memset(url, 'u', FETCH_URL_MAX);
		url[FETCH_URL_MAX] = '\0';
		words_add(&q.urls, url);
	}
	fetch_request_pack(&p, &q);
	fetch_reply_pack(&p2, &r);
	cr_expect(!p.failed && p.len <= WIRE_MESSAGE_MAX - MESSAGE_HEADER, "%zu", p.len);
	cr_expect(!p2.failed && p2.len <= WIRE_MESSAGE_MAX - MESSAGE_HEADER, "%zu", p2.len);
	words_done(&q.urls);
	packer_done(&p);
	packer_done(&p2);
	free(items);
	free(seen);
}

Test(wire_sources, what_does_not_fit_is_left_for_the_next_question)
{
	struct sources_reply *r = xcalloc(1, sizeof *r), *back = xcalloc(1, sizeof *back);
	char url[FETCH_URL_MAX + 1];
	memset(url, 'u', FETCH_URL_MAX);
	url[FETCH_URL_MAX] = '\0';
	for (r->n = 0; r->n < SOURCES_FILES_MAX; r->n++) {
		struct source_file *f = &r->v[r->n];
		f->n = 2;
		for (size_t i = 0; i < FETCH_URLS_MAX; i++)
			words_add(&f->v[0].crls, url);
		f->v[1].ca = f->v[1].self_signed = true;
	}
	struct packer p = {0};
	sources_reply_pack(&p, r);
	cr_assert_not(p.failed);
	cr_assert_leq(p.len, WIRE_MESSAGE_MAX - MESSAGE_HEADER);
	struct unpacker u = {.bytes = p.bytes, .len = p.len};
	cr_assert_eq(sources_reply_unpack(&u, back), 0);
	cr_expect(back->n >= 1 && back->n < SOURCES_FILES_MAX, "%zu", back->n);
	cr_expect(back->v[0].v[1].ca && back->v[0].v[1].self_signed && !back->v[0].v[0].ca);
	sources_reply_done(back);
	p.bytes[0] = SOURCES_FILES_MAX + 1;
	u = (struct unpacker){.bytes = p.bytes, .len = p.len};
	cr_expect_eq(sources_reply_unpack(&u, back), -EBADMSG);
	sources_reply_done(r);
	packer_done(&p);
	free(r);
	free(back);
}
