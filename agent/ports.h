/* Listening TCP sockets: would the ports that a server got in a network of its own be free outside, where others are?
 * Used by certswap-exec --rehearse. */
#ifndef PORTS_H
#define PORTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct port {
	bool v6;
	unsigned char address[16]; /* network order; 4 bytes where it is not v6 */
	uint16_t port;
	unsigned long inode; /* of the socket */
};
struct ports {
	struct port *v;
	size_t n;
};

/* The listening sockets of the process `pid`; 0: of this network namespace, whoever has them. */
void ports_listening(pid_t pid, struct ports *ret);
void ports_done(struct ports *p);
bool ports_is_any(const struct port *p); /* every address, 0.0.0.0 or :: */

/* In this network namespace: is there one of `wanted` that could not be bound, but for what `own` has already? Says on
 * standard error which and why. */
bool ports_taken(const struct ports *wanted, const struct ports *own);
#endif
