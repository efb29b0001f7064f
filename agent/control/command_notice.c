#include "control/commands.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "site/certificate.h"
#include "site/consumer.h"
#include "site/notice.h"
#include "site/pending.h"
#include "site/response.h"
#include "site/watched.h"

static void on_incident(struct incident *incident, bool done, const char *text, const char *next, void *data)
{
	struct request *r = data;
	text_add(&r->text, "%sincident %u: %s", r->text.len ? "\n" : "", incident->id, text);
	if (!done) {
		r->exit = 1;
		if (next)
			text_add(&r->next, "%s%s", r->next.len ? "\n" : "", next);
	}
	if (--r->waiting_for == 0)
		request_finish(r, r->exit, r->text.s, r->next.s);
}

static const char *part_of(const struct notice_hit *hit)
{
	const struct certificate *c = hit->certificate;
	return hit->meta == &c->live      ? "live"
	       : hit->meta == &c->standby ? "standby"
	       : hit->meta == c->coming   ? "on its way"
					  : "being replaced";
}

/* Hits of a key compromise on more than one certificate are asked for. True: the question was sent. */
static bool ask_first(struct request *r, const struct notice *notice, const struct notice_hits *hits)
{
	struct text list = {0};
	bool compromise = policy_case(notice->case_letter)->new_key || notice->reason == POLICY_KEY_COMPROMISE ||
			  notice->host_scope;
	if (hits->n < 2 || !compromise || json_is_true(json_object_get(r->arguments, "yes")))
		return false;
	for (size_t i = 0; i < hits->n; i++)
		text_add(&list, "\n  %s (%s, serial %s)", hits->v[i].certificate->settings->name, part_of(&hits->v[i]),
			 hits->v[i].meta->serial);
	AUTO_FREE char *text =
		notice->host_scope
			? xasprintf("after a break-in all %zu keys on this disk are suspect:%s", hits->n, list.s)
			: xasprintf("this compromised key is used by %zu certificates here:%s", hits->n, list.s);
	text_done(&list);
	json_t *o = json_pack("{si, ss, ss, ss}", "exit", 1, "message", text, "ask", text, "next",
			      "say yes, or give --yes in a script");
	request_send(r, o);
	client_set_data(r->client, NULL);
	client_finish(r->client);
	r->client = NULL;
	return true;
}

/* After a break-in the request of a fresh key is there at once. */
static void on_fresh_key(const struct waiting_key *key, const struct fault *fault, void *data)
{
	struct request *r = data;
	struct fault problem = {0};
	struct certificate *c = key ? pending_owner(r->site, &key->spki) : NULL;
	char *csr = NULL;
	if (c && pending_show(c, &key->spki, &csr, &problem) == 0)
		text_add(&r->text, "%s%s: the request (CSR) of a fresh key, for the CA:\n%s", r->text.len ? "\n" : "",
			 c->settings->name, csr);
	else
		text_add(&r->text, "%sno fresh key: %s", r->text.len ? "\n" : "", key ? problem.text : fault->text);
	free(csr);
	if (--r->waiting_for == 0)
		request_finish(r, r->exit, r->text.s, r->next.s);
}

static void ask_for_fresh_keys(struct request *r, const struct notice_hits *hits)
{
	for (size_t i = 0; i < hits->n; i++) {
		bool seen = false; /* live and standby of one certificate */
		for (size_t k = 0; k < i; k++)
			seen |= hits->v[k].certificate == hits->v[i].certificate;
		if (seen)
			continue;
		r->waiting_for++;
		pending_renew(hits->v[i].certificate, on_fresh_key, r);
	}
}

void command_notice(struct request *r)
{
	struct fault fault = {0};
	struct notice notice;
	struct notice_hits hits;
	if (notice_read(r->site, r->arguments, false, &notice, &hits, &fault) < 0)
		return request_finish(r, 1, fault.text, NULL);
	if (ask_first(r, &notice, &hits)) {
		free(hits.v);
		return request_free(r);
	}
	struct incident **opened = xcalloc(hits.n, sizeof(*opened));
	for (size_t i = 0; i < hits.n; i++) {
		opened[i] = incident_open(hits.v[i].certificate, hits.v[i].meta, &notice, &fault);
		r->waiting_for += opened[i] != NULL;
	}
	bool is_open = r->waiting_for > 0;
	if (!is_open)
		request_finish(r, 1, fault.text, NULL);
	else
		request_wait(r);
	if (is_open && notice.host_scope)
		ask_for_fresh_keys(r, &hits);
	for (size_t i = 0; i < hits.n; i++)
		if (opened[i])
			incident_wait(r->site, opened[i], on_incident, r);
	free(opened);
	free(hits.v);
}

void command_confirm(struct request *r)
{
	struct fault fault = {0};
	struct certificate *c = request_certificate(r);
	if (!c)
		return;
	struct words accepted = {0};
	AUTO_FREE char *why = NULL;
	if (request_accepted(r, &accepted, &why, &fault) < 0)
		return request_finish(r, 2, fault.text, NULL);
	int code = incident_confirm(c, &accepted, why, &fault);
	words_done(&accepted);
	if (code < 0)
		return request_finish(r, 1, fault.text, NULL);
	r->waiting_for = 1;
	request_wait(r);
	incident_wait(r->site, incident_of(c), on_incident, r);
}

void command_waive(struct request *r)
{
	struct fault fault = {0};
	struct certificate *c = request_certificate(r);
	const char *consumer = request_argument(r, "consumer"), *why = request_argument(r, "why");
	if (!c)
		return;
	if (!consumer || !why)
		return request_finish(r, 2, "the name of a consumer and --why TEXT are needed", NULL);
	int code = consumer_waive(c, consumer, why, &fault);
	if (code == -EALREADY)
		return request_finish(r, 0, fault.text, NULL);
	if (code < 0)
		return request_finish(r, 1, fault.text, "certswapctl status NAME lists its consumers");
	AUTO_FREE char *text =
		xasprintf("%s need not show serial %s of %s", consumer, c->live.serial, c->settings->name);
	request_finish(r, 0, text, NULL);
}

void command_withdraw(struct request *r)
{
	struct fault fault = {0};
	const char *why = request_argument(r, "why");
	unsigned int id = (unsigned int)json_integer_value(json_object_get(r->arguments, "incident"));
	if (!why)
		return request_finish(r, 2, "--why TEXT is needed", NULL);
	if (incident_withdraw(r->site, id, why, &fault) < 0)
		return request_finish(r, 1, fault.text, "certswapctl incidents");
	watched_forget_refusals(r->site->watched);
	request_finish(r, 0, "the incident is closed, the denials that it brought are lifted", NULL);
}

void command_close(struct request *r)
{
	struct fault fault = {0};
	const char *why = request_argument(r, "why");
	unsigned int id = (unsigned int)json_integer_value(json_object_get(r->arguments, "incident"));
	if (!why)
		return request_finish(r, 2, "--why TEXT is needed", NULL);
	if (incident_end(r->site, id, why, &fault) < 0)
		return request_finish(r, 1, fault.text, "certswapctl incidents");
	request_finish(r, 0, "the incident is closed; what it denied stays denied", NULL);
}
