#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "site/revocation.h"
#include "swap/policy.h"
#include "swap/record.h"

const struct standing *revocation_standing(const struct certificate *c)
{
	const struct watch_over *w = c->site->revocation;
	for (size_t i = 0; w && i < w->nstandings; i++)
		if (w->standings[i].certificate == c)
			return w->standings[i].live.n ? &w->standings[i] : NULL;
	return NULL;
}

/* The sources of a subject: those that hold it. */
static bool holds(const struct source *s, const struct subject *b)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i] == b)
			return true;
	return false;
}

void revocation_intervals(const struct watch_over *w, const struct subject *b, int64_t ret_ms[REVOCATION_SOURCES])
{
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i]->kind != FETCH_ARI && holds(w->v[i], b))
			ret_ms[w->v[i]->kind == FETCH_CRL ? REVOCATION_CRL : REVOCATION_OCSP] =
				source_interval(w->v[i]) * 11 / 10;
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
	revocation_intervals(c->site->revocation, b, every);
	int64_t bound = revocation_bound(b->answers, c->live.publicly_trusted, every, clock_wall());
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

static json_t *sources_json(const struct certificate *c, const struct subject *b)
{
	const struct watch_over *w = c->site->revocation;
	json_t *list = json_array();
	for (size_t i = 0; i < w->n; i++) {
		if (!holds(w->v[i], b))
			continue;
		json_t *o = source_json(w->v[i]);
		const char *said = w->v[i]->kind == FETCH_ARI
					   ? NULL
					   : b->said[w->v[i]->kind == FETCH_CRL ? REVOCATION_CRL : REVOCATION_OCSP];
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
		return json_pack("{ss, ss}", "status", c->live.number ? "unknown" : "none", "source", "");
	const struct subject *b = st->live.v[0];
	json_t *o = verdict_json(b);
	bool short_lived = revocation_short_lived(b->cert.not_before, b->cert.not_after);
	add_bound(o, c, b);
	json_object_set_new(o, "short_lived", json_boolean(short_lived));
	json_object_set_new(o, "blind", json_boolean(st->blind_told));
	json_object_set_new(o, "sources", sources_json(c, b));
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
