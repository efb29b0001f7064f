#include "worker/selftest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "worker/landlock.h"
#include "worker/sandbox.h"
#include "worker/syscalls.h"

#define PORT_ALLOWED 2 /* nobody listens there: "connection refused" shows that the sandbox let it pass */
#define PORT_OTHER   3

static int given_socket = -1; /* a TCP socket from before the sandbox */

/* Each returns a negative number and errno where it was denied, as the calls themselves do. */
static long try_read_file(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}
static long try_create_file(void)
{
	return open("/tmp/certswap-selftest", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
}
static long try_old_open(void)
{
#ifdef SYS_open
	return syscall(SYS_open, "/etc/passwd", O_RDONLY);
#else
	return try_read_file();
#endif
}
static long try_unlink(void)
{
	return unlink("/tmp/certswap-selftest");
}
static long try_mkdir(void)
{
	return mkdir("/tmp/certswap-selftest.d", 0700);
}
static long try_exec(void)
{
	return execl("/bin/true", "true", (char *)NULL);
}
static long try_fork(void)
{
	return fork();
}
static long try_thread(void)
{
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
}
static long try_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}
static long try_read_memory(void)
{
	char byte;
	struct iovec mine = {&byte, 1}, theirs = {&byte, 1};
	return process_vm_readv(getppid(), &mine, 1, &theirs, 1, 0);
}
static long try_kill(void)
{
	return kill(getppid(), 0);
}
static long try_kill_all(void)
{
	return kill(-1, 0);
}
static long try_tgkill(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0);
}
static long try_signal_by_io(void)
{
	return fcntl(STDERR_FILENO, F_SETOWN, getppid());
}
static long try_tcp(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}
static long try_unix(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}
static long try_pair(void)
{
	int two[2];
	return socketpair(AF_UNIX, SOCK_STREAM, 0, two);
}
static long try_udp(void)
{
	return socket(AF_INET, SOCK_DGRAM, 0);
}
static long try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}
static long try_bind(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return bind(given_socket, (struct sockaddr *)&a, sizeof a);
}
static long try_listen(void)
{
	return listen(given_socket, 1);
}
static long try_accept(void)
{
	return accept(given_socket, NULL, NULL);
}
static long try_connect_given(void)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(PORT_ALLOWED), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return connect(given_socket, (struct sockaddr *)&a, sizeof a);
}
static long connect_to(uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (s < 0)
		return -1;
	int r = connect(s, (struct sockaddr *)&a, sizeof a);
	return r < 0 && errno == ECONNREFUSED ? 0 : r;
}
static long try_other_port(void)
{
	return connect_to(PORT_OTHER);
}
static long try_allowed_port(void)
{
	return connect_to(PORT_ALLOWED);
}
static long try_become_root(void)
{
	return setresuid(0, 0, 0);
}
static long try_be_root(void)
{
	errno = EPERM;
	return geteuid() == 0 || getegid() == 0 ? 0 : -1;
}
static long try_executable_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? -1 : 0;
}
static long try_make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}
static long try_be_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}
static long try_mount(void)
{
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}
static long try_chroot(void)
{
	return chroot("/");
}
static long try_unshare(void)
{
	return unshare(CLONE_NEWUSER);
}
static long try_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0);
}
static long try_io_uring(void)
{
	return syscall(SYS_io_uring_setup, 1, NULL);
}
static long try_answer(void)
{
	return write(STDOUT_FILENO, "", 0);
}

#define CHECK      (1U << SANDBOX_CHECK)
#define PROBE      (1U << SANDBOX_PROBE)
#define KEYGEN     (1U << SANDBOX_KEYGEN)
#define FETCH      (1U << SANDBOX_FETCH)
#define ALL        (CHECK | PROBE | KEYGEN | FETCH)
#define NO_NETWORK (CHECK | KEYGEN)

enum need { NEED_NOTHING, NEED_LANDLOCK_TCP, NEED_NO_SANITIZER };
struct trial {
	const char *what;
	long (*try)(void);
	unsigned roles;
	enum need need;
	bool may; /* the other way round: what the role must be able to do */
};
static const struct trial trials[] = {
	{"be root", try_be_root, ALL, NEED_NOTHING, false},
	{"become root", try_become_root, ALL, NEED_NOTHING, false},
	{"open a file for reading", try_read_file, ALL, NEED_NOTHING, false},
	{"open a file by open(2)", try_old_open, ALL, NEED_NOTHING, false},
	{"create a file", try_create_file, ALL, NEED_NOTHING, false},
	{"remove a file", try_unlink, ALL, NEED_NOTHING, false},
	{"make a folder", try_mkdir, ALL, NEED_NOTHING, false},
	{"execute a program", try_exec, ALL, NEED_NOTHING, false},
	{"fork", try_fork, ALL, NEED_NOTHING, false},
	{"clone", try_thread, ALL, NEED_NOTHING, false},
	{"trace another process", try_ptrace, ALL, NEED_NOTHING, false},
	{"read another process's memory", try_read_memory, ALL, NEED_NOTHING, false},
	{"signal another process", try_kill, ALL, NEED_NOTHING, false},
	{"signal all processes", try_kill_all, ALL, NEED_NOTHING, false},
	{"signal another thread", try_tgkill, ALL, NEED_NOTHING, false},
	{"signal by a descriptor's owner", try_signal_by_io, ALL, NEED_NOTHING, false},
	{"make a TCP socket", try_tcp, NO_NETWORK, NEED_NOTHING, false},
	{"make a unix socket", try_unix, NO_NETWORK | FETCH, NEED_NOTHING, false},
	{"make a pair of sockets", try_pair, ALL, NEED_NOTHING, false},
	{"make a UDP socket", try_udp, ALL, NEED_NOTHING, false},
	{"make a netlink socket", try_netlink, ALL, NEED_NOTHING, false},
	{"bind a port", try_bind, ALL, NEED_NOTHING, false},
	{"listen", try_listen, ALL, NEED_NOTHING, false},
	{"accept", try_accept, ALL, NEED_NOTHING, false},
	{"connect a socket that it was given", try_connect_given, NO_NETWORK, NEED_NOTHING, false},
	{"connect to a port that was not asked for", try_other_port, PROBE | FETCH, NEED_LANDLOCK_TCP, false},
	{"get memory to execute", try_executable_memory, ALL, NEED_NO_SANITIZER, false},
	{"make memory executable", try_make_executable, ALL, NEED_NO_SANITIZER, false},
	{"become dumpable", try_be_dumpable, ALL, NEED_NO_SANITIZER, false},
	{"mount", try_mount, ALL, NEED_NOTHING, false},
	{"chroot", try_chroot, ALL, NEED_NOTHING, false},
	{"make a user namespace", try_unshare, ALL, NEED_NOTHING, false},
	{"load a BPF program", try_bpf, ALL, NEED_NOTHING, false},
	{"use io_uring", try_io_uring, ALL, NEED_NOTHING, false},
	{"answer", try_answer, ALL, NEED_NOTHING, true},
	{"connect to a port that was asked for", try_allowed_port, PROBE | FETCH, NEED_NOTHING, true},
};

enum { CHILD_DENIED, CHILD_ALLOWED, CHILD_NOT_SET_UP };

/* The trial's process: never returns. */
static _Noreturn void run_inside(const struct trial *t, enum sandbox_role role, uid_t uid, gid_t gid)
{
	static const uint16_t ports[] = {PORT_ALLOWED};
	struct fault fault = {0};
	given_socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sandbox_drop(role, uid, gid, &fault) ||
	    sandbox_enter(role, SANDBOX_REFUSE, ports, ARRAY_SIZE(ports), &fault)) {
		dprintf(STDERR_FILENO, "certswap-worker: %s\n", fault.text);
		if (fault.code != -ENOSYS)
			_exit(CHILD_NOT_SET_UP);
	}
	errno = 0;
	bool denied = t->try() < 0 && (errno == EPERM || errno == EACCES);
	_exit(denied ? CHILD_DENIED : CHILD_ALLOWED);
}

static bool run_trial(const struct trial *t, enum sandbox_role role, uid_t uid, gid_t gid)
{
	const char *skipped = NULL;
	if (t->need == NEED_LANDLOCK_TCP && landlock_abi() < 4)
		skipped = "this kernel's Landlock has no rules for TCP";
	if (t->need == NEED_NO_SANITIZER && SYSCALLS_SANITIZED)
		skipped = "this build has a sanitizer";
	if (skipped) {
		printf("%-6s %-42s skipped: %s\n", sandbox_role_name[role], t->what, skipped);
		return true;
	}
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		run_inside(t, role, uid, gid);
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
	bool denied = killed || (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_DENIED);
	bool allowed = WIFEXITED(status) && WEXITSTATUS(status) == CHILD_ALLOWED;
	bool good = t->may ? allowed : denied;
	printf("%-6s %-42s %s%s\n", sandbox_role_name[role], t->what,
	       killed    ? "denied, killed"
	       : denied  ? "denied"
	       : allowed ? "allowed"
			 : "could not be tried",
	       good ? "" : "  <-- WRONG");
	return good;
}

int selftest_run(uid_t uid, gid_t gid)
{
	bool good = true;
	for (enum sandbox_role role = 0; role < SANDBOX_ROLES; role++)
		for (size_t i = 0; i < ARRAY_SIZE(trials); i++)
			if (trials[i].roles & (1U << role))
				good = run_trial(&trials[i], role, uid, gid) && good;
	fflush(stdout);
	good = selftest_calls(uid, gid, false) && good;
	printf("%s\n", good ? "The sandbox holds." : "The sandbox does NOT hold: see the lines marked WRONG.");
	return good ? 0 : 1;
}
