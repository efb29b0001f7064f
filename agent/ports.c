#include "ports.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

#define TCP_LISTENING 0x0a /* of the column st in /proc/net/tcp */

/* /proc prints each 32 bits of an address as a number of this host's byte order. */
static bool parse_address(const char *hex, bool v6, unsigned char ret[16])
{
	size_t words = v6 ? 4 : 1;
	if (strlen(hex) != words * 8)
		return false;
	for (size_t i = 0; i < words; i++) {
		char word[9] = "";
		memcpy(word, hex + i * 8, 8);
		uint32_t value = (uint32_t)strtoul(word, NULL, 16);
		memcpy(ret + i * 4, &value, sizeof value);
	}
	return true;
}

static void read_table(const char *path, bool v6, struct ports *ret)
{
	FILE *f = fopen(path, "re");
	char line[512];
	while (f && fgets(line, sizeof line, f)) {
		char address[33];
		unsigned port, state;
		unsigned long inode;
		struct port p = {.v6 = v6};
		if (sscanf(line, " %*u: %32[0-9A-F]:%X %*[0-9A-F]:%*X %X %*s %*s %*s %*u %*u %lu", address, &port,
			   &state, &inode) != 4 ||
		    state != TCP_LISTENING || !parse_address(address, v6, p.address))
			continue;
		p.port = (uint16_t)port;
		p.inode = inode;
		ret->v = xrealloc(ret->v, (ret->n + 1) * sizeof *ret->v);
		ret->v[ret->n++] = p;
	}
	if (f)
		fclose(f);
}

/* Leaves out the sockets that the process has not open. */
static void keep_own(pid_t pid, struct ports *p)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/fd", (int)pid);
	AUTO_FREE bool *own = xcalloc(p->n, sizeof *own);
	DIR *folder = opendir(path);
	for (struct dirent *e; folder && (e = readdir(folder));) {
		char target[64];
		unsigned long inode;
		ssize_t n = readlinkat(dirfd(folder), e->d_name, target, sizeof target - 1);
		target[n > 0 ? n : 0] = '\0';
		if (sscanf(target, "socket:[%lu]", &inode) == 1)
			for (size_t i = 0; i < p->n; i++)
				own[i] |= p->v[i].inode == inode;
	}
	if (folder)
		closedir(folder);
	size_t n = 0;
	for (size_t i = 0; i < p->n; i++)
		if (own[i])
			p->v[n++] = p->v[i];
	p->n = n;
}

void ports_listening(pid_t pid, struct ports *ret)
{
	AUTO_FREE char *of = pid ? xasprintf("%d", (int)pid) : xstrdup("self");
	AUTO_FREE char *tcp = xasprintf("/proc/%s/net/tcp", of), *tcp6 = xasprintf("/proc/%s/net/tcp6", of);
	*ret = (struct ports){0};
	read_table(tcp, false, ret);
	read_table(tcp6, true, ret);
	if (pid)
		keep_own(pid, ret);
}

void ports_done(struct ports *p)
{
	free(p->v);
	*p = (struct ports){0};
}

/* As a server does before it listens; nobody can connect to what is only bound. 0, or the errno. */
static int try_bind(const struct port *p)
{
	int on = 1, off = 0;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(p->port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(p->port)};
	memcpy(&six.sin6_addr, p->address, sizeof six.sin6_addr);
	memcpy(&four.sin_addr, p->address, sizeof four.sin_addr);
	AUTO_CLOSE int fd = socket(p->v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
		return errno;
	if (p->v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0)
		return errno;
	int r = p->v6 ? bind(fd, (const struct sockaddr *)&six, sizeof six)
		      : bind(fd, (const struct sockaddr *)&four, sizeof four);
	return r < 0 ? errno : 0;
}

bool ports_is_any(const struct port *p)
{
	static const unsigned char any[sizeof p->address];
	return memcmp(p->address, any, sizeof any) == 0;
}

/* The server goes on with a socket of the same address. One of another address, its own old one too, is in its way: it
 * closes those it needs no more only after it has opened the new ones. */
static bool has(const struct ports *own, const struct port *wanted)
{
	for (size_t i = 0; i < own->n; i++) {
		const struct port *p = &own->v[i];
		if (p->port == wanted->port &&
		    ((p->v6 == wanted->v6 && memcmp(p->address, wanted->address, sizeof p->address) == 0) ||
		     (ports_is_any(p) && ports_is_any(wanted)))) /* "Listen 443" is either, as the host has IPv6 */
			return true;
	}
	return false;
}

bool ports_taken(const struct ports *wanted, const struct ports *own)
{
	for (size_t i = 0; i < wanted->n; i++) {
		const struct port *p = &wanted->v[i];
		char address[INET6_ADDRSTRLEN] = "?";
		int error = has(own, p) ? 0 : try_bind(p);
		if (error != EADDRINUSE && error != EADDRNOTAVAIL)
			continue;
		inet_ntop(p->v6 ? AF_INET6 : AF_INET, p->address, address, sizeof address);
		fprintf(stderr, "certswap-exec: the server would listen on port %u of %s, and %s\n", p->port, address,
			error == EADDRINUSE
				? "that is taken: by another program, or by the server itself under another address"
				: "this host has no such address");
		return true;
	}
	return false;
}
