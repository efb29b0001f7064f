/* Landlock: no file by any path, no TCP but to the ports named, no signal and no abstract unix socket outside. */
#ifndef WORKER_LANDLOCK_H
#define WORKER_LANDLOCK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"

long landlock_abi(void); /* version of the kernel's interface; below 1: none, errno says why; TCP rules since 4 */

struct landlock_net {
	bool connect; /* to `ports`; false: nowhere */
	const uint16_t *ports;
	size_t nports;
};
/* For the rest of the process's life. Needs no_new_privs. 0; -ENOSYS: this kernel has none, or keeps it off. */
int landlock_enter(const struct landlock_net *net, struct fault *fault);
#endif
