#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "worker/sandbox.h"
#include "worker/selftest.h"
#include "worker/syscalls.h"

#define NUMBERS      1024 /* of system calls; the highest in use is below 500 */
#define COMMANDS     1100 /* of fcntl(2) */
#define FAMILIES     46
#define TYPES        12
#define PROTECTIONS  8
#define CALLS        (NUMBERS + COMMANDS + FAMILIES * TYPES + 2 * PROTECTIONS + 32)
#define X32          0x40000000L
#define ENTRY_32_BIT (-2L)
#define HANG_S       60
#define NOT_SET_UP   126

enum outcome { OUTCOME_NONE, OUTCOME_REFUSED, OUTCOME_KILLED, OUTCOME_PASSED };

/* What is tried, and what came of it: in memory that the processes inside share with the one that counts. */
struct call {
	long number;
	long args[6];
	const char *detail; /* NULL: none */
	int value;          /* to be said with it */
	bool narrow;        /* where the arguments decide */
	volatile enum outcome outcome;
};
struct scan {
	size_t n;
	volatile size_t at;
	struct call calls[CALLS];
};

static volatile sig_atomic_t trapped;

static void on_trap(int number)
{
	trapped = 1;
}

static struct call *add(struct scan *s, long number, const char *detail, int value)
{
	if (s->n >= CALLS)
		abort();
	struct call *c = &s->calls[s->n++];
	*c = (struct call){.number = number,
			   .detail = detail,
			   .value = value,
			   .narrow = detail != NULL,
			   .args = {-1, -1, -1, -1, -1, -1}};
	return c;
}

static void with(struct call *c, long a, long b, long d, long e)
{
	c->args[0] = a;
	c->args[1] = b;
	c->args[2] = d;
	c->args[3] = e;
}

/* Where the filter looks at arguments. */
static void add_narrow(struct scan *s, bool network)
{
	static char pages[2 * 4096];
	long page = ((long)(intptr_t)pages + 4095) & ~4095L, root = (long)(intptr_t) "/", empty = (long)(intptr_t) "";
	for (int command = 0; command < COMMANDS; command++)
		with(add(s, SYS_fcntl, "command", command), STDERR_FILENO, command, 0, 0);
	for (int family = 0; network && family < FAMILIES; family++) /* elsewhere it is deadly whatever it asks for */
		for (int type = 0; type < TYPES; type++)
			with(add(s, SYS_socket, "family", family), family, type, 0, 0);
	with(add(s, SYS_socket, "family", AF_INET), AF_INET, SOCK_STREAM, IPPROTO_SCTP, 0);
	for (int protection = 0; protection < PROTECTIONS; protection++) {
		with(add(s, SYS_mmap, "protection", protection), 0, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS);
		with(add(s, SYS_mprotect, "protection", protection), page, 4096, protection, 0);
	}
	with(add(s, SYS_tgkill, "its parent", 0), getpid(), getpid(), 0, 0);
	with(add(s, SYS_tgkill, "itself", 0), 0, 0, 0, 0); /* filled in inside */
	with(add(s, SYS_newfstatat, "flags", 0), -1, root, page, 0);
	with(add(s, SYS_newfstatat, "flags", AT_EMPTY_PATH), 0, empty, page, AT_EMPTY_PATH);
}

static void add_all(struct scan *s, enum sandbox_role role)
{
	s->n = 0;
	for (long number = 0; number < NUMBERS; number++)
		(void)add(s, number, NULL, 0);
#ifdef __x86_64__
	static const long x32[] = {0, 39, 41, 59, 512, 520, 545};
	for (size_t i = 0; i < ARRAY_SIZE(x32); i++)
		(void)add(s, X32 + x32[i], NULL, 0);
	(void)add(s, ENTRY_32_BIT, NULL, 0);
#endif
	add_narrow(s, role == SANDBOX_PROBE || role == SANDBOX_FETCH);
}

/* The calls of a 32-bit program, from inside of a 64-bit one. */
static long call_32_bit(void)
{
	long r = -1;
#ifdef __x86_64__
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
#endif
	return r;
}

static void try_one(struct call *c)
{
	const long self = c->number == SYS_tgkill && c->args[0] == 0 ? getpid() : 0;
	trapped = 0;
	errno = 0;
	long r = c->number == ENTRY_32_BIT ? call_32_bit()
					   : syscall(c->number, self ? self : c->args[0], self ? self : c->args[1],
						     c->args[2], c->args[3], c->args[4], c->args[5]);
	/* with such arguments the kernel says this of nothing that is allowed; EACCES: files, in a sanitized build */
	bool refused = r == -1 && (errno == EPERM || (SYSCALLS_SANITIZED && errno == EACCES));
	c->outcome = trapped || refused ? OUTCOME_REFUSED : OUTCOME_PASSED;
}

/* The process inside: goes on where the one before it ended. Never returns. */
static _Noreturn void try_all(struct scan *s, enum sandbox_role role, enum sandbox_other other, uid_t uid, gid_t gid)
{
	const struct sigaction action = {.sa_handler = on_trap};
	struct fault fault = {0};
	sigaction(SIGSYS, &action, NULL);
	signal(SIGSEGV, SIG_DFL); /* a sanitizer has a long story to tell of a wild rt_sigreturn */
	signal(SIGILL, SIG_DFL);
	alarm(HANG_S); /* a call that blocks has got through */
	if (sandbox_drop(role, uid, gid, &fault) ||
	    (sandbox_enter(role, other, NULL, 0, &fault) && fault.code != -ENOSYS)) {
		dprintf(STDERR_FILENO, "certswap-worker: %s\n", fault.text);
		_exit(NOT_SET_UP);
	}
	for (; s->at < s->n; s->at++)
		if (s->calls[s->at].outcome != OUTCOME_KILLED)
			try_one(&s->calls[s->at]);
	_exit(0);
}

/* What a call did that ended its process. */
static enum outcome ended(const struct call *c, int status)
{
	int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	bool no_32_bit = c->number == ENTRY_32_BIT && signal == SIGSEGV; /* a kernel without that table */
	bool probe =
		signal == SIGILL; /* uprobe, uretprobe: no filter sees them, and nothing but a breakpoint may call */
	return signal == SIGSYS || no_32_bit || probe ? OUTCOME_KILLED : OUTCOME_PASSED;
}

/* false: there was no sandbox to try it in. */
static bool scan(struct scan *s, enum sandbox_role role, enum sandbox_other other, uid_t uid, gid_t gid)
{
	for (s->at = 0; s->at < s->n; s->at++) {
		if (s->calls[s->at].outcome == OUTCOME_KILLED)
			continue; /* by a rule of its own, the same in each way */
		pid_t child = fork();
		if (child == 0)
			try_all(s, role, other, uid, gid);
		int status = 0;
		if (child < 0 || waitpid(child, &status, 0) != child ||
		    (WIFEXITED(status) && WEXITSTATUS(status) == NOT_SET_UP))
			return false;
		if (s->at < s->n)
			s->calls[s->at].outcome = ended(&s->calls[s->at], status);
	}
	return true;
}

static void print_call(enum sandbox_role role, const struct call *c)
{
	char *name = c->number == ENTRY_32_BIT
			     ? NULL
			     : seccomp_syscall_resolve_num_arch(seccomp_arch_native(), (int)c->number);
	printf("%s %s", sandbox_role_name[role], name ? name : "?");
	if (!name)
		printf(" %ld", c->number);
	if (c->detail)
		printf(c->narrow ? " %s %d" : " %s", c->detail, c->value);
	if (c->number == SYS_socket)
		printf(" type %d protocol %d", (int)c->args[1], (int)c->args[2]);
	putchar('\n');
	free(name);
}

/* Under SANDBOX_TRAP what got through is known for sure; the two ways that are in use must not let more through. */
static bool scan_role(struct scan *s, enum sandbox_role role, uid_t uid, gid_t gid, bool names)
{
	static enum outcome sure[CALLS];
	size_t passed = 0, killed = 0, wrong = 0;
	if (!scan(s, role, SANDBOX_TRAP, uid, gid))
		return false;
	for (size_t i = 0; i < s->n; i++) {
		sure[i] = s->calls[i].outcome;
		passed += sure[i] == OUTCOME_PASSED;
		killed += sure[i] == OUTCOME_KILLED;
		if (names && sure[i] == OUTCOME_PASSED)
			print_call(role, &s->calls[i]);
	}
	if (!scan(s, role, SANDBOX_REFUSE, uid, gid))
		return false;
	for (size_t i = 0; i < s->n; i++)
		wrong += sure[i] == OUTCOME_REFUSED && s->calls[i].outcome == OUTCOME_PASSED;
	if (!names)
		printf("%-6s each system call, by number and argument     %zu allowed, %zu denied, %zu denied, "
		       "killed%s\n",
		       sandbox_role_name[role], passed, s->n - passed - killed, killed, wrong ? "  <-- WRONG" : "");
	fflush(stdout);
	return wrong == 0;
}

/* SANDBOX_KILL ends at what SANDBOX_REFUSE refuses: one of each kind of rule is enough. */
static bool kill_ends(struct scan *s, enum sandbox_role role, uid_t uid, gid_t gid)
{
	s->n = 0;
	(void)add(s, SYS_uname, NULL, 0);
	(void)add(s, SYS_sysinfo, NULL, 0);
	with(add(s, SYS_fcntl, "command", F_SETOWN), STDERR_FILENO, F_SETOWN, 0, 0);
	bool good = scan(s, role, SANDBOX_KILL, uid, gid);
	for (size_t i = 0; i < s->n; i++)
		good = good && s->calls[i].outcome == OUTCOME_KILLED;
	if (!good)
		printf("%-6s what is refused, in strict mode               not killed  <-- WRONG\n",
		       sandbox_role_name[role]);
	return good;
}

bool selftest_calls(uid_t uid, gid_t gid, bool names)
{
	struct scan *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool good = s != MAP_FAILED;
	for (enum sandbox_role role = 0; role < SANDBOX_ROLES && s != MAP_FAILED; role++) {
		add_all(s, role);
		good = scan_role(s, role, uid, gid, names) && good;
		good = kill_ends(s, role, uid, gid) && good;
	}
	if (s != MAP_FAILED)
		munmap(s, sizeof *s);
	return good;
}
