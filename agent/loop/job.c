#include "loop/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "loop/launch.h"
#include "loop/process.h"

#define LINGER_MS 2000 /* a worker that has answered ends by itself; after this it is killed */
#define ENDING_MS 500  /* the same for one that closed its socket without an answer */

/* What a swap asks for, in this order: what the files hold, of which a key and its certificate seldom come in the same
 * moment, the proof, the baseline, the look at the wire. */
static const char *const spare_roles[] = {"check", "check", "check", "probe", "probe"};

struct job {
	struct jobs *jobs;
	struct job *next, **link; /* among all */
	struct job *behind;       /* in the queue */
	bool queued;
	char *role, *trust;
	enum message_kind kind;
	struct packer body;
	int *fds;
	size_t nfds;
	int64_t timeout_ms; /* counted from the start of its worker: waiting in the queue is nobody's fault */
	job_done_cb cb;
	void *data;
	struct worker *worker;
	struct timer *timer; /* the time limit, or the report of a fault */
	struct fault fault;
	bool finished;
};

struct worker {
	struct jobs *jobs;
	struct worker *next, **link;
	char *role;
	struct process *process;
	struct poller *poller; /* NULL once it has answered or closed its side */
	int socket;
	struct timer *linger;
	struct job *job;        /* NULL: a spare, or one that has answered */
	struct stat trust;      /* the file that it was given */
	bool answered, counted; /* counted: in jobs->running */
};

struct jobs {
	struct loop *loop;
	char *worker_path, *trust, *user, *sandbox;
	bool want_spares;
	unsigned int at_once, running;
	unsigned int holds; /* who wants no spares to be started now */
	size_t nspares;
	int64_t refill_ms;
	struct job *all;
	struct job *first, **last; /* the queue */
	struct worker *workers, *spares[ARRAY_SIZE(spare_roles)];
	struct timer *turn;   /* looks at the queue soon */
	struct timer *refill; /* starts the spares that are missing, when no job has begun for refill_ms */
};

static void pump_soon(struct jobs *jobs);
static void worker_talks(void *data);
static void worker_ended(int exit_status, int signal, void *data);

/* ---- workers ---- */

static void hang_up(struct worker *w)
{
	poller_close(w->poller);
	w->poller = NULL;
	if (w->socket >= 0)
		close(w->socket);
	w->socket = -1;
}

/* The place of a spare; NULL: it is none, or not any more. */
static struct worker **place_of(const struct worker *w)
{
	for (size_t i = 0; i < w->jobs->nspares; i++)
		if (w->jobs->spares[i] == w)
			return &w->jobs->spares[i];
	return NULL;
}

static void free_worker(struct worker *w)
{
	struct worker **place = place_of(w);
	if (place)
		*place = NULL;
	if (w->counted)
		w->jobs->running--;
	hang_up(w);
	timer_close(w->linger);
	process_close(w->process);
	free(w->role);
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	free(w);
}

static struct worker *start_worker(struct jobs *jobs, const char *role, const char *trust, bool trust_needed,
				   struct fault *fault)
{
	struct worker *w = xcalloc(1, sizeof *w);
	struct launch launch = {.worker_path = jobs->worker_path,
				.role = role,
				.user = jobs->user,
				.sandbox = jobs->sandbox,
				.trust = trust,
				.trust_needed = trust_needed};
	w->process = launch_worker(jobs->loop, &launch, worker_ended, w, fault);
	if (!w->process) {
		free(w);
		return NULL;
	}
	w->jobs = jobs;
	w->role = xstrdup(role);
	w->socket = launch.socket;
	w->trust = launch.trusted;
	w->link = &jobs->workers;
	w->next = jobs->workers;
	if (w->next)
		w->next->link = &w->next;
	jobs->workers = w;
	return w;
}

/* From here on its socket does not block. */
static void listen_to(struct worker *w)
{
	w->poller = poller_start(w->jobs->loop, w->socket, worker_talks, w);
}

static void start_spares(struct jobs *jobs)
{
	struct fault fault = {0};
	for (size_t i = 0; i < jobs->nspares; i++) {
		bool check = strcmp(spare_roles[i], "check") == 0;
		if (jobs->spares[i])
			continue;
		jobs->spares[i] = start_worker(jobs, spare_roles[i], check ? jobs->trust : NULL, check, &fault);
		if (!jobs->spares[i])
			return log_warning("worker-spare", "no certswap-worker can be kept ready: %s", fault.text);
		listen_to(jobs->spares[i]);
	}
}

/* A spare, if one fits and its trust file has not been replaced or written since. */
static struct worker *take_spare(struct jobs *jobs, const struct job *job)
{
	for (size_t i = 0; i < jobs->nspares && !job->trust; i++) {
		struct worker *w = jobs->spares[i];
		if (!w || w->socket < 0 || strcmp(job->role, w->role) != 0)
			continue;
		jobs->spares[i] = NULL;
		if (strcmp(w->role, "check") != 0 || launch_same_trust(jobs->trust, &w->trust))
			return w;
		free_worker(w);
	}
	return NULL;
}

/* ---- the end of a job ---- */

static void enlist(struct job *job)
{
	struct jobs *jobs = job->jobs;
	job->link = &jobs->all;
	job->next = jobs->all;
	if (job->next)
		job->next->link = &job->next;
	jobs->all = job;
}

static void enqueue(struct job *job)
{
	job->queued = true;
	*job->jobs->last = job;
	job->jobs->last = &job->behind;
}

static void unqueue(struct job *job)
{
	struct job **at = &job->jobs->first;
	while (*at != job)
		at = &(*at)->behind;
	*at = job->behind;
	if (!*at)
		job->jobs->last = at;
	job->behind = NULL;
	job->queued = false;
}

static void close_fds(struct job *job)
{
	for (size_t i = 0; i < job->nfds; i++)
		close(job->fds[i]);
	job->nfds = 0;
}

/* Nothing knows it any more, only its owner. */
static void leave(struct job *job)
{
	timer_close(job->timer);
	job->timer = NULL;
	if (job->queued)
		unqueue(job);
	*job->link = job->next;
	if (job->next)
		job->next->link = job->link;
	job->jobs = NULL;
}

static void free_job(struct job *job)
{
	if (job->jobs)
		leave(job);
	close_fds(job);
	free(job->fds);
	free_secret(job->body.bytes, job->body.len);
	free(job->role);
	free(job->trust);
	free(job);
}

static void finish(struct job *job, struct message *reply)
{
	job->finished = true;
	leave(job); /* the callback may close the jobs */
	job->cb(reply, reply ? NULL : &job->fault, job->data);
	free_job(job);
}

/* Ends the job of a worker that has done wrong; the fault is set. */
static void fail(struct worker *w)
{
	struct job *job = w->job;
	w->job = NULL;
	job->worker = NULL;
	hang_up(w);
	process_kill(w->process);
	finish(job, NULL);
}

static void tell_fault(void *data)
{
	finish(data, NULL);
}

static void time_is_up(void *data)
{
	struct job *job = data;
	char limit[32];
	fault_set(&job->fault, -ETIMEDOUT, "certswap-worker (%s) did not answer within %s and was killed", job->role,
		  text_from_ms(job->timeout_ms, limit));
	fail(job->worker);
}

static void linger_over(void *data)
{
	struct worker *w = data;
	process_kill(w->process);
}

/* Ends the job with what its worker said. */
static void deliver(struct job *job, struct message *reply)
{
	bool right = reply->kind == (job->kind | MESSAGE_REPLY);
	if (!right)
		fault_set(&job->fault, -EBADMSG, "certswap-worker (%s) answered something that was not asked",
			  job->role);
	finish(job, right ? reply : NULL);
	message_done(reply);
}

static void reply_came(struct worker *w, struct message *reply)
{
	struct job *job = w->job;
	w->job = NULL;
	w->answered = true;
	job->worker = NULL;
	hang_up(w);
	w->linger = timer_start(w->jobs->loop, LINGER_MS, linger_over, w);
	deliver(job, reply); /* may close everything */
}

static void worker_talks(void *data)
{
	struct worker *w = data;
	struct message reply;
	int r = message_receive(w->socket, &reply);
	if (r == -EAGAIN)
		return;
	if (!w->job) { /* a spare was not asked yet, so whatever it says is wrong */
		if (r == 0)
			message_done(&reply);
		hang_up(w);
		process_kill(w->process);
	} else if (r == 0) {
		reply_came(w, &reply);
	} else if (r == -EPIPE) {
		/* most probably it is ending, and worker_ended will say why */
		hang_up(w);
		w->linger = timer_start(w->jobs->loop, ENDING_MS, linger_over, w);
	} else {
		fault_set(&w->job->fault, r, "certswap-worker (%s) sent something that is no answer", w->role);
		fail(w);
	}
}

static void say_how_it_ended(struct job *job, int exit_status, int signal, bool hung_up)
{
	if (signal == SIGSYS)
		fault_set(&job->fault, -ECONNABORTED,
			  "certswap-worker (%s) was killed by signal %d (SIGSYS): its sandbox refused something",
			  job->role, signal);
	else if (signal == SIGKILL && hung_up)
		fault_set(&job->fault, -ECONNABORTED, "certswap-worker (%s) closed its socket without an answer",
			  job->role);
	else if (signal) {
		const char *name = sigabbrev_np(signal);
		fault_set(&job->fault, -ECONNABORTED, "certswap-worker (%s) was killed by signal %d (SIG%s)", job->role,
			  signal, name ? name : "?");
	} else
		fault_set(&job->fault, -ECONNABORTED,
			  "certswap-worker (%s) ended with exit status %d without an answer", job->role, exit_status);
}

static void worker_ended(int exit_status, int signal, void *data)
{
	struct worker *w = data;
	struct job *job = w->job;
	bool hung_up = w->socket < 0, answered = false;
	struct message reply;
	w->process = NULL;
	if (place_of(w))
		log_warning("worker-spare", "the certswap-worker kept ready has ended (exit status %d, signal %d)",
			    exit_status, signal);
	if (job && !hung_up) /* its end may be seen before its answer is */
		answered = message_receive(w->socket, &reply) == 0;
	w->jobs->want_spares |= w->answered || answered;
	pump_soon(w->jobs);
	free_worker(w);
	if (!job)
		return;
	job->worker = NULL;
	if (answered) {
		deliver(job, &reply);
	} else {
		say_how_it_ended(job, exit_status, signal, hung_up);
		finish(job, NULL);
	}
}

/* ---- jobs ---- */

/* A worker that has been asked, or NULL and a fault. */
static struct worker *ask_worker(struct job *job)
{
	struct jobs *jobs = job->jobs;
	if (job->body.failed || job->body.len > WIRE_MESSAGE_MAX - MESSAGE_HEADER || job->nfds > MESSAGE_FDS) {
		fault_set(&job->fault, -EMSGSIZE, "a request to certswap-worker (%s) is too large", job->role);
		return NULL;
	}
	struct worker *w = take_spare(jobs, job);
	if (w && message_send(w->socket, (uint8_t)job->kind, &job->body, job->fds, job->nfds) == 0)
		return w;
	if (w)
		free_worker(w);
	const char *trust = job->trust || strcmp(job->role, "probe") == 0 ? job->trust : jobs->trust;
	w = start_worker(jobs, job->role, trust, job->kind == MESSAGE_CHECK, &job->fault);
	if (!w)
		return NULL;
	int r = message_send(w->socket, (uint8_t)job->kind, &job->body, job->fds, job->nfds);
	if (r == 0) {
		listen_to(w);
		return w;
	}
	fault_errno(&job->fault, r, "certswap-worker (%s) can't be asked", job->role);
	free_worker(w);
	return NULL;
}

static void begin(struct job *job)
{
	struct worker *w = job->fault.code ? NULL : ask_worker(job);
	close_fds(job);
	if (!w) {
		job->timer = timer_start(job->jobs->loop, 0, tell_fault, job);
		pump_soon(job->jobs); /* the spares may be waited for */
		return;
	}
	w->job = job;
	w->counted = true;
	job->jobs->running++;
	job->worker = w;
	job->timer = timer_start(job->jobs->loop, job->timeout_ms, time_is_up, job);
}

/* Starting workers in the middle of a swap would cost the processor time that the swap needs. */
static void refill(void *data)
{
	struct jobs *jobs = data;
	timer_close(jobs->refill);
	jobs->refill = NULL;
	if (jobs->first || jobs->holds || (jobs->running && jobs->refill_ms))
		return; /* the end of a worker, or of what holds, asks again */
	jobs->want_spares = false;
	start_spares(jobs);
}

static void pump(void *data)
{
	struct jobs *jobs = data;
	timer_close(jobs->turn);
	jobs->turn = NULL;
	while (jobs->first && jobs->running < jobs->at_once) {
		struct job *job = jobs->first;
		unqueue(job);
		begin(job);
	}
	if (jobs->want_spares && !jobs->first && !jobs->refill)
		jobs->refill = timer_start(jobs->loop, jobs->refill_ms, refill, jobs);
}

static void pump_soon(struct jobs *jobs)
{
	if (!jobs->turn)
		jobs->turn = timer_start(jobs->loop, 0, pump, jobs);
}

static void copy_fds(struct job *job, const int *fds, size_t nfds)
{
	job->fds = xcalloc(nfds, sizeof *job->fds);
	for (size_t i = 0; i < nfds; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (fd < 0) {
			fault_errno(&job->fault, errno, "a file for certswap-worker (%s) can't be passed on",
				    job->role);
			return;
		}
		job->fds[job->nfds++] = fd;
	}
}

struct job *job_start(struct jobs *jobs, const char *role, enum message_kind kind, const struct packer *body,
		      const int *fds, size_t nfds, const char *trust, int64_t timeout_ms, job_done_cb cb, void *data)
{
	struct job *job = xcalloc(1, sizeof *job);
	job->jobs = jobs;
	job->role = xstrdup(role);
	job->trust = trust && !(jobs->trust && strcmp(trust, jobs->trust) == 0) ? xstrdup(trust) : NULL;
	job->kind = kind;
	job->body = (struct packer){.bytes = xmemdup(body->bytes, body->len), .len = body->len, .failed = body->failed};
	job->timeout_ms = timeout_ms;
	job->cb = cb;
	job->data = data;
	copy_fds(job, fds, nfds);
	enlist(job);
	timer_close(jobs->refill);
	jobs->refill = NULL;
	if (jobs->first || jobs->running >= jobs->at_once)
		enqueue(job);
	else
		begin(job);
	return job;
}

void job_close(struct job *job)
{
	if (!job || job->finished) /* inside its own callback */
		return;
	struct worker *w = job->worker;
	if (w) {
		w->job = NULL;
		hang_up(w);
		process_kill(w->process);
	}
	free_job(job);
}

/* ---- all of them ---- */

struct jobs *jobs_new(struct loop *loop, const struct jobs_spec *spec)
{
	struct jobs *jobs = xcalloc(1, sizeof *jobs);
	jobs->loop = loop;
	jobs->worker_path = xstrdup(spec->worker_path);
	jobs->trust = xstrdup(spec->trust);
	jobs->user = launch_user(spec->user);
	jobs->sandbox = spec->sandbox ? xasprintf("--sandbox=%s", spec->sandbox) : NULL;
	jobs->at_once = spec->at_once ? spec->at_once : 1;
	jobs->last = &jobs->first;
	jobs->nspares = spec->spares ? spec->spares : 1;
	if (jobs->nspares > ARRAY_SIZE(spare_roles))
		jobs->nspares = ARRAY_SIZE(spare_roles);
	jobs->refill_ms = spec->refill_ms;
	start_spares(jobs);
	return jobs;
}

void jobs_hold_refill(struct jobs *jobs)
{
	jobs->holds++;
}

void jobs_release_refill(struct jobs *jobs)
{
	jobs->holds--;
	pump_soon(jobs);
}

void jobs_close(struct jobs *jobs)
{
	if (!jobs)
		return;
	while (jobs->all)
		free_job(jobs->all);
	while (jobs->workers)
		free_worker(jobs->workers);
	timer_close(jobs->turn);
	timer_close(jobs->refill);
	free(jobs->worker_path);
	free(jobs->trust);
	free(jobs->user);
	free(jobs->sandbox);
	free(jobs);
}
