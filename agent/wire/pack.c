#include "wire/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static void put(struct packer *p, const void *bytes, size_t len)
{
	if (p->failed || len > WIRE_MESSAGE_MAX - p->len) {
		p->failed = true;
		return;
	}
	if (!p->bytes)
		p->bytes = xmalloc(WIRE_MESSAGE_MAX);
	if (len)
		memcpy(p->bytes + p->len, bytes, len);
	p->len += len;
}

static void put_number(struct packer *p, uint64_t v, size_t width)
{
	uint8_t b[8];
	for (size_t i = 0; i < width; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	put(p, b, width);
}

void pack_u8(struct packer *p, uint8_t v)
{
	put_number(p, v, 1);
}

void pack_u16(struct packer *p, uint16_t v)
{
	put_number(p, v, 2);
}

void pack_u32(struct packer *p, uint32_t v)
{
	put_number(p, v, 4);
}

void pack_i64(struct packer *p, int64_t v)
{
	put_number(p, (uint64_t)v, 8);
}

void pack_string(struct packer *p, const char *s)
{
	size_t len = s ? strlen(s) : 0;
	if (len > WIRE_STRING_MAX)
		p->failed = true;
	pack_u16(p, (uint16_t)len);
	put(p, s, len);
}

void pack_digest(struct packer *p, const struct digest *d)
{
	put(p, d->b, sizeof d->b);
}

void pack_words(struct packer *p, const struct words *w)
{
	if (w->n > WIRE_LIST_MAX)
		p->failed = true;
	pack_u16(p, (uint16_t)w->n);
	for (size_t i = 0; i < w->n && !p->failed; i++)
		pack_string(p, w->v[i]);
}

void packer_done(struct packer *p)
{
	if (p->bytes)
		free_secret(p->bytes, WIRE_MESSAGE_MAX);
	*p = (struct packer){0};
}

/* len bytes, or NULL once anything has failed */
static const uint8_t *take(struct unpacker *u, size_t len)
{
	if (u->failed || len > u->len - u->at) {
		u->failed = true;
		return NULL;
	}
	const uint8_t *at = u->bytes + u->at;
	u->at += len;
	return at;
}

static uint64_t take_number(struct unpacker *u, size_t width)
{
	const uint8_t *b = take(u, width);
	uint64_t v = 0;
	for (size_t i = 0; b && i < width; i++)
		v |= (uint64_t)b[i] << (8 * i);
	return v;
}

uint8_t unpack_u8(struct unpacker *u)
{
	return (uint8_t)take_number(u, 1);
}

uint16_t unpack_u16(struct unpacker *u)
{
	return (uint16_t)take_number(u, 2);
}

uint32_t unpack_u32(struct unpacker *u)
{
	return (uint32_t)take_number(u, 4);
}

int64_t unpack_i64(struct unpacker *u)
{
	return (int64_t)take_number(u, 8);
}

char *unpack_string(struct unpacker *u)
{
	size_t len = unpack_u16(u);
	if (len > WIRE_STRING_MAX)
		u->failed = true;
	const uint8_t *b = take(u, len);
	if (b && memchr(b, '\0', len))
		u->failed = true;
	return xstrndup(b && !u->failed ? (const char *)b : "", len);
}

struct digest unpack_digest(struct unpacker *u)
{
	struct digest d = {0};
	const uint8_t *b = take(u, sizeof d.b);
	if (b)
		memcpy(d.b, b, sizeof d.b);
	return d;
}

size_t unpack_count(struct unpacker *u)
{
	size_t n = unpack_u16(u);
	if (n > WIRE_LIST_MAX)
		u->failed = true;
	return u->failed ? 0 : n;
}

struct words unpack_words(struct unpacker *u)
{
	struct words w = {0};
	size_t n = unpack_count(u);
	for (size_t i = 0; i < n && !u->failed; i++) {
		char *s = unpack_string(u);
		words_add(&w, s);
		free(s);
	}
	return w;
}

bool unpack_end(const struct unpacker *u)
{
	return !u->failed && u->at == u->len;
}
