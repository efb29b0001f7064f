#include "site/standby.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/alert.h"
#include "site/audit.h"
#include "site/ladder.h"
#include "site/metrics.h"
#include "site/prove.h"
#include "site/revocation.h"
#include "swap/record.h"

#define DAY_MS     (24 * 3600 * 1000LL)
#define NEAR_END_S (14 * 24 * 3600) /* or a fifth of its life, where that is less */

struct standbys {
	struct site *site;
	struct timer *daily, *turn;
	size_t next; /* certificate to be looked at; ncertificates: all were */
	bool proving;
};

static void turn_soon(struct standbys *s);

/* What no worker is needed for. "" where it is fine. */
static char *plain_problem(const struct certificate *c)
{
	char end[32]; /* a moment, not what is left: the text tells one state from another */
	const struct meta *m = &c->standby;
	const struct denial *denial = certificate_denial(c, m);
	int64_t now = clock_wall(), near = (m->not_after - m->not_before) / 5;
	if (denial)
		return xstrdup(denial->is_key ? "its key is refused" : "it was noticed as to be revoked");
	if (m->not_after <= now)
		return xstrdup("it has expired");
	if (m->not_after - now < (near < NEAR_END_S ? near : NEAR_END_S))
		return xasprintf("it expires at %s", text_from_time(m->not_after, end));
	if (!text_names_cover(&m->names, certificate_names(c), NULL))
		return xstrdup("it does not cover all names");
	return xstrdup("");
}

char *standby_why(const struct certificate *c)
{
	char *why = plain_problem(c);
	if (*why || c->standby_proof.number != c->standby.number || !c->standby_proof.why)
		return why;
	free(why);
	return xstrdup(c->standby_proof.why);
}

const char *standby_weakness(const struct certificate *c)
{
	if (!c->standby.number || !c->live.number)
		return "";
	if (digest_equal(&c->standby.spki, &c->live.spki))
		return "it has the same key as the live pair: it is no help after a key compromise";
	if (digest_equal(&c->standby.issuer_spki, &c->live.issuer_spki))
		return "it comes from the same CA as the live pair: it helps less when that CA fails or revokes many "
		       "at once";
	return "";
}

/* What was told last is kept on disk, so that nobody is told twice. */
static char *load_told(const struct certificate *c)
{
	json_t *record;
	if (record_load(c->folder, "standby.json", &record, NULL) < 0)
		return xstrdup("");
	struct reader r = {.object = record};
	bool same = record_number(&r, "generation") == (int64_t)c->standby.number;
	char *told = xstrdup(same ? record_string(&r, "why") : "");
	json_decref(record);
	return told;
}

static void save_told(const struct certificate *c, const char *why)
{
	struct fault fault = {0};
	json_t *record = json_pack("{sI, ss, so}", "generation", (json_int_t)c->standby.number, "why", why,
				   "checked_at", record_from_time(clock_wall()));
	if (!record || record_save(c->folder, "standby.json", record, &fault) < 0)
		log_warning("record-failed", "%s: standby.json: %s", c->settings->name, fault.text);
	json_decref(record);
}

static void tell(struct certificate *c)
{
	AUTO_FREE char *why = standby_why(c), *told = load_told(c);
	if (strcmp(why, told) == 0)
		return;
	save_told(c, why);
	if (*told)
		alert_over(c->site, "standby-not-ready", c->settings->name, 0, told);
	if (!*why) {
		audit_write(c->site->audit, "standby-ready", c->settings->name, NULL,
			    "the standby pair is ready again");
		return;
	}
	audit_write(c->site->audit, "standby-not-ready", c->settings->name, NULL, "the standby pair is not ready: %s",
		    why);
	AUTO_FREE char *text = xasprintf("%s: the standby pair is no longer ready: %s", c->settings->name, why);
	AUTO_FREE char *next =
		xasprintf("get another one and keep it: certswapctl standby %s FILE...", c->settings->name);
	const struct alert alert = {.event = "standby-not-ready",
				    .severity = ALERT_TICKET,
				    .certificate = c->settings->name,
				    .text = text,
				    .what_to_do = next,
				    .state = why};
	alert_send(c->site, &alert);
}

static void keep_proof(struct certificate *c, const char *why)
{
	free(c->standby_proof.why);
	c->standby_proof.why = *why ? xstrdup(why) : NULL;
	c->standby_proof.number = c->standby.number;
	c->standby_proof.at = clock_wall();
}

void standby_was_proved(struct certificate *c)
{
	keep_proof(c, "");
	tell(c);
}

void standby_changed(struct certificate *c)
{
	metrics_changed(c->site->metrics);
	if (c->site->revocation)
		revocation_refresh(c->site->revocation);
	incidents_review(c);
}

static void on_proved(const struct check_reply *reply, unsigned int number, const struct fault *fault, void *data)
{
	struct certificate *c = data;
	struct standbys *s = c->site->standbys;
	const struct finding *worst = reply ? findings_worst(&reply->findings) : NULL;
	(void)number;
	s->proving = false;
	if (!reply && prove_blame(fault) == PROVE_PAIR && c->standby.number) {
		keep_proof(c, fault->text);
		tell(c);
	} else if (!reply) {
		log_warning("standby-check", "%s: %s", c->settings->name,
			    fault->text); /* says nothing about the pair */
	} else if (c->standby.number) {
		keep_proof(c, findings_block(&reply->findings) ? worst->text : "");
		tell(c);
	}
	turn_soon(s);
}

static void turn(void *data)
{
	struct standbys *s = data;
	timer_close(s->turn);
	s->turn = NULL;
	if (s->proving)
		return;
	while (s->next < s->site->ncertificates) {
		struct certificate *c = s->site->certificates[s->next++];
		if (!c->standby.number || c->swapping)
			continue;
		s->proving = true;
		return prove_generation(c, c->standby.number, NULL, on_proved, c);
	}
}

static void turn_soon(struct standbys *s)
{
	if (!s->turn)
		s->turn = timer_start(s->site->loop, 0, turn, s);
}

void standbys_review(struct site *site)
{
	if (!site->standbys)
		return;
	site->standbys->next = 0;
	turn_soon(site->standbys);
}

static void day_begins(void *data)
{
	struct standbys *s = data;
	standbys_review(s->site);
}

struct standbys *standbys_open(struct site *site)
{
	struct standbys *s = xcalloc(1, sizeof *s);
	s->site = site;
	s->daily = timer_repeat(site->loop, DAY_MS, DAY_MS, day_begins, s);
	turn_soon(s);
	return s;
}

void standbys_close(struct standbys *s)
{
	if (!s)
		return;
	timer_close(s->daily);
	timer_close(s->turn);
	free(s);
}
