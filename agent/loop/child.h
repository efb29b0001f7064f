/* Child programs with a time limit, bounded output and a process group of their own, killed whole. Started through
 * certswap-exec, which sets the group, limits, a clean environment and closes what it must not inherit. */
#ifndef LOOP_CHILD_H
#define LOOP_CHILD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"

#define CHILD_OUTPUT_MAX 65536 /* bytes of standard output and error kept, together; the rest is read and dropped */

struct child_result {
	int exit_status;    /* 0..255; -1: killed by a signal or never started */
	int signal;         /* that ended it, or 0 */
	int timed_out;      /* its time limit passed and the group was killed */
	const char *output; /* NUL-terminated, printable; standard output and error as they came; valid in the callback
			       only */
	size_t output_len;
	int truncated;       /* there was more output than is kept */
	const char *problem; /* for people, why it could not be started; NULL otherwise */
	int problem_code;    /* its negative errno */
};
typedef void (*child_done_cb)(const struct child_result *result, void *data);

struct child_spec {
	const char *const *argv; /* NULL-terminated; argv[0] is an absolute path */
	const char *const
		*environment; /* NULL-terminated "NAME=value"; nothing else is passed but PATH and LC_ALL=C.UTF-8 */
	const char *input;    /* bytes for standard input, or NULL (/dev/null) */
	size_t input_len;
	int64_t timeout_ms;
	const char *folder; /* working folder; NULL: / */
	size_t output_max;  /* bytes of output kept; 0: CHILD_OUTPUT_MAX */
	bool wait;          /* it does not begin before child_go */
};
/* Calls back exactly once, when the program has ended and its output is closed or 1 s after it ended (a grandchild may
 * keep the output open: it is killed with the group). Never calls back from inside this call. */
struct child;
struct child *child_start(struct loop *loop, const struct child_spec *spec, child_done_cb cb, void *data);
void child_go(struct child *child);
void child_close(
	struct child *child); /* kills the group; no callback. After the callback the object is gone by itself. */

/* Where our own programs are: beside /proc/self/exe in a build folder, else in libexec. Set once at start by daemon.c.
 */
void child_set_exec_path(const char *certswap_exec);
/* The socket of certswap-commands.service (agent/outside.h), through which programs are run outside this process's
 * sandbox; NULL: they are run directly. Set once at start by daemon.c, from CERTSWAP_COMMANDS in the unit's
 * environment.
 */
void child_set_outside(const char *socket_path);
#endif
