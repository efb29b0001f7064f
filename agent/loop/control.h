/* The control socket RUN/control.sock: SOCK_STREAM, one JSON object a line each way; descriptors (files of submit and
 * standby) come with the request line. The caller is known by SO_PEERCRED. Bounded: connections, those of one user,
 * line length, descriptors, unsent output of each and of all. Who is over a bound gets an answer that says so. */
#ifndef LOOP_CONTROL_H
#define LOOP_CONTROL_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/fault.h"
#include "loop/loop.h"

#define CONTROL_REQUEST_MAX  (1024 * 1024)       /* bytes of one request line */
#define CONTROL_STRANGER_MAX (16 * 1024)         /* the same for who is neither root nor runs the daemon */
#define CONTROL_UNSENT_MAX   (64 * 1024 * 1024)  /* bytes waiting for a slow reader before it is dropped */
#define CONTROL_UNSENT_ALL   (128 * 1024 * 1024) /* bytes waiting for all readers; strangers get half of it */
#define CONTROL_CLIENTS_MAX  256
#define CONTROL_USER_MAX     32 /* connections of one stranger */
#define CONTROL_FDS_MAX      64

struct control;
struct client;
/* A request line came. `line` is NUL-terminated without its newline, valid in the call only. fds are the callee's
 * (close them). The answer goes by client_send, now or later; client_finish ends the exchange. */
typedef void (*control_request_cb)(struct client *client, char *line, size_t len, int *fds, size_t nfds, void *data);
/* The client went away (or was dropped): forget it. Not called after client_finish. */
typedef void (*control_gone_cb)(struct client *client, void *data);

/* Makes the socket (0666; who may do what is decided by SO_PEERCRED), in the place of a stale one. NULL and fault if it
 * can't. */
struct control *control_new(struct loop *loop, const char *path, control_request_cb request, control_gone_cb gone,
			    void *data, struct fault *fault);
void control_close(struct control *control); /* removes the socket, drops all clients without a call */

uid_t client_uid(const struct client *client);
gid_t client_gid(const struct client *client);
pid_t client_pid(const struct client *client);
/* Was the peer in this group when it connected (its own or a supplementary one)? Asks no user database. */
bool client_in_group(const struct client *client, gid_t group);
void client_set_data(struct client *client, void *data);
void *client_data(const struct client *client);
void client_send(struct client *client, const char *line, size_t len); /* adds the newline; copies */
void client_finish(struct client *client);                             /* closes once all is sent */
#endif
