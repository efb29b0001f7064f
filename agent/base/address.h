/* Ranges of IP addresses, and whether an address that a socket is about to connect to stands in one (settings, the
 * fetch worker); the addresses of this host (certswapd, certswap-exec). */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/text.h"

struct address_range {
	uint8_t bytes[16]; /* network order; an IPv4 address in the first four */
	bool v6;
	unsigned int bits; /* length of the prefix */
};
/* "169.254.0.0/16", "fe80::/10", or one address without a prefix. 0 or -EINVAL (also where bits behind the prefix are
 * set: then it is not what its author means). */
int address_range_parse(const char *text, struct address_range *ret);
/* IPv4 inside IPv6 (mapped ::ffff:0:0/96, RFC 4291 2.5.5.2; translated 64:ff9b::/96, RFC 6052 2.1) counts as the IPv4
 * address that it reaches. */
bool address_range_has(const struct address_range *range, const struct sockaddr *address);
#define ADDRESS_LIST_MAX 64 /* a node of a cluster may have thousands */
/* This host's addresses: "192.0.2.1", "2001:db8::1"; none of loopback, none of a link alone. Adds to ret, until it has
 * ADDRESS_LIST_MAX. */
void address_list(struct words *ret);
bool address_is_loopback(const char *endpoint); /* "127.0.0.1:443", "[::1]:443"; of a host name: false */
#endif
