/* Jobs for certswap-worker: one process a job, one request, one reply. A worker that is silent, dies, is killed, sends
 * anything unexpected or too long costs its own job only. Spare workers, already sandboxed and "check" with its
 * trust store loaded, wait. */
#ifndef LOOP_JOB_H
#define LOOP_JOB_H
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "loop/loop.h"
#include "wire/message.h"

struct jobs; /* knows how to start workers */
struct jobs_spec {
	const char *worker_path; /* certswap-worker */
	const char *user;        /* to become, where we are root; resolved at start */
	const char *trust;       /* PEM file handed to "check" workers as WORKER_TRUST_FD */
	const char *sandbox;     /* for --sandbox=; NULL: auto */
	unsigned int at_once;    /* running workers, at most; more jobs wait in order */
	unsigned int spares;     /* that wait: "check" three times, then "probe" twice, so many of them; 0: one */
	int64_t refill_ms;       /* spares that were used are replaced when no job has begun for so long */
};
struct jobs *jobs_new(struct loop *loop, const struct jobs_spec *spec);
/* While somebody waits for the processor, spares that were used are not replaced; counted. */
void jobs_hold_refill(struct jobs *jobs);
void jobs_release_refill(struct jobs *jobs);
void jobs_close(struct jobs *jobs); /* kills what runs; no callbacks */

/* `reply` is NULL when the job failed and then fault says why, for a person. The reply is of the right kind, and valid
 * in the callback only. -ETIMEDOUT, -EBADMSG, -ECONNABORTED: a worker that ran is to blame (silence, a senseless reply,
 * a sudden end), and so perhaps what it was given; anything else: it could not be started or asked. */
typedef void (*job_done_cb)(struct message *reply, const struct fault *fault, void *data);
struct job;
/* role: "check", "probe", "keygen" or "fetch". trust: NULL for the default one, else the path of another PEM file.
 * Takes copies of body; the descriptors are duplicated. Calls back exactly once, never from inside this call. */
struct job *job_start(struct jobs *jobs, const char *role, enum message_kind kind, const struct packer *body,
		      const int *fds, size_t nfds, const char *trust, int64_t timeout_ms, job_done_cb cb, void *data);
void job_close(struct job *job); /* kills its worker; no callback. After the callback the object is gone by itself. */
#endif
