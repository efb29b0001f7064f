/* certswap-exec --serve and --outside: a program run by another process looks to its caller as if it were his own. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

#define PROGRAM BUILD_DIR "/agent/certswap-exec"

static char folder[64], path[96];
static pid_t server;

static void start(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	strcpy(folder, "/tmp/certswap-outside-XXXXXX");
	cr_assert(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/sock", folder);
	strcpy(at.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	cr_assert(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0);
	server = fork();
	if (server == 0) {
		if (fd != 3)
			dup2(fd, 3);
		execl(PROGRAM, "certswap-exec", "--serve", (char *)NULL);
		_exit(126);
	}
	close(fd);
}

/* Its exit status after SIGTERM. */
static int stop(void)
{
	int status = -1;
	kill(server, SIGTERM);
	cr_assert(waitpid(server, &status, 0) == server);
	unlink(path);
	rmdir(folder);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static pid_t call(const char *script, const char *at, int out)
{
	pid_t child = fork();
	if (child == 0) {
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		setenv("CERTSWAP_SERVER", "nginx", 1);
		execl(PROGRAM, "certswap-exec", "--outside", at, "--cwd", "/usr", "--", "/bin/sh", "-c", script,
		      (char *)NULL);
		_exit(126);
	}
	return child;
}

static char text[4096];
/* The wait status; what it printed is in `text`. */
static int ran(const char *script, const char *at)
{
	int ends[2], status;
	size_t n = 0;
	cr_assert(pipe2(ends, O_CLOEXEC) == 0);
	pid_t child = call(script, at, ends[1]);
	close(ends[1]);
	for (ssize_t k; n + 1 < sizeof text && (k = read(ends[0], text + n, sizeof text - 1 - n)) > 0;)
		n += (size_t)k;
	text[n] = '\0';
	close(ends[0]);
	cr_assert(waitpid(child, &status, 0) == child);
	return status;
}

Test(worker_outside, looks_like_a_child_of_ones_own, .timeout = 20)
{
	start();
	int status = ran("pwd; echo $CERTSWAP_SERVER $CERTSWAP_OUTSIDE; exit 75", path);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 75, "%d", status);
	cr_assert(strcmp(text, "/usr\nnginx 1\n") == 0, "%s", text);
	status = ran("set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ ! -e /proc/self/fd/3 ]", path);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", text);
	status = ran("kill -USR1 $$", path);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1, "%d", status);
	cr_assert(stop() == 0);
}

Test(worker_outside, is_killed_with_who_asked, .timeout = 20)
{
	int ends[2];
	char byte;
	start();
	cr_assert(pipe2(ends, O_CLOEXEC) == 0);
	pid_t child = call("echo; tail -f /dev/null & wait", path, ends[1]);
	close(ends[1]);
	cr_assert(read(ends[0], &byte, 1) == 1); /* it runs */
	kill(child, SIGKILL);
	cr_assert(read(ends[0], &byte, 1) == 0); /* the pipe closes only when the grandchild is gone too */
	close(ends[0]);
	cr_assert(waitpid(child, NULL, 0) == child);
	cr_assert(stop() == 0);
}

Test(worker_outside, a_stop_waits_for_what_runs, .timeout = 20)
{
	int ends[2];
	char byte;
	start();
	cr_assert(pipe2(ends, O_CLOEXEC) == 0);
	AUTO_FREE char *script = xasprintf("echo; mkfifo %s/go; read line <%s/go; exit 5", folder, folder);
	pid_t child = call(script, path, ends[1]);
	close(ends[1]);
	cr_assert(read(ends[0], &byte, 1) == 1);
	kill(server, SIGTERM);
	AUTO_FREE char *go = xasprintf("%s/go", folder);
	int fd;
	while ((fd = open(go, O_WRONLY | O_CLOEXEC)) < 0) /* until the program has made it */
		;
	cr_assert(write(fd, "\n", 1) == 1);
	close(fd);
	int status;
	cr_assert(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 5, "%d", status);
	close(ends[0]);
	unlink(go);
	cr_assert(stop() == 0);
}

Test(worker_outside, nobody_there_runs_it_here, .timeout = 20)
{
	int status = ran("exit 4", "/no/such/socket");
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 4, "%d", status);
	cr_assert(strstr(text, "certswap-commands.socket"), "%s", text);
}

Test(worker_outside, nonsense_costs_its_own_connection_only, .timeout = 20)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char byte;
	start();
	strcpy(at.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	cr_assert(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
	cr_assert(write(fd, "/bin/sh", 7) == 7);
	cr_assert(read(fd, &byte, 1) <= 0);
	close(fd);
	cr_assert(WEXITSTATUS(ran("exit 3", path)) == 3);
	cr_assert(stop() == 0);
}
