#include "outside.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "wire/message.h"

#define MESSAGE_RUN  0x40 /* folder, arguments, environment; three descriptors. The answer: how it ended */
#define STANDARD_FDS 3
#define EXIT_NOTHING 127
#define MARK         "CERTSWAP_OUTSIDE=1" /* hooks/common.sh: no further way out is needed */
#define REQUEST_MS   5000                 /* a connection that asks nothing is dropped */

/* ---- inside the sandbox ---- */

static int connect_to(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof to.sun_path)
		return -1;
	strcpy(to.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void add_all(struct words *list, char *const *from)
{
	for (; *from; from++)
		words_add(list, *from);
}

static int ask(int fd, const char *folder, char *const *argv)
{
	static const int fds[STANDARD_FDS] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
	struct packer body = {0};
	struct words arguments = {0}, environment = {0};
	add_all(&arguments, argv);
	add_all(&environment, environ);
	AUTO_FREE char *here = folder ? xstrdup(folder) : getcwd(NULL, 0);
	pack_string(&body, here);
	pack_words(&body, &arguments);
	pack_words(&body, &environment);
	int r = message_send(fd, MESSAGE_RUN, &body, fds, STANDARD_FDS);
	words_done(&arguments);
	words_done(&environment);
	packer_done(&body);
	return r;
}

/* Ends as the program did. */
static _Noreturn void end_by(int signal_number)
{
	signal(signal_number, SIG_DFL);
	raise(signal_number);
	_exit(128 + signal_number); /* a signal that is ignored by default */
}

int outside_run(const char *socket_path, const char *folder, char *const *argv)
{
	struct message reply;
	AUTO_CLOSE int fd = connect_to(socket_path);
	if (fd < 0 || ask(fd, folder, argv) < 0)
		return OUTSIDE_UNREACHED;
	int r = message_receive(fd, &reply);
	int status = r == 0 ? unpack_u8(&reply.body) : 0, by = r == 0 ? unpack_u8(&reply.body) : 0;
	bool good = r == 0 && reply.kind == (MESSAGE_RUN | MESSAGE_REPLY) && unpack_end(&reply.body);
	if (r == 0)
		message_done(&reply);
	if (!good) {
		fprintf(stderr, "certswap-exec: certswap-commands.service ended before %s did\n", argv[0]);
		return EXIT_NOTHING;
	}
	if (by)
		end_by(by);
	return status;
}

/* ---- outside ---- */

struct request {
	char *folder;
	struct words arguments, environment;
};

static void request_done(struct request *r)
{
	free(r->folder);
	words_done(&r->arguments);
	words_done(&r->environment);
}

static bool is_root(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

/* The request of a connection, and its descriptors as 0, 1 and 2. */
static bool take_request(int fd, struct request *ret)
{
	struct message m;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	*ret = (struct request){0};
	if (!is_root(fd) || poll(&p, 1, REQUEST_MS) != 1 || message_receive(fd, &m) < 0)
		return false;
	ret->folder = unpack_string(&m.body);
	ret->arguments = unpack_words(&m.body);
	ret->environment = unpack_words(&m.body);
	bool good = m.kind == MESSAGE_RUN && m.nfds == STANDARD_FDS && unpack_end(&m.body) && ret->arguments.n &&
		    *ret->arguments.v[0] == '/';
	for (int i = 0; good && i < STANDARD_FDS; i++)
		good = dup2(m.fds[i], i) == i;
	message_done(&m);
	return good;
}

static char **as_list(const struct words *w, const char *more)
{
	char **list = xcalloc(w->n + 2, sizeof *list);
	for (size_t i = 0; i < w->n; i++)
		list[i] = w->v[i];
	list[w->n] = xstrdup(more);
	return list;
}

static _Noreturn void become(const struct request *r, void (*prepare)(void))
{
	environ = as_list(&r->environment, MARK);
	prepare();
	char **argv = as_list(&r->arguments, NULL);
	if (*r->folder && chdir(r->folder) != 0)
		fprintf(stderr, "certswap-exec: folder %s: %s\n", r->folder, strerror(errno));
	else if (execv(argv[0], argv) != 0)
		fprintf(stderr, "certswap-exec: %s can't be started: %s\n", argv[0], strerror(errno));
	_exit(EXIT_NOTHING);
}

/* Until the program ends, or who asked has gone: then its group is killed. */
static void supervise(int fd, pid_t child)
{
	int status = 0;
	AUTO_CLOSE int ended = (int)syscall(SYS_pidfd_open, child, 0);
	struct pollfd p[2] = {{.fd = ended, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	while (ended >= 0 && poll(p, 2, -1) < 0 && errno == EINTR)
		;
	if (!p[0].revents) {
		kill(-child, SIGKILL);
		kill(child, SIGKILL);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	struct packer body = {0};
	pack_u8(&body, WIFEXITED(status) ? (uint8_t)WEXITSTATUS(status) : 0);
	pack_u8(&body, WIFSIGNALED(status) ? (uint8_t)WTERMSIG(status) : 0);
	(void)message_send(fd, MESSAGE_RUN | MESSAGE_REPLY, &body, NULL, 0); /* gone: then nobody wants to know */
	packer_done(&body);
}

/* One connection, in a process of its own. */
static _Noreturn void serve(int fd, void (*prepare)(void))
{
	struct request request;
	signal(SIGTERM, SIG_IGN); /* a stop waits for the program */
	signal(SIGCHLD, SIG_DFL);
	if (!take_request(fd, &request))
		_exit(1);
	pid_t child = fork();
	if (child == 0)
		become(&request, prepare);
	if (child > 0) {
		setpgid(child, child); /* whoever of the two comes first */
		supervise(fd, child);
	}
	request_done(&request);
	_exit(child < 0);
}

static volatile sig_atomic_t stopping;

static void on_term(int number)
{
	stopping = number;
}

int outside_serve(int listener, void (*prepare)(void))
{
	sigset_t term, before;
	const struct sigaction on = {.sa_handler = on_term};
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	sigaction(SIGTERM, &on, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (struct pollfd p = {.fd = listener, .events = POLLIN}; !stopping;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (ppoll(&p, 1, NULL, &before) < 0)
			continue;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		if (fork() == 0) {
			close(listener);
			sigprocmask(SIG_SETMASK, &before, NULL);
			serve(fd, prepare);
		}
		close(fd);
	}
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	return 0;
}
