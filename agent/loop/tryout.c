#include "loop/tryout.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"

#define PATIENCE_MS     10000
#define EXIT_NO_SANDBOX 77

/* 0 with its pid, or an errno. */
static int start(const char *path, const char *user, int errors, pid_t *ret)
{
	char name[] = "certswap-worker", role[] = "tryout", sandbox[] = "--sandbox=require",
	     locale[] = "LC_ALL=C.UTF-8";
	char *who = user ? xstrdup(user) : NULL, *argv[] = {name, role, sandbox, who, NULL};
	char *const environment[] = {locale, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	int r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
	if (!r)
		r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_RDWR, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
	if (!r)
		r = posix_spawn(ret, path, &actions, NULL, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	free(who);
	return r;
}

/* What it says until it closes its standard error; false: it does not end. */
static bool listen_to(int errors, char *said, size_t size)
{
	int64_t deadline = clock_monotonic_us() + PATIENCE_MS * 1000LL;
	for (size_t at = 0;;) {
		int64_t left = (deadline - clock_monotonic_us()) / 1000;
		struct pollfd p = {.fd = errors, .events = POLLIN};
		if (left <= 0)
			return false;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		char rest[256];
		ssize_t n = at + 1 < size ? read(errors, said + at, size - 1 - at) : read(errors, rest, sizeof rest);
		if (n <= 0)
			return true;
		if (at + 1 < size)
			said[at += (size_t)n] = '\0';
	}
}

static int judge(int status, char *said, struct fault *fault)
{
	static const char prefix[] = "certswap-worker: ";
	const char *text = strncmp(said, prefix, strlen(prefix)) == 0 ? said + strlen(prefix) : said;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	said[strcspn(said, "\n")] = '\0';
	text_printable(said);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_SANDBOX)
		return fault_set(fault, -ENOSYS, "%s", text);
	if (WIFSIGNALED(status))
		return fault_set(fault, -EIO, "certswap-worker was killed by signal %d%s%s", WTERMSIG(status),
				 *said ? ": " : "", said);
	return fault_set(fault, -EIO, "certswap-worker ended with exit status %d%s%s", WEXITSTATUS(status),
			 *said ? ": " : "", said);
}

int tryout_sandbox(const char *worker_path, const char *user, struct fault *fault)
{
	int ends[2];
	char said[512] = "";
	pid_t pid;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return fault_errno(fault, errno, "no pipe for certswap-worker");
	AUTO_CLOSE int errors = ends[0];
	int r = start(worker_path, user, ends[1], &pid), status = 0;
	close(ends[1]);
	if (r)
		return fault_errno(fault, r, "%s can't be started", worker_path);
	bool over = listen_to(errors, said, sizeof said);
	if (!over)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return over ? judge(status, said, fault)
		    : fault_set(fault, -ETIMEDOUT, "certswap-worker does not end after %d s", PATIENCE_MS / 1000);
}
