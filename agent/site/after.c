#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/child.h"
#include "site/alert.h"
#include "site/ladder.h"
#include "site/response.h"
#include "site/revocation.h"

#define AFTER_TIMEOUT_MS (10 * 60 * 1000)
#define REMIND_AFTER     ((int64_t)24 * 3600)

static void alert_of(const struct certificate *c, const struct incident *i, const char *event,
		     enum alert_severity severity, const char *text, const char *next)
{
	const struct alert alert = {.event = event,
				    .severity = severity,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = text,
				    .what_to_do = next};
	alert_send(c->site, &alert);
}

/* ---- after_swap ---- */

static void on_after(const struct child_result *result, void *data)
{
	struct incident *i = data;
	struct certificate *c = i->owner;
	AUTO_FREE char *said = xstrndup(result->output, 2000);
	i->after = NULL;
	i->after_done = true;
	for (char *p = said; *p; p++)
		if (*p == '\n' || *p == '\t')
			*p = ' ';
	if (result->exit_status == 0) {
		incident_tell(c->site, i, "after_swap ended well; it said: %s", said);
	} else {
		AUTO_FREE char *how = result->problem     ? xstrdup(result->problem)
				      : result->timed_out ? xstrdup("it took too long and was killed")
							  : xasprintf("exit status %d", result->exit_status);
		AUTO_FREE char *text = xasprintf("%s: after_swap failed: %s", i->certificate, how);
		incident_tell(c->site, i, "after_swap failed: %s; it said: %s", how, said);
		alert_of(c, i, "after-swap-failed", ALERT_TICKET, text,
			 "run it by hand; certswapctl incident shows what it said");
	}
	incidents_review(c);
}

/* What is on the wire must not be handed to a command that revokes. The old certificate's path, the caller's; NULL:
 * there is none that may be handed over. */
static char *old_certificate(const struct certificate *c, const struct incident *i)
{
	struct meta meta = {0};
	char path[32];
	bool good = i->generation && store_read_meta(c->folder, i->generation, &meta, NULL) == 0 &&
		    digest_equal(&meta.sha256, &i->sha256) && !(store_changed_files(c->folder, &meta) & 1) &&
		    strcmp(meta.serial, c->live.serial) != 0;
	for (size_t k = 0; good && k < c->nserved; k++)
		good = !digest_equal(&c->served[k].sha256, &meta.sha256);
	meta_done(&meta);
	return good ? xasprintf("%s/certificates/%s/%s/cert.pem", c->site->settings->state_dir, c->settings->name,
				store_generation_path(i->generation, path))
		    : NULL;
}

static void run_after(struct certificate *c, struct incident *i)
{
	const struct words *command = &c->settings->after_swap;
	AUTO_FREE char *path = old_certificate(c, i);
	if (!path) {
		i->after_done = true;
		return incident_tell(
			c->site, i,
			"after_swap is not run: the old certificate is still shown somewhere, or its file is gone");
	}
	const char *reason = policy_reason_name(i->reason);
	AUTO_FREE char *cert = xasprintf("CERTSWAP_OLD_CERT=%s", path),
		       *serial = xasprintf("CERTSWAP_OLD_SERIAL=%s", i->serial),
		       *why = xasprintf("CERTSWAP_REASON=%s", reason ? reason : policy_case(i->case_letter)->reason);
	const char *const environment[] = {cert, serial, why, NULL};
	AUTO_FREE const char **argv = xcalloc(command->n + 1, sizeof(*argv));
	for (size_t k = 0; k < command->n; k++)
		argv[k] = command->v[k];
	incident_tell(c->site, i, "after_swap begins: %s", argv[0]);
	const struct child_spec spec = {.argv = argv, .environment = environment, .timeout_ms = AFTER_TIMEOUT_MS};
	i->after = child_start(c->site->loop, &spec, on_after, i);
}

/* ---- waiting to see it revoked ---- */

/* Cases whose certificate anybody who has the key can still use: until it is revoked, the danger stays. Waited for only
 * where a CRL or a responder answers for it: else nobody here would ever know. */
static bool awaits_revocation(const struct certificate *c, const struct incident *i)
{
	if (i->revoked_at || !i->case_letter || !strchr("cdp", i->case_letter) || !c->site->revocation)
		return false;
	const struct subject *old = revocation_subject(c->site->revocation, &i->sha256);
	return old && revocation_judge(old->answers, clock_wall()).status == REVOCATION_GOOD;
}

static void remind(const struct certificate *c, struct incident *i)
{
	if (i->reminded || clock_wall() < i->replaced_at + REMIND_AFTER)
		return;
	i->reminded = true;
	AUTO_FREE char *text =
		xasprintf("%s: serial %s, whose key is compromised, is still not revoked", i->certificate, i->serial);
	incident_tell(c->site, i, "%s", text);
	alert_of(c, i, "not-revoked", ALERT_TICKET, text, "ask the CA to revoke it, by its serial");
}

/* After a break-in a pair whose key was on the disk already serves only until a fresh one is there. */
static void open_for_stopgap(struct certificate *c, const struct incident *i)
{
	struct fault fault = {0};
	const struct notice n = {.kind = INCIDENT_NOTICE,
				 .source = "a stopgap after a break-in",
				 .case_letter = i->case_letter,
				 .reason = i->reason,
				 .host_scope = true,
				 .received_at = i->received_at,
				 .revoke_at = i->deadline,
				 .reference = i->reference};
	if (!incident_open(c, &c->live, &n, &fault))
		log_error("record-failed", "%s", fault.text);
}

static void end(struct certificate *c, struct incident *i)
{
	AUTO_FREE char *text = xasprintf("%s: incident %u is over; serial %s is served", i->certificate, i->id,
					 c->live.serial ? c->live.serial : "?");
	incident_close(c->site, i);
	incident_tell(c->site, i, "closed");
	alert_of(c, i, "closed", ALERT_INFO, text, "nothing");
	incident_answer(i, true, text, NULL);
	incident_free(i);
}

void after_review(struct certificate *c, struct incident *i)
{
	if (i->after)
		return;
	if (!i->after_done && i->kind != INCIDENT_EARLY && c->settings->after_swap.n)
		return run_after(c, i);
	if (i->awaits && !i->revoked_at)
		return remind(c, i);
	if (i->reissue.child) /* something else was quicker; the client is not killed in the middle of its work */
		return;
	end(c, i);
}

void after_replaced(struct certificate *c, struct incident *i)
{
	bool early = i->kind == INCIDENT_EARLY;
	incident_tell_wire(i, c, "after");
	i->stage = INCIDENT_AWAITING_REVOCATION;
	i->replaced_at = clock_wall();
	i->after_done = early || !c->settings->after_swap.n;
	i->awaits = awaits_revocation(c, i);
	AUTO_FREE char *text =
		early ? xasprintf("%s is served with serial %s", i->certificate, c->live.serial)
		      : xasprintf("%s is served with serial %s; the old certificate, serial %s, may now be revoked",
				  i->certificate, c->live.serial, i->serial);
	incident_tell(c->site, i, "replaced, %lld ms after the swap began: %s", (long long)c->last_swap.milliseconds,
		      text);
	AUTO_FREE char *next =
		c->standby.number
			? xstrdup("nothing")
			: xasprintf("a new standby pair would be good: certswapctl standby %s FILE...", i->certificate);
	alert_of(c, i, "replaced", ALERT_INFO, text, next);
	if (i->awaits)
		incident_tell(c->site, i,
			      "it stays open until serial %s is seen revoked (certswapctl close %u ends it)", i->serial,
			      i->id);
	if (i->host_scope && c->live.number <= i->newest)
		open_for_stopgap(c, i);
	incident_answer(i, true, text, NULL);
	after_review(c, i);
}
