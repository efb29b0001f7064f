#include "site/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/revocation.h"
#include "swap/record.h"

#define AT_ONCE      6 /* jobs of all sources: the swaps need workers too */
#define SOON_MS      3000
#define LOOK_MIN_MS  5000
#define LOOK_MAX_MS  300000
#define MARGIN_MS    15000 /* that a worker may need beside its deadline: names are looked up before */
#define YOUNG        ((int64_t)20 * 60)
#define REDIRECT_MAX FETCH_REDIRECTS

void subject_free(struct subject *s)
{
	source_cert_done(&s->cert);
	for (size_t i = 0; i < REVOCATION_SOURCES; i++)
		free(s->said[i]);
	free(s->plan_url);
	free(s->url);
	free(s);
}

static uint32_t chance(void)
{
	uint32_t v;
	return getrandom(&v, sizeof v, 0) == sizeof v ? v : (uint32_t)clock_monotonic_us();
}

static enum revocation_source place(const struct source *s)
{
	return s->kind == FETCH_CRL ? REVOCATION_CRL : REVOCATION_OCSP;
}

int64_t source_interval(const struct source *s)
{
	return s->kind == FETCH_ARI ? s->interval_ms
				    : revocation_interval(place(s), s->interval_ms, s->file ? 0 : s->bytes);
}

/* ---- the record ---- */

static json_t *items_json(const struct source *s)
{
	json_t *list = json_array();
	for (size_t i = 0; i < s->n; i++) {
		const struct subject *b = s->v[i];
		const struct revocation_answer *a = &b->answers[place(s)];
		if (s->kind == FETCH_ARI && renewal_window_is_valid(&b->plan))
			json_array_append_new(list, json_pack("{ss, sI, sI, ss}", "serial", b->cert.serial, "start",
							      (json_int_t)b->plan.start, "end", (json_int_t)b->plan.end,
							      "explanation", b->plan_url ? b->plan_url : ""));
		if (s->kind != FETCH_ARI && a->status == REVOCATION_REVOKED)
			json_array_append_new(list,
					      json_pack("{ss, sI, sI, sI}", "serial", b->cert.serial, "start",
							(json_int_t)a->revoked_at, "end", (json_int_t)a->checked_at,
							"reason", (json_int_t)a->reason));
	}
	return list;
}

static void save(const struct source *s)
{
	struct fault fault = {0};
	json_t *o = json_pack("{ss, ss, sI, sI, so}", "url", s->urls.n ? s->urls.v[0] : "", "number",
			      s->number ? s->number : "", "this_update", (json_int_t)s->this_update, "next_update",
			      (json_int_t)s->next_update, "items", items_json(s));
	if (!o || record_save(s->all->folder, s->record, o, &fault) < 0)
		log_warning("revocation-record", "what %s said can't be kept: %s", s->urls.n ? s->urls.v[0] : "a CRL",
			    o ? fault.text : "it is not UTF-8");
	json_decref(o);
}

static json_t *load(const struct source *s)
{
	json_t *o = NULL;
	struct fault fault = {0};
	int r = record_load(s->all->folder, s->record, &o, &fault);
	if (r < 0 && r != -ENOENT)
		log_warning("revocation-record", "%s is not used: %s", s->record, fault.text);
	return r < 0 ? NULL : o;
}

struct source *source_new(struct watch_over *all, enum fetch_kind kind, const struct digest *key)
{
	char hex[DIGEST_HEX];
	struct source *s = xcalloc(1, sizeof *s);
	*s = (struct source){.all = all, .kind = kind, .key = *key};
	snprintf(s->record, sizeof s->record, "%s-%.16s.json", fetch_kind_name[kind], digest_text(key, hex));
	json_t *o = load(s);
	struct reader r = {.object = o};
	if (!o)
		return s;
	const char *number = record_string(&r, "number");
	int64_t this_update = record_number(&r, "this_update");
	if (!r.failed) {
		s->number = xstrdup(number);
		s->this_update = this_update;
	}
	json_decref(o);
	return s;
}

void source_recall(struct source *s, struct subject *b)
{
	json_t *o = load(s);
	size_t i;
	const json_t *item;
	json_array_foreach(json_object_get(o, "items"), i, item)
	{
		struct reader r = {.object = item};
		int64_t start = record_number(&r, "start"), end = record_number(&r, "end");
		if (r.failed || strcmp(record_string(&r, "serial"), b->cert.serial) != 0)
			continue;
		if (s->kind == FETCH_ARI) {
			b->plan = (struct renewal_window){start, end};
			free(b->plan_url);
			b->plan_url = xstrdup(record_string(&r, "explanation"));
			continue;
		}
		struct revocation_answer *a = &b->answers[place(s)];
		*a = (struct revocation_answer){.asked = true,
						.status = REVOCATION_REVOKED,
						.reason = (int)record_number(&r, "reason"),
						.revoked_at = start,
						.checked_at = end};
	}
	json_decref(o);
}

/* ---- its life ---- */

static void let_go(struct source *s)
{
	for (size_t i = 0; i < s->nasked; i++)
		s->asked[i]->busy--;
	free(s->asked);
	s->asked = NULL;
	s->nasked = 0;
}

void source_free(struct source *s)
{
	if (s->job)
		s->all->running--;
	job_close(s->job);
	let_go(s);
	timer_close(s->timer);
	words_done(&s->urls);
	free(s->v);
	free(s->file);
	free(s->elsewhere);
	free(s->problem);
	free(s->etag);
	free(s->last_modified);
	free(s->number);
	free(s);
}

void source_add(struct source *s, struct subject *subject)
{
	for (size_t i = 0; s->n < 64 && i < s->n; i++)
		if (s->v[i] == subject)
			return;
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 4;
		s->v = xrealloc(s->v, s->cap * sizeof(*s->v));
	}
	s->v[s->n++] = subject;
	if (s->kind != FETCH_ARI) {
		s->fresh |= subject->answers[place(s)].status == REVOCATION_NONE;
		subject->answers[place(s)].asked = true;
		if (subject->answers[place(s)].status == REVOCATION_NONE)
			subject->answers[place(s)].status = REVOCATION_UNKNOWN;
	} else {
		s->fresh |= !subject->window.end;
	}
}

static void look(void *data);

static void wake_in(struct source *s, int64_t ms)
{
	timer_close(s->timer);
	s->timer = timer_start(s->all->site->loop, ms, look, s);
}

void source_schedule(struct source *s)
{
	if (s->job || s->due || (!s->fresh && s->timer))
		return;
	int64_t most = s->interval_ms < SOON_MS ? s->interval_ms : SOON_MS;
	wake_in(s, s->looks && s->failures ? revocation_wait(source_interval(s), s->failures, -1, chance())
					   : (int64_t)(chance() % (uint32_t)(most + 1)));
	s->fresh = false;
}

/* ---- what an answer means ---- */

static void set_said(struct subject *b, enum revocation_source p, const char *text)
{
	free(b->said[p]);
	b->said[p] = *text ? xstrdup(text) : NULL;
}

bool source_is_young(const struct subject *b, int64_t now)
{
	return now < b->cert.not_before + YOUNG;
}

/* True: it says something that is worth keeping. */
static bool take_status(struct source *s, struct subject *b, const struct fetch_seen *seen)
{
	enum revocation_source p = place(s);
	struct revocation_answer *a = &b->answers[p], before = *a;
	int64_t now = clock_wall();
	set_said(b, p, seen->status == FETCH_UNKNOWN && !source_is_young(b, now) ? seen->text : "");
	if (seen->status == FETCH_UNKNOWN)
		return false;
	if (seen->status == FETCH_GOOD && a->status == REVOCATION_REVOKED)
		return false; /* never taken back */
	*a = (struct revocation_answer){.asked = true,
					.status = seen->status == FETCH_GOOD ? REVOCATION_GOOD : REVOCATION_REVOKED,
					.reason = seen->reason,
					.revoked_at = seen->revoked_at,
					.this_update = seen->this_update,
					.next_update = seen->next_update,
					.checked_at = now};
	return revocation_changed(&before, a);
}

static bool take_window(struct source *s, struct subject *b, const struct fetch_seen *seen)
{
	if (seen->retry_after > 0) {
		int64_t ms = renewal_ask_again(seen->retry_after) * 1000;
		s->retry_ms = s->retry_ms && s->retry_ms < ms ? s->retry_ms : ms;
	}
	if (seen->status != FETCH_GOOD)
		return false;
	b->window = (struct renewal_window){seen->this_update, seen->next_update};
	free(b->url);
	b->url = *seen->text ? xstrdup(seen->text) : NULL;
	b->early = renewal_judge(&b->window, b->url, &b->plan, b->plan_url, b->cert.not_before, b->cert.not_after) !=
		   RENEWAL_ORDINARY;
	if (b->early || (b->plan.start == b->window.start && b->plan.end == b->window.end))
		return false;
	b->plan = b->window;
	free(b->plan_url);
	b->plan_url = xstrdup(b->url);
	return true;
}

static void keep_validators(struct source *s, struct fetch_reply *reply)
{
	free(s->etag);
	free(s->last_modified);
	free(s->number);
	s->etag = reply->etag;
	s->last_modified = reply->last_modified;
	s->number = reply->number;
	reply->etag = reply->last_modified = reply->number = NULL;
	s->this_update = reply->this_update;
	s->next_update = reply->next_update;
}

static void take_answers(struct source *s, struct fetch_reply *reply)
{
	bool worth = s->kind == FETCH_CRL &&
		     (reply->this_update != s->this_update || !s->number || strcmp(reply->number, s->number) != 0);
	if (s->kind == FETCH_CRL)
		keep_validators(s, reply);
	for (size_t i = 0; i < reply->n && i < s->nasked; i++) {
		if (s->kind == FETCH_ARI)
			worth = take_window(s, s->asked[i], &reply->v[i]) || worth;
		else
			worth = take_status(s, s->asked[i], &reply->v[i]) || worth;
	}
	if (worth)
		save(s);
	for (size_t i = 0; i < reply->n && i < s->nasked; i++)
		revocation_told(s->all, s->asked[i]);
}

static void same_as_before(struct source *s)
{
	for (size_t i = 0; i < s->nasked; i++)
		s->asked[i]->answers[REVOCATION_CRL].checked_at = clock_wall();
}

/* ---- a look ---- */

static void set_problem(struct source *s, const char *text)
{
	if (text && (!s->problem || strcmp(s->problem, text) != 0))
		log_warning("source-failed", "%s", text);
	free(s->problem);
	s->problem = xstrdup(text);
}

static int64_t pause_of(const struct source *s)
{
	int64_t left = (s->next_update - clock_wall()) * 1000;
	if (s->kind != FETCH_ARI)
		return revocation_wait(source_interval(s), s->failures, s->kind == FETCH_CRL && left > 0 ? left : -1,
				       chance());
	int64_t ms = s->failures || !s->retry_ms ? RENEWAL_RETRY_ELSE * 1000 : s->retry_ms;
	return revocation_wait(ms, s->failures, -1, chance());
}

/* All has been asked, or something failed. */
static void end_look(struct source *s)
{
	s->at = 0;
	s->redirects = 0;
	free(s->elsewhere);
	s->elsewhere = NULL;
	s->renewal_info = false;
	s->looks++;
	wake_in(s, pause_of(s));
	revocation_looked(s->all, s);
}

static void failed(struct source *s, const char *text)
{
	s->failures++;
	set_problem(s, text);
	end_look(s);
}

/* Ends the job; true: goes on at once with another. */
static bool take_reply(struct source *s, struct fetch_reply *reply)
{
	s->requests += reply->requests;
	s->received += (uint64_t)reply->bytes;
	if (reply->result == FETCH_ELSEWHERE) {
		if (s->redirects++ >= REDIRECT_MAX) {
			failed(s, "it redirects again and again");
			return false;
		}
		s->renewal_info |= s->kind == FETCH_ARI && reply->n == 0 && reply->requests > 0;
		free(s->elsewhere);
		s->elsewhere = xstrdup(reply->url);
		return true;
	}
	if (reply->result == FETCH_FAILED) {
		failed(s, reply->text);
		return false;
	}
	if (reply->result == FETCH_ANSWERED) {
		s->bytes = reply->bytes;
		take_answers(s, reply);
	} else {
		s->bytes = 0; /* not sent whole each time */
		same_as_before(s);
	}
	s->checked_at = clock_wall();
	s->failures = 0;
	set_problem(s, reply->text && *reply->text ? reply->text : NULL);
	s->at += s->nasked;
	if (s->at < s->n)
		return true;
	end_look(s);
	return false;
}

static void begin(struct source *s);

static void on_reply(struct message *message, const struct fault *fault, void *data)
{
	struct source *s = data;
	struct watch_over *all = s->all;
	struct fetch_reply reply;
	bool on = false;
	s->job = NULL;
	all->running--;
	if (!message) {
		failed(s, fault->text);
	} else if (fetch_reply_unpack(&message->body, &reply) < 0) {
		failed(s, "certswap-worker (fetch) sent a reply that makes no sense");
	} else {
		on = take_reply(s, &reply);
		fetch_reply_done(&reply);
	}
	let_go(s);
	if (on)
		begin(s);
	revocation_next(all);
}

/* Only where the whole list is one job, and all of it was answered from the list that the validators are of. */
static bool is_conditional(const struct source *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s->asked[i]->answers[REVOCATION_CRL].this_update != s->this_update)
			return false;
	return s->kind == FETCH_CRL && n == s->n && s->next_update > clock_wall() && !s->elsewhere;
}

static void fill(struct source *s, struct fetch_request *r)
{
	size_t most = s->kind == FETCH_CRL ? FETCH_ITEMS_MAX : FETCH_ASKED_MAX;
	size_t n = s->n - s->at < most ? s->n - s->at : most;
	const struct settings *settings = s->all->site->settings;
	s->asked = xmemdup(s->v + s->at, n * sizeof(*s->asked));
	s->nasked = n;
	r->v = xcalloc(n, sizeof *r->v);
	r->n = n;
	for (size_t i = 0; i < n; i++) {
		const struct source_cert *c = &s->asked[i]->cert;
		s->asked[i]->busy++;
		r->v[i] = (struct fetch_item){s->kind == FETCH_ARI ? c->cert_id : c->serial, c->ca};
	}
	int64_t ms = s->interval_ms < LOOK_MIN_MS ? LOOK_MIN_MS : s->interval_ms;
	r->deadline_ms = (uint32_t)(ms < LOOK_MAX_MS ? ms : LOOK_MAX_MS);
	r->deny = settings->fetch_deny;
	r->proxy = settings->fetch_proxy;
	if (is_conditional(s, n)) {
		r->etag = s->etag;
		r->last_modified = s->last_modified;
	}
	r->number = s->number;
	r->this_update = s->this_update;
	r->redirects = s->redirects;
	r->child = s->child;
	r->renewal_info = s->renewal_info;
}

static int open_parts(const struct source *s, int fds[2], size_t *ret_n, struct fault *fault)
{
	*ret_n = 0;
	if (s->kind == FETCH_ARI)
		return 0;
	fds[0] = store_open_file(s->owner->folder, s->generation, "fullchain.pem", fault);
	if (fds[0] < 0)
		return fds[0];
	*ret_n = 1;
	if (!s->file)
		return 0;
	fds[1] = open(s->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fds[1] < 0)
		return fault_errno(fault, errno, "%s", s->file);
	*ret_n = 2;
	return 0;
}

static void begin(struct source *s)
{
	struct fault fault = {0};
	int fds[2];
	size_t nfds;
	struct words moved = {0};
	if (open_parts(s, fds, &nfds, &fault) < 0) {
		failed(s, fault.text);
	} else {
		struct packer body = {0};
		struct fetch_request r = {.kind = s->kind, .from_file = s->file != NULL};
		if (s->elsewhere)
			words_add(&moved, s->elsewhere);
		if (!s->file)
			r.urls = s->elsewhere ? moved : s->urls;
		fill(s, &r);
		fetch_request_pack(&body, &r);
		s->all->running++;
		s->job = job_start(s->all->site->jobs, "fetch", MESSAGE_FETCH, &body, fds, nfds,
				   certificate_trust(s->owner), (int64_t)r.deadline_ms + MARGIN_MS, on_reply, s);
		packer_done(&body);
		free(r.v);
		words_done(&moved);
	}
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
}

static void look(void *data)
{
	struct source *s = data;
	timer_close(s->timer);
	s->timer = NULL;
	s->due = true;
	revocation_next(s->all);
}

void revocation_next(struct watch_over *w)
{
	for (size_t i = 0; i < w->n && w->running < AT_ONCE; i++) {
		struct source *s = w->v[i];
		if (!s->due || s->job || !s->n)
			continue;
		s->due = false;
		s->retry_ms = 0;
		begin(s);
	}
}

json_t *source_json(const struct source *s)
{
	json_t *o = json_pack("{ss, ss, so, so, sI, sI, sI, ss}", "kind", fetch_kind_name[s->kind], "url",
			      s->file     ? s->file
			      : s->urls.n ? s->urls.v[0]
					  : "",
			      "checked_at", record_from_time(s->checked_at), "next_update",
			      record_from_time(s->kind == FETCH_CRL ? s->next_update : 0), "looks",
			      (json_int_t)s->looks, "requests", (json_int_t)s->requests, "bytes",
			      (json_int_t)s->received, "problem", s->problem ? s->problem : "");
	return o;
}
