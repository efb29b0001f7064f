#include "site/status.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "site/certificate.h"
#include "site/consumer.h"
#include "site/dropbox.h"
#include "site/incident.h"
#include "site/pending.h"
#include "site/standby.h"
#include "site/revocation.h"
#include "site/transaction.h"
#include "swap/record.h"

static json_t *live_json(const struct meta *m)
{
	if (!m->number)
		return json_null();
	return json_pack("{sI, so, so, ss, ss, so, so, so, ss}", "generation", (json_int_t)m->number, "sha256",
			 record_from_digest(&m->sha256), "spki_sha256", record_from_digest(&m->spki), "serial",
			 m->serial, "issuer", m->issuer, "not_before", record_from_time(m->not_before), "not_after",
			 record_from_time(m->not_after), "names", record_from_words(&m->names), "key_type",
			 m->key_type);
}

static json_t *standby_json(const struct certificate *c)
{
	const struct meta *m = &c->standby;
	if (!m->number)
		return json_null();
	AUTO_FREE char *why = standby_why(c);
	return json_pack("{sI, sb, ss, ss, so, so, so, so, ss, ss}", "generation", (json_int_t)m->number, "ready",
			 !*why, "why", why, "weakness", standby_weakness(c), "checked_at",
			 record_from_time(c->standby_proof.at), "sha256", record_from_digest(&m->sha256), "spki_sha256",
			 record_from_digest(&m->spki), "not_after", record_from_time(m->not_after), "serial", m->serial,
			 "issuer", m->issuer);
}

static json_t *served_json(const struct certificate *c)
{
	json_t *list = json_array();
	for (size_t i = 0; i < c->nserved; i++) {
		const struct served *s = &c->served[i];
		json_array_append_new(
			list,
			json_pack("{ss, ss, so, so, sb}", "endpoint", s->endpoint, "server_name", s->server_name,
				  "sha256", digest_is_zero(&s->sha256) ? json_null() : record_from_digest(&s->sha256),
				  "checked_at", record_from_time(s->checked_at), "owed", s->owed));
	}
	return list;
}

static const char *state_of(const struct certificate *c)
{
	if (c->trouble || transaction_state(c) == TXN_STUCK)
		return "failed";
	if (c->swapping || c->ready.number)
		return "swapping";
	if (incident_of(c))
		return "incident";
	return c->live.number && transaction_state(c) != TXN_AWAITING ? "ok" : "waiting";
}

static json_t *last_swap_json(const struct certificate *c)
{
	char at[32], result[32];
	const struct last_swap *last = &c->last_swap;
	if (!last->at_ms)
		return json_null();
	strcpy(result, txn_state_name(last->result));
	for (char *p = result; *p; p++)
		*p = *p == '_' ? ' ' : (char)(*p | 0x20);
	return json_pack("{ss, ss, sI, ss}", "at", text_from_time_ms(last->at_ms, at), "result", result, "milliseconds",
			 (json_int_t)last->milliseconds, "reason", last->reason);
}

static json_t *incident_part(const struct certificate *c)
{
	const struct incident *i = incident_of(c);
	return i ? incident_json(i, false) : json_null();
}

static void add_stuck(const struct certificate *c, json_t *o)
{
	AUTO_FREE char *commands = transaction_way_out(c);
	json_object_set_new(o, "trouble", json_string(transaction_reason(c)));
	json_object_set_new(o, "what_to_do", json_string(commands));
}

static json_t *certificate_json(struct certificate *c)
{
	struct words unverified = {0};
	transaction_unverified(c, &unverified);
	consumers_unverified(c, &unverified);
	json_t *o = json_pack("{ss, ss, ss, so, so, so, so, so, so, so, so, so}", "name", c->settings->name, "state",
			      state_of(c), "manage", c->settings->manage == MANAGE_SWAP ? "swap" : "observe", "live",
			      live_json(&c->live), "served", served_json(c), "revocation", revocation_json(c),
			      "issuers", revocation_issuers_json(c), "standby", standby_json(c), "unverified",
			      record_from_words(&unverified), "pending", pending_json(c), "incident", incident_part(c),
			      "last_swap", last_swap_json(c));
	words_done(&unverified);
	json_object_set_new(o, "consumers", consumers_json(c));
	if (c->trouble)
		json_object_set_new(o, "trouble", json_string(c->trouble));
	else if (transaction_state(c) == TXN_STUCK)
		add_stuck(c, o);
	return o;
}

/* Is the file that was read last the one in force? */
static json_t *configuration_json(const struct site *site)
{
	const char *state = site->reload_refused ? "refused" : site->next_settings ? "waiting" : "in force", *why = "";
	if (site->reload_refused)
		why = site->reload_refused;
	else if (site->next_settings)
		why = site->reload_waits ? "for descriptors (LimitNOFILE=, fs.file-max)"
					 : "for what is under way to end";
	return json_pack("{ss, ss, ss, so}", "file", site->settings->file, "state", state, "why", why, "read_at",
			 record_from_time(site->reload_asked ? site->reload_asked : site->started_at));
}

static void add_json(struct text *t, const char *before, json_t *o)
{
	AUTO_FREE char *s = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	text_add(t, "%s%s", before, s ? s : "null");
}

void status_write(const struct site *site, const char *only, struct text *ret)
{
	char now[32];
	const char *comma = "";
	text_add(ret, "{\"version\":\"%s\",\"time\":\"%s\",\"certificates\":[", CERTSWAP_VERSION,
		 text_from_time_ms(clock_wall_ms(), now));
	for (size_t i = 0; i < site->ncertificates; i++) {
		if (only && strcmp(only, site->certificates[i]->settings->name) != 0)
			continue;
		add_json(ret, comma, certificate_json(site->certificates[i]));
		comma = ",";
	}
	add_json(ret, "],\"waiting\":", dropbox_waiting(site->dropbox));
	add_json(ret, ",\"configuration\":", configuration_json(site));
	text_add(ret, "}");
}

json_t *status_json(const struct site *site, const char *only)
{
	char now[32];
	json_t *list = json_array();
	for (size_t i = 0; i < site->ncertificates; i++) {
		struct certificate *c = site->certificates[i];
		if (!only || strcmp(only, c->settings->name) == 0)
			json_array_append_new(list, certificate_json(c));
	}
	json_t *o = json_pack("{ss, ss, so, so, so}", "version", CERTSWAP_VERSION, "time",
			      text_from_time_ms(clock_wall_ms(), now), "certificates", list, "waiting",
			      dropbox_waiting(site->dropbox), "configuration", configuration_json(site));
	return o;
}
