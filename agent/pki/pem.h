/* PEM (RFC 7468), read generously: any text around the blocks, any order, BOM, CRLF, UTF-16, indented lines. Bytes in,
 * bytes out; what the bytes mean is not looked at here. Used by the check worker. */
#ifndef PKI_PEM_H
#define PKI_PEM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct pem_block {
	char label[40]; /* "CERTIFICATE" */
	char *header;   /* the lines "Proc-Type: ..." before the base64, or NULL */
	uint8_t *der;
	size_t len;
	bool damaged; /* begins as a block but has no end or no valid base64: der is NULL */
};
/* The next block at or after *at; moves *at behind it. False: there is none. The caller ends it with pem_block_done. */
bool pem_next(const char *bytes, size_t len, size_t *at, struct pem_block *ret);
void pem_block_done(struct pem_block *b); /* wipes */

/* Decodes base64 with white space anywhere; NULL where it is not valid or is empty. free_secret(…, *ret_cap) it. */
uint8_t *pem_base64(const char *s, size_t len, size_t *ret_len, size_t *ret_cap);

/* Appends one block with lines of 64. Memory that is given up on the way is wiped, so keys may be written. */
void pem_write(struct text *t, const char *label, const uint8_t *der, size_t len);
void pem_text_done(struct text *t); /* text_done for a text that held a key */
#endif
