/* SHA-256, the only hash that names things here: certificates (of their DER), keys (of their SubjectPublicKeyInfo, RFC
 * 5280 4.1), files, lines of the audit log. Used by every process. */
#ifndef BASE_HASH_H
#define BASE_HASH_H
#include <stddef.h>

#include "base/digest.h"

struct digest hash_bytes(const void *bytes, size_t len);
/* 44 characters, as in sha256/BASE64 pins. */
#define DIGEST_BASE64 45
const char *digest_base64(const struct digest *d, char *buf); /* buf >= DIGEST_BASE64; returns buf */
#endif
