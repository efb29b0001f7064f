#include "ctl/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"

#define NOBODY 65534

/* Beside ourselves in a build folder, else in libexec beside our bin. The caller frees. */
static char *find_worker(const struct ctl *ctl)
{
	char self[PATH_MAX];
	if (ctl->worker_path)
		return xstrdup(ctl->worker_path);
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	char *beside = xasprintf("%s/certswap-worker", self);
	if (access(beside, X_OK) == 0)
		return beside;
	free(beside);
	return xasprintf("%s/../libexec/certswap/certswap-worker", self);
}

/* "--user=UID:GID" where we are root: the worker never stays that. */
static char *worker_user(const struct ctl *ctl)
{
	if (geteuid() != 0)
		return NULL;
	const char *name = ctl->settings ? ctl->settings->worker_user : "_certswap";
	const struct passwd *pw = getpwnam(name);
	bool good = pw && pw->pw_uid != 0 && pw->pw_gid != 0;
	return xasprintf("--user=%u:%u", good ? (unsigned int)pw->pw_uid : NOBODY,
			 good ? (unsigned int)pw->pw_gid : NOBODY);
}

static char *worker_sandbox(const struct ctl *ctl)
{
	static char option[][sizeof "--sandbox=require"] = {[SANDBOX_AUTO] = "--sandbox=auto",
							    [SANDBOX_REQUIRE] = "--sandbox=require",
							    [SANDBOX_STRICT] = "--sandbox=strict"};
	return option[ctl->settings ? ctl->settings->sandbox : SANDBOX_AUTO];
}

static int open_trust(const char *path, struct fault *fault)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return fault_errno(fault, errno, "can't open the trust file %s", path);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return fault_set(fault, -EINVAL, "the trust file %s is not a regular file", path);
}

/* In the child; only calls that are safe there. trust: -1: none. errors: its standard error. */
static _Noreturn void become_worker(const char *path, char *const *argv, int socket, int trust, int errors)
{
	char path_variable[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C.UTF-8";
	char *const environment[] = {path_variable, locale, NULL};
	int high_socket = fcntl(socket, F_DUPFD, 10), high_trust = trust < 0 ? -1 : fcntl(trust, F_DUPFD, 10);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (high_socket < 0 || (trust >= 0 && high_trust < 0) || null < 0)
		_exit(126);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (errors >= 0)
		dup2(errors, STDERR_FILENO);
	dup2(high_socket, WORKER_SOCKET_FD);
	if (high_trust >= 0)
		dup2(high_trust, WORKER_TRUST_FD);
	else
		close(WORKER_TRUST_FD);
	close_range(WORKER_TRUST_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	signal(SIGPIPE, SIG_DFL);
	execve(path, argv, environment);
	_exit(errno == ENOENT ? 127 : 126);
}

/* What it said on standard error: the reason where it failed, else only for -v. */
static void tell_errors(struct ctl *ctl, int errors, bool failed, struct fault *fault)
{
	char said[512];
	ssize_t n = errors < 0 ? 0 : pread(errors, said, sizeof said - 1, 0);
	if (n <= 0)
		return;
	said[n] = '\0';
	said[strcspn(said, "\n")] = '\0';
	text_printable(said);
	if (failed && fault) {
		AUTO_FREE char *text = xstrdup(fault->text);
		fault_set(fault, fault->code, "%s: %s", text, said);
	} else if (ctl->verbose) {
		ctl_say(ctl, "%s", said);
	}
}

static void explain_end(int status, const char *path, struct fault *fault)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		fault_set(fault, -ENOENT, "there is no %s; is certswap installed whole?", path);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 126)
		fault_set(fault, -EACCES, "can't start %s", path);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		fault_set(fault, -EIO, "certswap-worker was ended by its sandbox");
	else if (WIFSIGNALED(status))
		fault_set(fault, -EIO, "certswap-worker was killed by signal %d", WTERMSIG(status));
	else
		fault_set(fault, -EIO, "certswap-worker ended with status %d and gave no answer", WEXITSTATUS(status));
}

/* Waits for the answer; 0 or negative errno. -EPIPE: it went without one. */
static int await(int socket, struct message *ret)
{
	int64_t deadline = clock_monotonic_us() + WORKER_PATIENCE_MS * 1000LL;
	for (;;) {
		int64_t left = (deadline - clock_monotonic_us()) / 1000;
		struct pollfd p = {.fd = socket, .events = POLLIN};
		int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (ready > 0)
			return message_receive(socket, ret);
		if (ready == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int converse(int socket, enum message_kind kind, const struct packer *body, const int *fds, size_t nfds,
		    struct message *ret)
{
	int r = message_send(socket, (uint8_t)kind, body, fds, nfds);
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return r;
	r = await(socket, ret);
	if (r < 0 || ret->kind == ((uint8_t)kind | MESSAGE_REPLY))
		return r;
	message_done(ret);
	return -EBADMSG;
}

int worker_ask(struct ctl *ctl, enum message_kind kind, const struct packer *body, const int *fds, size_t nfds,
	       const char *trust, struct message *ret, struct fault *fault)
{
	AUTO_FREE char *path = find_worker(ctl);
	AUTO_FREE char *user = worker_user(ctl);
	char program[] = "certswap-worker", check[] = "check", fetch[] = "fetch";
	char *argv[] = {program, kind == MESSAGE_FETCH ? fetch : check, worker_sandbox(ctl), user, NULL};
	AUTO_CLOSE int trust_fd = trust ? open_trust(trust, fault) : -1;
	AUTO_CLOSE int errors = memfd_create("errors", MFD_CLOEXEC);
	if (trust && trust_fd < 0)
		return fault ? fault->code : -EINVAL;
	int ends[2], status = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fault_errno(fault, errno, "can't make a socket for certswap-worker");
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		become_worker(path, argv, ends[1], trust_fd, errors);
	int error = errno;
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return fault_errno(fault, error, "can't start certswap-worker");
	}
	int r = converse(ends[0], kind, body, fds, nfds, ret);
	close(ends[0]);
	if (r != -EPIPE) /* it has answered, or is not worth waiting for */
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r == -EPIPE)
		explain_end(status, path, fault);
	else if (r == -ETIMEDOUT)
		fault_set(fault, r, "certswap-worker did not answer in %d s", WORKER_PATIENCE_MS / 1000);
	else if (r < 0)
		fault_errno(fault, r, "certswap-worker did not answer as it should");
	tell_errors(ctl, errors, r < 0, fault);
	return r;
}

/* The description of an open file has one place in it for all who hold it. */
static void rewind_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)lseek(fds[i], 0, SEEK_SET);
}

int worker_identify_files(struct ctl *ctl, const int *files, size_t n, int passwords, struct identify_reply *ret,
			  struct fault *fault)
{
	int fds[MESSAGE_FDS];
	struct packer body = {0};
	struct message m;
	if (n + 1 > MESSAGE_FDS)
		return fault_set(fault, -E2BIG, "too many files");
	memcpy(fds, files, n * sizeof *fds);
	fds[n] = passwords;
	size_t nfds = n + (passwords >= 0);
	const struct identify_request request = {.files = (uint16_t)n, .passwords = passwords >= 0};
	identify_request_pack(&body, &request);
	rewind_all(fds, nfds);
	int r = worker_ask(ctl, MESSAGE_IDENTIFY, &body, fds, nfds, NULL, &m, fault);
	packer_done(&body);
	rewind_all(fds, nfds);
	if (r < 0)
		return r;
	r = identify_reply_unpack(&m.body, ret);
	message_done(&m);
	return r < 0 ? fault_errno(fault, r, "certswap-worker's answer can't be understood") : 0;
}

int worker_check_pair(struct ctl *ctl, const struct check_request *request, const int *fds, const char *trust,
		      struct check_reply *ret, struct fault *fault)
{
	struct packer body = {0};
	struct message m;
	check_request_pack(&body, request);
	rewind_all(fds, request->files);
	int r = body.failed ? fault_set(fault, -E2BIG, "that is too much for one check")
			    : worker_ask(ctl, MESSAGE_CHECK, &body, fds, request->files, trust, &m, fault);
	packer_done(&body);
	if (r < 0)
		return r;
	r = check_reply_unpack(&m.body, ret);
	message_done(&m);
	return r < 0 ? fault_errno(fault, r, "certswap-worker's answer can't be understood") : 0;
}

int worker_fetch(struct ctl *ctl, const struct fetch_request *request, int certificates, const char *trust,
		 struct fetch_reply *ret, struct fault *fault)
{
	struct packer body = {0};
	struct message m;
	fetch_request_pack(&body, request);
	rewind_all(&certificates, 1);
	int r = body.failed ? fault_set(fault, -E2BIG, "that is too much for one question")
			    : worker_ask(ctl, MESSAGE_FETCH, &body, &certificates, 1, trust, &m, fault);
	packer_done(&body);
	if (r < 0)
		return r;
	r = fetch_reply_unpack(&m.body, ret);
	message_done(&m);
	return r < 0 ? fault_errno(fault, r, "certswap-worker's answer can't be understood") : 0;
}
