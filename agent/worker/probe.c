#include "worker/probe.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "worker/attempt.h"
#include "worker/primer.h"
#include "worker/verdict.h"

/* Handshakes under way at the same time: many names are quick, and no server is flooded. */
#define UNDER_WAY_MAX 96
/* So long one place after the other is asked until the first has turned, while the server is busy with its reload; then
 * all of them. */
#define SCOUT_US 3000000
/* Between two of these: more and more, as each takes time from the server that loads its certificates. */
#define SCOUT_PAUSE_FIRST 5000 /* and before the first one */
#define SCOUT_PAUSE_MOST  100000
/* So long after the first handshake with the new certificate its server may take to get its OCSP responses. It serves
 * either way: what is to be proved must not run short of time. */
#define PRIMING_US 3000000

/* Of a place whose certificate demands a stapled response. Apache gets one before it answers; nginx answers without,
 * and then each of its worker processes has to be visited once. */
enum staple { STAPLE_FINE, STAPLE_OWED, STAPLE_PRIMED };

struct site {
	struct verdict verdict;
	enum staple staple;
	struct attempt attempt;
	size_t address;  /* which one of the endpoint's is tried */
	bool scouts;     /* with the attempt under way */
	int64_t next_us; /* when the next attempt begins; -1: never */
};
struct run {
	const struct probe_job *job;
	struct site *sites;
	SSL_CTX *contexts[PROBE_KEYS];
	size_t turn;                    /* whose turn it is to begin first */
	size_t under_way, scouts;       /* handshakes; of these, while nothing has turned */
	bool turned;                    /* a place shows what it should, or there was time enough */
	int64_t scout_us, scout_end_us; /* when the next one may begin; when all do */
	int64_t scout_pause_us;         /* between two of them, whichever places they ask */
	struct primer primer;
	int64_t priming_until_us; /* 0: no certificate here demands a stapled response */
	int64_t deadline_us;
};

void probe_warm(void)
{
	for (int key = 0; key < PROBE_KEYS; key++)
		SSL_CTX_free(attempt_context((enum probe_key)key));
}

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

/* From now on every place is looked at. */
static void all_turn(struct run *run, int64_t now)
{
	run->turned = true;
	for (size_t i = 0; i < run->job->request->n; i++)
		if (run->sites[i].next_us > now)
			run->sites[i].next_us = now;
}

static void end_scouting(struct run *run, struct site *site)
{
	if (!site->scouts)
		return;
	site->scouts = false;
	run->scouts--;
	run->scout_us = site->next_us >= 0 ? site->next_us : 0;
	if (site->next_us > site->attempt.outcome.ended_us) { /* not the next address of a name, at once */
		run->scout_pause_us *= 2;
		if (run->scout_pause_us > SCOUT_PAUSE_MOST)
			run->scout_pause_us = SCOUT_PAUSE_MOST;
		run->scout_us = site->attempt.outcome.ended_us + run->scout_pause_us;
	}
	if (site->verdict.first_expected_us)
		all_turn(run, site->attempt.outcome.ended_us);
}

/* What should turn is asked for by one handshake at a time until something has. */
static bool is_held(const struct run *run, const struct site *site, int64_t now)
{
	return !run->turned && !digest_is_zero(&site->verdict.expect) && (run->scouts || now < run->scout_us);
}

/* One place at a time: while one is primed, the others go on looking, and the servers are not flooded. */
static void look_at_staple(struct run *run, size_t i, struct outcome *o)
{
	struct site *site = &run->sites[i];
	const struct probe_place *place = &run->job->request->v[i];
	const struct endpoint *e = &run->job->endpoints[i];
	if (o->kind != OUTCOME_SHOWN || o->unasked || !o->demands_staple || !digest_equal(&o->sha256, &place->expect))
		return;
	if (!o->stapled && site->staple == STAPLE_FINE) {
		site->staple = STAPLE_OWED;
		if (!run->priming_until_us)
			run->priming_until_us = o->ended_us + PRIMING_US;
	}
	o->unprimed = site->staple == STAPLE_OWED && o->ended_us < run->priming_until_us;
	if (o->unprimed && !run->primer.under_way)
		primer_start(&run->primer, i, run->contexts[place->key], place,
			     (const struct sockaddr *)&e->v[site->address].address, e->v[site->address].len,
			     o->ended_us, run->priming_until_us);
}

/* The same place by another version of TLS has the same responses. */
static void primed(struct run *run)
{
	const struct probe_place *v = run->job->request->v, *of = &v[run->primer.site];
	if (!run->primer.shown || run->primer.unstapled)
		return;
	for (size_t i = 0; i < run->job->request->n; i++)
		if (strcmp(v[i].endpoint, of->endpoint) == 0 && strcmp(v[i].server_name, of->server_name) == 0 &&
		    digest_equal(&v[i].expect, &of->expect))
			run->sites[i].staple = STAPLE_PRIMED;
}

/* A server that fetches OCSP responses itself keeps who asks for one waiting as long as the CA's responder does
 * (Apache: 10 s). What it shows can be seen all the same, by who does not ask. */
static bool waits_for_its_ca(const struct attempt *a)
{
	return a->outcome.kind == OUTCOME_NO_ANSWER && a->stage == ATTEMPT_TLS && !a->unasked;
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
		return end_scouting(run, site);
	}
	if (waits_for_its_ca(&site->attempt)) {
		site->attempt.unasked = true;
		site->next_us = o->ended_us;
		return end_scouting(run, site);
	}
	look_at_staple(run, i, o);
	if (away)
		site->address = 0;
	site->next_us = verdict_add(&site->verdict, o);
	end_scouting(run, site);
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
	site->scouts = !run->turned && !digest_is_zero(&site->verdict.expect);
	run->scouts += site->scouts;
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
	int64_t primer = primer_deadline(&run->primer);
	int64_t next = primer < run->deadline_us ? primer : run->deadline_us;
	size_t n = run->job->request->n, first = run->turn;
	if (!run->turned && now >= run->scout_end_us)
		all_turn(run, now);
	if (!run->turned && run->scout_end_us < next)
		next = run->scout_end_us;
	for (size_t k = 0; k < n; k++) {
		size_t i = (first + k) % n;
		struct site *site = &run->sites[i];
		bool due = site->next_us >= 0 && site->next_us <= now;
		if (due && run->under_way < UNDER_WAY_MAX && !is_held(run, site, now)) {
			begin(run, i, now);
			run->turn = i + 1;
		}
		int64_t at = site->attempt.fd >= 0 ? site->attempt.deadline_us : site->next_us;
		if (site->attempt.fd < 0 && is_held(run, site, at > now ? at : now))
			at = run->scouts ? -1 : run->scout_us;
		if (at >= 0 && at < next && !(at <= now && run->under_way >= UNDER_WAY_MAX))
			next = at;
	}
	return next;
}

/* Waits for sockets until `next_us` and lets those that are ready go on. What the deadline of the whole job cuts short
 * says nothing about a place: it is left under way. */
static void wait_and_step(struct run *run, int64_t next_us)
{
	struct pollfd polls[UNDER_WAY_MAX + PRIMER_MAX];
	size_t who[UNDER_WAY_MAX], n = 0;
	for (size_t i = 0; i < run->job->request->n && n < UNDER_WAY_MAX; i++) {
		const struct attempt *a = &run->sites[i].attempt;
		if (a->fd < 0)
			continue;
		polls[n] = (struct pollfd){.fd = a->fd, .events = a->events};
		who[n++] = i;
	}
	size_t of_primer = primer_polls(&run->primer, polls + n);
	int64_t us = next_us - clock_monotonic_us();
	int ms = us <= 0 ? 0 : us > INT_MAX ? INT_MAX : (int)((us + 999) / 1000);
	int ready = poll(polls, n + of_primer, ms);
	int64_t now = clock_monotonic_us();
	if (primer_step(&run->primer, polls + n, of_primer, now))
		primed(run);
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
			  .scout_pause_us = SCOUT_PAUSE_FIRST,
			  .deadline_us = job->start_us + (int64_t)job->request->deadline_ms * 1000};
	for (size_t i = 0; i < n; i++) {
		run.sites[i].attempt.fd = -1;
		run.sites[i].next_us = job->endpoints[i].n ? 0 : -1;
		verdict_begin(&run.sites[i].verdict, &job->request->v[i].expect, job->request->settle_ms,
			      job->start_us);
	}
	primer_init(&run.primer);
	run.scout_us = job->start_us + SCOUT_PAUSE_FIRST;
	int64_t now, half_us = (run.deadline_us - job->start_us) / 2;
	run.scout_end_us = job->start_us + (half_us < SCOUT_US ? half_us : SCOUT_US);
	while (!all_done(&run) && (now = clock_monotonic_us()) < run.deadline_us)
		wait_and_step(&run, begin_due(&run, now));
	*ret = (struct probe_reply){.v = xcalloc(n, sizeof *ret->v), .n = n};
	for (size_t i = 0; i < n; i++)
		report(&run, i, &ret->v[i]);
	primer_done(&run.primer);
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
