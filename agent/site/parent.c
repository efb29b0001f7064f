#include "site/parent.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "site/site.h"

#define DIAG_BYTES 32768 /* of one answer of the kernel: it sends no more at once */

pid_t parent_pid(const struct server_settings *server)
{
	char *bytes;
	if (!server->pidfile || files_read(AT_FDCWD, server->pidfile, 64, &bytes, NULL, NULL) < 0)
		return 0;
	long pid = strtol(bytes, NULL, 10);
	free(bytes);
	return pid > 1 && pid < 0x7fffffff ? (pid_t)pid : 0;
}

int parent_open(const struct server_settings *server)
{
	pid_t pid = parent_pid(server);
	if (!pid)
		return -ESRCH;
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? -errno : fd; /* close-on-exec by itself */
}

static void on_met(enum server_answer answer, const char *output, void *data)
{
	struct server *server = data;
	int fd = answer == SERVER_DONE ? parent_open(server_settings(server)) : -1;
	if (fd >= 0)
		server_keep_parent(server, parent_pid(server_settings(server)), fd);
}

void parents_meet(struct site *site)
{
	for (size_t i = 0; i < site->nservers; i++)
		server_ask(site->servers[i], SERVER_ALIVE, NULL, NULL, on_met, site->servers[i]);
}

uint64_t parent_ticks(const struct server_settings *server)
{
	char path[32], line[1024];
	uint64_t user = 0, system = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)parent_pid(server));
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
	line[n > 0 ? n : 0] = '\0';
	const char *rest = strrchr(line, ')'); /* the name before it may hold anything */
	/* utime and stime are the 14th and 15th field of proc(5), the state is the 3rd */
	if (!rest ||
	    sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user, &system) != 2)
		return 0;
	return user + system;
}

/* Inodes of the sockets that a process has open. */
static size_t socket_inodes(pid_t pid, unsigned long **ret)
{
	char path[64];
	size_t n = 0;
	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	DIR *folder = opendir(path);
	*ret = NULL;
	if (!folder)
		return 0;
	for (struct dirent *e; (e = readdir(folder));) {
		char target[64] = "";
		unsigned long inode;
		if (readlinkat(dirfd(folder), e->d_name, target, sizeof target - 1) < 0 ||
		    sscanf(target, "socket:[%lu]", &inode) != 1)
			continue;
		*ret = xrealloc(*ret, (n + 1) * sizeof **ret);
		(*ret)[n++] = inode;
	}
	closedir(folder);
	return n;
}

static bool contains(const unsigned long *inodes, size_t n, unsigned long inode)
{
	for (size_t i = 0; i < n; i++)
		if (inodes[i] == inode)
			return true;
	return false;
}

static void add_listener(struct listeners *ret, const struct listener *l)
{
	ret->v = xrealloc(ret->v, (ret->n + 1) * sizeof *ret->v);
	ret->v[ret->n++] = *l;
}

/* ---- the kernel's list of listening sockets (sock_diag(7)): a busy server's thousands of connections are not in it
 * ----
 */

static int diag_ask(int socket, uint8_t family)
{
	const struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} request = {.header = {.nlmsg_len = sizeof request,
				.nlmsg_type = SOCK_DIAG_BY_FAMILY,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		     .body = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = 1U << TCP_LISTEN}};
	return send(socket, &request, sizeof request, 0) == (ssize_t)sizeof request ? 0 : -errno;
}

static void diag_add(const struct inet_diag_msg *m, const unsigned long *inodes, size_t n, struct listeners *ret)
{
	struct listener l = {.family = m->idiag_family, .port = ntohs(m->id.idiag_sport)};
	memcpy(l.address, m->id.idiag_src, l.family == AF_INET6 ? 16 : 4);
	if (contains(inodes, n, m->idiag_inode))
		add_listener(ret, &l);
}

/* 1: the list is whole; 0: more comes; or negative errno. */
static int diag_read(int socket, const unsigned long *inodes, size_t n, struct listeners *ret)
{
	union {
		struct nlmsghdr header;
		uint8_t bytes[DIAG_BYTES];
	} *answer = xmalloc(sizeof *answer);
	ssize_t got = recv(socket, answer, sizeof *answer, 0);
	int r = got < 0 ? -errno : 0;
	unsigned int left = got > 0 ? (unsigned int)got : 0;
	for (struct nlmsghdr *h = &answer->header; r == 0 && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_DONE)
			r = 1;
		else if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
			 h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			r = -EOPNOTSUPP;
		else
			diag_add(NLMSG_DATA(h), inodes, n, ret);
	}
	free(answer);
	return r;
}

static int diag_listeners(const unsigned long *inodes, size_t n, struct listeners *ret)
{
	AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int r = fd < 0 ? -errno : 1;
	for (size_t i = 0; i < ARRAY_SIZE(families) && r == 1; i++) {
		r = diag_ask(fd, families[i]);
		while (r == 0)
			r = diag_read(fd, inodes, n, ret);
	}
	return r < 0 ? r : 0;
}

/* ---- the same from /proc/net/tcp, for a kernel without sock_diag ---- */

/* "0100007F:01BB": 32-bit words in the host's order. */
static bool parse_local(const char *hex, struct listener *ret)
{
	const char *colon = strchr(hex, ':');
	size_t words = colon ? (size_t)(colon - hex) / 8 : 0;
	if (words != 1 && words != 4)
		return false;
	*ret = (struct listener){.family = words == 1 ? AF_INET : AF_INET6,
				 .port = (uint16_t)strtoul(colon + 1, NULL, 16)};
	for (size_t i = 0; i < words; i++) {
		char one[9] = "";
		memcpy(one, hex + 8 * i, 8);
		uint32_t word = (uint32_t)strtoul(one, NULL, 16);
		memcpy(ret->address + 4 * i, &word, sizeof word);
	}
	return true;
}

static void read_table(const char *path, const unsigned long *inodes, size_t n, struct listeners *ret)
{
	char line[512], local[64];
	FILE *table = fopen(path, "re");
	while (table && fgets(line, sizeof line, table)) {
		unsigned int state;
		unsigned long inode;
		struct listener l;
		if (sscanf(line, " %*d: %63s %*s %x %*s %*s %*s %*s %*s %lu", local, &state, &inode) == 3 &&
		    state == TCP_LISTEN && contains(inodes, n, inode) && parse_local(local, &l))
			add_listener(ret, &l);
	}
	if (table)
		fclose(table);
}

void parent_listeners(const struct server_settings *server, struct listeners *ret)
{
	unsigned long *inodes;
	pid_t pid = parent_pid(server);
	size_t n = pid ? socket_inodes(pid, &inodes) : 0;
	*ret = (struct listeners){0};
	if (!pid)
		return;
	if (diag_listeners(inodes, n, ret) < 0) {
		free(ret->v);
		*ret = (struct listeners){0};
		read_table("/proc/net/tcp", inodes, n, ret);
		read_table("/proc/net/tcp6", inodes, n, ret);
	}
	free(inodes);
}

static bool parse_endpoint(const char *endpoint, struct listener *ret)
{
	char host[INET6_ADDRSTRLEN + 2];
	const char *colon = strrchr(endpoint, ':');
	size_t len = colon ? (size_t)(colon - endpoint) : 0;
	if (!len || len >= sizeof host)
		return false;
	bool bracket = *endpoint == '[' && endpoint[len - 1] == ']';
	memcpy(host, endpoint + bracket, len - 2 * (size_t)bracket);
	host[len - 2 * (size_t)bracket] = '\0';
	*ret = (struct listener){.family = bracket ? AF_INET6 : AF_INET,
				 .port = (uint16_t)strtoul(colon + 1, NULL, 10)};
	return inet_pton(ret->family, host, ret->address) == 1;
}

bool listeners_have(const struct listeners *l, const char *endpoint)
{
	static const uint8_t any[16];
	struct listener asked;
	if (!parse_endpoint(endpoint, &asked))
		return false;
	for (size_t i = 0; i < l->n; i++) {
		const struct listener *v = &l->v[i];
		bool every = memcmp(v->address, any, sizeof any) == 0;
		if (v->port == asked.port &&
		    ((every && (v->family == asked.family || v->family == AF_INET6)) ||
		     (v->family == asked.family && memcmp(v->address, asked.address, sizeof any) == 0)))
			return true;
	}
	return false;
}

static void add_endpoint(struct words *ret, const char *host, bool bracket, uint16_t port)
{
	AUTO_FREE char *endpoint = bracket ? xasprintf("[%s]:%u", host, port) : xasprintf("%s:%u", host, port);
	if (!words_has(ret, endpoint))
		words_add(ret, endpoint);
}

static void add_more(struct words *ret, const struct words *more, bool six, uint16_t port)
{
	for (size_t i = 0; more && i < more->n; i++) {
		bool of_six = strchr(more->v[i], ':') != NULL;
		if (six || !of_six)
			add_endpoint(ret, more->v[i], of_six, port);
	}
}

void listeners_endpoints(const struct listeners *l, const struct words *more, struct words *ret)
{
	static const uint8_t any[16];
	for (size_t i = 0; i < l->n; i++) {
		char host[INET6_ADDRSTRLEN];
		const struct listener *v = &l->v[i];
		bool six = v->family == AF_INET6;
		if (memcmp(v->address, any, sizeof any) == 0) {
			add_endpoint(ret, "127.0.0.1", false,
				     v->port); /* a socket on [::] takes IPv4 too, unless it is told not to */
			if (six)
				add_endpoint(ret, "::1", true, v->port);
			add_more(ret, more, six, v->port);
		} else if (inet_ntop(v->family, v->address, host, sizeof host)) {
			add_endpoint(ret, host, six, v->port);
		}
	}
}
