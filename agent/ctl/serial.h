/* Numbers as people paste them. */
#ifndef CTL_SERIAL_H
#define CTL_SERIAL_H
#include <stdbool.h>

#include <jansson.h>

#define SERIAL_DIGITS_MAX 64 /* of hexadecimal; RFC 5280 4.1.2.2 allows 40 */

/* A serial number in hexadecimal (colons, spaces, "0x", leading zeros, any case) or "dec:N" -> lower-case hexadecimal
 * without leading zeros, as the agent keeps it. The caller frees; NULL: not one. */
char *serial_normal(const char *s);
/* "12" or "#12"; 0 or -EINVAL. */
int incident_number(const char *s, json_int_t *ret);
#endif
