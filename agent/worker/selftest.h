/* `certswap-worker selftest`: tries, inside the sandbox of each role, what that role must not be able to do. */
#ifndef WORKER_SELFTEST_H
#define WORKER_SELFTEST_H
#include <stdbool.h>
#include <sys/types.h>

/* A line for each denial on standard output. Returns the exit status: 0, or 1 where something was not denied. */
int selftest_run(uid_t uid, gid_t gid);

/* Every system call by its number and, where arguments decide, with all of them, tried in each role, under the filter's
 * three ways with what no list names. Prints a line a role; `names`: each call that got through, instead. false: a call
 * that one way lets through is not the same in another. */
bool selftest_calls(uid_t uid, gid_t gid, bool names);
#endif
