#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "wire/message.h"
#include "wire/probe.h"

Test(wire_probe, request_there_and_back)
{
	char endpoint[] = "[::1]:443", name[] = "shop.example.jp", socket[] = "unix:/run/x", none[] = "";
	struct probe_place places[] = {
		{.endpoint = endpoint,
		 .server_name = name,
		 .key = PROBE_KEY_ECDSA,
		 .proxy_protocol = true,
		 .version = PROBE_TLS_1_2},
		{.endpoint = socket, .server_name = none, .starttls = PROBE_POP3, .expect = {{7, 8, 9}}},
	};
	struct probe_request r = {.v = places, .n = 2, .timeout_ms = 1, .deadline_ms = 70000, .settle_ms = 3}, back;
	struct packer p = {0};
	probe_request_pack(&p, &r);
	cr_assert(not(p.failed));
	struct unpacker u = {.bytes = p.bytes, .len = p.len};
	cr_assert(eq(int, probe_request_unpack(&u, &back), 0));
	cr_assert(eq(u32, back.timeout_ms, 1));
	cr_assert(eq(u32, back.deadline_ms, 70000));
	cr_assert(eq(u32, back.settle_ms, 3));
	cr_assert(eq(sz, back.n, 2));
	cr_assert(eq(str, back.v[0].endpoint, endpoint));
	cr_assert(eq(str, back.v[0].server_name, name));
	cr_assert(back.v[0].key == PROBE_KEY_ECDSA && back.v[0].proxy_protocol && back.v[0].starttls == PROBE_TLS &&
		  back.v[0].version == PROBE_TLS_1_2);
	cr_assert(back.v[1].starttls == PROBE_POP3 && !back.v[1].proxy_protocol);
	cr_assert(digest_equal(&back.v[1].expect, &places[1].expect));
	probe_request_done(&back);
	for (size_t cut = 0; cut < p.len; cut++) {
		struct unpacker part = {.bytes = p.bytes, .len = cut};
		cr_assert(eq(int, probe_request_unpack(&part, &back), -EBADMSG), "cut at %zu", cut);
	}
	packer_done(&p);
}

Test(wire_probe, unknown_values_are_refused)
{
	char endpoint[] = "a:1", name[] = "b";
	struct probe_place place = {.endpoint = endpoint, .server_name = name};
	struct probe_request r = {.v = &place, .n = 1}, back;
	for (int which = 0; which < 4; which++) {
		struct packer p = {0};
		probe_request_pack(&p, &r);
		p.bytes[p.len - 32 - 4 + (size_t)which] = 200; /* key, starttls, proxy_protocol, version */
		struct unpacker u = {.bytes = p.bytes, .len = p.len};
		cr_assert(eq(int, probe_request_unpack(&u, &back), -EBADMSG));
		packer_done(&p);
	}
}

Test(wire_probe, the_fullest_reply_fits)
{
	struct probe_reply r = {.v = xcalloc(PROBE_PLACES_MAX, sizeof *r.v), .n = PROBE_PLACES_MAX}, back;
	char *text = xmalloc(WIRE_STRING_MAX);
	memset(text, 0xc3, WIRE_STRING_MAX - 1); /* never ends a character: cut where nothing breaks */
	for (size_t i = 0; i < WIRE_STRING_MAX - 2; i += 2)
		text[i + 1] = (char)0xa4;
	text[WIRE_STRING_MAX - 2] = text[WIRE_STRING_MAX - 1] = '\0';
	char serial[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	for (size_t i = 0; i < r.n; i++)
		r.v[i] = (struct probe_seen){.result = PROBE_NOT_ALONE, .serial = serial, .text = text};
	r.v[7].handshakes = 4711;
	r.v[7].last_other_us = INT64_C(0x0102030405060708);
	struct packer p = {0};
	probe_reply_pack(&p, &r);
	cr_assert(not(p.failed));
	cr_assert(p.len <= WIRE_MESSAGE_MAX - MESSAGE_HEADER);
	struct unpacker u = {.bytes = p.bytes, .len = p.len};
	cr_assert(eq(int, probe_reply_unpack(&u, &back), 0));
	cr_assert(eq(sz, back.n, PROBE_PLACES_MAX));
	cr_assert(eq(u32, back.v[7].handshakes, 4711));
	cr_assert(back.v[7].last_other_us == r.v[7].last_other_us);
	size_t len = strlen(back.v[0].text);
	cr_assert(len > 10 && len % 2 == 0, "cut in the middle of a character: %zu", len);
	probe_reply_done(&back);
	packer_done(&p);
	r.n = 1; /* alone it is not cut by others */
	probe_reply_pack(&p, &r);
	u = (struct unpacker){.bytes = p.bytes, .len = p.len};
	cr_assert(eq(int, probe_reply_unpack(&u, &back), 0));
	cr_assert(eq(sz, strlen(back.v[0].text), strlen(text)));
	probe_reply_done(&back);
	packer_done(&p);
	free(r.v);
	free(text);
}

Test(wire_probe, too_many_places_are_refused)
{
	struct probe_request r = {.v = xcalloc(PROBE_PLACES_MAX + 1, sizeof *r.v), .n = PROBE_PLACES_MAX + 1};
	struct packer p = {0};
	probe_request_pack(&p, &r);
	cr_assert(p.failed);
	packer_done(&p);
	free(r.v);
}
