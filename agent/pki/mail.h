/* A mail as mail programs save it (RFC 5322, RFC 2045 to 2047): what lies in it, decoded. Bytes in, bytes out; nothing
 * of it is understood here. Used by the check worker. */
#ifndef PKI_MAIL_H
#define PKI_MAIL_H
#include <stdbool.h>
#include <stddef.h>

/* Gets the content of one part; may read and change it during the call only. */
typedef void (*mail_part_cb)(void *data, char *bytes, size_t len);

/* Calls back for each text and each attachment, but for the signature of the mail itself. False: this is no mail. */
bool mail_read(const char *bytes, size_t len, mail_part_cb cb, void *data);
#endif
