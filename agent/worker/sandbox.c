#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "wire/message.h"
#include "worker/landlock.h"
#include "worker/syscalls.h"

#define MIB (1024UL * 1024UL)

const char *const sandbox_role_name[] = {
	[SANDBOX_CHECK] = "check", [SANDBOX_PROBE] = "probe", [SANDBOX_KEYGEN] = "keygen", [SANDBOX_FETCH] = "fetch"};
_Static_assert(ARRAY_SIZE(sandbox_role_name) == SANDBOX_ROLES, "a name for each role");

struct limit {
	int what;
	rlim_t most;
	const char *name;
};
#define LIMITS 5
static const struct limit limits[SANDBOX_ROLES][LIMITS] = {
	[SANDBOX_CHECK] = {{RLIMIT_CORE, 0, "core"},
			   {RLIMIT_NOFILE, MESSAGE_FDS + 32, "nofile"},
			   {RLIMIT_FSIZE, MIB, "fsize"},
			   {RLIMIT_CPU, 60, "cpu"},
			   {RLIMIT_AS, 1024 * MIB, "as"}},
	[SANDBOX_PROBE] = {{RLIMIT_CORE, 0, "core"},
			   {RLIMIT_NOFILE, 256, "nofile"},
			   {RLIMIT_FSIZE, MIB, "fsize"},
			   {RLIMIT_CPU, 600, "cpu"},
			   {RLIMIT_AS, 512 * MIB, "as"}},
	[SANDBOX_KEYGEN] = {{RLIMIT_CORE, 0, "core"},
			    {RLIMIT_NOFILE, 64, "nofile"},
			    {RLIMIT_FSIZE, MIB, "fsize"},
			    {RLIMIT_CPU, 300, "cpu"},
			    {RLIMIT_AS, 512 * MIB, "as"}},
	[SANDBOX_FETCH] = {{RLIMIT_CORE, 0, "core"},
			   {RLIMIT_NOFILE, 64, "nofile"},
			   {RLIMIT_FSIZE, 0, "fsize"},
			   {RLIMIT_CPU, 120, "cpu"},
			   {RLIMIT_AS, 512 * MIB, "as"}},
};

static int leave_root(uid_t uid, gid_t gid, struct fault *fault)
{
	if (geteuid() != 0 && getuid() != 0)
		return 0;
	if (uid == 0 || gid == 0)
		return fault_set(fault, -EPERM, "a worker never runs as root: give it a user other than 0");
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return fault_errno(fault, errno, "can't become user %u:%u", (unsigned)uid, (unsigned)gid);
	if (setresuid(0, 0, 0) == 0 || geteuid() == 0 || getegid() == 0)
		return fault_set(fault, -EPERM, "the way back to root is open");
	return 0;
}

static int set_limits(enum sandbox_role role, struct fault *fault)
{
	for (size_t i = 0; i < LIMITS; i++) {
		const struct limit *l = &limits[role][i];
		struct rlimit now;
#if SYSCALLS_SANITIZED
		if (l->what == RLIMIT_AS) /* the shadow memory alone is terabytes of addresses */
			continue;
#endif
		if (getrlimit(l->what, &now))
			return fault_errno(fault, errno, "limit %s", l->name);
		if (l->most < now.rlim_max)
			now.rlim_max = l->most;
		now.rlim_cur = now.rlim_max;
		if (setrlimit(l->what, &now))
			return fault_errno(fault, errno, "limit %s", l->name);
	}
	return 0;
}

int sandbox_drop(enum sandbox_role role, uid_t uid, gid_t gid, struct fault *fault)
{
	int r = leave_root(uid, gid, fault);
	if (r)
		return r;
	/* a change of user clears the signal for the parent's death and allows dumps again: both come after it */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return fault_errno(fault, errno, "can't give up privileges");
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return fault_errno(fault, errno, "SIGPIPE");
	return set_limits(role, fault);
}

/* close_range(2), or one by one where the kernel is older than 5.9 */
static void close_range_of(unsigned from, unsigned to)
{
	if (from > to || syscall(SYS_close_range, from, to, 0) == 0)
		return;
	long most = sysconf(_SC_OPEN_MAX);
	for (unsigned fd = from; fd <= to && (long)fd < most; fd++)
		close((int)fd);
}

int sandbox_close_descriptors(bool keep_trust, struct fault *fault)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return fault_errno(fault, errno, "/dev/null");
	if (fcntl(STDERR_FILENO, F_GETFD) < 0 && dup2(null, STDERR_FILENO) < 0)
		return fault_errno(fault, errno, "/dev/null");
	if (null > STDERR_FILENO)
		close(null);
	close_range_of(keep_trust ? WORKER_TRUST_FD + 1 : WORKER_SOCKET_FD + 1, ~0U);
	return 0;
}

int sandbox_enter(enum sandbox_role role, enum sandbox_other other, const uint16_t *ports, size_t nports,
		  struct fault *fault)
{
	const struct landlock_net net = {
		.ports = ports, .nports = nports, .connect = role == SANDBOX_PROBE || role == SANDBOX_FETCH};
	int files = landlock_enter(&net, fault);
	struct fault second = {0};
	int calls = syscalls_enter(role, other, &second);
	if (calls && files)
		return fault_set(fault, -ENOSYS, "neither Landlock nor seccomp can be had here");
	if (calls)
		return fault_set(fault, -ENOSYS, "%s", second.text);
	return files ? -ENOSYS : 0;
}
