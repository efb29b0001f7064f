/* Places are asked of "probe" workers: each question once, in jobs that no server minds, some places ahead of the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "site/places_parts.h"

#define PLACES_PER_JOB 200
#define PLACES_AHEAD   24 /* looked at until their server has turned, where there are many more */
#define JOBS_AT_ONCE   4  /* each has up to 96 connections open: a server has room for some hundred */
#define HANDSHAKE_MS   2000
#define SETTLE_MS                                                                                                      \
	150 /* nginx serves old and new side by side for about 100 ms (its own pause before it ends old workers) */
#define WORKER_GRACE_MS 5000

void places_forget_seen(struct probe_seen *seen)
{
	free(seen->serial);
	free(seen->text);
	*seen = (struct probe_seen){0};
}

/* A server that holds an RSA and an ECDSA pair shows the one that the client's signature algorithms ask for: each
 * certificate is looked for with the algorithms of its own key. */
static enum probe_key key_of(const struct places_round *round, const struct journal_place *p)
{
	const struct journal *j = round->journal;
	bool to_new = round->goal == PLACES_NEW || round->goal == PLACES_NEW_ALL;
	if (to_new && p->turns >= 0 && !places_any_will_do(round, p))
		return (enum probe_key)j->certificates[p->turns].new_key;
	if (to_new && places_was_silent(p))
		return (enum probe_key)j->certificates[p->belongs].new_key;
	return (enum probe_key)j->certificates[p->belongs].old_key;
}

/* ---- places that are asked the same ---- */

/* Those without a name, above all: each certificate of an endpoint has one. */
struct question {
	const struct journal_place *place;
	struct digest expect;
	enum probe_key key;
	size_t index;
};

static int compare_questions(const struct question *a, const struct question *b)
{
	const struct journal_place *p = a->place, *q = b->place;
	int order = strcmp(p->server_name, q->server_name);
	order = order ? order : strcmp(p->endpoint, q->endpoint);
	order = order ? order : (p->version > q->version) - (p->version < q->version);
	order = order ? order : (p->starttls > q->starttls) - (p->starttls < q->starttls);
	order = order ? order : p->proxy_protocol - q->proxy_protocol;
	order = order ? order : (a->key > b->key) - (a->key < b->key);
	return order ? order : memcmp(&a->expect, &b->expect, sizeof a->expect);
}

static int by_question(const void *a, const void *b)
{
	const struct question *x = a, *y = b;
	int order = compare_questions(x, y);
	return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* Each question is asked once: of the places in `now`, the first keeps its turn. */
static void drop_duplicates(struct places_round *round)
{
	const struct journal *j = round->journal;
	AUTO_FREE struct question *v = xcalloc(j->nplaces, sizeof *v);
	size_t n = 0;
	for (size_t i = 0; i < j->nplaces; i++) {
		round->same[i] = i;
		if (round->now[i])
			v[n++] = (struct question){.place = &j->places[i],
						   .expect = places_wanted(round, &j->places[i]),
						   .key = key_of(round, &j->places[i]),
						   .index = i};
	}
	qsort(v, n, sizeof *v, by_question);
	for (size_t k = 1; k < n; k++)
		if (compare_questions(&v[k - 1], &v[k]) == 0) {
			round->same[v[k].index] = round->same[v[k - 1].index];
			round->now[v[k].index] = false;
		}
}

static void share_answers(struct places_round *round)
{
	for (size_t i = 0; i < round->nplaces; i++) {
		size_t of = round->same[i];
		if (of == i)
			continue;
		places_forget_seen(&round->seen[i]);
		round->seen[i] = round->seen[of];
		round->seen[i].serial = xstrdup(round->seen[of].serial);
		round->seen[i].text = xstrdup(round->seen[of].text);
		round->now[i] = true; /* it had its look */
		round->same[i] = i;
	}
}

/* All places of this server that the job saw show what they should; and there are some. */
static bool has_turned(const struct places_round *round, const struct places_job *part, int server)
{
	size_t shown = 0;
	for (size_t i = part->first; i < part->first + part->n; i++) {
		const struct journal_place *p = &round->journal->places[i];
		if (!round->now[i] || p->turns < 0 || p->server != server)
			continue;
		if (round->seen[i].result != PROBE_SHOWN)
			return false;
		shown++;
	}
	return shown > 0;
}

/* The job that went ahead is over. Where what it saw has not turned, the others will hardly show anything else, and are
 * looked at once. */
static void end_ahead(struct places_round *round, const struct places_job *part)
{
	round->ahead = false;
	for (size_t i = 0; i < round->journal->txn.nservers; i++)
		round->turned[i] = has_turned(round, part, (int)i);
	for (size_t i = part->first; i < part->first + part->n; i++)
		if (round->now[i] && round->journal->places[i].turns >= 0 && round->seen[i].result != PROBE_SHOWN)
			round->deadline_ms = HANDSHAKE_MS;
}

bool places_have_turned(const struct places_round *round)
{
	bool all = round->turned != NULL;
	for (size_t i = 0; all && i < round->journal->txn.nservers; i++)
		all = round->turned[i];
	return all;
}

static void start_more(struct places_round *round);

static void on_reply(struct message *message, const struct fault *fault, void *data)
{
	struct places_job *part = data;
	struct places_round *round = part->round;
	struct probe_reply reply = {0};
	part->job = NULL;
	if (!message)
		round->fault = *fault;
	else if (probe_reply_unpack(&message->body, &reply) < 0)
		fault_set(&round->fault, -1, "certswap-worker (probe) sent a reply that makes no sense");
	size_t at = 0;
	for (size_t i = part->first; i < part->first + part->n; i++) {
		if (!round->now[i])
			continue;
		if (at < reply.n) {
			places_forget_seen(&round->seen[i]);
			round->seen[i] = reply.v[at];
			reply.v[at] = (struct probe_seen){0};
		} else if (!round->fault.code) {
			fault_set(&round->fault, -1, "certswap-worker (probe) left places out");
		}
		at++;
	}
	probe_reply_done(&reply);
	if (--round->left == 0) {
		share_answers(round);
		return places_answered(round);
	}
	if (round->ahead)
		end_ahead(round, part);
	start_more(round);
}

/* A server that has turned serves nothing old beside any more: its other places need not settle, each for itself. */
static uint32_t settle_ms(const struct places_round *round, const struct places_job *part)
{
	for (size_t i = part->first; i < part->first + part->n; i++) {
		int server = round->journal->places[i].server;
		if (round->now[i] && (server < 0 || !round->turned[server]))
			return SETTLE_MS;
	}
	return 0;
}

static void start_job(struct places_round *round, struct places_job *part)
{
	struct probe_request request = {.timeout_ms = HANDSHAKE_MS,
					.deadline_ms = (uint32_t)round->deadline_ms,
					.settle_ms = settle_ms(round, part)};
	request.v = xcalloc(part->n, sizeof *request.v);
	for (size_t i = part->first; i < part->first + part->n; i++) {
		struct journal_place *p = &round->journal->places[i];
		if (!round->now[i])
			continue;
		request.v[request.n++] = (struct probe_place){.endpoint = p->endpoint,
							      .server_name = p->server_name,
							      .key = key_of(round, p),
							      .starttls = (enum probe_starttls)p->starttls,
							      .proxy_protocol = p->proxy_protocol,
							      .version = (enum probe_version)p->version,
							      .expect = places_wanted(round, p)};
	}
	struct packer body = {0};
	probe_request_pack(&body, &request);
	part->job = job_start(round->site->jobs, "probe", MESSAGE_PROBE, &body, NULL, 0, NULL,
			      round->deadline_ms + WORKER_GRACE_MS, on_reply, part);
	packer_done(&body);
	free(request.v); /* its strings are the journal's */
}

static void start_more(struct places_round *round)
{
	size_t most = round->ahead ? 1 : JOBS_AT_ONCE;
	while (round->next < round->njobs && round->left - (round->njobs - round->next) < most)
		start_job(round, &round->jobs[round->next++]);
}

/* A server turns for all of its certificates at once: while it loads thousands of them, a few places are watched for
 * it, and the others are looked at when it has turned. */
void places_ask(struct places_round *round, int64_t deadline_ms)
{
	size_t nplaces = round->journal->nplaces;
	drop_duplicates(round);
	round->deadline_ms = deadline_ms;
	round->ahead = round->goal != PLACES_BASELINE;
	round->next = 0;
	free(round->jobs);
	size_t at = 0, most = round->ahead && nplaces > 2 * PLACES_AHEAD ? PLACES_AHEAD : PLACES_PER_JOB;
	round->jobs = xcalloc(2 + nplaces / PLACES_PER_JOB, sizeof *round->jobs);
	for (round->njobs = 0; at < nplaces; most = PLACES_PER_JOB) {
		size_t n = nplaces - at < most ? nplaces - at : most;
		if (memchr(round->now + at, true, n * sizeof *round->now))
			round->jobs[round->njobs++] = (struct places_job){.round = round, .first = at, .n = n};
		at += n;
	}
	round->left = round->njobs;
	start_more(round);
}
