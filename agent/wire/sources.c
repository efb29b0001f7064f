#include "wire/sources.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "wire/message.h"

static void pack_cert(struct packer *p, const struct source_cert *c)
{
	pack_digest(p, &c->sha256);
	pack_digest(p, &c->issuer);
	pack_digest(p, &c->points);
	pack_string(p, c->serial);
	pack_string(p, c->subject);
	pack_string(p, c->cert_id);
	pack_u8(p, (uint8_t)(c->ca | c->self_signed << 1));
	pack_i64(p, c->not_before);
	pack_i64(p, c->not_after);
	pack_words(p, &c->crls);
	pack_words(p, &c->ocsp);
	pack_words(p, &c->issuers);
}

static void unpack_cert(struct unpacker *u, struct source_cert *ret)
{
	ret->sha256 = unpack_digest(u);
	ret->issuer = unpack_digest(u);
	ret->points = unpack_digest(u);
	ret->serial = unpack_string(u);
	ret->subject = text_printable(unpack_string(u));
	ret->cert_id = unpack_string(u);
	uint8_t flags = unpack_u8(u);
	if (flags > 3)
		u->failed = true;
	ret->ca = flags & 1;
	ret->self_signed = flags & 2;
	ret->not_before = unpack_i64(u);
	ret->not_after = unpack_i64(u);
	ret->crls = unpack_words(u);
	ret->ocsp = unpack_words(u);
	ret->issuers = unpack_words(u);
}

void pack_source_file(struct packer *p, const struct source_file *f)
{
	pack_u8(p, (uint8_t)f->n);
	for (size_t i = 0; i < f->n; i++)
		pack_cert(p, &f->v[i]);
}

void unpack_source_file(struct unpacker *u, struct source_file *ret)
{
	size_t n = unpack_u8(u);
	*ret = (struct source_file){0};
	if (n > SOURCES_CERTS_MAX)
		u->failed = true;
	while (ret->n < n && !u->failed)
		unpack_cert(u, &ret->v[ret->n++]);
}

void source_cert_copy(struct source_cert *to, const struct source_cert *from)
{
	*to = *from;
	to->serial = xstrdup(from->serial);
	to->subject = xstrdup(from->subject);
	to->cert_id = xstrdup(from->cert_id);
	to->crls = to->ocsp = to->issuers = (struct words){0};
	words_copy(&to->crls, &from->crls);
	words_copy(&to->ocsp, &from->ocsp);
	words_copy(&to->issuers, &from->issuers);
}

void source_cert_done(struct source_cert *c)
{
	free(c->serial);
	free(c->subject);
	free(c->cert_id);
	words_done(&c->crls);
	words_done(&c->ocsp);
	words_done(&c->issuers);
	*c = (struct source_cert){0};
}

void source_file_done(struct source_file *f)
{
	for (size_t i = 0; i < f->n; i++)
		source_cert_done(&f->v[i]);
	f->n = 0;
}

void sources_reply_pack(struct packer *p, const struct sources_reply *r)
{
	struct packer body = {0};
	size_t n = 0;
	for (; n < r->n; n++) {
		struct packer one = {0};
		pack_source_file(&one, &r->v[n]);
		bool fits = !one.failed && body.len + one.len + 1 <= WIRE_MESSAGE_MAX - MESSAGE_HEADER;
		packer_done(&one);
		if (!fits)
			break;
		pack_source_file(&body, &r->v[n]);
	}
	packer_done(&body);
	pack_u8(p, (uint8_t)n);
	for (size_t i = 0; i < n; i++)
		pack_source_file(p, &r->v[i]);
}

int sources_reply_unpack(struct unpacker *u, struct sources_reply *ret)
{
	size_t n = unpack_u8(u);
	ret->n = 0;
	if (n > SOURCES_FILES_MAX)
		u->failed = true;
	while (ret->n < n && !u->failed)
		unpack_source_file(u, &ret->v[ret->n++]);
	if (unpack_end(u))
		return 0;
	sources_reply_done(ret);
	return -EBADMSG;
}

void sources_reply_done(struct sources_reply *r)
{
	for (size_t i = 0; i < r->n; i++)
		source_file_done(&r->v[i]);
	r->n = 0;
}
