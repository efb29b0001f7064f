/* The mail to the CA's desk, in English or Japanese: reissue first, then revoke. Text alone; somebody else sends it.
 * Runs in certswapd. */
#ifndef SITE_LETTER_H
#define SITE_LETTER_H
#include "site/incident.h"

enum letter_language { LETTER_EN, LETTER_JA };
/* incident NULL: none is open. The caller's. */
char *letter_write(const struct certificate *c, const struct incident *incident, const char *csr,
		   enum letter_language language);
/* Is the desk there before the deadline? A line or more for the person who sends the letter; the caller's. */
char *letter_desk(const struct certificate_settings *s, int64_t now, int64_t deadline);
#endif
