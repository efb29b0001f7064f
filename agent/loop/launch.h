/* How a certswap-worker is started: its arguments, its socket, its trust file. For job.c. */
#ifndef LOOP_LAUNCH_H
#define LOOP_LAUNCH_H
#include <stdbool.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "loop/process.h"

struct launch {
	const char *worker_path, *role;
	const char *user;    /* of launch_user */
	const char *sandbox; /* "--sandbox=POLICY" or NULL */
	const char *trust;   /* NULL or "": it gets none */
	bool trust_needed;   /* a trust file that can't be opened is a fault; else it gets none */
	struct stat trusted; /* returned: the trust file that it was given, else zeroed */
	int socket;          /* returned: our end, the caller's to close */
};
/* NULL and fault: not started. */
struct process *launch_worker(struct loop *loop, struct launch *launch, process_end_cb cb, void *data,
			      struct fault *fault);

/* Whether `worker_user` names a user that is not root. */
bool launch_user_exists(const char *name);

/* "--user=UID:GID" for the option `worker_user`, uid 65534 where there is none; never root; NULL where we are not root.
 * Caller frees. */
char *launch_user(const char *name);

/* Whether the trust file is still the one that was given: neither replaced nor written since. */
bool launch_same_trust(const char *trust, const struct stat *given);
#endif
