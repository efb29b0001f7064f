#include "wire/fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "wire/message.h"

const char *const fetch_kind_name[] = {
	[FETCH_CRL] = "crl", [FETCH_OCSP] = "ocsp", [FETCH_ARI] = "ari", [FETCH_ISSUER] = "issuer"};
_Static_assert(ARRAY_SIZE(fetch_kind_name) == FETCH_KINDS, "a name for each");

/* Bytes of one item: a serial has 20 octets at most (RFC 5280 4.1.2.2) */
#define ITEM_BYTES (2 + 42 + 1)
#define SEEN_BYTES (1 + 1 + 5 * 8 + 2)
#define REST_BYTES (16 * 1024) /* URLs, names and numbers of a job */
_Static_assert(FETCH_ITEMS_MAX *ITEM_BYTES + REST_BYTES <= WIRE_MESSAGE_MAX, "a full request fits");
_Static_assert(FETCH_ITEMS_MAX *SEEN_BYTES + REST_BYTES <= WIRE_MESSAGE_MAX, "a full reply fits");
_Static_assert(FETCH_ASKED_MAX *(SEEN_BYTES + FETCH_TEXT_MAX) + REST_BYTES <= WIRE_MESSAGE_MAX, "with texts too");

static unsigned int unpack_below(struct unpacker *u, unsigned int limit)
{
	unsigned int v = unpack_u8(u);
	if (v >= limit)
		u->failed = true;
	return u->failed ? 0 : v;
}

void fetch_request_pack(struct packer *p, const struct fetch_request *r)
{
	if (r->n > FETCH_ITEMS_MAX)
		p->failed = true;
	pack_u8(p, (uint8_t)r->kind);
	pack_words(p, &r->urls);
	pack_words(p, &r->deny);
	pack_string(p, r->proxy);
	pack_u32(p, r->deadline_ms);
	pack_u8(p, r->redirects);
	pack_u8(p, r->from_file);
	pack_u8(p, r->keep);
	pack_u8(p, r->renewal_info);
	pack_digest(p, &r->child);
	pack_string(p, r->etag);
	pack_string(p, r->last_modified);
	pack_string(p, r->number);
	pack_i64(p, r->this_update);
	pack_u16(p, (uint16_t)r->n);
	for (size_t i = 0; i < r->n && !p->failed; i++) {
		pack_string(p, r->v[i].id);
		pack_u8(p, r->v[i].ca);
	}
}

int fetch_request_unpack(struct unpacker *u, struct fetch_request *ret)
{
	*ret = (struct fetch_request){.kind = (enum fetch_kind)unpack_below(u, FETCH_KINDS)};
	ret->urls = unpack_words(u);
	ret->deny = unpack_words(u);
	ret->proxy = unpack_string(u);
	ret->deadline_ms = unpack_u32(u);
	ret->redirects = unpack_u8(u);
	ret->from_file = unpack_below(u, 2);
	ret->keep = unpack_below(u, 2);
	ret->renewal_info = unpack_below(u, 2);
	ret->child = unpack_digest(u);
	ret->etag = unpack_string(u);
	ret->last_modified = unpack_string(u);
	ret->number = unpack_string(u);
	ret->this_update = unpack_i64(u);
	size_t n = unpack_count(u);
	if (n > FETCH_ITEMS_MAX)
		u->failed = true;
	ret->v = xcalloc(n, sizeof *ret->v);
	for (; ret->n < n && !u->failed; ret->n++) {
		ret->v[ret->n].id = unpack_string(u);
		ret->v[ret->n].ca = unpack_below(u, 2);
	}
	if (unpack_end(u))
		return 0;
	fetch_request_done(ret);
	return -EBADMSG;
}

void fetch_request_done(struct fetch_request *r)
{
	words_done(&r->urls);
	words_done(&r->deny);
	free(r->proxy);
	free(r->etag);
	free(r->last_modified);
	free(r->number);
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i].id);
	free(r->v);
	*r = (struct fetch_request){0};
}

void fetch_reply_pack(struct packer *p, const struct fetch_reply *r)
{
	pack_u8(p, (uint8_t)r->result);
	pack_u8(p, r->temporary);
	pack_string(p, r->text);
	pack_string(p, r->url);
	pack_string(p, r->etag);
	pack_string(p, r->last_modified);
	pack_string(p, r->number);
	pack_i64(p, r->this_update);
	pack_i64(p, r->next_update);
	pack_i64(p, r->bytes);
	pack_u32(p, r->requests);
	pack_words(p, &r->pem);
	pack_u16(p, (uint16_t)r->n);
	for (size_t i = 0; i < r->n && !p->failed; i++) {
		const struct fetch_seen *s = &r->v[i];
		pack_u8(p, (uint8_t)s->status);
		pack_u8(p, (uint8_t)s->reason);
		pack_i64(p, s->revoked_at);
		pack_i64(p, s->this_update);
		pack_i64(p, s->next_update);
		pack_i64(p, s->retry_after);
		pack_string(p, s->text);
	}
}

int fetch_reply_unpack(struct unpacker *u, struct fetch_reply *ret)
{
	*ret = (struct fetch_reply){.result = (enum fetch_result)unpack_below(u, FETCH_RESULTS)};
	ret->temporary = unpack_below(u, 2);
	ret->text = unpack_string(u);
	ret->url = unpack_string(u);
	ret->etag = unpack_string(u);
	ret->last_modified = unpack_string(u);
	ret->number = unpack_string(u);
	ret->this_update = unpack_i64(u);
	ret->next_update = unpack_i64(u);
	ret->bytes = unpack_i64(u);
	ret->requests = unpack_u32(u);
	ret->pem = unpack_words(u);
	size_t n = unpack_count(u);
	ret->v = xcalloc(n, sizeof *ret->v);
	for (; ret->n < n && !u->failed; ret->n++) {
		struct fetch_seen *s = &ret->v[ret->n];
		s->status = (enum fetch_status)unpack_below(u, FETCH_STATUSES);
		s->reason = (int8_t)unpack_u8(u);
		s->revoked_at = unpack_i64(u);
		s->this_update = unpack_i64(u);
		s->next_update = unpack_i64(u);
		s->retry_after = unpack_i64(u);
		s->text = text_printable(unpack_string(u));
	}
	text_printable(ret->text);
	text_printable(ret->url);
	text_printable(ret->etag);
	text_printable(ret->last_modified);
	text_printable(ret->number);
	if (unpack_end(u))
		return 0;
	fetch_reply_done(ret);
	return -EBADMSG;
}

void fetch_reply_done(struct fetch_reply *r)
{
	free(r->text);
	free(r->url);
	free(r->etag);
	free(r->last_modified);
	free(r->number);
	words_done(&r->pem);
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i].text);
	free(r->v);
	*r = (struct fetch_reply){0};
}
