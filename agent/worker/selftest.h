/* `certswap-worker selftest`: tries, inside the sandbox of each role, what that role must not be able to do. */
#ifndef WORKER_SELFTEST_H
#define WORKER_SELFTEST_H
#include <sys/types.h>

/* A line for each denial on standard output. Returns the exit status: 0, or 1 where something was not denied. */
int selftest_run(uid_t uid, gid_t gid);
#endif
