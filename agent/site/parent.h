/* The parent process of a web server, known by its pid file: watched by pidfd_open(2), so that its death is seen at
 * once; and asked, through /proc, where it listens, so that a place can be attributed to its server. Runs in certswapd.
 */
#ifndef SITE_PARENT_H
#define SITE_PARENT_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "settings/settings.h"

struct site;

pid_t parent_pid(const struct server_settings *server); /* 0: no pid file, or nothing sensible in it */
int parent_open(const struct server_settings *server);  /* a pidfd, readable when the process ends; negative errno */

/* Asks the hook alive of each server once, so that the first swap need not. */
void parents_meet(struct site *site);
uint64_t parent_ticks(const struct server_settings *server); /* processor time that it has used; 0: not known */

/* TCP sockets on which the parent listens. */
struct listener {
	int family;
	uint8_t address[16]; /* network order; all zero: every address */
	uint16_t port;
};
struct listeners {
	struct listener *v; /* free() it */
	size_t n;
};
/* What can't be read is left out: then nothing is attributed, and a place counts for every server. */
void parent_listeners(const struct server_settings *server, struct listeners *ret);
/* Where a handshake on this host reaches these listeners; "every address" becomes the loopback addresses and `more`
 * (base/address.h). Adds to ret, none twice. */
void listeners_endpoints(const struct listeners *l, const struct words *more, struct words *ret);
bool listeners_have(const struct listeners *l,
		    const char *endpoint); /* "127.0.0.1:443", "[::1]:443"; host names: false */
#endif
