/* SHA-256, the only hash that names things here: certificates (of their DER), keys (of their SubjectPublicKeyInfo, RFC
 * 5280 4.1), files, lines of the audit log. Used by every process. */
#ifndef BASE_HASH_H
#define BASE_HASH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct digest {
	uint8_t b[32];
};
#define DIGEST_HEX    65 /* bytes of the text form with its NUL */
#define DIGEST_BASE64 45

struct digest hash_bytes(const void *bytes, size_t len);
bool digest_equal(const struct digest *a, const struct digest *b);
bool digest_is_zero(const struct digest *d);                  /* all zero stands for "none" */
const char *digest_text(const struct digest *d, char *buf);   /* lower-case hex; buf >= DIGEST_HEX; returns buf */
const char *digest_base64(const struct digest *d, char *buf); /* buf >= DIGEST_BASE64; returns buf */
/* 64 hexadecimal digits, colons and spaces between them allowed; 0 or -EINVAL. */
int digest_parse(const char *s, struct digest *ret);
#endif
