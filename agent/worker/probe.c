#include "worker/probe.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "worker/attempt.h"
#include "worker/verdict.h"

/* Handshakes under way at the same time: many names are quick, and no server is flooded. */
#define UNDER_WAY_MAX 96

struct site {
	struct verdict verdict;
	struct attempt attempt;
	size_t address;  /* which one of the endpoint's is tried */
	int64_t next_us; /* when the next attempt begins; -1: never */
};
struct run {
	const struct probe_job *job;
	struct site *sites;
	SSL_CTX *contexts[PROBE_KEYS];
	size_t turn; /* whose turn it is to begin first */
	size_t under_way;
	int64_t deadline_us;
};

void probe_prepare(struct probe_job *job, const struct probe_request *request)
{
	*job = (struct probe_job){.request = request,
				  .endpoints = xcalloc(request->n, sizeof *job->endpoints),
				  .problems = xcalloc(request->n, sizeof *job->problems),
				  .start_us = clock_monotonic_us()};
	for (size_t i = 0; i < request->n; i++) {
		struct fault fault = {0};
		if (endpoint_resolve(request->v[i].endpoint, &job->endpoints[i], &fault))
			job->problems[i] = text_printable(xstrdup(fault.text));
	}
}

size_t probe_ports(const struct probe_job *job, uint16_t ports[PROBE_PLACES_MAX])
{
	size_t n = 0;
	for (size_t i = 0; i < job->request->n && n < PROBE_PLACES_MAX; i++) {
		uint16_t port = (uint16_t)endpoint_port(&job->endpoints[i]);
		size_t at = 0;
		while (at < n && ports[at] != port)
			at++;
		if (port && at == n)
			ports[n++] = port;
	}
	return n;
}

static void take_outcome(struct run *run, size_t i)
{
	struct site *site = &run->sites[i];
	struct outcome *o = &site->attempt.outcome;
	run->under_way--;
	bool away = o->kind == OUTCOME_REFUSED || o->kind == OUTCOME_NO_ANSWER;
	if (away && site->attempt.stage == ATTEMPT_CONNECT && site->address + 1 < run->job->endpoints[i].n) {
		site->address++; /* the next address of a host name, at once */
		site->next_us = o->ended_us;
		return;
	}
	if (away)
		site->address = 0;
	site->next_us = verdict_add(&site->verdict, o);
}

static void begin(struct run *run, size_t i, int64_t now)
{
	const struct probe_request *request = run->job->request;
	const struct probe_place *place = &request->v[i];
	const struct endpoint *e = &run->job->endpoints[i];
	struct site *site = &run->sites[i];
	if (!run->contexts[place->key])
		run->contexts[place->key] = attempt_context(place->key);
	int64_t until = now + (int64_t)request->timeout_ms * 1000;
	run->under_way++;
	site->next_us = -1;
	if (attempt_start(&site->attempt, run->contexts[place->key], place,
			  (const struct sockaddr *)&e->v[site->address].address, e->v[site->address].len, now,
			  until < run->deadline_us ? until : run->deadline_us))
		take_outcome(run, i);
}

/* Begins what is due; returns when the next thing is to happen. */
static int64_t begin_due(struct run *run, int64_t now)
{
	int64_t next = run->deadline_us;
	size_t n = run->job->request->n, first = run->turn;
	for (size_t k = 0; k < n; k++) {
		size_t i = (first + k) % n;
		struct site *site = &run->sites[i];
		if (site->next_us >= 0 && site->next_us <= now && run->under_way < UNDER_WAY_MAX) {
			begin(run, i, now);
			run->turn = i + 1;
		}
		int64_t at = site->attempt.fd >= 0 ? site->attempt.deadline_us : site->next_us;
		if (at >= 0 && at < next && !(at <= now && run->under_way >= UNDER_WAY_MAX))
			next = at;
	}
	return next;
}

/* Waits for sockets until `next_us` and lets those that are ready go on. What the deadline of the whole job cuts short
 * says nothing about a place: it is left under way. */
static void wait_and_step(struct run *run, int64_t next_us)
{
	struct pollfd polls[UNDER_WAY_MAX];
	size_t who[UNDER_WAY_MAX], n = 0;
	for (size_t i = 0; i < run->job->request->n && n < UNDER_WAY_MAX; i++) {
		const struct attempt *a = &run->sites[i].attempt;
		if (a->fd < 0)
			continue;
		polls[n] = (struct pollfd){.fd = a->fd, .events = a->events};
		who[n++] = i;
	}
	int64_t us = next_us - clock_monotonic_us();
	int ms = us <= 0 ? 0 : us > INT_MAX ? INT_MAX : (int)((us + 999) / 1000);
	int ready = poll(polls, n, ms);
	int64_t now = clock_monotonic_us();
	for (size_t k = 0; k < n; k++) {
		struct attempt *a = &run->sites[who[k]].attempt;
		if (ready > 0 && polls[k].revents) {
			if (attempt_step(a))
				take_outcome(run, who[k]);
		} else if (now >= a->deadline_us && a->deadline_us < run->deadline_us) {
			attempt_expire(a);
			take_outcome(run, who[k]);
		}
	}
}

static bool all_done(const struct run *run)
{
	for (size_t i = 0; i < run->job->request->n; i++)
		if (run->sites[i].attempt.fd >= 0 || run->sites[i].next_us >= 0)
			return false;
	return true;
}

static void report(struct run *run, size_t i, struct probe_seen *ret)
{
	struct verdict *v = &run->sites[i].verdict;
	struct attempt *a = &run->sites[i].attempt;
	if (a->fd >= 0) {
		attempt_expire(a);
		if (a->outcome.kind == OUTCOME_SHOWN || (!v->handshakes && !v->failures_in_row))
			verdict_add(v, &a->outcome);
	}
	verdict_report(v, ret);
	if (!run->job->problems[i])
		return;
	free(ret->text);
	ret->text = xstrdup(run->job->problems[i]);
}

void probe_run(const struct probe_job *job, struct probe_reply *ret)
{
	size_t n = job->request->n;
	struct run run = {.job = job,
			  .sites = xcalloc(n, sizeof *run.sites),
			  .deadline_us = job->start_us + (int64_t)job->request->deadline_ms * 1000};
	for (size_t i = 0; i < n; i++) {
		run.sites[i].attempt.fd = -1;
		run.sites[i].next_us = job->endpoints[i].n ? 0 : -1;
		verdict_begin(&run.sites[i].verdict, &job->request->v[i].expect, job->request->settle_ms,
			      job->start_us);
	}
	int64_t now;
	while (!all_done(&run) && (now = clock_monotonic_us()) < run.deadline_us)
		wait_and_step(&run, begin_due(&run, now));
	*ret = (struct probe_reply){.v = xcalloc(n, sizeof *ret->v), .n = n};
	for (size_t i = 0; i < n; i++)
		report(&run, i, &ret->v[i]);
	for (size_t k = 0; k < PROBE_KEYS; k++)
		SSL_CTX_free(run.contexts[k]);
	free(run.sites);
}

void probe_job_done(struct probe_job *job)
{
	for (size_t i = 0; i < job->request->n; i++)
		free(job->problems[i]);
	free(job->problems);
	free(job->endpoints);
	*job = (struct probe_job){0};
}
