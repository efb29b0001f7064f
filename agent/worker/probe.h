/* The work of a "probe" worker: many places at once, each looked at until it is proved or time is up. In two parts,
 * because host names need files and the rest needs none. */
#ifndef WORKER_PROBE_H
#define WORKER_PROBE_H
#include "wire/probe.h"
#include "worker/endpoint.h"

struct probe_job {
	const struct probe_request *request; /* the caller's; must outlive the job */
	struct endpoint *endpoints;          /* one for each place; n = 0: not usable, see problem */
	char **problems;
	int64_t start_us;
};
/* What every job needs of OpenSSL, looked up beforehand. */
void probe_warm(void);
/* Before the sandbox: host names -> addresses. Never fails as a whole. */
void probe_prepare(struct probe_job *job, const struct probe_request *request);
/* TCP ports that the job will connect to, each once; returns how many (at most PROBE_PLACES_MAX). */
size_t probe_ports(const struct probe_job *job, uint16_t ports[PROBE_PLACES_MAX]);
/* In the sandbox: runs the job. The reply is the caller's (probe_reply_done). */
void probe_run(const struct probe_job *job, struct probe_reply *ret);
void probe_job_done(struct probe_job *job);
#endif
