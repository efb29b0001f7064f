#include "rehearse.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/memory.h"
#include "hidden.h"
#include "ports.h"
#include "wire/message.h"
#include "wire/probe.h"

#define PRIVATE_BYTES    "size=64m"
#define ADDRESS_SPACE    (4UL << 30)
#define LOG_LEFT_OUT     (64L * 1024)
#define LOOK_EVERY_MS    5
#define PROBE_TIMEOUT_MS 1000
#define ERROR_LOG_SHOWN  8192

static int cant(const char *what, const char *which)
{
	fprintf(stderr, "certswap-exec: can't rehearse here: %s%s%s: %s\n", what, which ? " " : "", which ? which : "",
		strerror(errno));
	return REHEARSE_CANT_TELL;
}

/* ---- files ---- */

/* mount_setattr(2), newer than the C library of EL9 */
struct attributes {
	uint64_t set, clear, propagation, userns_fd;
};
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#define ATTRIBUTE_RDONLY 1ULL

static int make_read_only(void)
{
	struct attributes a = {.set = ATTRIBUTE_RDONLY};
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return cant("private mounts", NULL);
	if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &a, sizeof a))
		return cant("read-only mounts (Linux 5.12 or newer)", NULL);
	return 0;
}

/* A folder that exists everywhere and holds nothing that is needed while the mounts are made. */
static const char *scratch_folder(void)
{
	static const char *const known[] = {"/media", "/mnt", "/srv", "/opt", "/boot"};
	struct stat st;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (lstat(known[i], &st) == 0 && S_ISDIR(st.st_mode))
			return known[i];
	return NULL;
}

/* A writable copy in memory over `folder`; what is written there is seen by nobody else. */
static int cover(const char *scratch, size_t number, const char *folder)
{
	struct stat st;
	if (stat(folder, &st) || !S_ISDIR(st.st_mode))
		return 0;
	AUTO_FREE char *upper = xasprintf("%s/u%zu", scratch, number), *work = xasprintf("%s/w%zu", scratch, number);
	AUTO_FREE char *options = xasprintf("lowerdir=%s,upperdir=%s,workdir=%s", folder, upper, work);
	if (strpbrk(folder, ",:\\")) {
		errno = EINVAL;
		return cant("a private copy of", folder);
	}
	if (mkdir(upper, 0700) || chown(upper, st.st_uid, st.st_gid) || chmod(upper, st.st_mode & 07777) ||
	    mkdir(work, 0700) || mount("overlay", folder, "overlay", 0, options))
		return cant("a private copy of", folder);
	return 0;
}

static int leave_out_if_big(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	if (kind == FTW_F && st->st_size > LOG_LEFT_OUT)
		unlink(path); /* to append to it would copy all of it first */
	return 0;
}

static bool is_folder(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The folder of `logs`, or that of the file. */
static char *folder_of_log(const char *log)
{
	const char *slash = strrchr(log, '/');
	return is_folder(log) || !slash ? xstrdup(log) : xstrndup(log, (size_t)(slash - log) + (slash == log));
}

static void leave_out_logs(const struct rehearsal *r)
{
	struct stat st;
	for (size_t i = 0; i < r->logs.n; i++) {
		const char *log = r->logs.v[i];
		if (is_folder(log))
			nftw(log, leave_out_if_big, 16, FTW_PHYS | FTW_MOUNT);
		else if (stat(log, &st) == 0 && S_ISREG(st.st_mode))
			leave_out_if_big(log, &st, FTW_F, NULL);
	}
}

static int cover_all(const struct rehearsal *r)
{
	/* /run/lock and /dev/shm are file systems of their own on some systems, folders or links on others */
	static const char *const everywhere[] = {"/run",     "/run/lock", "/dev/shm",  "/tmp",
						 "/var/tmp", "/var/log",  "/var/lock", "/var/cache"};
	const char *scratch = scratch_folder();
	if (!scratch || mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV, PRIVATE_BYTES ",mode=0711"))
		return cant("memory for private copies", NULL);
	struct words folders = {0};
	for (size_t i = 0; i < ARRAY_SIZE(everywhere) + r->folders.n + r->logs.n; i++) {
		size_t k = i - ARRAY_SIZE(everywhere);
		AUTO_FREE char *name = i < ARRAY_SIZE(everywhere) ? xstrdup(everywhere[i])
				       : k < r->folders.n         ? xstrdup(r->folders.v[k])
								  : folder_of_log(r->logs.v[k - r->folders.n]);
		AUTO_FREE char *real = realpath(name, NULL);
		/* what lies in a copy already can be written */
		if (!real || words_has(&folders, real) || access(real, W_OK) == 0 || errno != EROFS)
			continue;
		words_add(&folders, real);
		if (cover(scratch, folders.n, real)) {
			words_done(&folders);
			return REHEARSE_CANT_TELL;
		}
	}
	words_done(&folders);
	umount2(scratch, MNT_DETACH); /* the copies hold on to it */
	leave_out_logs(r);
	if (r->pidfile)
		unlink(r->pidfile);
	if (r->error_log)
		unlink(r->error_log);
	return 0;
}

static int arrange_files(const struct rehearsal *r)
{
	if (make_read_only() || cover_all(r))
		return REHEARSE_CANT_TELL;
	/* what it would log to the journal, or tell the service manager, goes nowhere */
	if (access("/run/systemd", F_OK) == 0 && mount("tmpfs", "/run/systemd", "tmpfs", MS_RDONLY, "size=4k"))
		return cant("to hide", "/run/systemd");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return cant("a private /proc", NULL);
	for (size_t i = 0; i < r->candidates.n; i++)
		if (mount(r->candidates.v[i], r->live.v[i], NULL, MS_BIND, NULL) ||
		    mount(NULL, r->live.v[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
			return cant("the candidate in the place of", r->live.v[i]);
	return 0;
}

/* ---- the handshake ---- */

/* One job of certswap-worker in here. 0 and a reply, or negative errno. */
static int probe(const char *worker, const struct probe_request *request, struct probe_reply *ret)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	AUTO_CLOSE int ours = ends[0], theirs = ends[1];
	pid_t child = fork();
	if (child == 0) {
		int away = fcntl(theirs, F_DUPFD_CLOEXEC, 10); /* dup2 onto itself would keep close-on-exec */
		if (dup2(away, WORKER_SOCKET_FD) >= 0)
			execl(worker, "certswap-worker", "probe", (char *)NULL);
		_exit(127);
	}
	close(theirs);
	theirs = -1;
	struct packer packed = {0};
	probe_request_pack(&packed, request);
	int e = child < 0 ? -EAGAIN : message_send(ours, MESSAGE_PROBE, &packed, NULL, 0);
	packer_done(&packed);
	struct message m;
	if (e || (e = message_receive(ours, &m)))
		return e;
	e = m.kind == (MESSAGE_PROBE | MESSAGE_REPLY) ? probe_reply_unpack(&m.body, ret) : -EBADMSG;
	message_done(&m);
	waitpid(child, NULL, 0);
	return e;
}

/* Each listener, with and without the name, by each kind of key: is the pair shown anywhere? */
static bool is_shown(const struct rehearsal *r, const struct words *listeners)
{
	struct probe_place places[HIDDEN_ENDPOINTS_MAX * 2 * PROBE_KEYS];
	char none[] = "";
	AUTO_FREE char *name = xstrdup(r->server_name ? r->server_name : "");
	size_t n = 0;
	for (size_t i = 0; i < listeners->n; i++)
		for (int named = 1; named >= 0; named--)
			for (int key = 0; key < PROBE_KEYS; key++)
				places[n++] = (struct probe_place){.endpoint = listeners->v[i],
								   .server_name = named ? name : none,
								   .key = (enum probe_key)key};
	struct probe_request request = {
		.v = places, .n = n, .timeout_ms = PROBE_TIMEOUT_MS, .deadline_ms = 2 * PROBE_TIMEOUT_MS};
	struct probe_reply reply = {0};
	bool shown = false;
	if (probe(r->worker, &request, &reply) == 0)
		for (size_t i = 0; i < reply.n; i++)
			shown = shown || (reply.v[i].result == PROBE_SHOWN &&
					  (digest_is_zero(&r->expect) || digest_equal(&r->expect, &reply.v[i].sha256)));
	probe_reply_done(&reply);
	return shown;
}

/* ---- the server ---- */

/* What there is outside of the namespaces, where the running server is. */
struct outside {
	int network; /* its namespace; -1: can't be looked at */
	struct ports own;
	struct words addresses; /* of this host */
	struct rlimit files;    /* that it may have open: thousands of logs */
};

static struct outside look_outside(const struct rehearsal *r)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/ns/net", (int)r->server);
	struct outside o = {.network = r->server ? open(path, O_RDONLY | O_CLOEXEC) : -1};
	address_list(&o.addresses);
	if (o.network >= 0)
		ports_listening(r->server, &o.own);
	(void)prlimit(r->server, RLIMIT_NOFILE, NULL, &o.files);
	return o;
}

static void outside_done(struct outside *o)
{
	auto_close_(&o->network);
	ports_done(&o->own);
	words_done(&o->addresses);
}

static _Noreturn void become_server(const struct rehearsal *r, const char *label, const struct rlimit *files)
{
	/* Apache signals its process group when it ends: ours is not to be in it */
	setsid();
	hidden_write("/proc/self/oom_score_adj", "1000");
	if (*label)
		hidden_write("/proc/self/attr/exec", label);
	const struct rlimit memory = {ADDRESS_SPACE, ADDRESS_SPACE};
	setrlimit(RLIMIT_AS, &memory);
	if (files->rlim_max)
		setrlimit(RLIMIT_NOFILE, files);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	execv(r->argv[0], r->argv);
	fprintf(stderr, "certswap-exec: %s can't be started: %s\n", r->argv[0], strerror(errno));
	_exit(127);
}

static void show_error_log(const struct rehearsal *r)
{
	FILE *f = r->error_log ? fopen(r->error_log, "re") : NULL;
	if (!f)
		return;
	if (fseek(f, -ERROR_LOG_SHOWN, SEEK_END))
		rewind(f);
	char line[1024];
	while (fgets(line, sizeof line, f))
		fputs(line, stderr);
	fclose(f);
}

/* Killed from outside, which the OOM killer does to a rehearsal first: that says nothing about the pair. */
static int refused_unless_killed(const struct rehearsal *r, int status)
{
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		return REHEARSE_REFUSED;
	fprintf(stderr, "certswap-exec: can't rehearse here: %s was killed\n", r->argv[0]);
	return REHEARSE_CANT_TELL;
}

/* Waits until the server ends or shows the pair. A process ends and sockets open without a word to us: so it looks
 * every few milliseconds, woken at once by the end. */
static int watch_server(const struct rehearsal *r, const struct words *addresses, pid_t server)
{
	int64_t deadline = clock_monotonic_us() + r->timeout_ms * 1000;
	AUTO_CLOSE int ended = (int)syscall(SYS_pidfd_open, server, 0);
	struct pollfd wait_for = {.fd = ended, .events = POLLIN};
	size_t listening = 0;
	int status = 0;
	if (ended < 0)
		return cant("a look at the server's process", NULL);
	while (clock_monotonic_us() < deadline) {
		if (poll(&wait_for, 1, LOOK_EVERY_MS) > 0) {
			show_error_log(r);
			return waitpid(server, &status, 0) == server ? refused_unless_killed(r, status)
								     : REHEARSE_REFUSED;
		}
		struct words listeners = {0};
		hidden_endpoints(addresses, &listeners);
		/* sockets are bound before the certificates are read: a listener alone says nothing */
		bool shown = listeners.n && is_shown(r, &listeners);
		listening = listeners.n;
		words_done(&listeners);
		if (shown)
			return REHEARSE_GOOD;
	}
	fprintf(stderr, "certswap-exec: the server started and %s within %lld ms: can't tell\n",
		listening ? "did not show the pair at any of its ports" : "listened nowhere", (long long)r->timeout_ms);
	show_error_log(r);
	return REHEARSE_CANT_TELL;
}

/* Waits until the program has ended by itself. */
static int await_end(const struct rehearsal *r, pid_t program)
{
	AUTO_CLOSE int ended = (int)syscall(SYS_pidfd_open, program, 0);
	struct pollfd wait_for = {.fd = ended, .events = POLLIN};
	int status = 0;
	if (ended < 0 || poll(&wait_for, 1, (int)r->timeout_ms) <= 0 || waitpid(program, &status, 0) < 0)
		return cant("to see the end of", r->argv[0]);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? REHEARSE_GOOD : refused_unless_killed(r, status);
}

/* In here every port is free. Outside another program may have one that somebody has just added to the configuration:
 * a graceful restart that can't bind it is the server's end. */
static bool lacks_port(const struct outside *o)
{
	struct ports wanted;
	ports_listening(0, &wanted);
	bool taken = o->network >= 0 && setns(o->network, CLONE_NEWNET) == 0 && ports_taken(&wanted, &o->own);
	ports_done(&wanted);
	return taken;
}

/* Process 1 of the new namespace: with it all others end. */
static _Noreturn void run_inside(const struct rehearsal *r, const char *label, const struct outside *outside)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int status = arrange_files(r);
	if (status == 0)
		status = hidden_network(&outside->addresses) ? cant("a loopback", NULL) : 0;
	pid_t server = status == 0 ? fork() : -1;
	if (server == 0)
		become_server(r, label, &outside->files);
	if (status == 0)
		status = server < 0      ? cant("a process", NULL)
			 : r->to_the_end ? await_end(r, server)
					 : watch_server(r, &outside->addresses, server);
	if (status != REHEARSE_REFUSED && !r->to_the_end && lacks_port(outside))
		status = REHEARSE_REFUSED;
	fflush(stderr);
	_exit(status);
}

/* The mount namespace of the running server, and its security label for the copy. */
static int join_server(const struct rehearsal *r, char *label, size_t size)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/ns/mnt", (int)r->server);
	AUTO_FREE char *attribute = xasprintf("/proc/%d/attr/current", (int)r->server);
	struct stat mine, theirs;
	if (access("/sys/fs/selinux/enforce", F_OK) == 0) {
		AUTO_CLOSE int fd = open(attribute, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? 0 : read(fd, label, size - 1);
		label[n > 0 ? n : 0] = '\0';
	}
	AUTO_CLOSE int ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || fstat(ns, &theirs) || stat("/proc/self/ns/mnt", &mine))
		return cant("a look at", path);
	if ((mine.st_ino != theirs.st_ino || mine.st_dev != theirs.st_dev) && setns(ns, CLONE_NEWNS))
		return cant("to join", path);
	return 0;
}

int rehearse_run(const struct rehearsal *r)
{
	char label[256] = "";
	if (r->server && join_server(r, label, sizeof label))
		return REHEARSE_CANT_TELL;
	for (size_t i = 0; i < r->candidates.n; i++)
		if (access(r->candidates.v[i], F_OK) || access(r->live.v[i], F_OK))
			return cant("the server does not see the candidate", r->candidates.v[i]);
	struct outside outside = look_outside(r);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID))
		return cant("namespaces of our own", NULL);
	fflush(stderr);
	pid_t inside = fork();
	if (inside < 0)
		return cant("a process", NULL);
	if (inside == 0)
		run_inside(r, label, &outside);
	outside_done(&outside);
	int status = 0;
	while (waitpid(inside, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : REHEARSE_CANT_TELL;
}
