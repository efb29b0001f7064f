#include "wire/probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "wire/message.h"

static const char *const result_text[] = {
	[PROBE_SHOWN] = "shown",
	[PROBE_REFUSED] = "connection refused",
	[PROBE_NO_ANSWER] = "no answer",
	[PROBE_TLS_FAILED] = "no TLS handshake",
	[PROBE_NOT_ALONE] = "the expected certificate is not served alone",
	[PROBE_NOT_EXPECTED] = "another certificate is served",
};
_Static_assert(ARRAY_SIZE(result_text) == PROBE_RESULTS, "a text for each result");

/* Bytes of one probe_seen without its two strings; a serial longer than this is cut (RFC 5280 4.1.2.2: 20 octets). */
#define SEEN_BYTES  (1 + 32 + 32 + 2 + 4 + 8 + 8 + 2)
#define SERIAL_MAX  40
#define REPLY_BYTES (WIRE_MESSAGE_MAX - MESSAGE_HEADER - 2)
_Static_assert(PROBE_PLACES_MAX *(SEEN_BYTES + SERIAL_MAX) <= REPLY_BYTES, "a full reply fits in a message");

const char *probe_result_text(enum probe_result result)
{
	return (unsigned)result < PROBE_RESULTS ? result_text[result] : "unknown";
}

void probe_request_pack(struct packer *p, const struct probe_request *r)
{
	if (r->n > PROBE_PLACES_MAX)
		p->failed = true;
	pack_u32(p, r->timeout_ms);
	pack_u32(p, r->deadline_ms);
	pack_u32(p, r->settle_ms);
	pack_u16(p, (uint16_t)r->n);
	for (size_t i = 0; i < r->n && !p->failed; i++) {
		const struct probe_place *place = &r->v[i];
		pack_string(p, place->endpoint);
		pack_string(p, place->server_name);
		pack_u8(p, (uint8_t)place->key);
		pack_u8(p, (uint8_t)place->starttls);
		pack_u8(p, place->proxy_protocol);
		pack_u8(p, (uint8_t)place->version);
		pack_digest(p, &place->expect);
	}
}

/* A number below `limit`, or a failure. */
static unsigned unpack_below(struct unpacker *u, unsigned limit)
{
	unsigned v = unpack_u8(u);
	if (v >= limit)
		u->failed = true;
	return u->failed ? 0 : v;
}

static void unpack_place(struct unpacker *u, struct probe_place *ret)
{
	ret->endpoint = unpack_string(u);
	ret->server_name = unpack_string(u);
	ret->key = (enum probe_key)unpack_below(u, PROBE_KEYS);
	ret->starttls = (enum probe_starttls)unpack_below(u, PROBE_STARTTLS_KINDS);
	ret->proxy_protocol = unpack_below(u, 2);
	ret->version = (enum probe_version)unpack_below(u, PROBE_VERSIONS);
	ret->expect = unpack_digest(u);
}

int probe_request_unpack(struct unpacker *u, struct probe_request *ret)
{
	*ret = (struct probe_request){0};
	ret->timeout_ms = unpack_u32(u);
	ret->deadline_ms = unpack_u32(u);
	ret->settle_ms = unpack_u32(u);
	size_t n = unpack_count(u);
	if (n > PROBE_PLACES_MAX)
		u->failed = true;
	if (!u->failed)
		ret->v = xcalloc(n, sizeof *ret->v);
	for (; ret->n < n && !u->failed; ret->n++)
		unpack_place(u, &ret->v[ret->n]);
	if (unpack_end(u))
		return 0;
	probe_request_done(ret);
	return -EBADMSG;
}

void probe_request_done(struct probe_request *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].endpoint);
		free(r->v[i].server_name);
	}
	free(r->v);
	*r = (struct probe_request){0};
}

/* At most `max` bytes of s, not ending in the middle of a UTF-8 character. */
static void pack_cut(struct packer *p, const char *s, size_t max)
{
	if (!s)
		s = "";
	size_t len = strnlen(s, max);
	while (len && s[len] && ((unsigned char)s[len] & 0xc0) == 0x80)
		len--;
	AUTO_FREE char *cut = xstrndup(s, len);
	pack_string(p, cut);
}

void probe_reply_pack(struct packer *p, const struct probe_reply *r)
{
	if (r->n > PROBE_PLACES_MAX)
		p->failed = true;
	pack_u16(p, (uint16_t)r->n);
	/* the results always fit; the texts share what is left */
	size_t text_max = r->n ? REPLY_BYTES / r->n - (SEEN_BYTES + SERIAL_MAX) : 0;
	if (text_max > WIRE_STRING_MAX)
		text_max = WIRE_STRING_MAX;
	for (size_t i = 0; i < r->n && !p->failed; i++) {
		const struct probe_seen *seen = &r->v[i];
		pack_u8(p, (uint8_t)seen->result);
		pack_digest(p, &seen->sha256);
		pack_digest(p, &seen->spki);
		pack_cut(p, seen->serial, SERIAL_MAX);
		pack_u32(p, seen->handshakes);
		pack_i64(p, seen->first_expected_us);
		pack_i64(p, seen->last_other_us);
		pack_cut(p, seen->text, text_max);
	}
}

static void unpack_seen(struct unpacker *u, struct probe_seen *ret)
{
	ret->result = (enum probe_result)unpack_below(u, PROBE_RESULTS);
	ret->sha256 = unpack_digest(u);
	ret->spki = unpack_digest(u);
	ret->serial = unpack_string(u);
	ret->handshakes = unpack_u32(u);
	ret->first_expected_us = unpack_i64(u);
	ret->last_other_us = unpack_i64(u);
	ret->text = unpack_string(u);
}

int probe_reply_unpack(struct unpacker *u, struct probe_reply *ret)
{
	*ret = (struct probe_reply){0};
	size_t n = unpack_count(u);
	if (n > PROBE_PLACES_MAX)
		u->failed = true;
	if (!u->failed)
		ret->v = xcalloc(n, sizeof *ret->v);
	for (; ret->n < n && !u->failed; ret->n++)
		unpack_seen(u, &ret->v[ret->n]);
	if (unpack_end(u))
		return 0;
	probe_reply_done(ret);
	return -EBADMSG;
}

void probe_reply_done(struct probe_reply *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].serial);
		free(r->v[i].text);
	}
	free(r->v);
	*r = (struct probe_reply){0};
}
