/* The value of a SHA-256: what names certificates, keys, files. Needs no library. Used by every process. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H
#include <stdbool.h>
#include <stdint.h>

struct digest {
	uint8_t b[32];
};
#define DIGEST_HEX 65 /* bytes of the text form with its NUL */

bool digest_equal(const struct digest *a, const struct digest *b);
bool digest_is_zero(const struct digest *d);                /* all zero stands for "none" */
const char *digest_text(const struct digest *d, char *buf); /* lower-case hex; buf >= DIGEST_HEX; returns buf */
/* 64 hexadecimal digits, colons and spaces between them allowed; 0 or -EINVAL. */
int digest_parse(const char *s, struct digest *ret);
#endif
