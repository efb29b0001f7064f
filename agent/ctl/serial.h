/* Numbers as people paste them. */
#ifndef CTL_SERIAL_H
#define CTL_SERIAL_H
#include <stdbool.h>

#include <jansson.h>

/* Can it be a serial number: hexadecimal with colons, spaces or "0x", or "dec:N"? Its spelling is the agent's to
 * understand. */
bool serial_is_plausible(const char *s);
/* "12" or "#12"; 0 or -EINVAL. */
int incident_number(const char *s, json_int_t *ret);
#endif
