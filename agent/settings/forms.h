/* The forms that a piece of text in the configuration may have to keep to. Only the text is judged, never the host. */
#ifndef SETTINGS_FORMS_H
#define SETTINGS_FORMS_H
#include <stdbool.h>

struct form {
	const char *word;  /* what stands for it in the manual */
	const char *needs; /* for a message: what is needed */
	bool (*is)(const char *s);
};

extern const struct form form_name;     /* text_is_name */
extern const struct form form_path;     /* absolute, without control characters */
extern const struct form form_user;     /* user or group: name or number */
extern const struct form form_host;     /* host name, wildcard or IP address, as a certificate holds it */
extern const struct form form_place;    /* an endpoint, or proxy:ENDPOINT where a PROXY header is expected */
extern const struct form form_endpoint; /* HOST:PORT, [V6]:PORT, unix:/path */
extern const struct form form_pin;      /* sha256/ and 32 bytes in base64 (RFC 7469 2.4) */
extern const struct form form_url;      /* http:// or https:// */
extern const struct form form_range;    /* IP address or address/prefix */
extern const struct form form_hours;    /* Mon-Fri 09:00-18:00, Sat 10:00-12:00 */
extern const struct form form_line;     /* anything on one line */
#endif
