/* certswap-exec [--wait] [--cwd DIR] [--new-session] [--timeout MS] [--outside SOCKET] -- PROGRAM [ARGUMENT...]
 * certswap-exec --serve                 (agent/outside.h; certswap-commands.service: the listening socket is descriptor
 * 3) certswap-exec --rehearse ... (agent/rehearse.h; for the hooks)
 *
 * Starts a hook or command in a process group of its own (Apache signals its whole group at a graceful: nothing of ours
 * may be in it), with no descriptor above 2, no signal ignored or blocked, no word of the service manager's to the
 * daemon, no core dump, no protection from the OOM killer. Who called it enforces the time and kills the group;
 * --timeout does so where nobody else does. --wait: nothing begins before a byte comes on standard input (which is
 * /dev/null for the program); where it ends without one, nothing does. --outside: by the certswap-exec that serves that
 * socket, outside the daemon's sandbox; in here where nobody does. Exit status: the program's; 124 its time was up; 127
 * it could not be started; 2 wrong usage. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "outside.h"
#include "rehearse.h"

#define EXIT_USAGE   2
#define SERVED_FD    3 /* sd_listen_fds(3) */
#define EXIT_TIME    124
#define EXIT_NOTHING 127
#define REHEARSE_MS  10000

/* What the service manager or a shell meant for the daemon alone, and what would change the code of every program. */
static const char *const not_inherited[] = {
	"NOTIFY_SOCKET",
	"LISTEN_FDS",
	"LISTEN_PID",
	"LISTEN_FDNAMES",
	"WATCHDOG_PID",
	"WATCHDOG_USEC",
	"INVOCATION_ID",
	"JOURNAL_STREAM",
	"MAINPID",
	"LD_PRELOAD",
	"LD_AUDIT",
	"BASH_ENV",
	"ENV",
	"IFS",
	"SYSTEMD_EXEC_PID",
	"MEMORY_PRESSURE_WATCH",
	"MEMORY_PRESSURE_WRITE",
};

struct options {
	const char *folder;
	bool wait, new_session;
	int64_t timeout_ms;  /* 0: none here */
	const char *outside; /* a socket, or NULL */
	bool serve, rehearse;
	struct rehearsal rehearsal;
	char **argv;
};

static bool parse_number(const char *s, int64_t *ret)
{
	char *end;
	errno = 0;
	*ret = strtoll(s, &end, 10);
	return !errno && end != s && !*end && *ret > 0;
}

/* An option of --rehearse and its value. */
static bool parse_rehearsal(const char *name, const char *value, struct rehearsal *r)
{
	int64_t number;
	if (strcmp(name, "--candidate") == 0)
		words_add(&r->candidates, value);
	else if (strcmp(name, "--live") == 0)
		words_add(&r->live, value);
	else if (strcmp(name, "--private") == 0)
		words_add(&r->folders, value);
	else if (strcmp(name, "--logs") == 0)
		words_add(&r->logs, value);
	else if (strcmp(name, "--pidfile") == 0)
		r->pidfile = value;
	else if (strcmp(name, "--error-log") == 0)
		r->error_log = value;
	else if (strcmp(name, "--server-name") == 0)
		r->server_name = value;
	else if (strcmp(name, "--expect") == 0)
		return digest_parse(value, &r->expect) == 0;
	else if (strcmp(name, "--as-process") == 0 && parse_number(value, &number))
		r->server = (pid_t)number;
	else
		return false;
	return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
	*o = (struct options){0};
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			o->argv = argv + i + 1;
			return i + 1 < argc && o->rehearsal.candidates.n == o->rehearsal.live.n;
		} else if (strcmp(argv[i], "--wait") == 0) {
			o->wait = true;
		} else if (strcmp(argv[i], "--new-session") == 0) {
			o->new_session = true;
		} else if (strcmp(argv[i], "--cwd") == 0 && i + 1 < argc) {
			o->folder = argv[++i];
		} else if (strcmp(argv[i], "--timeout") == 0 && i + 1 < argc) {
			if (!parse_number(argv[++i], &o->timeout_ms))
				return false;
		} else if (strcmp(argv[i], "--outside") == 0 && i + 1 < argc) {
			o->outside = argv[++i];
		} else if (strcmp(argv[i], "--serve") == 0 && argc == 2) {
			o->serve = true;
			return true;
		} else if (strcmp(argv[i], "--rehearse") == 0) {
			o->rehearse = true;
		} else if (o->rehearse && strcmp(argv[i], "--to-the-end") == 0) {
			o->rehearsal.to_the_end = true;
		} else if (o->rehearse && i + 1 < argc && parse_rehearsal(argv[i], argv[i + 1], &o->rehearsal)) {
			i++;
		} else {
			return false;
		}
	}
	return false;
}

/* The daemon starts us before it may act, so that we are there when it may. */
static bool may_begin(void)
{
	char byte;
	ssize_t n;
	while ((n = read(STDIN_FILENO, &byte, 1)) < 0 && errno == EINTR)
		;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return n == 1 && null >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO;
}

static void close_others(void)
{
	if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) == 0)
		return;
	long most = sysconf(_SC_OPEN_MAX);
	for (int fd = STDERR_FILENO + 1; fd < most; fd++)
		close(fd);
}

static void reset_signals(void)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	for (int s = 1; s < NSIG; s++)
		sigaction(s, &standard, NULL); /* KILL, STOP and the C library's own refuse: fine */
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void clean_environment(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(not_inherited); i++)
		unsetenv(not_inherited[i]);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
	setenv("LC_ALL", "C.UTF-8", 0);
}

/* The path of a program beside this one. The caller frees. */
static char *beside(const char *name)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(path, '/');
	return xasprintf("%.*s/%s", slash ? (int)(slash - path) : 0, path, name);
}

/* A protected daemon's children are not to be protected. Raising the score needs no right. */
static void reset_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char score[16] = "";
	if (fd < 0)
		return;
	if (read(fd, score, sizeof score - 1) > 0 && score[0] == '-' && lseek(fd, 0, SEEK_SET) == 0) {
		ssize_t written = write(fd, "0", 1);
		(void)written; /* no harm where it stays */
	}
	close(fd);
}

/* What every program started here gets. */
static void settle(bool new_session)
{
	/* fails where it leads a group already: then it has its own */
	if (new_session ? setsid() < 0 : setpgid(0, 0) < 0)
		errno = 0;
	close_others();
	reset_signals();
	clean_environment();
	reset_oom_score();
	umask(022);
	const struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
}

/* The same for a program of certswap-commands.service. */
static void prepare(void)
{
	settle(false);
	AUTO_FREE char *self = beside("certswap-exec");
	setenv("CERTSWAP_EXEC", self, 1); /* for hooks that rehearse */
}

static void try_outside(const struct options *o)
{
	int status = outside_run(o->outside, o->folder, o->argv);
	if (status >= 0)
		exit(status);
	fprintf(stderr,
		"certswap-exec: nobody answers at %s (systemctl status certswap-commands.socket): run inside the "
		"sandbox\n",
		o->outside);
}

static _Noreturn void become(const struct options *o)
{
	settle(o->new_session);
	AUTO_FREE char *self = beside("certswap-exec");
	setenv("CERTSWAP_EXEC", self, 1); /* for hooks that rehearse */
	if (o->outside)
		try_outside(o);
	if (o->folder && chdir(o->folder)) {
		fprintf(stderr, "certswap-exec: folder %s: %s\n", o->folder, strerror(errno));
		exit(EXIT_NOTHING);
	}
	execv(o->argv[0], o->argv);
	int error = errno;
	fprintf(stderr, "certswap-exec: %s can't be started: %s%s\n", o->argv[0], strerror(error),
		error == EACCES   ? " (is it executable? chmod +x)"
		: error == ENOENT ? " (is the path right, and the interpreter in its first line?)"
				  : "");
	exit(EXIT_NOTHING);
}

/* Waits for the program, and kills its group when the time is up. */
static int supervise(pid_t child, int64_t timeout_ms)
{
	int64_t deadline = clock_monotonic_us() / 1000 + timeout_ms;
	AUTO_CLOSE int ended = (int)syscall(SYS_pidfd_open, child, 0);
	int left, ready = 0;
	while (ended >= 0 && (left = (int)(deadline - clock_monotonic_us() / 1000)) > 0 && ready <= 0) {
		struct pollfd p = {.fd = ended, .events = POLLIN};
		ready = poll(&p, 1, left);
	}
	if (ready <= 0) {
		kill(-child, SIGKILL);
		kill(child, SIGKILL);
	}
	int status = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (ready <= 0) {
		fprintf(stderr, "certswap-exec: ended after %lld ms: its time was up\n", (long long)timeout_ms);
		return EXIT_TIME;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	struct options o;
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("certswap-exec " CERTSWAP_VERSION);
		return 0;
	}
	if (!parse(argc, argv, &o)) {
		fputs("usage: certswap-exec [--wait] [--cwd DIR] [--new-session] [--timeout MS] [--outside SOCKET] -- "
		      "/PATH/OF/PROGRAM [ARGUMENT...]\n",
		      stderr);
		return EXIT_USAGE;
	}
	if (o.serve)
		return outside_serve(SERVED_FD, prepare);
	if (o.rehearse) {
		settle(false);
		AUTO_FREE char *worker = beside("certswap-worker");
		o.rehearsal.worker = worker;
		o.rehearsal.timeout_ms = o.timeout_ms ? o.timeout_ms : REHEARSE_MS;
		o.rehearsal.argv = o.argv;
		int status = rehearse_run(&o.rehearsal);
		words_done(&o.rehearsal.folders);
		words_done(&o.rehearsal.logs);
		words_done(&o.rehearsal.candidates);
		words_done(&o.rehearsal.live);
		fflush(stderr);
		_exit(status); /* a sanitizer's report at exit needs threads, which this process gave up with its
				  namespace */
	}
	if (o.wait && !may_begin())
		return EXIT_NOTHING;
	if (!o.timeout_ms)
		become(&o);
	pid_t child = fork();
	if (child < 0) {
		fprintf(stderr, "certswap-exec: no process: %s\n", strerror(errno));
		return EXIT_NOTHING;
	}
	if (child == 0)
		become(&o);
	setpgid(child, child); /* whoever of the two comes first */
	return supervise(child, o.timeout_ms);
}
