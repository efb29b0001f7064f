#include "ctl/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

bool output_may_run(const char *binary)
{
	struct stat st;
	return *binary == '/' && stat(binary, &st) == 0 && S_ISREG(st.st_mode) && access(binary, X_OK) == 0 &&
	       (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWOTH | S_IWGRP));
}

static int spawn(char *const *argv, char *const *environment, int out, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO);
	int error = posix_spawn(ret_pid, argv[0], &actions, NULL, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

/* Until the program closes its output; 0 or negative errno. */
static int collect(int in, struct text *ret)
{
	int64_t deadline = clock_monotonic_us() + OUTPUT_PATIENCE_MS * 1000LL;
	for (;;) {
		char buffer[65536];
		int64_t left = (deadline - clock_monotonic_us()) / 1000;
		struct pollfd p = {.fd = in, .events = POLLIN};
		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return -ETIMEDOUT;
		ssize_t n = read(in, buffer, sizeof buffer);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			text_add_bytes(ret, buffer, (size_t)n);
		if (ret->len > OUTPUT_MAX)
			return -EFBIG;
	}
}

int output_of(char *const *argv, char *const *environment, struct text *ret, struct fault *fault)
{
	int ends[2], status;
	pid_t pid;
	*ret = (struct text){0};
	if (pipe2(ends, O_CLOEXEC) < 0)
		return fault_errno(fault, errno, "can't make a pipe");
	int r = spawn(argv, environment, ends[1], &pid);
	close(ends[1]);
	if (r == 0) {
		r = collect(ends[0], ret);
		if (r < 0)
			kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	if (r == 0)
		return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	text_done(ret);
	return fault_errno(fault, r, "can't ask %s", argv[0]);
}
