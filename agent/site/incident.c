#include "site/incident.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/alert.h"
#include "site/audit.h"
#include "site/prove.h"
#include "site/transaction.h"
#include "swap/record.h"

#define URGENT_SECONDS (6 * 3600) /* less than this and nothing proved: somebody is woken up */

struct incident_wait {
	incident_wait_cb cb;
	void *data;
};

static const char *const stage_names[] = {
	[INCIDENT_SOUGHT] = "replacement sought",
	[INCIDENT_PROVING] = "standby being proved",
	[INCIDENT_CONFIRMATION] = "waiting for confirmation",
	[INCIDENT_SWAPPING] = "swapping",
	[INCIDENT_CLOSED] = "closed",
};
_Static_assert(sizeof stage_names / sizeof *stage_names == INCIDENT_STAGES, "every stage has a name");

const char *incident_stage_name(enum incident_stage stage)
{
	return stage_names[stage];
}

/* ---- record ---- */

json_t *incident_json(const struct incident *i, bool whole)
{
	char letter[2] = {i->case_letter, 0}, left[48];
	json_t *o = json_pack("{sI, ss, so, so, ss, ss, so, so, so, so, ss, so, sb}", "id", (json_int_t)i->id,
			      "certificate", i->certificate, "sha256", record_from_digest(&i->sha256), "spki_sha256",
			      record_from_digest(&i->spki), "serial", i->serial, "case", letter, "reason",
			      i->reason >= 0 ? json_string(policy_reason_name(i->reason)) : json_null(), "opened_at",
			      record_from_time(i->opened_at), "received_at", record_from_time(i->received_at),
			      "deadline", record_from_time(i->deadline), "stage", stage_names[i->stage], "closed_at",
			      record_from_time(i->closed_at), "denies_key", i->denies_key);
	if (!o || !whole)
		return o;
	json_object_set_new(o, "reference", json_string(i->reference));
	json_object_set_new(o, "confirmed", json_boolean(i->confirmed));
	json_object_set_new(o, "meaning", json_string(policy_case(i->case_letter)->meaning));
	json_object_set_new(o, "needs", json_string(policy_case(i->case_letter)->needs));
	if (i->stage != INCIDENT_CLOSED)
		json_object_set_new(o, "time_left", json_string(text_time_left(i->deadline - clock_wall(), left)));
	json_object_set(o, "story", i->story);
	return o;
}

static void save(struct site *site, struct incident *i)
{
	char name[32];
	struct fault fault = {0};
	json_t *record = incident_json(i, true);
	snprintf(name, sizeof name, "%06u.json", i->id);
	json_object_del(record, "time_left");
	if (!record || record_save(site->folders.incidents, name, record, &fault) < 0)
		log_error("record-failed", "incident %u: %s", i->id, fault.text);
	json_decref(record);
}

static void tell_story(struct site *site, struct incident *i, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void tell_story(struct site *site, struct incident *i, const char *format, ...)
{
	char now[32];
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = text_printable(xvasprintf(format, args));
	va_end(args);
	json_array_append_new(i->story,
			      json_pack("{ss, ss}", "time", text_from_time_ms(clock_wall_ms(), now), "text", text));
	audit_write(site->audit, "incident", i->certificate, json_pack("{sI}", "incident", (json_int_t)i->id), "%s",
		    text);
	save(site, i);
}

static void incident_free(struct incident *i)
{
	timer_close(i->timer);
	timer_close(i->review);
	free(i->told);
	json_decref(i->story);
	free(i->certificate);
	free(i->reference);
	free(i->serial);
	free(i->waits);
	free(i);
}

static struct incident *load(int folder, const char *name, struct fault *fault)
{
	json_t *record;
	if (record_load(folder, name, &record, fault) < 0)
		return NULL;
	struct reader r = {.object = record};
	struct incident *i = xcalloc(1, sizeof *i);
	const json_t *reason = json_object_get(record, "reason");
	i->id = (unsigned int)record_number(&r, "id");
	i->certificate = xstrdup(record_string(&r, "certificate"));
	i->reference = xstrdup(record_string(&r, "reference"));
	i->serial = xstrdup(record_string(&r, "serial"));
	i->sha256 = record_digest(&r, "sha256");
	i->spki = record_digest(&r, "spki_sha256");
	i->case_letter = record_string(&r, "case")[0];
	i->reason = -1;
	if (json_is_string(reason))
		(void)policy_reason(json_string_value(reason), &i->reason);
	i->opened_at = record_time(&r, "opened_at");
	i->received_at = record_time(&r, "received_at");
	i->deadline = record_time(&r, "deadline");
	i->closed_at = record_time(&r, "closed_at");
	i->stage = i->closed_at ? INCIDENT_CLOSED : INCIDENT_SOUGHT; /* the rest is derived from the facts */
	i->confirmed = record_bool(&r, "confirmed");
	i->denies_key = record_bool(&r, "denies_key");
	i->story = json_copy(json_object_get(record, "story"));
	if (!json_is_array(i->story) || !policy_case(i->case_letter))
		r.failed = true;
	json_decref(record);
	if (!r.failed)
		return i;
	fault_set(fault, -EBADMSG, "incidents/%s is damaged: %s", name, r.field ? r.field : "story");
	incident_free(i);
	return NULL;
}

static void remember(struct site *site, struct incident *i)
{
	site->incidents = xrealloc(site->incidents, (site->nincidents + 1) * sizeof(*site->incidents));
	site->incidents[site->nincidents++] = i;
}

int incidents_load(struct site *site, struct fault *fault)
{
	struct words names = {0};
	int r = files_list(site->folders.incidents, false, &names, fault);
	for (size_t k = 0; r == 0 && k < names.n; k++) {
		struct fault damaged = {0};
		struct incident *i = load(site->folders.incidents, names.v[k], &damaged);
		unsigned int id = (unsigned int)strtoul(names.v[k], NULL, 10);
		site->last_incident = id > site->last_incident ? id : site->last_incident;
		if (!i)
			log_error("record-failed", "%s", damaged.text);
		else if (i->stage == INCIDENT_CLOSED)
			incident_free(i);
		else
			remember(site, i);
	}
	words_done(&names);
	return r;
}

void incidents_close(struct site *site)
{
	for (size_t i = 0; i < site->nincidents; i++)
		incident_free(site->incidents[i]);
	free(site->incidents);
	site->incidents = NULL;
	site->nincidents = 0;
}

/* ---- waiting ---- */

static void answer(struct incident *i, bool done, const char *text, const char *next)
{
	struct incident_wait *waits = i->waits;
	size_t n = i->nwaits;
	i->waits = NULL;
	i->nwaits = 0;
	for (size_t k = 0; k < n; k++)
		if (waits[k].cb)
			waits[k].cb(i, done, text, next, waits[k].data);
	free(waits);
}

/* ---- the search for a replacement ---- */

static void close_incident(struct site *site, struct incident *i)
{
	i->stage = INCIDENT_CLOSED;
	i->closed_at = clock_wall();
	for (size_t k = 0; k < site->nincidents; k++)
		if (site->incidents[k] == i)
			site->incidents[k] = site->incidents[--site->nincidents];
}

static void replaced(struct certificate *c, struct incident *i)
{
	close_incident(c->site, i);
	tell_story(c->site, i,
		   "replaced: serial %s is served everywhere, %lld ms after the swap began; the old certificate, "
		   "serial %s, may "
		   "now be revoked",
		   c->live.serial, (long long)c->last_swap.milliseconds, i->serial);
	AUTO_FREE char *text =
		xasprintf("%s is served with serial %s; the old certificate, serial %s, may now be revoked",
			  i->certificate, c->live.serial, i->serial);
	const struct alert alert = {.event = "closed",
				    .severity = ALERT_INFO,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = text,
				    .what_to_do = "nothing; a new standby pair would be good"};
	alert_send(c->site, &alert);
	answer(i, true, text, NULL);
	incident_free(i);
}

static void standby_dropped(struct certificate *c, struct incident *i)
{
	AUTO_FREE char *text =
		xasprintf("the standby pair of %s is dropped; what is served is not touched", i->certificate);
	close_incident(c->site, i);
	save(c->site, i);
	answer(i, true, text, NULL);
	incident_free(i);
}

static void no_source(struct certificate *c, struct incident *i, const char *why)
{
	char left[48];
	int64_t seconds = i->deadline - clock_wall();
	AUTO_FREE char *text = xasprintf("%s: no proved replacement stands by%s%s; time left: %s", i->certificate,
					 *why ? ": " : "", why, text_time_left(seconds, left));
	AUTO_FREE char *next = xasprintf(
		"get a certificate%s (reissue before the old one is revoked) and put its files into "
		"%s/incoming/%s, or: certswapctl submit --name %s FILE...",
		i->denies_key ? " with a new key" : "", c->site->settings->state_dir, i->certificate, i->certificate);
	const struct alert alert = {.event = "no-source",
				    .severity = seconds < URGENT_SECONDS ? ALERT_PAGE : ALERT_TICKET,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = text,
				    .what_to_do = next};
	if (!i->told || strcmp(i->told, why) != 0) { /* once for each state */
		free(i->told);
		i->told = xstrdup(why);
		tell_story(c->site, i, "no proved replacement stands by%s%s", *why ? ": " : "", why);
		alert_send(c->site, &alert);
	}
	answer(i, false, text, next);
}

/* The incident of this certificate that is at this stage; NULL: it was closed or withdrawn in the meantime. */
static struct incident *incident_at(const struct certificate *c, enum incident_stage stage)
{
	for (size_t k = 0; k < c->site->nincidents; k++) {
		struct incident *i = c->site->incidents[k];
		if (i->stage == stage && strcmp(i->certificate, c->settings->name) == 0)
			return i;
	}
	return NULL;
}

static void on_swapped(struct certificate *c, enum txn_state state, const char *reason, void *data)
{
	struct incident *i = incident_at(c, INCIDENT_SWAPPING);
	if (!i || state == TXN_COMMITTED || state == TXN_UNSERVED)
		return; /* incidents_review, which comes next, sees the new facts */
	i->stage = INCIDENT_SOUGHT;
	tell_story(c->site, i, "the swap ended in %s%s%s", txn_state_name(state), *reason ? ": " : "", reason);
	if (state != TXN_AWAITING)
		no_source(c, i, reason);
	else
		answer(i, false, "the replacement is live; a web server was down and has not shown it yet",
		       "start the web server; certswap looks at it then");
}

static void stage_standby(struct certificate *c, struct incident *i, unsigned int number)
{
	struct fault fault = {0};
	if (transaction_stage(c, number, on_swapped, NULL, &fault) < 0) {
		tell_story(c->site, i, "the standby pair can't be swapped in: %s", fault.text);
		return no_source(c, i, fault.text);
	}
	i->stage = INCIDENT_SWAPPING;
	tell_story(c->site, i, "the standby pair (generation %u) is proved and goes live", number);
}

static void on_standby_proved(const struct check_reply *reply, unsigned int number, const struct fault *fault,
			      void *data)
{
	struct certificate *c = data;
	struct incident *i = incident_at(c, INCIDENT_PROVING);
	(void)number;
	if (!i)
		return;
	i->stage = INCIDENT_SOUGHT;
	const struct finding *worst = reply ? findings_worst(&reply->findings) : NULL;
	if (reply && !findings_block(&reply->findings) && c->standby.number)
		return stage_standby(c, i, c->standby.number);
	i->tried_standby = c->standby.number;
	const char *why = worst ? worst->text : fault->text;
	tell_story(c->site, i, "the standby pair is refused: %s", why);
	no_source(c, i, why);
}

static bool needs_person(const struct certificate *c, const struct incident *i)
{
	return !i->confirmed && (c->settings->on_notice == ON_EVENT_CONFIRM || policy_case(i->case_letter)->person);
}

static void on_confirm_by(void *data)
{
	struct certificate *c = data;
	struct incident *i = incident_of(c);
	if (!i)
		return;
	timer_close(i->timer);
	i->timer = NULL;
	i->confirmed = true;
	tell_story(c->site, i, "nobody confirmed; %s before the deadline the replacement goes live by itself",
		   "as configured");
	incidents_review(c);
}

static void ask_person(struct certificate *c, struct incident *i)
{
	bool data_case = policy_case(i->case_letter)->person;
	if (i->stage == INCIDENT_CONFIRMATION)
		return;
	i->stage = INCIDENT_CONFIRMATION;
	tell_story(c->site, i, "a standby pair is there and waits for a person: %s",
		   data_case ? "this case asks whether its data is right" : "on_notice = \"confirm\"");
	int64_t by = c->settings->confirm_by_ms;
	if (!data_case && by != CONFIRM_BY_NEVER && !i->timer) {
		int64_t wait = i->deadline * 1000 - by - clock_wall_ms();
		i->timer = timer_start(c->site->loop, wait > 0 ? wait : 0, on_confirm_by, c);
	}
	AUTO_FREE char *next = xasprintf("look at it (certswapctl status %s), then: certswapctl confirm %s",
					 i->certificate, i->certificate);
	answer(i, false, "a proved replacement waits for your confirmation", next);
}

static void review(struct certificate *c, struct incident *i)
{
	bool noticed_is_live =
		digest_equal(&c->live.sha256, &i->sha256) || (i->denies_key && digest_equal(&c->live.spki, &i->spki));
	if (i->only_standby)
		return standby_dropped(c, i);
	if (c->swapping || c->ready.number || i->stage == INCIDENT_PROVING)
		return;
	if (!noticed_is_live && c->live.number) {
		if (c->transaction) /* AWAITING or STUCK: not proved on the wire */
			return answer(i, false, "the replacement is live, but the wire has not shown it everywhere",
				      "certswapctl status");
		return replaced(c, i);
	}
	if (c->settings->manage == MANAGE_OBSERVE)
		return no_source(c, i, "manage = \"observe\": certswap never touches this certificate");
	if (!c->standby.number || c->standby.number == i->tried_standby || certificate_denial(c, &c->standby))
		return no_source(c, i, c->standby.number ? "the standby pair is refused" : "");
	if (needs_person(c, i))
		return ask_person(c, i);
	i->stage = INCIDENT_PROVING;
	prove_generation(c, c->standby.number, on_standby_proved, c);
}

/* A review may close its incident: the next is found by its number, not by its place in the list. */
static struct incident *next_of(const struct certificate *c, unsigned int after)
{
	struct incident *next = NULL;
	for (size_t k = 0; k < c->site->nincidents; k++) {
		struct incident *i = c->site->incidents[k];
		if (i->id > after && strcmp(i->certificate, c->settings->name) == 0 && (!next || i->id < next->id))
			next = i;
	}
	return next;
}

void incidents_review(struct certificate *c)
{
	unsigned int id = 0;
	for (struct incident *i; (i = next_of(c, id));) {
		id = i->id;
		review(c, i);
	}
}

/* ---- opening ---- */

struct incident *incident_of(const struct certificate *c)
{
	struct incident *nearest = NULL;
	for (size_t k = 0; k < c->site->nincidents; k++) {
		struct incident *i = c->site->incidents[k];
		if (strcmp(i->certificate, c->settings->name) == 0 && (!nearest || i->deadline < nearest->deadline))
			nearest = i;
	}
	return nearest;
}

static struct incident *incident_for(struct certificate *c, const struct meta *hit)
{
	for (size_t k = 0; k < c->site->nincidents; k++) {
		struct incident *i = c->site->incidents[k];
		if (strcmp(i->certificate, c->settings->name) == 0 && digest_equal(&i->sha256, &hit->sha256))
			return i;
	}
	struct incident *i = xcalloc(1, sizeof *i);
	i->id = ++c->site->last_incident;
	i->certificate = xstrdup(c->settings->name);
	i->serial = xstrdup(hit->serial);
	i->sha256 = hit->sha256;
	i->spki = hit->spki;
	i->reason = -1;
	i->opened_at = clock_wall();
	i->reference = xstrdup("");
	i->story = json_array();
	remember(c->site, i);
	return i;
}

/* Two notices for one certificate are one incident; the stricter deadline and reason win. */
static void join(struct incident *i, const struct notice *n)
{
	const struct revocation_case *rule = policy_case(n->case_letter);
	int64_t received = n->received_at ? n->received_at : clock_wall();
	int64_t deadline = n->revoke_at ? n->revoke_at : received + rule->within;
	if (!i->deadline || deadline < i->deadline) {
		i->deadline = deadline;
		i->received_at = received;
		i->case_letter = n->case_letter ? n->case_letter : i->case_letter;
	}
	if (i->reason < 0 || n->reason == POLICY_KEY_COMPROMISE)
		i->reason = n->reason >= 0 ? n->reason : i->reason;
	i->denies_key |= rule->new_key || n->reason == POLICY_KEY_COMPROMISE || n->host_scope;
	if (n->reference && *n->reference) {
		free(i->reference);
		i->reference = xstrdup(n->reference);
	}
}

static int deny(struct certificate *c, struct incident *i, const struct meta *hit, struct fault *fault)
{
	struct denied *denied = &c->site->denied;
	AUTO_FREE char *reason = xasprintf("%s: noticed as to be revoked%s", i->certificate,
					   i->denies_key ? ", key compromised or not allowed" : "");
	struct denial denial = {.digest = hit->sha256, .since = clock_wall(), .incident = i->id, .reason = reason};
	bool changed = denied_add(denied, &denial);
	if (i->denies_key) {
		denial.is_key = true;
		denial.digest = hit->spki;
		changed |= denied_add(denied, &denial);
	}
	return changed ? denied_save(c->site->folders.state, denied, fault) : 0;
}

/* The notice hit a pair that nobody sees: it is not used any more, and that is all. */
static void drop_standby(struct certificate *c, struct incident *i)
{
	if (store_set_standby(c->folder, 0, NULL) < 0)
		log_error("record-failed", "%s: the link standby can't be removed; its pair is refused all the same",
			  i->certificate);
	certificate_refresh(c);
	i->only_standby = true;
	tell_story(c->site, i, "it was the standby pair: it is dropped; what is served is not touched");
}

struct incident *incident_open(struct certificate *c, const struct meta *hit, const struct notice *notice,
			       struct fault *fault)
{
	char until[32], left[48];
	struct incident *i = incident_for(c, hit);
	join(i, notice);
	if (deny(c, i, hit, fault) < 0) {
		fault_prefix(fault, "the denial of %s can't be saved", i->certificate);
		return NULL;
	}
	const struct revocation_case *rule = policy_case(i->case_letter);
	char letter[2] = {i->case_letter ? i->case_letter : '?', 0};
	tell_story(c->site, i, "notice: serial %s, case %s (%s); deadline %s (%s); needs %s%s", i->serial, letter,
		   rule->meaning, text_from_time(i->deadline, until), text_time_left(i->deadline - clock_wall(), left),
		   rule->needs, i->denies_key ? "; its key is refused from now on" : "");
	AUTO_FREE char *text =
		xasprintf("%s: serial %s will be revoked; deadline %s", i->certificate, i->serial, until);
	const struct alert alert = {.event = "opened",
				    .severity = ALERT_INFO,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = text,
				    .what_to_do = rule->needs};
	alert_send(c->site, &alert);
	if (hit == &c->standby)
		drop_standby(c, i);
	transactions_notice(c->site);
	return i;
}

static void review_now(void *data)
{
	struct incident *i = data;
	timer_close(i->review);
	i->review = NULL;
	if (i->owner)
		incidents_review(i->owner);
}

void incident_wait(struct site *site, struct incident *i, incident_wait_cb cb, void *data)
{
	i->waits = xrealloc(i->waits, (i->nwaits + 1) * sizeof *i->waits);
	i->waits[i->nwaits++] = (struct incident_wait){.cb = cb, .data = data};
	i->owner = site_certificate(site, i->certificate);
	if (!i->review)
		i->review = timer_start(site->loop, 0, review_now, i);
}

int incident_confirm(struct certificate *c, struct fault *fault)
{
	struct incident *i = incident_of(c);
	if (!i)
		return fault_set(fault, -ENOENT, "%s has no open incident: nothing waits for a confirmation",
				 c->settings->name);
	i->confirmed = true;
	i->stage = INCIDENT_SOUGHT;
	tell_story(c->site, i, "confirmed by a person");
	return 0;
}

int incident_withdraw(struct site *site, unsigned int id, const char *why, struct fault *fault)
{
	for (size_t k = 0; k < site->nincidents; k++) {
		struct incident *i = site->incidents[k];
		if (i->id != id)
			continue;
		size_t lifted = denied_remove_incident(&site->denied, id);
		if (lifted && denied_save(site->folders.state, &site->denied, fault) < 0)
			return -EIO;
		close_incident(site, i);
		tell_story(site, i, "withdrawn: %s; %zu denials lifted", why, lifted);
		answer(i, true, "the notice was withdrawn", NULL);
		incident_free(i);
		transactions_notice(site);
		return 0;
	}
	return fault_set(fault, -ENOENT, "there is no open incident %u", id);
}

/* ---- for status and incidents ---- */

json_t *incident_json_by_id(const struct site *site, unsigned int id)
{
	char name[32];
	snprintf(name, sizeof name, "%06u.json", id);
	struct incident *i = load(site->folders.incidents, name, NULL);
	json_t *o = i ? incident_json(i, true) : NULL;
	if (i)
		incident_free(i);
	for (size_t k = 0; o && k < site->nincidents; k++) /* the stage is in memory */
		if (site->incidents[k]->id == id)
			json_object_set_new(o, "stage", json_string(stage_names[site->incidents[k]->stage]));
	return o;
}

json_t *incidents_json(const struct site *site, bool all)
{
	json_t *list = json_array();
	for (unsigned int id = 1; all && id <= site->last_incident; id++) {
		json_t *o = incident_json_by_id(site, id);
		if (o)
			json_array_append_new(list, o);
	}
	for (size_t k = 0; !all && k < site->nincidents; k++)
		json_array_append_new(list, incident_json(site->incidents[k], false));
	return list;
}
