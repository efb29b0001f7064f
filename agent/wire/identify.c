#include "wire/identify.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"

void identify_request_pack(struct packer *p, const struct identify_request *r)
{
	pack_u16(p, r->files);
	pack_u16(p, r->passwords);
}

int identify_request_unpack(struct unpacker *u, struct identify_request *ret)
{
	ret->files = unpack_u16(u);
	ret->passwords = unpack_u16(u);
	return unpack_end(u) ? 0 : -EBADMSG;
}

static void pack_object(struct packer *p, const struct object *o)
{
	pack_u8(p, (uint8_t)o->kind);
	pack_u16(p, o->file);
	pack_digest(p, &o->sha256);
	pack_digest(p, &o->spki);
	pack_words(p, &o->names);
	pack_i64(p, o->not_before);
	pack_i64(p, o->not_after);
	pack_string(p, o->serial);
	pack_string(p, o->issuer);
	pack_string(p, o->text);
}

static struct object unpack_object(struct unpacker *u)
{
	struct object o = {0};
	uint8_t kind = unpack_u8(u);
	if (kind >= OBJECT_KINDS)
		u->failed = true;
	else
		o.kind = (enum object_kind)kind;
	o.file = unpack_u16(u);
	o.sha256 = unpack_digest(u);
	o.spki = unpack_digest(u);
	o.names = unpack_words(u);
	o.not_before = unpack_i64(u);
	o.not_after = unpack_i64(u);
	o.serial = unpack_string(u);
	o.issuer = unpack_string(u);
	o.text = unpack_string(u);
	return o;
}

void identify_reply_pack(struct packer *p, const struct identify_reply *r)
{
	if (r->n > WIRE_LIST_MAX)
		p->failed = true;
	pack_u16(p, (uint16_t)r->n);
	for (size_t i = 0; i < r->n && !p->failed; i++)
		pack_object(p, &r->v[i]);
}

int identify_reply_unpack(struct unpacker *u, struct identify_reply *ret)
{
	*ret = (struct identify_reply){0};
	size_t n = unpack_count(u);
	for (size_t i = 0; i < n && !u->failed; i++) {
		ret->v = xrealloc(ret->v, (ret->n + 1) * sizeof *ret->v);
		ret->v[ret->n++] = unpack_object(u);
	}
	if (unpack_end(u))
		return 0;
	identify_reply_done(ret);
	return -EBADMSG;
}

void identify_reply_done(struct identify_reply *r)
{
	for (size_t i = 0; i < r->n; i++) {
		words_done(&r->v[i].names);
		free(r->v[i].serial);
		free(r->v[i].issuer);
		free(r->v[i].text);
	}
	free(r->v);
	*r = (struct identify_reply){0};
}
