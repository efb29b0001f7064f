/* A certificate's serial number as its DER has it. Bytes in, values out. Used by the fetch and check workers. */
#ifndef PKI_SERIAL_H
#define PKI_SERIAL_H
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 5280 4.1.2.2 allows 20 octets; private CAs write some more. */
#define SERIAL_MAX 39

struct serial {
	uint8_t len;           /* 0: none */
	uint8_t b[SERIAL_MAX]; /* content octets of the INTEGER: no tag, no length, leading 00 and sign kept */
};

/* 0; -EMSGSIZE: longer than SERIAL_MAX. */
int serial_of(const X509 *x, struct serial *ret);
/* From content octets; 0, -EMSGSIZE, or -EINVAL: empty, or not the shortest form (X.690 8.3.2). */
int serial_from_bytes(const void *bytes, size_t len, struct serial *ret);
int serial_compare(const struct serial *a,
		   const struct serial *b); /* for sorting and finding, not the numbers' order */
/* Lower-case hex without leading zeros, "-" before a negative one: as cert_serial() and meta.json have it. `buf` holds
 * SERIAL_TEXT bytes; returns buf. */
#define SERIAL_TEXT (2 * SERIAL_MAX + 2)
const char *serial_text(const struct serial *s, char *buf);
/* The other way round, from hexadecimal digits; 0 or -EINVAL. */
int serial_from_text(const char *s, struct serial *ret);
#endif
