/* The system calls that a role may make: an allow-list by seccomp. What has no business in a worker kills it; what a
 * library may try in good faith gets EPERM. */
#ifndef WORKER_SYSCALLS_H
#define WORKER_SYSCALLS_H
#include "base/fault.h"
#include "worker/sandbox.h"

/* Built with AddressSanitizer? Its runtime needs more calls, and no limit of addresses. */
#if defined(__SANITIZE_ADDRESS__)
#define SYSCALLS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SYSCALLS_SANITIZED 1
#endif
#endif
#ifndef SYSCALLS_SANITIZED
#define SYSCALLS_SANITIZED 0
#endif

/* Makes the filter, so that syscalls_enter, which makes it where that was not done, takes less time. */
int syscalls_prepare(enum sandbox_role role, enum sandbox_other other, struct fault *fault);
/* For the rest of the process's life. Needs no_new_privs. 0; -ENOSYS: the kernel has no seccomp filter. */
int syscalls_enter(enum sandbox_role role, enum sandbox_other other, struct fault *fault);
#endif
