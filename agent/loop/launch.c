#include "loop/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "wire/message.h"

#define NOBODY 65534

/* 0, with *ret_fd at -1 where the worker gets no trust file, or a negative errno and a fault. */
static int open_trust(struct launch *launch, int *ret_fd, struct fault *fault)
{
	const char *path = launch->trust;
	*ret_fd = -1;
	if (!path || !*path)
		return 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int error = fd < 0 || fstat(fd, &launch->trusted) != 0 ? errno : 0;
	if (!error && S_ISREG(launch->trusted.st_mode)) {
		*ret_fd = fd;
		return 0;
	}
	memset(&launch->trusted, 0, sizeof launch->trusted);
	if (fd >= 0)
		close(fd);
	if (!launch->trust_needed)
		return 0;
	if (error)
		return fault_errno(fault, error, "the trust file %s can't be opened (option `trust`)", path);
	return fault_set(fault, -EINVAL, "the trust file %s is not a regular file; name a PEM file in `trust`", path);
}

struct process *launch_worker(struct loop *loop, struct launch *launch, process_end_cb cb, void *data,
			      struct fault *fault)
{
	AUTO_CLOSE int trust = -1;
	memset(&launch->trusted, 0, sizeof launch->trusted);
	if (open_trust(launch, &trust, fault) < 0)
		return NULL;
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
		fault_errno(fault, errno, "no socket for certswap-worker (%s)", launch->role);
		return NULL;
	}
	AUTO_CLOSE int theirs = ends[1];
	const char *argv[5] = {launch->worker_path, launch->role};
	size_t n = 2;
	if (launch->user)
		argv[n++] = launch->user;
	if (launch->sandbox)
		argv[n++] = launch->sandbox;
	_Static_assert(WORKER_SOCKET_FD == 3 && WORKER_TRUST_FD == 4, "the places in fds below");
	const struct process_spec spec = {
		.argv = argv, .fds = {-1, -1, STDERR_FILENO, theirs, trust}, .nfds = trust < 0 ? 4 : 5};
	struct process *process = process_start(loop, &spec, cb, data, fault);
	if (process)
		launch->socket = ends[0];
	else
		close(ends[0]);
	return process;
}

/* NULL: there is none, or it is root. */
static const struct passwd *unprivileged(const char *name)
{
	const struct passwd *pw = name && *name ? getpwnam(name) : NULL;
	return pw && pw->pw_uid != 0 && pw->pw_gid != 0 ? pw : NULL;
}

bool launch_user_exists(const char *name)
{
	return unprivileged(name) != NULL;
}

char *launch_user(const char *name)
{
	if (geteuid() != 0)
		return NULL;
	const struct passwd *pw = unprivileged(name);
	return xasprintf("--user=%u:%u", pw ? (unsigned int)pw->pw_uid : NOBODY,
			 pw ? (unsigned int)pw->pw_gid : NOBODY);
}

bool launch_same_trust(const char *trust, const struct stat *given)
{
	struct stat now;
	if (!trust || !*trust)
		return true;
	return stat(trust, &now) == 0 && now.st_dev == given->st_dev && now.st_ino == given->st_ino &&
	       now.st_size == given->st_size && now.st_ctim.tv_sec == given->st_ctim.tv_sec &&
	       now.st_ctim.tv_nsec == given->st_ctim.tv_nsec;
}
