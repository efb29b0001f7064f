#include "wire/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/memory.h"

/* magic, version, kind, then the length of the body */
static const uint8_t magic[3] = {'c', 's', 1};

int message_send(int socket, uint8_t kind, const struct packer *body, const int *fds, size_t nfds)
{
	if (body->failed || body->len > WIRE_MESSAGE_MAX - MESSAGE_HEADER || nfds > MESSAGE_FDS)
		return -EMSGSIZE;
	uint8_t header[MESSAGE_HEADER] = {magic[0], magic[1], magic[2], kind};
	for (int i = 0; i < 4; i++)
		header[4 + i] = (uint8_t)(body->len >> (8 * i));
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * MESSAGE_FDS)];
	} control;
	struct iovec parts[2] = {{header, sizeof header}, {body->bytes, body->len}};
	struct msghdr m = {.msg_iov = parts, .msg_iovlen = body->len ? 2 : 1};
	if (nfds) {
		m.msg_control = control.space;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	ssize_t n;
	do
		n = sendmsg(socket, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Takes the descriptors out of the ancillary data; false where there is anything else in it. */
static bool take_fds(struct msghdr *m, struct message *ret)
{
	bool good = true;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
			good = false;
			continue;
		}
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (ret->nfds < MESSAGE_FDS)
				ret->fds[ret->nfds++] = fd;
			else
				close(fd);
		}
	}
	return good;
}

int message_receive(int socket, struct message *ret)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * MESSAGE_FDS)];
	} control;
	memset(ret, 0, sizeof *ret);
	ret->bytes = xmalloc(WIRE_MESSAGE_MAX);
	struct iovec part = {ret->bytes, WIRE_MESSAGE_MAX};
	struct msghdr m = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = control.space,
			   .msg_controllen = sizeof control.space};
	ssize_t n;
	do
		n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	int error = n < 0 ? -errno : n == 0 ? -EPIPE : 0;
	if (error) {
		message_done(ret);
		return error == -ECONNRESET ? -EPIPE : error;
	}
	bool good = take_fds(&m, ret) && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && n >= MESSAGE_HEADER &&
		    memcmp(ret->bytes, magic, sizeof magic) == 0;
	size_t len = 0;
	for (int i = 0; good && i < 4; i++)
		len |= (size_t)ret->bytes[4 + i] << (8 * i);
	if (!good || len != (size_t)n - MESSAGE_HEADER) {
		message_done(ret);
		return -EBADMSG;
	}
	ret->kind = ret->bytes[3];
	ret->body = (struct unpacker){.bytes = ret->bytes + MESSAGE_HEADER, .len = len};
	return 0;
}

void message_done(struct message *m)
{
	for (size_t i = 0; i < m->nfds; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	if (m->bytes)
		free_secret(m->bytes, WIRE_MESSAGE_MAX);
	memset(m, 0, sizeof *m);
}
