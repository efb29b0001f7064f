#include "site/response.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/alert.h"
#include "site/consumer.h"
#include "site/prove.h"
#include "site/transaction.h"

#define URGENT_SECONDS (6 * 3600) /* less than this and nothing proved: somebody is woken up */

struct incident_wait {
	incident_wait_cb cb;
	void *data;
};

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
	incident_tell(c->site, i,
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

/* The web servers are done; Postfix or another still reads the old pair. */
static void partly_replaced(struct certificate *c, struct incident *i)
{
	AUTO_FREE char *problem = consumers_problem(c);
	if (i->stage != INCIDENT_PARTLY)
		incident_tell(c->site, i, "partly replaced: the web servers show serial %s, the consumers not yet",
			      c->live.serial);
	i->stage = INCIDENT_PARTLY;
	if (consumers_at_work(c))
		return;
	AUTO_FREE char *text =
		xasprintf("%s: the web servers show serial %s; not yet: %s", i->certificate, c->live.serial, problem);
	AUTO_FREE char *next = xasprintf("mend it, certswap tries again by itself; or, where it need not show it: "
					 "certswapctl waive %s CONSUMER --why TEXT",
					 i->certificate);
	if (!i->told || strcmp(i->told, text) != 0) {
		incident_tell(c->site, i, "%s", text);
		free(i->told);
		i->told = xstrdup(text);
	}
	answer(i, false, text, next);
}

static void standby_dropped(struct certificate *c, struct incident *i)
{
	AUTO_FREE char *text =
		xasprintf("the standby pair of %s is dropped; what is served is not touched", i->certificate);
	close_incident(c->site, i);
	incident_save(c->site, i);
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
		incident_tell(c->site, i, "no proved replacement stands by%s%s", *why ? ": " : "", why);
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
	incident_tell(c->site, i, "the swap ended in %s%s%s", txn_state_name(state), *reason ? ": " : "", reason);
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
		incident_tell(c->site, i, "the standby pair can't be swapped in: %s", fault.text);
		return no_source(c, i, fault.text);
	}
	i->stage = INCIDENT_SWAPPING;
	incident_tell(c->site, i, "the standby pair (generation %u) is proved and goes live", number);
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
	incident_tell(c->site, i, "the standby pair is refused: %s", why);
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
	incident_tell(c->site, i, "nobody confirmed; %s before the deadline the replacement goes live by itself",
		      "as configured");
	incidents_review(c);
}

static void ask_person(struct certificate *c, struct incident *i)
{
	bool data_case = policy_case(i->case_letter)->person;
	if (i->stage == INCIDENT_CONFIRMATION)
		return;
	i->stage = INCIDENT_CONFIRMATION;
	incident_tell(c->site, i, "a standby pair is there and waits for a person: %s",
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
		return consumers_verified(c) ? replaced(c, i) : partly_replaced(c, i);
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
	incident_tell(c->site, i, "it was the standby pair: it is dropped; what is served is not touched");
}

struct incident *incident_open(struct certificate *c, const struct meta *hit, const struct notice *notice,
			       struct fault *fault)
{
	char until[32], left[48];
	struct incident *i = incident_for(c, hit);
	join(i, notice);
	if (deny(c, i, hit, fault) < 0) {
		(void)fault_prefix(fault, fault->code, "the denial of %s can't be saved", i->certificate);
		return NULL;
	}
	const struct revocation_case *rule = policy_case(i->case_letter);
	char letter[2] = {i->case_letter ? i->case_letter : '?', 0};
	incident_tell(c->site, i, "notice: serial %s, case %s (%s); deadline %s (%s); needs %s%s", i->serial, letter,
		      rule->meaning, text_from_time(i->deadline, until),
		      text_time_left(i->deadline - clock_wall(), left), rule->needs,
		      i->denies_key ? "; its key is refused from now on" : "");
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
	incident_tell(c->site, i, "confirmed by a person");
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
		incident_tell(site, i, "withdrawn: %s; %zu denials lifted", why, lifted);
		answer(i, true, "the notice was withdrawn", NULL);
		incident_free(i);
		transactions_notice(site);
		return 0;
	}
	return fault_set(fault, -ENOENT, "there is no open incident %u", id);
}
