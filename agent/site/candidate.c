#include "site/candidate.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "site/revocation.h"
#include "swap/policy.h"

#define KINDS 2 /* CRL and OCSP of each certificate */

struct question {
	struct candidate *candidate;
	struct job *job;
	size_t cert;
	enum fetch_kind kind;
};
struct candidate {
	struct certificate *certificate;
	struct source_file chain;
	struct question v[SOURCES_CERTS_MAX * KINDS];
	size_t n, open;
	char *revoked;
	struct timer *timer;
	struct candidate *next, **link;
	candidate_cb cb;
	void *data;
};

static void leave(struct candidate *k)
{
	timer_close(k->timer);
	for (size_t i = 0; i < k->n; i++)
		job_close(k->v[i].job);
	*k->link = k->next;
	if (k->next)
		k->next->link = k->link;
}

static void finish(void *data)
{
	struct candidate *k = data;
	leave(k);
	k->cb(k->revoked, k->data);
	source_file_done(&k->chain);
	free(k->revoked);
	free(k);
}

static void found(struct candidate *k, size_t i, const char *source, int reason)
{
	const char *name = policy_reason_name(reason);
	if (k->revoked)
		return;
	k->revoked = xasprintf("%s, serial %s, is published as revoked (%s%s%s)",
			       i ? "the intermediate certificate above it" : "the certificate", k->chain.v[i].serial,
			       source, name ? ", " : "", name ? name : "");
}

static void on_reply(struct message *message, const struct fault *fault, void *data)
{
	struct question *q = data;
	struct candidate *k = q->candidate;
	struct fetch_reply reply;
	(void)fault; /* unknown never blocks */
	q->job = NULL;
	k->open--;
	if (message && fetch_reply_unpack(&message->body, &reply) == 0) {
		if (reply.result == FETCH_ANSWERED && reply.n == 1 && reply.v[0].status == FETCH_REVOKED)
			found(k, q->cert, fetch_kind_name[q->kind], reply.v[0].reason);
		fetch_reply_done(&reply);
	}
	if (k->revoked || !k->open)
		finish(k);
}

static void ask(struct candidate *k, size_t i, enum fetch_kind kind, int fullchain)
{
	struct certificate *c = k->certificate;
	const struct source_cert *cert = &k->chain.v[i];
	const struct settings *settings = c->site->settings;
	struct fetch_item item = {.id = cert->serial, .ca = cert->ca};
	const struct fetch_request r = {.kind = kind,
					.urls = kind == FETCH_CRL ? cert->crls : cert->ocsp,
					.deny = settings->fetch_deny,
					.proxy = settings->fetch_proxy,
					.deadline_ms = CANDIDATE_MS,
					.child = cert->sha256,
					.v = &item,
					.n = 1};
	struct packer body = {0};
	struct question *q = &k->v[k->n++];
	fetch_request_pack(&body, &r);
	*q = (struct question){.candidate = k, .cert = i, .kind = kind};
	q->job = job_start(c->site->jobs, "fetch", MESSAGE_FETCH, &body, &fullchain, 1, certificate_trust(c),
			   2 * CANDIDATE_MS, on_reply, q);
	k->open++;
	packer_done(&body);
}

/* What the regular looks know: true where nobody need be asked. */
static bool is_known(struct candidate *k, size_t i)
{
	const struct watch_over *w = k->certificate->site->revocation;
	const struct subject *b = w ? revocation_subject(w, &k->chain.v[i].sha256) : NULL;
	if (!b)
		return false;
	struct revocation_verdict v = revocation_judge(b->answers, clock_wall());
	if (v.status == REVOCATION_REVOKED)
		found(k, i, revocation_source_name(v.source), v.answer->reason);
	int64_t age = v.answer ? clock_wall() - v.answer->checked_at : 0;
	bool recent = v.status == REVOCATION_GOOD && age * 1000 <= 2 * k->certificate->settings->check_interval_ms;
	return v.status == REVOCATION_REVOKED || recent;
}

static bool asks_crl(const struct certificate *c, const struct source_cert *cert)
{
	return strcmp(c->settings->check_crl, "true") == 0 && cert->crls.n;
}

static bool asks_ocsp(const struct certificate *c, const struct source_cert *cert)
{
	return c->settings->check_ocsp && cert->ocsp.n;
}

bool candidate_has_sources(const struct certificate *c, const struct source_file *chain)
{
	for (size_t i = 0; i < chain->n; i++)
		if (asks_crl(c, &chain->v[i]) || asks_ocsp(c, &chain->v[i]) ||
		    (c->site->revocation && revocation_subject(c->site->revocation, &chain->v[i].sha256)))
			return true;
	return false;
}

struct candidate *candidate_start(struct certificate *c, const struct source_file *chain, int fullchain,
				  candidate_cb cb, void *data)
{
	struct candidate *k = xcalloc(1, sizeof *k);
	*k = (struct candidate){.certificate = c, .cb = cb, .data = data};
	for (; k->chain.n < chain->n; k->chain.n++)
		source_cert_copy(&k->chain.v[k->chain.n], &chain->v[k->chain.n]);
	for (size_t i = 0; i < chain->n && !k->revoked; i++) {
		const struct source_cert *cert = &k->chain.v[i];
		if (cert->self_signed || is_known(k, i) || fullchain < 0)
			continue;
		if (asks_crl(c, cert))
			ask(k, i, FETCH_CRL, fullchain);
		if (asks_ocsp(c, cert))
			ask(k, i, FETCH_OCSP, fullchain);
	}
	k->link = &c->site->candidates;
	k->next = *k->link;
	if (k->next)
		k->next->link = &k->next;
	*k->link = k;
	k->timer = timer_start(c->site->loop, k->revoked || !k->open ? 0 : CANDIDATE_MS, finish, k);
	return k;
}

void candidates_close(struct site *site)
{
	while (site->candidates) {
		struct candidate *k = site->candidates;
		leave(k);
		source_file_done(&k->chain);
		free(k->revoked);
		free(k);
	}
}
