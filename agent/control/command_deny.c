#include "control/commands.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/certificate.h"
#include "site/pending.h"
#include "site/purge.h"
#include "site/response.h"
#include "site/standby.h"
#include "site/transaction.h"
#include "site/watched.h"

static int add_denial(struct request *r, const struct digest *d, const char *why);

/* A refused key is a compromised key: each certificate here that has it gets an incident. */
static void answer_with_hits(struct request *r, const struct digest *d)
{
	struct words names = {0};
	struct fault fault = {0};
	const struct notice notice = {.kind = INCIDENT_NOTICE,
				      .source = "deny add",
				      .reason = POLICY_KEY_COMPROMISE,
				      .received_at = clock_wall()};
	for (size_t i = 0; i < r->site->ncertificates; i++) {
		struct certificate *c = r->site->certificates[i];
		const struct meta *hits[] = {&c->live, &c->standby};
		for (size_t k = 0; k < ARRAY_SIZE(hits); k++) {
			if (!hits[k]->number || !digest_equal(&hits[k]->spki, d))
				continue;
			if (!words_has(&names, c->settings->name))
				words_add(&names, c->settings->name);
			struct incident *incident = incident_open(c, hits[k], &notice, &fault);
			if (incident)
				incident_wait(r->site, incident, NULL, NULL);
			else
				log_error("record-failed", "%s", fault.text);
		}
	}
	AUTO_FREE char *list = words_join(&names, ", ");
	AUTO_FREE char *text =
		names.n ? xasprintf("the key is refused from now on; it is in use here, an incident is open "
				    "for: %s",
				    list)
			: xstrdup("the key is refused from now on; no certificate here has it");
	request_finish(r, 0, text, NULL);
	words_done(&names);
}

static int remove_denial(struct request *r, const struct digest *d, const char *why);

static void deny(struct request *r, const char *event,
		 int (*change)(struct request *, const struct digest *, const char *))
{
	struct digest d;
	struct fault fault = {0};
	const char *spki = request_argument(r, "spki"), *why = request_argument(r, "why");
	if (!spki || digest_parse(spki, &d) < 0)
		return request_finish(r, 2, "a SHA-256 of a SubjectPublicKeyInfo is needed (64 hexadecimal digits)",
				      NULL);
	if (!change(r, &d, why ? why : ""))
		return request_finish(r, 1, "nothing to change: certswapctl deny list shows what is refused", NULL);
	if (denied_save(r->site->folders.state, &r->site->denied, &fault) < 0)
		return request_finish(r, 1, fault.text, NULL);
	audit_write(r->site->audit, event, NULL,
		    json_pack("{ss, sI}", "spki_sha256", spki, "uid", (json_int_t)client_uid(r->client)), "%s",
		    why ? why : "by a person");
	transactions_notice(r->site);
	pending_review_all(r->site);
	standbys_review(r->site);
	purge_soon(r->site);
	watched_forget_refusals(r->site->watched);
	if (change == add_denial)
		return answer_with_hits(r, &d);
	request_finish(r, 0,
		       change == remove_denial
			       ? "the key is no longer refused; what was refused for it is looked at again"
			       : "the denial stays: it is confirmed by a person",
		       NULL);
}

static int add_denial(struct request *r, const struct digest *d, const char *why)
{
	const struct denial denial = {.is_key = true,
				      .digest = *d,
				      .since = clock_wall(),
				      .confirmed = true,
				      .reason = (char *)(uintptr_t)(*why ? why : "by a person")};
	return denied_add(&r->site->denied, &denial);
}

static int confirm_denial(struct request *r, const struct digest *d, const char *why)
{
	(void)why;
	return denied_confirm(&r->site->denied, d);
}

static int remove_denial(struct request *r, const struct digest *d, const char *why)
{
	return *why ? denied_remove(&r->site->denied, d) > 0 : 0;
}

void command_deny_add(struct request *r)
{
	deny(r, "deny-add", add_denial);
}

void command_deny_confirm(struct request *r)
{
	deny(r, "deny-confirm", confirm_denial);
}

void command_deny_remove(struct request *r)
{
	if (!request_argument(r, "why"))
		return request_finish(r, 2, "--why TEXT is needed", NULL);
	deny(r, "deny-remove", remove_denial);
}
