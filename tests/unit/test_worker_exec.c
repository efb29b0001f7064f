/* certswap-exec: what a program that it starts finds. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

/* Runs certswap-exec OPTIONS -- /bin/sh -c SCRIPT with both outputs in `out`; its exit status. */
static int run(const char *const *options, const char *script, char *out, size_t size)
{
	int ends[2];
	cr_assert(pipe2(ends, O_CLOEXEC) == 0);
	pid_t child = fork();
	if (child == 0) {
		const char *argv[16] = {"certswap-exec"};
		size_t n = 1;
		while (*options)
			argv[n++] = *options++;
		const char *const tail[] = {"--", "/bin/sh", "-c", script};
		memcpy(argv + n, tail, sizeof tail);
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		signal(SIGTERM, SIG_IGN);
		sigset_t all;
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		dup2(ends[0], 9); /* without close-on-exec */
		setenv("NOTIFY_SOCKET", "/run/systemd/notify", 1);
		setenv("CERTSWAP_SERVER", "nginx", 1);
		unsetenv("PATH");
		umask(077);
		execv(BUILD_DIR "/agent/certswap-exec", (char **)(uintptr_t)argv);
		_exit(126);
	}
	close(ends[1]);
	size_t n = 0;
	ssize_t k;
	while (n + 1 < size && (k = read(ends[0], out + n, size - 1 - n)) > 0)
		n += (size_t)k;
	out[n] = '\0';
	close(ends[0]);
	int status = 0;
	cr_assert(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static const char *const plain[] = {NULL};
static char out[4096];

Test(worker_exec, group_of_its_own, .timeout = 10)
{
	cr_assert(run(plain, "set -- $(cat /proc/$$/stat); echo $$ $5", out, sizeof out) == 0);
	long pid = 0, group = 0;
	cr_assert(sscanf(out, "%ld %ld", &pid, &group) == 2, "%s", out);
	cr_assert(pid == group && group != (long)getpgrp());
}

Test(worker_exec, session_of_its_own, .timeout = 10)
{
	static const char *const options[] = {"--new-session", NULL};
	/* certswap-exec is no leader of a group here, so it may lead a session */
	cr_assert(run(options, "set -- $(cat /proc/$$/stat); [ $6 = $$ ]", out, sizeof out) == 0, "%s", out);
}

Test(worker_exec, nothing_is_inherited_that_should_not, .timeout = 10)
{
	cr_assert(run(plain,
		      "[ ! -e /proc/self/fd/9 ] && [ \"${NOTIFY_SOCKET-none}\" = none ] && [ \"$PATH\" ] && "
		      "[ \"$CERTSWAP_SERVER\" = nginx ] && [ $(umask) = 0022 ] && [ $(ulimit -c) = 0 ]",
		      out, sizeof out) == 0,
		  "%s", out);
	cr_assert(run(plain, "grep -E '^Sig(Blk|Ign)' /proc/self/status", out, sizeof out) == 0);
	const char *blocked = strstr(out, "SigBlk:"), *ignored = strstr(out, "SigIgn:");
	cr_assert(blocked && ignored, "%s", out);
	cr_expect_eq(strtoull(blocked + strlen("SigBlk:"), NULL, 16), 0, "%s", out);
	/* 32 and 33 are the C library's own; GNU make starts its children with them ignored, and nobody can change that
	 */
	cr_expect_eq(strtoull(ignored + strlen("SigIgn:"), NULL, 16) & ~(3ULL << 31), 0, "%s", out);
}

Test(worker_exec, folder_and_exit_status, .timeout = 10)
{
	static const char *const options[] = {"--cwd", "/usr", NULL};
	cr_assert(run(options, "pwd; exit 75", out, sizeof out) == 75);
	cr_assert(strcmp(out, "/usr\n") == 0, "%s", out);
	static const char *const missing[] = {"--cwd", "/no/such/folder", NULL};
	cr_assert(run(missing, "exit 0", out, sizeof out) == 127);
	cr_assert(strstr(out, "/no/such/folder"), "%s", out);
	static const char *const wrong[] = {"--nonsense", NULL};
	cr_assert(run(wrong, "exit 0", out, sizeof out) == 2);
}

Test(worker_exec, its_time_ends_the_whole_group, .timeout = 10)
{
	static const char *const options[] = {"--timeout", "200", NULL};
	int64_t start = clock_monotonic_us();
	/* the pipe closes, and run() returns, only when the grandchild is gone too */
	cr_assert(run(options, "tail -f /dev/null & wait", out, sizeof out) == 124);
	int64_t took = clock_monotonic_us() - start;
	cr_assert(took >= 200000 && took < 5000000, "%lld us", (long long)took);
	cr_assert(run(options, "exit 3", out, sizeof out) == 3);
}

/* The OOM killer takes a rehearsal first, and a person may end any process: neither says anything about the pair. */
Test(worker_exec, rehearsal_that_was_killed_says_nothing, .timeout = 30)
{
	static const char *const server[] = {"--rehearse", NULL};
	static const char *const test[] = {"--rehearse", "--to-the-end", NULL};
	if (run(server, "echo refused; exit 1", out, sizeof out) == 75 && strstr(out, "can't rehearse here"))
		cr_skip("no rehearsal here: %s", out);
	cr_assert(run(server, "exit 1", out, sizeof out) == 1);
	cr_assert(run(server, "kill -KILL $$", out, sizeof out) == 75);
	cr_assert(strstr(out, "was killed"), "%s", out);
	cr_assert(run(test, "exit 0", out, sizeof out) == 0);
	cr_assert(run(test, "exit 1", out, sizeof out) == 1);
	cr_assert(run(test, "kill -KILL $$", out, sizeof out) == 75);
	cr_assert(strstr(out, "was killed"), "%s", out);
}
