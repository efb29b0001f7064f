/* Numbers, strings and digests in a message: little-endian, length before content, hard limits on both sides. A reader
 * that finds anything unexpected sets `failed` and returns zeroes from then on, so one look at the end is enough. */
#ifndef WIRE_PACK_H
#define WIRE_PACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/text.h"

#define WIRE_MESSAGE_MAX 65536 /* bytes of one message, header included */
#define WIRE_STRING_MAX  4096  /* bytes of one string */
#define WIRE_LIST_MAX    4096  /* entries of one list */

/* Writing. Starts zeroed; packer_done frees. `failed` after a string or message over the limit. */
struct packer {
	uint8_t *bytes;
	size_t len;
	bool failed;
};
void pack_u8(struct packer *p, uint8_t v);
void pack_u16(struct packer *p, uint16_t v);
void pack_u32(struct packer *p, uint32_t v);
void pack_i64(struct packer *p, int64_t v);
void pack_string(struct packer *p, const char *s); /* NULL is sent as "" */
void pack_digest(struct packer *p, const struct digest *d);
void pack_words(struct packer *p, const struct words *w);
void packer_done(struct packer *p);

/* Reading from bytes that outlive the reader. */
struct unpacker {
	const uint8_t *bytes;
	size_t len, at;
	bool failed;
};
uint8_t unpack_u8(struct unpacker *u);
uint16_t unpack_u16(struct unpacker *u);
uint32_t unpack_u32(struct unpacker *u);
int64_t unpack_i64(struct unpacker *u);
char *unpack_string(struct unpacker *u); /* NUL-terminated copy, never NULL; a NUL inside is a failure; caller frees */
struct digest unpack_digest(struct unpacker *u);
struct words unpack_words(struct unpacker *u);
size_t unpack_count(struct unpacker *u);   /* a u16 that is at most WIRE_LIST_MAX */
bool unpack_end(const struct unpacker *u); /* nothing failed and nothing is left over */
#endif
