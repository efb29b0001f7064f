/* Is the sandbox of the workers whole on this machine? Asked once at a start, before anything depends on it. Blocks for
 * as long as a worker takes to start; ten seconds at most. */
#ifndef LOOP_TRYOUT_H
#define LOOP_TRYOUT_H
#include "base/fault.h"

/* Starts a worker that does nothing but close its doors, as `user` (of launch_user; NULL: as we are). 0: it closed
 * every door. -ENOSYS and a fault: it could not, the text says which part is missing. Anything else: no worker can be
 * started. */
int tryout_sandbox(const char *worker_path, const char *user, struct fault *fault);
#endif
