#include "hidden.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "ports.h"

void hidden_write(const char *path, const char *value)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, value, strlen(value)) < 0)
		fprintf(stderr, "certswap-exec: %s: %s\n", path, strerror(errno));
}

static int set_interface(const char *name, const struct in_addr *address)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	if (address) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = *address};
		memcpy(&request.ifr_addr, &a, sizeof a);
		return ioctl(fd, SIOCSIFADDR, &request);
	}
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &request);
}

/* in6_ifreq of <linux/ipv6.h>, which does not go together with <netinet/in.h> */
struct address6_request {
	struct in6_addr address;
	uint32_t prefix;
	int interface;
};

static void add_address6(const struct in6_addr *address)
{
	AUTO_CLOSE int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct address6_request request = {.address = *address, .prefix = 128, .interface = (int)if_nametoindex("lo")};
	(void)ioctl(fd, SIOCSIFADDR, &request); /* there already, or no IPv6 */
}

static void add_addresses(const struct words *addresses)
{
	for (size_t i = 0; i < addresses->n; i++) {
		struct in_addr four;
		struct in6_addr six;
		AUTO_FREE char *alias = xasprintf("lo:h%zu", i + 1);
		if (inet_pton(AF_INET, addresses->v[i], &four) == 1)
			set_interface(alias, &four);
		else if (inet_pton(AF_INET6, addresses->v[i], &six) == 1)
			add_address6(&six);
	}
}

int hidden_network(const struct words *addresses)
{
	if (set_interface("lo", NULL))
		return -1;
	add_addresses(addresses);
	hidden_write("/proc/sys/net/ipv4/ip_nonlocal_bind", "1");
	if (access("/proc/sys/net/ipv6/ip_nonlocal_bind", F_OK) == 0)
		hidden_write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1");
	hidden_write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
	return 0;
}

static void add_endpoint(struct words *ret, const char *address, unsigned port)
{
	bool v6 = strchr(address, ':') != NULL;
	AUTO_FREE char *endpoint = xasprintf("%s%s%s:%u", v6 ? "[" : "", address, v6 ? "]" : "", port);
	if (ret->n < HIDDEN_ENDPOINTS_MAX && !words_has(ret, endpoint))
		words_add(ret, endpoint);
}

/* One that listens on every address; on those of IPv6, it takes IPv4 as well. */
static void add_every(struct words *ret, const struct words *addresses, bool v6, unsigned port)
{
	add_endpoint(ret, "127.0.0.1", port);
	if (v6)
		add_endpoint(ret, "::1", port);
	for (size_t i = 0; i < addresses->n; i++)
		if (v6 || !strchr(addresses->v[i], ':'))
			add_endpoint(ret, addresses->v[i], port);
}

void hidden_endpoints(const struct words *addresses, struct words *ret)
{
	struct ports ports;
	ports_listening(0, &ports);
	for (size_t i = 0; i < ports.n; i++) {
		const struct port *p = &ports.v[i];
		char text[INET6_ADDRSTRLEN];
		struct in_addr four;
		struct in6_addr six;
		memcpy(&four, p->address, sizeof four);
		memcpy(&six, p->address, sizeof six);
		if (ports_is_any(p)) {
			add_every(ret, addresses, p->v6, p->port);
		} else if (inet_ntop(p->v6 ? AF_INET6 : AF_INET, p->address, text, sizeof text)) {
			AUTO_FREE char *alias = xasprintf("lo:%zu", i + 1);
			if (p->v6)
				add_address6(&six);
			else if ((ntohl(four.s_addr) >> 24) != 127)
				set_interface(alias, &four);
			add_endpoint(ret, text, p->port);
		}
	}
	ports_done(&ports);
}
