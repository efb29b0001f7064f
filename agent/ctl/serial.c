#include "ctl/serial.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 80 /* RFC 5280 4.1.2.2 allows 20 octets; decimal takes 49 */

bool serial_is_plausible(const char *s)
{
	bool decimal = strncmp(s, "dec:", 4) == 0;
	size_t digits = 0;
	s += decimal ? 4 : 0;
	if (!decimal && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	for (; *s; s++) {
		if (decimal ? isdigit((unsigned char)*s) : isxdigit((unsigned char)*s))
			digits++;
		else if (decimal || (*s != ':' && *s != ' '))
			return false;
	}
	return digits > 0 && digits <= DIGITS_MAX;
}

int incident_number(const char *s, json_int_t *ret)
{
	char *end;
	s += *s == '#';
	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	*ret = strtoll(s, &end, 10);
	return *end || errno ? -EINVAL : 0;
}
