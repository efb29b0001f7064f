/* The plain-text dialogue before TLS: SMTP (RFC 3207), IMAP (RFC 3501 6.2.1), POP3 (RFC 2595 4). A machine that is fed
 * the bytes that came and says what to send. Runs in a "probe" worker. */
#ifndef WORKER_STARTTLS_H
#define WORKER_STARTTLS_H
#include <stdbool.h>
#include <stddef.h>

#include "wire/probe.h"

enum starttls_answer {
	STARTTLS_MORE,  /* feed it more bytes */
	STARTTLS_SEND,  /* *ret_send goes out next, then more bytes */
	STARTTLS_READY, /* TLS begins */
	STARTTLS_BAD    /* the other side says no, or is something else: starttls_last_line */
};
struct starttls {
	enum probe_starttls kind; /* not PROBE_TLS */
	unsigned step;
	char line[512]; /* RFC 5321 4.5.3.1.5 */
	size_t len;
};
void starttls_begin(struct starttls *s, enum probe_starttls kind);
/* Takes in ONE byte: what follows the last line belongs to TLS. */
enum starttls_answer starttls_feed(struct starttls *s, char byte, const char **ret_send);
const char *starttls_last_line(struct starttls *s); /* printable, for the fault text */
#endif
