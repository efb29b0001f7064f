#include "site/incident.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/child.h"
#include "site/audit.h"
#include "swap/record.h"

#define PLACES_IN_STORY 64
#define STORY_MAX       1000 /* of more, those in the middle are in the audit log alone */

static const char *const kind_names[] = {
	[INCIDENT_EARLY] = "renew early", [INCIDENT_NOTICE] = "notice", [INCIDENT_REVOKED] = "revoked"};
_Static_assert(sizeof kind_names / sizeof *kind_names == INCIDENT_KINDS, "every kind has a name");

const char *incident_kind_name(enum incident_kind kind)
{
	return kind_names[kind];
}

static const char *const stage_names[] = {
	[INCIDENT_SOUGHT] = "replacement sought",
	[INCIDENT_PROVING] = "standby being proved",
	[INCIDENT_CONFIRMATION] = "waiting for confirmation",
	[INCIDENT_SWAPPING] = "swapping",
	[INCIDENT_PARTLY] = "partly replaced",
	[INCIDENT_AWAITING_REVOCATION] = "awaiting revocation",
	[INCIDENT_CLOSED] = "closed",
};
_Static_assert(sizeof stage_names / sizeof *stage_names == INCIDENT_STAGES, "every stage has a name");

const char *incident_stage_name(enum incident_stage stage)
{
	return stage_names[stage];
}

/* ---- record ---- */

static void add_progress(json_t *o, const struct incident *i)
{
	const struct reissue *r = &i->reissue;
	json_object_set_new(o, "host_scope", json_boolean(i->host_scope));
	json_object_set_new(o, "newest", json_integer(i->newest));
	json_object_set_new(o, "arrived_at", record_from_time(i->arrived_at));
	json_object_set_new(o, "percent", json_integer(i->percent));
	json_object_set_new(o, "urgent", json_boolean(i->urgent));
	json_object_set_new(o, "after_done", json_boolean(i->after_done));
	json_object_set_new(o, "awaits", json_boolean(i->awaits));
	json_object_set_new(o, "reminded", json_boolean(i->reminded));
	json_object_set_new(o, "reissue",
			    json_pack("{sI, sI, sI, so, so, sb}", "attempts", (json_int_t)r->attempts, "failures",
				      (json_int_t)r->failures, "issued", (json_int_t)r->issued, "began_at",
				      record_from_time(r->began_at), "next_at", record_from_time(r->next_at), "stopped",
				      r->stopped));
}

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
	if (!o)
		return NULL;
	json_object_set_new(o, "kind", json_string(kind_names[i->kind]));
	json_object_set_new(o, "source", json_string(i->source));
	if (!whole)
		return o;
	json_object_set_new(o, "generation", json_integer(i->generation));
	json_object_set_new(o, "replaced_at", record_from_time(i->replaced_at));
	json_object_set_new(o, "revoked_at", record_from_time(i->revoked_at));
	add_progress(o, i);
	json_object_set_new(o, "reference", json_string(i->reference));
	json_object_set_new(o, "confirmed", json_boolean(i->confirmed));
	json_object_set_new(o, "meaning", json_string(policy_case(i->case_letter)->meaning));
	json_object_set_new(o, "needs", json_string(policy_case(i->case_letter)->needs));
	if (i->stage != INCIDENT_CLOSED)
		json_object_set_new(o, "time_left", json_string(text_time_left(i->deadline - clock_wall(), left)));
	json_object_set(o, "story", i->story);
	return o;
}

void incident_save(struct site *site, struct incident *i)
{
	char name[32];
	struct fault fault = {0};
	json_t *record = incident_json(i, true);
	snprintf(name, sizeof name, "%06u.json", i->id);
	json_object_del(record, "time_left");
	if (!record || record_save(site->folders.incidents, name, record, &fault) < 0)
		log_error("record-failed", "incident %u: %s", i->id, fault.text);
	i->unsaved = false;
	json_decref(record);
}

static void tell(struct site *site, struct incident *i, char *text, json_t *served)
{
	char now[32], left[48];
	json_t *step = json_pack("{ss, ss, so*}", "time", text_from_time_ms(clock_wall_ms(), now), "text",
				 text_printable(text), "served", served);
	if (i->stage != INCIDENT_CLOSED && !i->replaced_at)
		json_object_set_new(step, "time_left", json_string(text_time_left(i->deadline - clock_wall(), left)));
	if (json_array_size(i->story) >= STORY_MAX)
		json_array_remove(i->story, STORY_MAX / 2);
	json_array_append_new(i->story, step);
	audit_write_soon(site->audit, "incident", i->certificate, json_pack("{sI}", "incident", (json_int_t)i->id),
			 "%s", text);
	i->unsaved = true;
	if (!i->saved_later)
		incident_sync(site, i);
}

void incident_sync(struct site *site, struct incident *i)
{
	i->saved_later = false;
	if (!i->unsaved)
		return;
	audit_sync(site->audit);
	incident_save(site, i);
}

void incidents_sync(struct site *site)
{
	audit_sync(site->audit);
	for (size_t k = 0; k < site->nincidents; k++)
		incident_sync(site, site->incidents[k]);
}

void incident_tell(struct site *site, struct incident *i, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = xvasprintf(format, args);
	va_end(args);
	tell(site, i, text, NULL);
}

void incident_tell_wire(struct incident *i, const struct certificate *c, const char *when)
{
	size_t same = 0, owed = 0;
	if (!c->nserved)
		return; /* nobody has looked yet */
	json_t *list = json_array();
	for (size_t k = 0; k < c->nserved; k++) {
		const struct served *s = &c->served[k];
		owed += s->owed;
		same += s->owed && digest_equal(&s->sha256, &c->live.sha256);
		if (json_array_size(list) < PLACES_IN_STORY)
			json_array_append_new(
				list,
				json_pack("{ss, ss, so, so}", "endpoint", s->endpoint, "server_name", s->server_name,
					  "sha256",
					  digest_is_zero(&s->sha256) ? json_null() : record_from_digest(&s->sha256),
					  "checked_at", record_from_time(s->checked_at)));
	}
	AUTO_FREE char *text = xasprintf("the wire %s: %zu of %zu places show serial %s", when, same, owed,
					 c->live.serial ? c->live.serial : "?");
	tell(c->site, i, text, list);
}

void incident_free(struct incident *i)
{
	timer_close(i->review);
	timer_close(i->reissue.result);
	child_close(i->reissue.child);
	child_close(i->after);
	free(i->told);
	words_done(&i->let_pass);
	json_decref(i->story);
	free(i->certificate);
	free(i->reference);
	free(i->serial);
	free(i->source);
	free(i->waits);
	free(i);
}

static void load_progress(struct incident *i, const json_t *record)
{
	struct reader r = {.object = json_object_get(record, "reissue")};
	i->host_scope = json_is_true(json_object_get(record, "host_scope"));
	i->newest = (unsigned int)json_integer_value(json_object_get(record, "newest"));
	i->percent = (unsigned int)json_integer_value(json_object_get(record, "percent"));
	i->urgent = json_is_true(json_object_get(record, "urgent"));
	i->after_done = json_is_true(json_object_get(record, "after_done"));
	i->awaits = json_is_true(json_object_get(record, "awaits"));
	i->reminded = json_is_true(json_object_get(record, "reminded"));
	if (!json_is_object(r.object))
		return;
	i->reissue = (struct reissue){.attempts = (unsigned int)record_number(&r, "attempts"),
				      .failures = (unsigned int)record_number(&r, "failures"),
				      .issued = (unsigned int)record_number(&r, "issued"),
				      .began_at = record_time(&r, "began_at"),
				      .next_at = record_time(&r, "next_at"),
				      .stopped = record_bool(&r, "stopped")};
	r.object = record;
	i->arrived_at = record_time(&r, "arrived_at");
}

/* Fields that the first version did not write: a notice by an operator. */
static void load_added(struct incident *i, const json_t *record)
{
	struct reader r = {.object = record};
	const char *kind = json_string_value(json_object_get(record, "kind"));
	i->kind = INCIDENT_NOTICE;
	i->source = xstrdup("operator");
	if (!kind)
		return;
	for (int k = 0; k < INCIDENT_KINDS; k++)
		if (strcmp(kind_names[k], kind) == 0)
			i->kind = (enum incident_kind)k;
	free(i->source);
	i->source = xstrdup(record_string(&r, "source"));
	i->generation = (unsigned int)record_number(&r, "generation");
	i->replaced_at = record_time(&r, "replaced_at");
	i->revoked_at = record_time(&r, "revoked_at");
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
	load_added(i, record);
	load_progress(i, record);
	i->stage = i->closed_at     ? INCIDENT_CLOSED
		   : i->replaced_at ? INCIDENT_AWAITING_REVOCATION
				    : INCIDENT_SOUGHT; /* the rest is derived from the facts */
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

/* What is not replaced yet comes first, and of these the nearest deadline. */
static bool is_nearer(const struct incident *a, const struct incident *b)
{
	if (!a->replaced_at != !b->replaced_at)
		return !a->replaced_at;
	return a->deadline < b->deadline;
}

struct incident *incident_of(const struct certificate *c)
{
	struct incident *nearest = NULL;
	for (size_t k = 0; k < c->site->nincidents; k++) {
		struct incident *i = c->site->incidents[k];
		if (strcmp(i->certificate, c->settings->name) == 0 && (!nearest || is_nearer(i, nearest)))
			nearest = i;
	}
	return nearest;
}

struct incident *incident_for(struct certificate *c, const struct meta *hit)
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
	i->source = xstrdup("");
	i->generation = hit->number;
	i->newest = c->live.number > c->standby.number ? c->live.number : c->standby.number;
	i->sha256 = hit->sha256;
	i->spki = hit->spki;
	i->reason = -1;
	i->opened_at = clock_wall();
	i->reference = xstrdup("");
	i->story = json_array();
	remember(c->site, i);
	return i;
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
