#include "site/consumer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/child.h"
#include "loop/job.h"
#include "site/alert.h"
#include "site/audit.h"
#include "site/places.h"
#include "site/ladder.h"
#include "site/response.h"
#include "swap/record.h"
#include "wire/probe.h"

#define RECORD           "consumers.json"
#define RELOAD_MS        60000
#define HANDSHAKE_MS     3000
#define LOOK_MS          10000 /* Postfix and others hand over to new processes one by one */
#define SETTLE_MS        200
#define WORKER_GRACE_MS  5000
#define FIRST_PAUSE_MS   2000
#define LONGEST_PAUSE_MS (3600 * 1000)

/* What is known of a consumer; for the pair whose certificate is `about`. */
enum state {
	UNKNOWN,  /* never looked at */
	VERIFIED, /* a handshake showed the pair, and it alone */
	RELOADED, /* it has no `probe`: its reload ended well, which is all that can be known */
	WAIVED,   /* a person said that it need not show it */
	FAILED,   /* the last try; there will be another */
	STATES
};
static const char *const state_names[] = {
	[UNKNOWN] = "unknown", [VERIFIED] = "verified", [RELOADED] = "reloaded",
	[WAIVED] = "waived",   [FAILED] = "failed",
};
_Static_assert(ARRAY_SIZE(state_names) == STATES, "every state has a name");

struct consumer {
	struct certificate *certificate;
	const struct consumer_settings *settings;
	enum state state;
	struct digest about;
	int64_t at, next_try; /* seconds; next_try 0: none is waiting */
	char *why;            /* what went wrong, or why it was waived */
	/* under way */
	struct digest target; /* the pair that this try is for */
	struct child *child;
	struct job *job;
	struct timer *timer; /* until the next try */
	bool looks_first;    /* this look comes before any reload */
	unsigned int failures;
};

struct waiter {
	consumers_cb cb;
	void *data;
};
struct consumers {
	struct consumer *v;
	size_t n;
	struct waiter *waiters;
	size_t nwaiters;
	struct timer *answering;
};

/* ---- what is known, on disk ---- */

static void save(const struct certificate *c)
{
	struct fault fault = {0};
	json_t *list = json_array(), *record = json_pack("{so}", "consumers", list);
	for (size_t i = 0; i < c->consumers->n; i++) {
		const struct consumer *k = &c->consumers->v[i];
		json_array_append_new(list, json_pack("{ss, ss, so, so, ss}", "name", k->settings->name, "state",
						      state_names[k->state], "sha256", record_from_digest(&k->about),
						      "at", record_from_time(k->at), "why", k->why ? k->why : ""));
	}
	if (!record || record_save(c->folder, RECORD, record, &fault) < 0)
		log_warning("record-failed", "%s: " RECORD ": %s", c->settings->name, fault.text);
	json_decref(record);
}

static void load_one(struct consumer *k, const json_t *object)
{
	struct reader r = {.object = object};
	const char *name = record_string(&r, "name"), *state = record_string(&r, "state"),
		   *why = record_string(&r, "why");
	struct digest about = record_digest(&r, "sha256");
	int64_t at = record_time(&r, "at");
	if (r.failed || strcmp(name, k->settings->name) != 0)
		return;
	for (enum state s = 0; s < STATES; s++)
		if (strcmp(state_names[s], state) == 0)
			k->state = s;
	k->about = about;
	k->at = at;
	free(k->why);
	k->why = xstrdup(why);
}

/* A damaged record tells nothing: everybody is looked at again. */
static void load(struct certificate *c)
{
	size_t at;
	json_t *record, *o;
	if (record_load(c->folder, RECORD, &record, NULL) < 0)
		return;
	for (size_t i = 0; i < c->consumers->n; i++)
		json_array_foreach(json_object_get(record, "consumers"), at, o) load_one(&c->consumers->v[i], o);
	json_decref(record);
}

/* ---- what is asked of them ---- */

static bool is_about_live(const struct consumer *k)
{
	return digest_equal(&k->about, &k->certificate->live.sha256);
}

static bool is_settled(const struct consumer *k)
{
	return is_about_live(k) && (k->state == VERIFIED || k->state == RELOADED || k->state == WAIVED);
}

static bool is_busy(const struct consumer *k)
{
	return k->child || k->job;
}

/* Only a pair that is live for good, by an agent that may touch things, is to be read. */
static bool is_asked(const struct certificate *c)
{
	return c->consumers && c->live.number && c->settings->manage == MANAGE_SWAP;
}

static bool is_swapping(const struct certificate *c)
{
	return c->transaction || c->swapping || c->ready.number;
}

bool consumers_verified(const struct certificate *c)
{
	for (size_t i = 0; is_asked(c) && i < c->consumers->n; i++)
		if (!is_settled(&c->consumers->v[i]))
			return false;
	return true;
}

bool consumers_at_work(const struct certificate *c)
{
	for (size_t i = 0; is_asked(c) && i < c->consumers->n; i++) {
		const struct consumer *k = &c->consumers->v[i];
		if (!is_settled(k) && !(k->state == FAILED && is_about_live(k)))
			return true;
	}
	return false;
}

void consumers_unverified(const struct certificate *c, struct words *ret)
{
	for (size_t i = 0; is_asked(c) && i < c->consumers->n; i++)
		if (!is_settled(&c->consumers->v[i]))
			words_add(ret, c->consumers->v[i].settings->name);
}

char *consumers_problem(const struct certificate *c)
{
	struct text t = {0};
	for (size_t i = 0; is_asked(c) && i < c->consumers->n; i++) {
		const struct consumer *k = &c->consumers->v[i];
		if (!is_settled(k))
			text_add(&t, "%s%s: %s", t.len ? "; " : "", k->settings->name,
				 k->state == FAILED && is_about_live(k) ? k->why : "not asked yet");
	}
	return t.s ? t.s : xstrdup("");
}

json_t *consumers_json(const struct certificate *c)
{
	json_t *list = json_array();
	for (size_t i = 0; c->consumers && i < c->consumers->n; i++) {
		const struct consumer *k = &c->consumers->v[i];
		const char *state = is_about_live(k) ? state_names[k->state] : state_names[UNKNOWN];
		json_array_append_new(
			list, json_pack("{ss, ss, so, so, ss, so}", "name", k->settings->name, "state", state, "sha256",
					digest_is_zero(&k->about) ? json_null() : record_from_digest(&k->about), "at",
					record_from_time(k->at), "why", k->why ? k->why : "", "next_try",
					record_from_time(k->next_try)));
	}
	return list;
}

/* ---- who waits ---- */

static void answer_now(void *data)
{
	struct certificate *c = data;
	struct consumers *all = c->consumers;
	struct waiter *waiters = all->waiters;
	size_t n = all->nwaiters;
	timer_close(all->answering);
	all->answering = NULL;
	all->waiters = NULL;
	all->nwaiters = 0;
	for (size_t i = 0; i < n; i++)
		waiters[i].cb(c, waiters[i].data);
	free(waiters);
}

static void answer_if_done(struct certificate *c)
{
	struct consumers *all = c->consumers;
	if (all->nwaiters && !all->answering && !consumers_at_work(c))
		all->answering = timer_start(c->site->loop, 0, answer_now, c);
}

void consumers_wait(struct certificate *c, consumers_cb cb, void *data)
{
	struct consumers *all = c->consumers;
	all->waiters = xrealloc(all->waiters, (all->nwaiters + 1) * sizeof *all->waiters);
	all->waiters[all->nwaiters++] = (struct waiter){.cb = cb, .data = data};
	answer_if_done(c);
}

/* ---- the end of a try ---- */

static void set_state(struct consumer *k, enum state state, const char *why)
{
	char *copy = xstrdup(why);
	free(k->why);
	k->why = copy;
	k->state = state;
	k->about = k->target;
	k->at = clock_wall();
	save(k->certificate);
}

static void try_now(void *data);

/* Half as much again at most, so that many hosts don't ask together. */
static int64_t pause_ms(const struct consumer *k)
{
	uint32_t random = 0;
	int64_t ms = FIRST_PAUSE_MS;
	for (unsigned int i = 1; i < k->failures && ms < LONGEST_PAUSE_MS; i++)
		ms *= 2;
	ms = ms < LONGEST_PAUSE_MS ? ms : LONGEST_PAUSE_MS;
	if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0)
		random = (uint32_t)clock_monotonic_us();
	return ms + (int64_t)(random % (uint32_t)(ms / 2));
}

static void alert_of_failure(const struct consumer *k)
{
	const struct certificate *c = k->certificate;
	const struct incident *incident = incident_of(c);
	AUTO_FREE char *text = xasprintf("%s: %s does not show serial %s, which the web servers show: %s",
					 c->settings->name, k->settings->name, c->live.serial, k->why);
	AUTO_FREE char *next =
		xasprintf("mend %s; certswap tries again by itself. If it need not show this certificate: "
			  "certswapctl waive %s %s --why TEXT",
			  k->settings->name, c->settings->name, k->settings->name);
	char live[DIGEST_HEX];
	AUTO_FREE char *state = xasprintf("%s/%s", k->settings->name, digest_text(&c->live.sha256, live));
	const struct alert alert = {.event = "consumer-failed",
				    .state = state,
				    .severity = ALERT_TICKET,
				    .certificate = c->settings->name,
				    .incident = incident ? incident->id : 0,
				    .deadline = incident ? incident->deadline : 0,
				    .text = text,
				    .what_to_do = next};
	alert_send(c->site, &alert);
	audit_write(c->site->audit, "consumer-failed", c->settings->name,
		    json_pack("{ss}", "consumer", k->settings->name), "%s", text);
}

static void try_later(struct consumer *k, int64_t ms)
{
	timer_close(k->timer);
	k->next_try = ms ? clock_wall() + ms / 1000 : 0;
	k->timer = timer_start(k->certificate->site->loop, ms, try_now, k);
}

static void changed(struct certificate *c)
{
	answer_if_done(c);
	incidents_review(c);
}

static void failed(struct consumer *k, const char *why)
{
	bool told = k->state == FAILED && digest_equal(&k->about, &k->target);
	k->failures++;
	set_state(k, FAILED, why);
	log_warning("consumer-failed", "%s: %s: %s", k->certificate->settings->name, k->settings->name, why);
	if (!told && is_about_live(k))
		alert_of_failure(k);
	try_later(k, pause_ms(k));
	changed(k->certificate);
}

static void settled(struct consumer *k, enum state state)
{
	const struct certificate *c = k->certificate;
	k->failures = 0;
	set_state(k, state, "");
	audit_write(c->site->audit, "consumer", c->settings->name, json_pack("{ss}", "consumer", k->settings->name),
		    "%s %s", k->settings->name,
		    state == VERIFIED ? "shows the live pair, and it alone"
				      : "was told to read the live pair; no probe");
	if (!is_about_live(k)) /* a swap came in between */
		try_later(k, 0);
	changed(k->certificate);
}

/* ---- a try: reload, then look ---- */

static void on_seen(struct message *message, const struct fault *fault, void *data);

/* The first name of the certificate that may stand in a ClientHello (RFC 6066 3: no addresses). */
static char *server_name_of(const struct certificate *c)
{
	const struct words *names = certificate_names(c);
	for (size_t i = 0; i < names->n; i++) {
		const char *name = names->v[i];
		if (strncmp(name, "*.", 2) == 0)
			return xasprintf("certswap-probe.%s", name + 2);
		if (!strchr(name, ':') && name[strspn(name, "0123456789.")])
			return xstrdup(name);
	}
	return xstrdup("");
}

static void look(struct consumer *k)
{
	struct certificate *c = k->certificate;
	AUTO_FREE char *server_name = server_name_of(c);
	struct probe_place place = {.endpoint = k->settings->probe,
				    .server_name = server_name,
				    .key = (enum probe_key)places_key(c->live.key_type),
				    .starttls = (enum probe_starttls)k->settings->starttls,
				    .expect = k->target};
	const struct probe_request request = {.v = &place,
					      .n = 1,
					      .timeout_ms = HANDSHAKE_MS,
					      .deadline_ms = k->looks_first ? HANDSHAKE_MS : LOOK_MS,
					      .settle_ms = SETTLE_MS};
	struct packer body = {0};
	probe_request_pack(&body, &request);
	k->job = job_start(c->site->jobs, "probe", MESSAGE_PROBE, &body, NULL, 0, NULL,
			   request.deadline_ms + WORKER_GRACE_MS, on_seen, k);
	packer_done(&body);
}

static void on_reloaded(const struct child_result *result, void *data)
{
	struct consumer *k = data;
	k->child = NULL;
	size_t line = strcspn(result->output, "\n");
	AUTO_FREE char *said = xstrndup(result->output, line < 300 ? line : 300);
	AUTO_FREE char *why = result->problem     ? xstrdup(result->problem)
			      : result->timed_out ? xstrdup("its reload command did not end in time and was killed")
						  : xasprintf("its reload command ended with %d: %s",
							      result->exit_status, *said ? said : "it said nothing");
	if (result->problem || result->timed_out || result->exit_status != 0)
		return failed(k, why);
	if (!*k->settings->probe)
		return settled(k, RELOADED);
	look(k);
}

static void reload(struct consumer *k)
{
	const struct certificate *c = k->certificate;
	const struct words *command = &k->settings->reload;
	AUTO_FREE const char **argv = xcalloc(command->n + 1, sizeof *argv);
	for (size_t i = 0; i < command->n; i++)
		argv[i] = command->v[i];
	AUTO_FREE char *certificate = xasprintf("CERTSWAP_CERTIFICATE=%s", c->settings->name),
		       *consumer = xasprintf("CERTSWAP_CONSUMER=%s", k->settings->name),
		       *live = xasprintf("CERTSWAP_LIVE=%s/certificates/%s/live", c->site->settings->state_dir,
					 c->settings->name);
	const char *const environment[] = {certificate, consumer, live, NULL};
	const struct child_spec spec = {.argv = argv, .environment = environment, .timeout_ms = RELOAD_MS};
	k->looks_first = false;
	k->child = child_start(c->site->loop, &spec, on_reloaded, k);
}

static void on_seen(struct message *message, const struct fault *fault, void *data)
{
	struct consumer *k = data;
	struct probe_reply reply = {0};
	k->job = NULL;
	bool bad = !message || probe_reply_unpack(&message->body, &reply) < 0 || reply.n != 1;
	const struct probe_seen *seen = bad ? NULL : &reply.v[0];
	if (seen && seen->result == PROBE_SHOWN) {
		settled(k, VERIFIED);
	} else if (k->looks_first) {
		reload(k);
	} else {
		AUTO_FREE char *why =
			seen ? xasprintf("%s: %s%s%s", k->settings->probe, probe_result_text(seen->result),
					 seen->text && *seen->text ? ": " : "", seen->text ? seen->text : "")
			     : xasprintf("the look at it failed: %s",
					 message ? "the reply makes no sense" : fault->text);
		failed(k, why);
	}
	probe_reply_done(&reply);
}

static void try_now(void *data)
{
	struct consumer *k = data;
	struct certificate *c = k->certificate;
	timer_close(k->timer);
	k->timer = NULL;
	k->next_try = 0;
	if (is_busy(k) || !is_asked(c) || is_swapping(c) || is_settled(k))
		return; /* the end of the swap asks again */
	k->target = c->live.sha256;
	k->looks_first = k->state == UNKNOWN && *k->settings->probe;
	if (k->looks_first)
		look(k);
	else
		reload(k);
}

/* ---- from outside ---- */

/* It may have read the pair that went back: Postfix starts its processes as it needs them. */
static void look_again_after_rollback(struct consumer *k)
{
	const struct last_swap *last = &k->certificate->last_swap;
	if (last->result == TXN_ROLLED_BACK && k->at * 1000 < last->at_ms && k->state != WAIVED && k->state != FAILED)
		k->state = UNKNOWN;
}

void consumers_review(struct certificate *c)
{
	if (!is_asked(c) || is_swapping(c))
		return;
	for (size_t i = 0; i < c->consumers->n; i++) {
		struct consumer *k = &c->consumers->v[i];
		look_again_after_rollback(k);
		bool waits = k->timer && k->state == FAILED && is_about_live(k);
		if (!is_busy(k) && !is_settled(k) && !waits) {
			k->failures = 0;
			try_later(k, 0);
		}
	}
	answer_if_done(c);
}

int consumer_waive(struct certificate *c, const char *consumer, const char *why, struct fault *fault)
{
	for (size_t i = 0; c->consumers && i < c->consumers->n; i++) {
		struct consumer *k = &c->consumers->v[i];
		if (strcmp(k->settings->name, consumer) != 0)
			continue;
		if (!is_asked(c) || is_settled(k))
			return fault_set(fault, -EALREADY, "nothing is asked of %s: it is %s", consumer,
					 state_names[k->state]);
		child_close(k->child);
		if (k->job)
			job_close(k->job);
		timer_close(k->timer);
		k->child = NULL;
		k->job = NULL;
		k->timer = NULL;
		k->next_try = 0;
		k->target = c->live.sha256;
		set_state(k, WAIVED, why);
		audit_write(c->site->audit, "consumer-waived", c->settings->name,
			    json_pack("{ss}", "consumer", consumer), "%s need not show serial %s: %s", consumer,
			    c->live.serial, why);
		changed(c);
		return 0;
	}
	return fault_set(fault, -ENOENT, "%s has no consumer named %s", c->settings->name, consumer);
}

static void open_one(struct certificate *c)
{
	const struct certificate_settings *s = c->settings;
	if (!s->nconsumers)
		return;
	c->consumers = xcalloc(1, sizeof *c->consumers);
	c->consumers->n = s->nconsumers;
	c->consumers->v = xcalloc(s->nconsumers, sizeof *c->consumers->v);
	for (size_t i = 0; i < s->nconsumers; i++) {
		c->consumers->v[i].certificate = c;
		c->consumers->v[i].settings = &s->consumers[i];
	}
	load(c);
}

void consumers_open(struct site *site)
{
	for (size_t i = 0; i < site->ncertificates; i++) {
		open_one(site->certificates[i]);
		consumers_review(site->certificates[i]);
	}
}

static void close_one(struct certificate *c)
{
	struct consumers *all = c->consumers;
	for (size_t i = 0; i < all->n; i++) {
		struct consumer *k = &all->v[i];
		child_close(k->child);
		if (k->job)
			job_close(k->job);
		timer_close(k->timer);
		free(k->why);
	}
	timer_close(all->answering);
	free(all->waiters);
	free(all->v);
	free(all);
	c->consumers = NULL;
}

void consumers_close(struct site *site)
{
	for (size_t i = 0; i < site->ncertificates; i++)
		if (site->certificates[i]->consumers)
			close_one(site->certificates[i]);
}
