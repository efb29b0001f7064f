/* The other end of RUN/control.sock: one request line with descriptors, lines of progress, one final line. */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "ctl/ctl.h"
#include "ctl/options.h"

#define CLIENT_REQUEST_MAX (1024 * 1024)      /* bytes of a request line that the agent takes */
#define CLIENT_ANSWER_MAX  (64 * 1024 * 1024) /* bytes of an answer that are read */
#define CLIENT_FDS_MAX     64                 /* descriptors beside a request */
#define CLIENT_PATIENCE_MS 60000              /* for an answer that needs no waiting for anything */
#define CLIENT_WAIT_MS     300000             /* --timeout where none is given */

/* Sends and waits for the final line, *ret_answer (the caller's json_decref). CTL_DONE, or the exit status with the
 * reason in fault (CTL_UNREACHABLE, CTL_NOT_PERMITTED, CTL_FAILED). Prints nothing but progress on a terminal. */
int client_call(struct ctl *ctl, const char *socket_path, const json_t *request, const int *fds, size_t nfds,
		int64_t patience_ms, json_t **ret_answer, struct fault *fault);

/* The whole of most commands: call, ask the person where the agent asks, print, return the exit status. Takes the
 * reference to `request`. With --json the result is printed; else the message. */
int client_run(struct ctl *ctl, const struct args *a, json_t *request, const int *fds, size_t nfds);
/* Call and ask as above, but leave what was answered to the caller: *ret_answer is NULL where the reason was said. */
int client_ask(struct ctl *ctl, const struct args *a, json_t *request, const int *fds, size_t nfds,
	       json_t **ret_answer);
/* Prints message and next; standard error on failure. Returns the exit status that the agent named. */
int client_print_answer(struct ctl *ctl, const struct args *a, const json_t *answer);

/* A JSON string of words from the command line, whose bytes may not be UTF-8 (those become '?'). */
json_t *client_string(const char *s);
/* "wait" and "timeout_ms" from --no-wait and --timeout. CTL_DONE or CTL_USAGE. */
int client_add_wait(struct ctl *ctl, const struct args *a, json_t *request);
/* "accept" from --accept and --why: each code has a reason, or one reason is for all. CTL_DONE or CTL_USAGE. */
int client_add_accept(struct ctl *ctl, const struct args *a, json_t *request);
/* Case, reason, scope, times and reference of a notice, from its options (ctl/notice.c). CTL_DONE or CTL_USAGE. */
int notice_add_terms(struct ctl *ctl, const struct args *a, json_t *request);
#endif
