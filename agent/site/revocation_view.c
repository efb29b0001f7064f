#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "site/revocation.h"
#include "swap/policy.h"
#include "swap/record.h"

const struct standing *revocation_standing(const struct certificate *c)
{
	return c->standing && c->standing->live.n ? c->standing : NULL;
}

void revocation_intervals(const struct subject *b, int64_t ret_ms[REVOCATION_SOURCES])
{
	static const enum fetch_kind kinds[] = {[REVOCATION_CRL] = FETCH_CRL, [REVOCATION_OCSP] = FETCH_OCSP};
	for (enum revocation_source s = 0; s < REVOCATION_SOURCES; s++)
		ret_ms[s] = b->at[kinds[s]] ? source_interval(b->at[kinds[s]]) * 11 / 10 : 0;
}

/* "24h15m", as CONTRACT writes it; the caller frees. */
static char *duration(int64_t seconds)
{
	struct text t = {0};
	if (seconds >= 3600)
		text_add(&t, "%lldh", (long long)(seconds / 3600));
	if (seconds % 3600 >= 60)
		text_add(&t, "%lldm", (long long)(seconds % 3600 / 60));
	if (seconds % 60 || !t.len)
		text_add(&t, "%llds", (long long)(seconds % 60));
	return t.s;
}

static void add_bound(json_t *o, const struct certificate *c, const struct subject *b)
{
	int64_t every[REVOCATION_SOURCES] = {0};
	revocation_intervals(b, every);
	int64_t bound = revocation_bound(b->answers, c->live.publicly_trusted, every, clock_wall());
	json_object_set_new(o, "bound", json_null());
	if (bound < 0)
		return;
	AUTO_FREE char *known = duration(bound);
	json_object_set_new(o, "bound", json_string(known));
	if (!c->last_swap.at_ms)
		return;
	AUTO_FREE char *replaced = duration(bound + (c->last_swap.milliseconds + 999) / 1000);
	json_object_set_new(o, "bound_replaced", json_string(replaced));
}

static void add_revoked(json_t *o, const struct revocation_answer *a)
{
	const char *reason = policy_reason_name(a->reason);
	json_object_set_new(o, "reason", reason ? json_string(reason) : json_null());
	json_object_set_new(o, "revoked_at", record_from_time(a->revoked_at));
}

static json_t *verdict_json(const struct subject *b)
{
	struct revocation_verdict v = revocation_judge(b->answers, clock_wall());
	bool said = v.status == REVOCATION_GOOD || v.status == REVOCATION_REVOKED;
	json_t *o = json_pack("{ss, ss, so}", "status", revocation_status_name(v.status), "source",
			      said ? revocation_source_name(v.source) : "", "checked_at",
			      said ? record_from_time(v.answer->checked_at) : json_null());
	if (v.status == REVOCATION_REVOKED)
		add_revoked(o, v.answer);
	return o;
}

static json_t *sources_json(const struct subject *b)
{
	json_t *list = json_array();
	for (enum fetch_kind kind = 0; kind < FETCH_KINDS; kind++) {
		if (!b->at[kind])
			continue;
		json_t *o = source_json(b->at[kind]);
		const char *said = kind == FETCH_CRL    ? b->said[REVOCATION_CRL]
				   : kind == FETCH_OCSP ? b->said[REVOCATION_OCSP]
							: NULL;
		if (said)
			json_object_set_new(o, "problem", json_string(said));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *window_json(const struct subject *b)
{
	return json_pack("{so, so, ss, sb}", "start", record_from_time(b->window.start), "end",
			 record_from_time(b->window.end), "explanation_url", b->url ? b->url : "", "early", b->early);
}

json_t *revocation_json(const struct certificate *c)
{
	const struct standing *st = revocation_standing(c);
	if (!st)
		return json_pack("{ss, ss, sn, sn}", "status", c->live.number ? "unknown" : "none", "source", "",
				 "checked_at", "bound");
	const struct subject *b = st->live.v[0];
	json_t *o = verdict_json(b);
	bool short_lived = revocation_short_lived(b->cert.not_before, b->cert.not_after);
	add_bound(o, c, b);
	json_object_set_new(o, "short_lived", json_boolean(short_lived));
	json_object_set_new(o, "blind", json_boolean(st->blind_told));
	json_object_set_new(o, "sources", sources_json(b));
	if (st->acme && *st->acme)
		json_object_set_new(
			o, "acme_client",
			json_pack("{ss, so}", "name", st->acme, "warnings", record_from_words(&st->warnings)));
	if (b->window.end)
		json_object_set_new(o, "renewal", window_json(b));
	return o;
}

json_t *revocation_issuers_json(const struct certificate *c)
{
	const struct standing *st = revocation_standing(c);
	json_t *list = json_array();
	for (size_t i = 1; st && i < st->live.n; i++) {
		const struct subject *b = st->live.v[i];
		json_t *o = verdict_json(b);
		json_object_set_new(o, "sha256", record_from_digest(&b->cert.sha256));
		json_object_set_new(o, "subject", json_string(b->cert.subject));
		json_array_append_new(list, o);
	}
	return list;
}
