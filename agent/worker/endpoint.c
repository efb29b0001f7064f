#include "worker/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "base/memory.h"

#define UNIX_PREFIX "unix:"

static int resolve_unix(const char *path, struct endpoint *ret, struct fault *fault)
{
	struct sockaddr_un *a = (struct sockaddr_un *)&ret->v[0].address;
	size_t len = strlen(path);
	if (path[0] != '/' || len >= sizeof a->sun_path)
		return fault_set(fault, -EINVAL, "unix:%s is not an absolute path of at most %zu bytes", path,
				 sizeof a->sun_path - 1);
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, path, len + 1);
	ret->v[0].len = sizeof *a;
	ret->n = 1;
	return 0;
}

/* "host:port" or "[host]:port" -> host (caller frees) and port inside text; NULL where it is neither. */
static char *split(const char *text, const char **ret_port)
{
	const char *colon = strrchr(text, ':');
	if (!colon || colon == text || !colon[1])
		return NULL;
	*ret_port = colon + 1;
	if (text[0] != '[')
		return memchr(text, ':', (size_t)(colon - text)) ? NULL : xstrndup(text, (size_t)(colon - text));
	return colon[-1] == ']' ? xstrndup(text + 1, (size_t)(colon - text - 2)) : NULL;
}

int endpoint_resolve(const char *text, struct endpoint *ret, struct fault *fault)
{
	*ret = (struct endpoint){0};
	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		return resolve_unix(text + strlen(UNIX_PREFIX), ret, fault);
	const char *port = NULL;
	AUTO_FREE char *host = split(text, &port);
	if (!host)
		return fault_set(fault, -EINVAL, "\"%s\" is not an address: write HOST:PORT, [IPV6]:PORT or unix:/PATH",
				 text);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	int e = getaddrinfo(host, port, &hints, &list);
	if (e == EAI_NONAME) {
		hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
		e = getaddrinfo(host, port, &hints, &list);
	}
	if (e)
		return fault_set(fault, -ENOENT, "host name of \"%s\": %s", text, gai_strerror(e));
	for (struct addrinfo *a = list; a && ret->n < ENDPOINT_ADDRESSES; a = a->ai_next) {
		memcpy(&ret->v[ret->n].address, a->ai_addr, a->ai_addrlen);
		ret->v[ret->n++].len = a->ai_addrlen;
	}
	freeaddrinfo(list);
	return 0;
}

unsigned endpoint_port(const struct endpoint *e)
{
	const struct sockaddr_storage *a = &e->v[0].address;
	if (!e->n)
		return 0;
	if (a->ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)a)->sin_port);
	return a->ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)a)->sin6_port) : 0;
}
