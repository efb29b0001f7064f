/* Where a place of a probe is: text -> socket addresses. Numeric addresses and unix sockets need no file; host names do
 * (resolver), so all of it happens before the sandbox is closed. Runs in a "probe" worker. */
#ifndef WORKER_ENDPOINT_H
#define WORKER_ENDPOINT_H
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fault.h"

#define ENDPOINT_ADDRESSES 4

struct endpoint {
	struct {
		struct sockaddr_storage address;
		socklen_t len;
	} v[ENDPOINT_ADDRESSES];
	size_t n;
};
/* "127.0.0.1:443" "[::1]:443" "name:443" "unix:/path". 0; -EINVAL: not of that form; -ENOENT: no such host. */
int endpoint_resolve(const char *text, struct endpoint *ret, struct fault *fault);
/* TCP port in host order; 0 for a unix socket. */
unsigned endpoint_port(const struct endpoint *e);
#endif
