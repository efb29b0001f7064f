#include "worker/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

/* Each role: memory, time, random bytes, and descriptors that are there already. */
static const int allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(lseek),
	SCMP_SYS(_llseek),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(fstat64),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(munlock),
	SCMP_SYS(futex),
	SCMP_SYS(sched_yield),
	SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(futex_time64),
	SCMP_SYS(ppoll_time64),
};

/* "probe" and "fetch" besides: connections that they make themselves. */
static const int allowed_network[] = {
	SCMP_SYS(connect), SCMP_SYS(getsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
	SCMP_SYS(sendto),  SCMP_SYS(recvfrom),   SCMP_SYS(shutdown),
};

/* "fetch": libcurl makes a pair to be woken up by from other threads, of which there are none, and does without. */
static const int refused_fetch[] = {SCMP_SYS(socketpair), SCMP_SYS(eventfd2), SCMP_SYS(pipe2)};

/* The sanitizers' runtime, in test builds only. */
static const int allowed_sanitizer[] = {
	SCMP_SYS(sigaltstack), SCMP_SYS(getrusage), SCMP_SYS(sched_getaffinity), SCMP_SYS(msync), SCMP_SYS(mincore),
	SCMP_SYS(readlink),    SCMP_SYS(prctl),     SCMP_SYS(rt_sigpending),     SCMP_SYS(mmap),  SCMP_SYS(mprotect),
};

/* Nothing in a worker calls these but somebody else's code. */
static const int deadly[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(clone),
	SCMP_SYS(clone3),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(bpf),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(reboot),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(setuid),
	SCMP_SYS(setresuid),
	SCMP_SYS(setgid),
	SCMP_SYS(setresgid),
	SCMP_SYS(setgroups),
	SCMP_SYS(capset),
	SCMP_SYS(kill),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(process_madvise),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(tkill),
};

/* Files by name. The sanitizers' runtime tries these when it has something to report. */
static const int deadly_files[] = {
	SCMP_SYS(open),     SCMP_SYS(openat),  SCMP_SYS(openat2),   SCMP_SYS(creat),    SCMP_SYS(unlink),
	SCMP_SYS(unlinkat), SCMP_SYS(rename),  SCMP_SYS(link),      SCMP_SYS(renameat), SCMP_SYS(linkat),
	SCMP_SYS(mkdir),    SCMP_SYS(mkdirat), SCMP_SYS(renameat2),
};

static int add(scmp_filter_ctx c, uint32_t action, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = seccomp_rule_add(c, action, calls[i], 0);
		if (r && r != -EDOM && r != -EACCES) /* no such call on this architecture; what all others get anyhow */
			return r;
	}
	return 0;
}

/* Calls whose arguments matter. */
static int add_narrow(scmp_filter_ctx c)
{
	static const int fcntl_commands[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC};
	int r = 0;
	for (size_t i = 0; i < ARRAY_SIZE(fcntl_commands) && !r; i++)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
				     SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)fcntl_commands[i], 0));
	/* abort(3) signals itself */
	if (!r)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	/* fstat(3) of an open descriptor in glibc since 2.33 */
	if (!r)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
				     SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH, 0));
	/* memory, but none that can be executed */
	if (!r && !SYSCALLS_SANITIZED)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!r && !SYSCALLS_SANITIZED)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return r;
}

/* "check" and "keygen" have no sockets; "probe" has streams of three families, "fetch" of two. */
static int add_sockets(scmp_filter_ctx c, enum sandbox_role role)
{
	static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
	if (role != SANDBOX_PROBE && role != SANDBOX_FETCH) {
		static const int making[] = {SCMP_SYS(connect), SCMP_SYS(socket)};
		return add(c, SCMP_ACT_KILL_PROCESS, making, ARRAY_SIZE(making));
	}
	int r = add(c, SCMP_ACT_ALLOW, allowed_network, ARRAY_SIZE(allowed_network));
	if (!r && role == SANDBOX_FETCH)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 0);
	if (!r && role == SANDBOX_FETCH)
		r = add(c, SCMP_ACT_ERRNO(EPERM), refused_fetch, ARRAY_SIZE(refused_fetch));
	size_t n = role == SANDBOX_FETCH ? 2 : ARRAY_SIZE(families);
	for (size_t i = 0; i < n && !r; i++)
		r = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(socket), 3,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0),
				     SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM), SCMP_A2(SCMP_CMP_EQ, 0, 0));
	return r;
}

static scmp_filter_ctx prepared; /* of the whole process */

int syscalls_prepare(enum sandbox_role role, enum sandbox_other other, struct fault *fault)
{
	static const uint32_t actions[] = {[SANDBOX_REFUSE] = SCMP_ACT_ERRNO(EPERM),
					   [SANDBOX_KILL] = SCMP_ACT_KILL_PROCESS,
					   [SANDBOX_TRAP] = SCMP_ACT_TRAP};
	scmp_filter_ctx c = seccomp_init(actions[other]);
	if (!c)
		return fault_set(fault, -ENOSYS, "libseccomp makes no filter");
	seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS); /* x32, int 0x80 */
	seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: each call passes the filter */
	uint32_t files = SYSCALLS_SANITIZED ? SCMP_ACT_ERRNO(EACCES) : SCMP_ACT_KILL_PROCESS;
	int r = add(c, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed));
	if (!r && SYSCALLS_SANITIZED)
		r = add(c, SCMP_ACT_ALLOW, allowed_sanitizer, ARRAY_SIZE(allowed_sanitizer));
	if (!r)
		r = add(c, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_SIZE(deadly));
	if (!r)
		r = add(c, files, deadly_files, ARRAY_SIZE(deadly_files));
	if (!r)
		r = add_narrow(c);
	if (!r)
		r = add_sockets(c, role);
	if (r) { /* libseccomp has asked the kernel for each action */
		seccomp_release(c);
		fault_errno(fault, r, "the kernel takes no seccomp filter");
		return -ENOSYS;
	}
	prepared = c;
	return 0;
}

int syscalls_enter(enum sandbox_role role, enum sandbox_other other, struct fault *fault)
{
	int r = prepared ? 0 : syscalls_prepare(role, other, fault);
	if (r)
		return r;
	r = seccomp_load(prepared);
	seccomp_release(prepared);
	prepared = NULL;
	if (r) {
		fault_errno(fault, r, "the kernel takes no seccomp filter");
		return -ENOSYS;
	}
	return 0;
}
