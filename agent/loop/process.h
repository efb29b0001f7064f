/* One child process: start, end, kill. For child.c and job.c, which know what it is for. A process whose owner has gone
 * is killed and reaped all the same. */
#ifndef LOOP_PROCESS_H
#define LOOP_PROCESS_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/fault.h"
#include "loop/loop.h"

#define PROCESS_FDS 5 /* descriptors handed over, at most */

struct process_spec {
	const char *const *argv;
	const char *const *environment; /* NULL: none; PATH and LC_ALL are added where they are missing */
	const char *folder;
	int fds[PROCESS_FDS]; /* becomes 0, 1, 2 ... in the child; -1: /dev/null (0 to 2) or not there */
	size_t nfds;
	bool group; /* it makes a process group of its own, which is killed with it */
};
struct process;
/* It has ended and was reaped; the object is gone after this call. exit_status is -1 where a signal ended it. */
typedef void (*process_end_cb)(int exit_status, int signal, void *data);

struct process *process_start(struct loop *loop, const struct process_spec *spec, process_end_cb cb, void *data,
			      struct fault *fault); /* NULL and fault: not started */
pid_t process_pid(const struct process *process);
void process_kill(struct process *process);  /* SIGKILL; process_end_cb follows */
void process_close(struct process *process); /* kills; no callback; NULL is fine */
#endif
