/* What a worker gives up, in this order, before it looks at anything that came from outside: root, new privileges, core
 * dumps, other descriptors, files and network (Landlock), system calls (seccomp). What each role can't do is proved by
 * `certswap-worker selftest`. */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/fault.h"

enum sandbox_role {
	SANDBOX_CHECK,  /* the descriptors it was given, no network, no file */
	SANDBOX_PROBE,  /* TCP to the ports it was told and unix sockets, no file */
	SANDBOX_KEYGEN, /* as CHECK */
	SANDBOX_FETCH,  /* TCP to the ports it was told; the descriptors it was given, no file by name */
	SANDBOX_ROLES
};
extern const char *const sandbox_role_name[SANDBOX_ROLES];

/* What a system call gets that the role has no use for and that is not deadly anyhow. */
enum sandbox_other {
	SANDBOX_REFUSE, /* EPERM */
	SANDBOX_KILL,   /* SIGSYS that ends the process: nothing is tried in vain unseen */
	SANDBOX_TRAP    /* SIGSYS to a handler, for the self-test */
};

/* Gives up what needs no preparation: root for uid:gid (anything but 0; only where the process is root), new
 * privileges, core dumps, life after the parent's death, limits. Fails rather than stay root. */
int sandbox_drop(enum sandbox_role role, uid_t uid, gid_t gid, struct fault *fault);

/* Closes every descriptor but standard error, WORKER_SOCKET_FD, and WORKER_TRUST_FD where keep_trust; standard input
 * and output become /dev/null. */
int sandbox_close_descriptors(bool keep_trust, struct fault *fault);

/* Closes the door: Landlock, then seccomp. 0; -ENOSYS where the kernel lacks a part (`fault` names it; the other part
 * is in force): whether to go on is the caller's decision. Ports are those that SANDBOX_PROBE and SANDBOX_FETCH
 * may connect to. */
int sandbox_enter(enum sandbox_role role, enum sandbox_other other, const uint16_t *ports, size_t nports,
		  struct fault *fault);
#endif
