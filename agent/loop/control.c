#include "loop/control.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "loop/inside.h"

#define PATIENCE_MS     60000
#define BACKLOG         128
#define ACCEPTS_AT_ONCE 32   /* connections taken in one turn of the loop */
#define READS_AT_ONCE   16   /* of 64 KiB, for one client in one turn */
#define PAUSE_MS        100  /* without accepting, when descriptors or memory have run out */
#define SCM_FDS_MAX     253  /* what the kernel passes in one message (SCM_MAX_FD) */
#define RESERVED        64   /* places of CONTROL_CLIENTS_MAX that strangers don't get */
#define SHORT_LINE      4096 /* bytes: progress, and how a swap went, is sent whatever others do not read */

struct client {
	uv_poll_t uv;
	struct control *control;
	struct client *next, **link;
	int fd;
	struct ucred peer;
	bool trusted; /* root, or who runs the daemon */
	struct text in;
	int fds[CONTROL_FDS_MAX];
	size_t nfds;
	struct text out;
	size_t sent;         /* bytes of out that are gone already */
	struct timer *timer; /* its patience, or the call of `drop` that must not come from inside */
	void *data;
	bool asked, finishing; /* the request was handed over; no more will be sent */
	bool broken;           /* unsent output was over the limit */
	bool cut;              /* others have not read so much that it only got an apology */
};

struct control {
	struct loop *loop;
	char *path;
	struct stat made; /* the socket file that is ours */
	int fd;
	struct poller *poller;
	struct timer *pause;
	int64_t patience_ms;
	control_request_cb request;
	control_gone_cb gone;
	void *data;
	struct client *clients;
	size_t nclients, nstrangers;
	size_t unsent, strangers_unsent; /* bytes of all clients' out that are not gone */
};

static const char busy[] = "{\"exit\":3,\"message\":\"certswapd has too many clients\","
			   "\"next\":\"try again in a minute\"}";

static void client_came(uv_poll_t *uv, int status, int events);

static void free_client(uv_handle_t *handle)
{
	struct client *c = handle->data;
	text_done(&c->in);
	text_done(&c->out);
	free(c);
}

static void count_unsent(struct client *c, size_t more, size_t less)
{
	c->control->unsent += more - less;
	if (!c->trusted)
		c->control->strangers_unsent += more - less;
}

static void close_client(struct client *c)
{
	timer_close(c->timer);
	c->timer = NULL;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->control->nclients--;
	c->control->nstrangers -= !c->trusted;
	count_unsent(c, 0, c->out.len - c->sent);
	c->control = NULL;
	uv_close((uv_handle_t *)&c->uv, free_client);
	close(c->fd);
	for (size_t i = 0; i < c->nfds; i++)
		close(c->fds[i]);
	c->nfds = 0;
}

/* It is gone, or has to go. */
static void drop(void *data)
{
	struct client *c = data;
	if (c->asked && !c->finishing)
		c->control->gone(c, c->control->data);
	if (c->control) /* the call may have ended it, or all */
		close_client(c);
}

static void be_patient(struct client *c, int64_t ms)
{
	timer_close(c->timer);
	c->timer = timer_start(c->control->loop, ms, drop, c);
}

static void set_events(struct client *c)
{
	/* UV_PRIORITIZED never comes on such a socket by itself, but keeps the poll alive for a hang-up of both
	 * directions; a client that only closed its sending side still reads */
	int events = c->asked || c->finishing ? UV_PRIORITIZED : UV_READABLE;
	if (c->sent < c->out.len)
		events |= UV_WRITABLE;
	(void)uv_poll_start(&c->uv, events, client_came); /* fails for bad arguments only */
}

/* ---- answers ---- */

/* Would so many more bytes be too much beside what others have not read yet? */
static bool is_too_much(const struct client *c, size_t len)
{
	const struct control *control = c->control;
	if (len <= SHORT_LINE)
		return false;
	return control->unsent + len > CONTROL_UNSENT_ALL ||
	       (!c->trusted && control->strangers_unsent + len > CONTROL_UNSENT_ALL / 2);
}

void client_send(struct client *client, const char *line, size_t len)
{
	if (client->broken || client->finishing || client->cut)
		return;
	bool idle = client->out.len == 0;
	if (client->out.len - client->sent + len + 1 > CONTROL_UNSENT_MAX) {
		client->broken = true;
		be_patient(client, 0);
		return;
	}
	if (is_too_much(client, len + 1)) {
		client->cut = true;
		line = busy;
		len = sizeof busy - 1;
	}
	text_add_bytes(&client->out, line, len);
	text_add_bytes(&client->out, "\n", 1);
	count_unsent(client, len + 1, 0);
	if (!idle)
		return;
	be_patient(client, client->control->patience_ms);
	set_events(client);
}

void client_finish(struct client *client)
{
	client->finishing = true;
	if (client->broken || client->sent == client->out.len)
		close_client(client);
}

/* For what the callee of the requests never sees. */
static void refuse(struct client *c, const char *answer)
{
	client_send(c, answer, strlen(answer));
	c->finishing = true;
	set_events(c);
}

static void flush(struct client *c)
{
	ssize_t n = send(c->fd, c->out.s + c->sent, c->out.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		drop(c);
		return;
	}
	c->sent += (size_t)n;
	count_unsent(c, 0, (size_t)n);
	if (c->sent < c->out.len) {
		be_patient(c, c->control->patience_ms);
		if (c->sent > c->out.len / 2) { /* what is sent need not be kept */
			memmove(c->out.s, c->out.s + c->sent, c->out.len - c->sent);
			c->out.len -= c->sent;
			c->sent = 0;
		}
		return;
	}
	if (c->finishing) {
		close_client(c);
		return;
	}
	text_done(&c->out);
	c->sent = 0;
	timer_close(c->timer);
	c->timer = NULL;
	set_events(c);
}

/* ---- requests ---- */

/* Descriptors of one message; false where there are more than a client may pass. */
static bool take_fds(struct client *c, struct msghdr *m)
{
	bool fit = true;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			if (c->nfds < CONTROL_FDS_MAX) {
				c->fds[c->nfds++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/* Why the descriptors that came can't be accepted, or NULL. */
static const char *look_at_fds(struct client *c, struct msghdr *m)
{
	if (!take_fds(c, m))
		return "{\"exit\":2,\"message\":\"too many files in one request (at most 64)\"}";
	if (!(m->msg_flags & MSG_CTRUNC))
		return NULL;
	if (!c->trusted)
		return "{\"exit\":4,\"message\":\"only root and the owner of certswapd may pass files\"}";
	return "{\"exit\":1,\"message\":\"certswapd has too many files open to take those of the request\","
	       "\"next\":\"try again in a minute\"}";
}

static void hand_over(struct client *c, size_t len)
{
	int fds[CONTROL_FDS_MAX];
	size_t nfds = c->nfds;
	memcpy(fds, c->fds, nfds * sizeof *fds);
	c->nfds = 0;
	c->asked = true;
	c->in.s[len] = '\0';
	timer_close(c->timer);
	c->timer = NULL;
	set_events(c);
	struct text in = c->in; /* the callee may end the client */
	c->in = (struct text){0};
	c->control->request(c, in.s, len, fds, nfds, c->control->data);
	text_done(&in);
}

/* One piece of the request; false when nothing more is to be read now. */
static bool read_piece(struct client *c)
{
	char buf[65536];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * SCM_FDS_MAX)];
	} control;
	struct iovec part = {buf, sizeof buf};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
	if (c->trusted) { /* from others the kernel drops them, so that strangers can't fill our table of descriptors */
		m.msg_control = control.space;
		m.msg_controllen = sizeof control.space;
	}
	ssize_t n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		drop(c);
		return false;
	}
	const char *refusal = look_at_fds(c, &m);
	const char *end = memchr(buf, '\n', (size_t)n);
	size_t used = end ? (size_t)(end - buf) : (size_t)n; /* one request a connection: what follows is not read */
	if (!refusal && c->in.len + used > CONTROL_REQUEST_MAX)
		refusal = "{\"exit\":2,\"message\":\"the request is longer than 1 MiB\"}";
	if (!refusal && !c->trusted && c->in.len + used > CONTROL_STRANGER_MAX)
		refusal = "{\"exit\":4,\"message\":\"only root and the owner of certswapd may send so much\"}";
	if (refusal) {
		refuse(c, refusal);
		return false;
	}
	text_add_bytes(&c->in, buf, used);
	if (end)
		hand_over(c, c->in.len);
	return !end;
}

static void client_came(uv_poll_t *uv, int status, int events)
{
	struct client *c = uv->data;
	struct pollfd hung_up = {.fd = c->fd};
	if (events & UV_READABLE) {
		for (int i = 0; i < READS_AT_ONCE && read_piece(c); i++)
			;
		return;
	}
	/* libuv reports an error (the other side closed with something unread) as a status, and stops */
	if (status < 0 || ((events & UV_PRIORITIZED) && poll(&hung_up, 1, 0) == 1 && (hung_up.revents & POLLHUP)))
		drop(c);
	else if (events & UV_WRITABLE)
		flush(c);
}

/* ---- connections ---- */

/* No room for one more of this user? */
static bool is_full(const struct control *control, const struct client *c)
{
	if (c->trusted)
		return control->nclients >= CONTROL_CLIENTS_MAX;
	if (control->nclients >= CONTROL_CLIENTS_MAX || control->nstrangers >= CONTROL_CLIENTS_MAX - RESERVED)
		return true;
	size_t same = 0;
	for (const struct client *other = control->clients; other; other = other->next)
		same += other->peer.uid == c->peer.uid;
	return same >= CONTROL_USER_MAX;
}

static void add_client(struct control *control, int fd)
{
	struct client *c = xcalloc(1, sizeof *c);
	socklen_t len = sizeof c->peer;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c->peer, &len) != 0)
		c->peer = (struct ucred){.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
	c->trusted = c->peer.uid == 0 || c->peer.uid == geteuid();
	if (is_full(control, c) || uv_poll_init(loop_uv(control->loop), &c->uv, fd) != 0) {
		struct iovec parts[] = {{(char *)(uintptr_t)busy, sizeof busy - 1}, {(char *)(uintptr_t) "\n", 1}};
		const struct msghdr m = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};
		(void)sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT); /* always fits: nothing was sent before */
		close(fd);
		free(c);
		return;
	}
	c->uv.data = c;
	c->fd = fd;
	c->control = control;
	c->link = &control->clients;
	c->next = control->clients;
	if (c->next)
		c->next->link = &c->next;
	control->clients = c;
	control->nclients++;
	control->nstrangers += !c->trusted;
	be_patient(c, control->patience_ms);
	set_events(c);
}

static void connection_came(void *data);

static void pause_over(void *data)
{
	struct control *control = data;
	timer_close(control->pause);
	control->pause = NULL;
	control->poller = poller_start(control->loop, control->fd, connection_came, control);
}

static void connection_came(void *data)
{
	struct control *control = data;
	for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			add_client(control, fd);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			if (errno == EAGAIN)
				return;
			/* EMFILE and the like: the connection stays in the queue, and the poll would spin */
			poller_close(control->poller);
			control->poller = NULL;
			control->pause = timer_start(control->loop, PAUSE_MS, pause_over, control);
			return;
		}
	}
}

/* ---- the socket ---- */

/* Binds under a name of its own and renames, so that there is always one socket or the other at `path`. */
static int make_socket(struct control *control, struct fault *fault)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat there;
	if (lstat(control->path, &there) == 0 && !S_ISSOCK(there.st_mode))
		return fault_set(fault, -EEXIST, "%s is in the way of the control socket: move it away", control->path);
	int len = snprintf(address.sun_path, sizeof address.sun_path, "%s~", control->path);
	if (len < 0 || (size_t)len >= sizeof address.sun_path)
		return fault_set(fault, -ENAMETOOLONG,
				 "%s is too long for a socket (at most %zu bytes): change run_dir", control->path,
				 sizeof address.sun_path - 2);
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0)
		return fault_errno(fault, errno, "no control socket");
	const char *temporary = address.sun_path;
	(void)unlink(temporary); /* left by a crash, or not there */
	if (bind(control->fd, (const struct sockaddr *)&address, sizeof address) != 0)
		return fault_errno(fault, errno, "the control socket %s can't be made", temporary);
	if (chmod(temporary, 0666) != 0 || listen(control->fd, BACKLOG) != 0 || lstat(temporary, &control->made) != 0 ||
	    rename(temporary, control->path) != 0) {
		fault_errno(fault, errno, "the control socket %s can't be made", control->path);
		(void)unlink(temporary);
		return fault ? fault->code : -EIO;
	}
	return 0;
}

struct control *control_new(struct loop *loop, const char *path, control_request_cb request, control_gone_cb gone,
			    void *data, struct fault *fault)
{
	struct control *control = xcalloc(1, sizeof *control);
	control->loop = loop;
	control->path = xstrdup(path);
	control->fd = -1;
	control->patience_ms = PATIENCE_MS;
	control->request = request;
	control->gone = gone;
	control->data = data;
	if (make_socket(control, fault) < 0) {
		if (control->fd >= 0)
			close(control->fd);
		free(control->path);
		free(control);
		return NULL;
	}
	control->poller = poller_start(loop, control->fd, connection_came, control);
	return control;
}

void control_set_patience(struct control *control, int64_t ms)
{
	control->patience_ms = ms;
}

void control_close(struct control *control)
{
	if (!control)
		return;
	struct stat now;
	if (lstat(control->path, &now) == 0 && now.st_dev == control->made.st_dev && now.st_ino == control->made.st_ino)
		(void)unlink(control->path);
	while (control->clients)
		close_client(control->clients);
	timer_close(control->pause);
	poller_close(control->poller);
	close(control->fd);
	free(control->path);
	free(control);
}

/* ---- what is known of a client ---- */

uid_t client_uid(const struct client *client)
{
	return client->peer.uid;
}

gid_t client_gid(const struct client *client)
{
	return client->peer.gid;
}

pid_t client_pid(const struct client *client)
{
	return client->peer.pid;
}

bool client_in_group(const struct client *client, gid_t group)
{
	if (client->peer.gid == group)
		return true;
	gid_t groups[NGROUPS_MAX];
	socklen_t len = sizeof groups;
	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
		return false;
	for (size_t i = 0; i < len / sizeof *groups; i++)
		if (groups[i] == group)
			return true;
	return false;
}

void client_set_data(struct client *client, void *data)
{
	client->data = data;
}

void *client_data(const struct client *client)
{
	return client->data;
}
