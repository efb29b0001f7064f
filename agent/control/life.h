/* The life of the site: state folder, order of start, configuration read again, end. Runs in certswapd. */
#ifndef SITE_LIFE_H
#define SITE_LIFE_H
#include "site/site.h"

/* Where our own programs are. */
struct site_programs {
	const char *worker, *hooks;
};
/* Takes over settings. Opens and locks STATE, reads what is there, ends on disk what a crash cut off, opens the control
 * socket: when it returns, the agent can be asked. NULL and fault: another certswapd has the folder, it is from a newer
 * version, it can't be written ... */
struct site *site_open(struct loop *loop, struct settings *settings, const struct site_programs *programs,
		       struct fault *fault);
/* Then, in the background: interrupted swaps, drop boxes, open incidents. */
void site_resume(struct site *site);
/* Reads the configuration again, whole or not at all; it is put in place once no swap is under way. */
int site_reload(struct site *site, struct fault *fault);
void site_close(struct site *site);
#endif
