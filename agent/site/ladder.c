#include "site/ladder.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "site/alert.h"
#include "site/consumer.h"
#include "site/prove.h"
#include "site/reissue.h"
#include "site/response.h"
#include "site/transaction.h"

#define URGENT_SECONDS    (6 * 3600) /* less than this and nothing proved: somebody is woken up */
#define UNPROVED_RETRY_MS 5000
#define TURN_MS           300000 /* at the latest; staging.c tells it before */

/* ---- what can be used ---- */

static bool standby_is_usable(const struct certificate *c, const struct incident *i)
{
	return c->standby.number && c->standby.number != i->tried_standby && !certificate_denial(c, &c->standby) &&
	       c->standby.not_after > clock_wall();
}

bool ladder_has_candidate(const struct certificate *c, const struct incident *i)
{
	return i->replaced_at || c->swapping || c->ready.number || standby_is_usable(c, i);
}

/* What is published as revoked serves nobody who looks: then only the configuration makes it wait. */
bool ladder_needs_person(const struct certificate *c, const struct incident *i)
{
	if (i->confirmed || i->kind == INCIDENT_EARLY)
		return false;
	if (i->kind == INCIDENT_REVOKED)
		return c->settings->on_revoked == ON_EVENT_CONFIRM;
	return c->settings->on_notice == ON_EVENT_CONFIRM || policy_case(i->case_letter)->person;
}

enum ladder_hold ladder_hold(const struct certificate *c)
{
	const struct incident *i = incident_of(c);
	if (!i || i->replaced_at || !ladder_needs_person(c, i))
		return LADDER_GOES;
	return standby_is_usable(c, i) ? LADDER_LEFT : LADDER_KEPT;
}

/* ---- telling ---- */

/* Once for each state. */
static bool is_new_state(struct incident *i, const char *state)
{
	if (i->told && strcmp(i->told, state) == 0)
		return false;
	free(i->told);
	i->told = xstrdup(state);
	return true;
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
	if (is_new_state(i, text))
		incident_tell(c->site, i, "%s", text);
	incident_answer(i, false, text, next);
}

/* It was never served, or not any more: a standby, a candidate, what a swap replaces. */
static void not_used(struct certificate *c, struct incident *i)
{
	AUTO_FREE char *text = xasprintf("serial %s of %s is not used any more; what is served is not touched",
					 i->serial, i->certificate);
	incident_close(c->site, i);
	incident_tell(c->site, i, "closed: %s", text);
	incident_answer(i, true, text, NULL);
	incident_free(i);
}

static void no_source(struct certificate *c, struct incident *i, const char *why)
{
	char left[48], hex[DIGEST_HEX];
	int64_t seconds = i->deadline - clock_wall();
	struct digest state = hash_bytes(why, strlen(why));
	AUTO_FREE char *text = xasprintf("%s: no proved replacement stands by%s%s; time left: %s", i->certificate,
					 *why ? ": " : "", why, text_time_left(seconds, left));
	AUTO_FREE char *next = xasprintf(
		"get a certificate%s (reissue before the old one is revoked; certswapctl csr %s prints a CSR where a "
		"key "
		"waits for it) and put its files into %s/incoming/%s, or: certswapctl submit --name %s FILE...",
		i->denies_key ? " with a new key" : "", i->certificate, c->site->settings->state_dir, i->certificate,
		i->certificate);
	const struct alert alert = {.event = "no-source",
				    .severity = i->kind != INCIDENT_EARLY && seconds < URGENT_SECONDS ? ALERT_PAGE
												      : ALERT_TICKET,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = text,
				    .state = *why ? digest_text(&state, hex) : NULL,
				    .what_to_do = next};
	i->stage = INCIDENT_SOUGHT;
	if (is_new_state(i, why)) {
		incident_tell(c->site, i, "no proved replacement stands by%s%s", *why ? ": " : "", why);
		alert_send(c->site, &alert);
	}
	incident_answer(i, false, text, next);
}

/* ---- the standby pair ---- */

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
	(void)data;
	if (!i || state == TXN_COMMITTED || state == TXN_UNSERVED)
		return; /* incidents_review, which comes next, sees the new facts */
	i->stage = INCIDENT_SOUGHT;
	incident_tell(c->site, i, "the swap ended in %s%s%s", txn_state_name(state), *reason ? ": " : "", reason);
	if (state == TXN_AWAITING)
		return incident_answer(i, false,
				       "the replacement is live; a web server was down and has not shown it yet",
				       "start the web server; certswap looks at it then");
	if (state != TXN_HELD)
		i->tried_standby = c->standby.number;
	no_source(c, i, reason);
}

static void stage_standby(struct certificate *c, struct incident *i, unsigned int number)
{
	struct fault fault = {0};
	if (transaction_stage(c, number, false, on_swapped, NULL, &fault) < 0) {
		i->tried_standby = number;
		incident_tell(c->site, i, "the standby pair can't be swapped in: %s", fault.text);
		return no_source(c, i, fault.text);
	}
	i->stage = INCIDENT_SWAPPING;
	i->saved_later = true; /* while the swap's preflight looks */
	incident_tell(c->site, i, "the standby pair (generation %u) is proved and goes live", number);
	i->saved_later = false;
}

/* The machine was in trouble: nothing is known of the pair, and the incident can't do without it. */
static void standby_unproved(struct certificate *c, struct incident *i, const struct fault *fault)
{
	AUTO_FREE char *text = xasprintf("the standby pair could not be proved: %s; tried again every %d s",
					 fault->text, UNPROVED_RETRY_MS / 1000);
	if (is_new_state(i, text))
		incident_tell(c->site, i, "%s", text);
	incident_review_in(c->site, i, UNPROVED_RETRY_MS);
}

static void on_standby_proved(const struct check_reply *reply, unsigned int number, const struct fault *fault,
			      void *data)
{
	struct certificate *c = data;
	struct incident *i = incident_at(c, INCIDENT_PROVING);
	(void)number;
	staging_work_ended(c->site);
	if (!i)
		return;
	i->stage = INCIDENT_SOUGHT;
	const struct finding *worst = reply ? findings_worst(&reply->findings) : NULL;
	if (reply && !findings_block(&reply->findings) && c->standby.number && !c->swapping && !c->ready.number)
		return stage_standby(c, i, c->standby.number);
	if (!reply && prove_blame(fault) != PROVE_PAIR)
		return standby_unproved(c, i, fault);
	i->tried_standby = c->standby.number;
	const char *why = worst ? worst->text : fault->text;
	char hex[DIGEST_HEX];
	const struct alert alert = {.event = "candidate-refused",
				    .severity = ALERT_TICKET,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = why,
				    .state = digest_text(&c->standby.sha256, hex),
				    .what_to_do = "certswapctl check FILE... says what is wrong with a pair"};
	incident_tell(c->site, i, "the standby pair is refused: %s", why);
	alert_send(c->site, &alert);
	incidents_review(c);
}

/* Only a person can know whether its data is right; and once it is revoked no deadline is left to go before. */
bool ladder_goes_at(const struct certificate *c, const struct incident *i, int64_t *ret_at)
{
	int64_t by = c->settings->confirm_by_ms;
	if (policy_case(i->case_letter)->person || by == CONFIRM_BY_NEVER || i->kind == INCIDENT_REVOKED)
		return false;
	*ret_at = i->deadline - by / 1000;
	return true;
}

static bool goes_by_itself(struct certificate *c, struct incident *i)
{
	int64_t at;
	if (!ladder_goes_at(c, i, &at) || clock_wall() < at)
		return false;
	char left[48];
	i->confirmed = true;
	incident_tell(c->site, i,
		      "nobody confirmed; by confirm_by the replacement goes live by itself, %s to the deadline",
		      text_time_left(i->deadline - clock_wall(), left));
	return true;
}

static void ask_person(struct certificate *c, struct incident *i)
{
	char at[32];
	int64_t when = 0;
	bool data_case = policy_case(i->case_letter)->person, never = !ladder_goes_at(c, i, &when);
	AUTO_FREE char *next = xasprintf("look at it (certswapctl status %s), then: certswapctl confirm %s",
					 i->certificate, i->certificate);
	if (i->stage == INCIDENT_CONFIRMATION)
		return incident_answer(i, false, "a proved replacement waits for your confirmation", next);
	i->stage = INCIDENT_CONFIRMATION;
	AUTO_FREE char *text = xasprintf(
		"%s: a proved replacement (serial %s) waits for a person: %s; %s%s", i->certificate, c->standby.serial,
		data_case                     ? "this case asks whether its data is right"
		: i->kind == INCIDENT_REVOKED ? "on_revoked = \"confirm\""
					      : "on_notice = \"confirm\"",
		never ? "without a word the revoked certificate stays in service" : "without a word it goes live at ",
		never ? "" : text_from_time(when, at));
	const struct alert alert = {.event = "waiting-for-confirmation",
				    .severity = ALERT_TICKET,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = text,
				    .what_to_do = next};
	incident_tell(c->site, i, "%s", text);
	alert_send(c->site, &alert);
	incident_answer(i, false, "a proved replacement waits for your confirmation", next);
}

/* ---- a look at the facts ---- */

/* The command runs beside everything else. True: it is under way, and nobody has to be asked yet. */
static bool reissue_is_at_work(struct certificate *c, struct incident *i)
{
	char at[32];
	enum reissue_state state = reissue_advance(c, i);
	if (state == REISSUE_RUNNING)
		return true;
	if (state != REISSUE_WAITING)
		return false;
	AUTO_FREE char *text = xasprintf("%s: the reissue command failed or brought nothing; next try at %s",
					 i->certificate, text_from_time(i->reissue.next_at, at));
	AUTO_FREE char *next = xasprintf("certswapctl incident %u shows what it said", i->id);
	incident_answer(i, false, text, next);
	return true;
}

static void seek(struct certificate *c, struct incident *i)
{
	if (c->settings->manage == MANAGE_OBSERVE)
		return no_source(c, i, "manage = \"observe\": certswap never touches this certificate");
	bool reissuing = reissue_is_at_work(c, i);
	if (i->kind == INCIDENT_EARLY || !standby_is_usable(c, i)) {
		if (!reissuing)
			no_source(c, i,
				  i->kind == INCIDENT_EARLY ? "the CA asks for an early renewal"
				  : i->reissue.stopped      ? "the reissue command is not run again"
				  : c->standby.number       ? "the standby pair is refused"
							    : "");
		return;
	}
	if (ladder_needs_person(c, i) && !goes_by_itself(c, i))
		return ask_person(c, i);
	i->waits_turn = staging_is_full(c->site);
	if (i->waits_turn)
		return incident_review_in(c->site, i, TURN_MS);
	i->stage = INCIDENT_PROVING;
	staging_work_begins(c->site);
	prove_generation(c, c->standby.number, &i->let_pass, on_standby_proved, c);
}

static void review(struct certificate *c, struct incident *i)
{
	bool noticed_is_live =
		digest_equal(&c->live.sha256, &i->sha256) || (i->denies_key && digest_equal(&c->live.spki, &i->spki));
	i->owner = c;
	if (i->replaced_at)
		return after_review(c, i);
	if (c->swapping || c->ready.number || i->stage == INCIDENT_PROVING)
		return;
	if (i->only_standby && !digest_equal(&c->live.sha256, &i->sha256))
		return not_used(c, i);
	if (noticed_is_live || !c->live.number)
		return seek(c, i);
	if (c->transaction) /* AWAITING or STUCK: not proved on the wire */
		return incident_answer(i, false, "the replacement is live, but the wire has not shown it everywhere",
				       "certswapctl status");
	if (consumers_verified(c))
		after_replaced(c, i);
	else
		partly_replaced(c, i);
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
	if (c->site->nincidents)
		deadlines_start(c->site);
}
