#include "site/response.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/alert.h"
#include "site/audit.h"
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

/* What is published as revoked serves nobody who looks: then only the configuration makes it wait. */
static bool needs_person(const struct certificate *c, const struct incident *i)
{
	if (i->confirmed)
		return false;
	if (i->kind == INCIDENT_REVOKED)
		return c->settings->on_revoked == ON_EVENT_CONFIRM;
	return c->settings->on_notice == ON_EVENT_CONFIRM || policy_case(i->case_letter)->person;
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
	if (i->kind == INCIDENT_EARLY)
		return answer(i, false, "the CA asks for an early renewal",
			      "renew it with your ACME client, or hand in a new certificate");
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

static int64_t deadline_of(const struct notice *n, int64_t received)
{
	if (n->kind == INCIDENT_REVOKED)
		return received; /* the time is over */
	return n->revoke_at ? n->revoke_at : received + policy_case(n->case_letter)->within;
}

static bool set_text(char **to, const char *text)
{
	if (!text || !*text || (*to && strcmp(*to, text) == 0))
		return false;
	free(*to);
	*to = xstrdup(text);
	return true;
}

static bool join_deadline(struct incident *i, const struct notice *n)
{
	int64_t received = n->received_at ? n->received_at : clock_wall(), deadline = deadline_of(n, received);
	bool promoted = n->kind > i->kind, early = promoted && i->kind == INCIDENT_EARLY;
	if (n->kind == i->kind && n->kind != INCIDENT_NOTICE && i->deadline)
		return n->kind == INCIDENT_EARLY && deadline != i->deadline ? (i->deadline = deadline, true) : false;
	if (i->deadline && n->kind < i->kind)
		return false; /* a weaker source changes no clock */
	if (promoted)
		i->kind = n->kind;
	if (i->deadline && !early && deadline >= i->deadline)
		return promoted;
	i->deadline = deadline;
	i->received_at = received;
	i->case_letter = n->case_letter ? n->case_letter : i->case_letter;
	return true;
}

/* Two notices for one certificate are one incident; the stronger kind, the stricter deadline and reason win. True: it
 * said something new. */
static bool join(struct incident *i, const struct notice *n)
{
	bool denies = n->kind != INCIDENT_EARLY &&
		      (policy_case(n->case_letter)->new_key || n->reason == POLICY_KEY_COMPROMISE || n->host_scope);
	bool changed = join_deadline(i, n);
	if (n->reason >= 0 && n->reason != i->reason && (i->reason < 0 || n->reason == POLICY_KEY_COMPROMISE)) {
		i->reason = n->reason;
		changed = true;
	}
	changed |= denies && !i->denies_key;
	i->denies_key |= denies;
	if (!*i->source || changed)
		(void)set_text(&i->source, n->source ? n->source : "operator");
	return set_text(&i->reference, n->reference) || changed;
}

static bool deny_one(struct certificate *c, const struct incident *i, bool is_key, const struct digest *digest)
{
	AUTO_FREE char *reason = xasprintf("%s: %s%s", i->certificate,
					   i->kind == INCIDENT_REVOKED ? "seen revoked" : "noticed as to be revoked",
					   i->denies_key ? ", key compromised or not allowed" : "");
	const struct denial denial = {
		.is_key = is_key, .digest = *digest, .since = clock_wall(), .incident = i->id, .reason = reason};
	return denied_add(&c->site->denied, &denial);
}

static int deny(struct certificate *c, struct incident *i, const struct meta *hit, struct fault *fault)
{
	if (i->kind == INCIDENT_EARLY)
		return 0;
	bool changed = deny_one(c, i, false, &hit->sha256);
	if (i->denies_key)
		changed |= deny_one(c, i, true, &hit->spki);
	if (i->denies_key && i->kind == INCIDENT_REVOKED && i->reason == POLICY_KEY_COMPROMISE)
		changed |= denied_confirm(&c->site->denied, &hit->spki);
	return changed ? denied_save(c->site->folders.state, &c->site->denied, fault) : 0;
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

static void tell_opened(struct certificate *c, struct incident *i)
{
	char until[32], left[48];
	const struct revocation_case *rule = policy_case(i->case_letter);
	char letter[2] = {i->case_letter ? i->case_letter : '?', 0};
	const char *reason = policy_reason_name(i->reason);
	int64_t seconds = i->deadline - clock_wall();
	text_from_time(i->deadline, until);
	text_time_left(seconds, left);
	if (i->kind == INCIDENT_EARLY)
		return incident_tell(c->site, i, "the CA asks to renew serial %s early (%s), by %s (%s)", i->serial,
				     i->source, until, left);
	if (i->kind == INCIDENT_REVOKED)
		return incident_tell(c->site, i, "serial %s is published as revoked (%s), reason %s%s", i->serial,
				     i->source, reason ? reason : "not given",
				     i->denies_key ? "; its key is refused from now on" : "");
	incident_tell(c->site, i, "notice (%s): serial %s, case %s (%s); deadline %s (%s); needs %s%s", i->source,
		      i->serial, letter, rule->meaning, until, left, rule->needs,
		      i->denies_key ? "; its key is refused from now on" : "");
}

static void alert_opened(struct certificate *c, const struct incident *i)
{
	char until[32];
	static const char *const what[INCIDENT_KINDS] = {
		[INCIDENT_EARLY] = "should be renewed early",
		[INCIDENT_NOTICE] = "will be revoked",
		[INCIDENT_REVOKED] = "is revoked",
	};
	bool served = digest_equal(&c->live.sha256, &i->sha256);
	AUTO_FREE char *text = xasprintf("%s: serial %s %s; deadline %s", i->certificate, i->serial, what[i->kind],
					 text_from_time(i->deadline, until));
	const struct alert alert = {.event = i->kind == INCIDENT_EARLY     ? "renew-early"
					     : i->kind == INCIDENT_REVOKED ? "revoked"
									   : "opened",
				    .severity = i->kind == INCIDENT_EARLY               ? ALERT_TICKET
						: i->kind == INCIDENT_REVOKED && served ? ALERT_PAGE
											: ALERT_INFO,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = text,
				    .what_to_do = policy_case(i->case_letter)->needs};
	alert_send(c->site, &alert);
}

static void review_soon(struct site *site, struct incident *i);

struct incident *incident_open(struct certificate *c, const struct meta *hit, const struct notice *notice,
			       struct fault *fault)
{
	struct incident *i = incident_for(c, hit);
	bool new = !i->received_at;
	if (new)
		i->kind = notice->kind;
	enum incident_kind before = i->kind;
	bool changed = join(i, notice);
	if (!changed && !new && notice->kind != INCIDENT_NOTICE)
		return i; /* seen again at the next look */
	if (deny(c, i, hit, fault) < 0) {
		(void)fault_prefix(fault, fault->code, "the denial of %s can't be saved", i->certificate);
		return NULL;
	}
	tell_opened(c, i);
	if (new || i->kind != before)
		alert_opened(c, i);
	if (hit == &c->standby && i->kind != INCIDENT_EARLY)
		drop_standby(c, i);
	transactions_notice(c->site);
	review_soon(c->site, i);
	return i;
}

/* ---- published as revoked ---- */

static struct incident *about(const struct certificate *c, const struct digest *sha256)
{
	for (size_t k = 0; k < c->site->nincidents; k++) {
		struct incident *i = c->site->incidents[k];
		if (strcmp(i->certificate, c->settings->name) == 0 && digest_equal(&i->sha256, sha256))
			return i;
	}
	return NULL;
}

/* Every pair here that has a key which is published as compromised. */
static int open_same_key(struct site *site, const struct digest *spki, const struct notice *n, struct fault *fault)
{
	int r = 0;
	for (size_t k = 0; r == 0 && k < site->ncertificates; k++) {
		struct certificate *c = site->certificates[k];
		const struct meta *const pairs[] = {&c->live, &c->standby};
		for (size_t m = 0; r == 0 && m < ARRAY_SIZE(pairs); m++)
			if (pairs[m]->number && digest_equal(&pairs[m]->spki, spki) && !about(c, &pairs[m]->sha256) &&
			    !incident_open(c, pairs[m], n, fault))
				r = fault->code;
	}
	return r;
}

/* The key of a certificate that is published as revoked for its compromise: refused for good, wherever it is. */
static int refuse_key(struct certificate *c, const struct meta *hit, const char *source, struct fault *fault)
{
	struct denied *denied = &c->site->denied;
	const struct denial *old = denied_find(denied, true, &hit->spki);
	const struct notice same = {.kind = INCIDENT_NOTICE, .source = source, .reason = POLICY_KEY_COMPROMISE};
	if (!old || !old->confirmed) {
		AUTO_FREE char *reason = xasprintf("%s: serial %s is published as revoked for keyCompromise (%s)",
						   c->settings->name, hit->serial, source);
		const struct denial denial = {.is_key = true,
					      .digest = hit->spki,
					      .since = clock_wall(),
					      .confirmed = true,
					      .reason = reason};
		(void)denied_add(denied, &denial);
		int r = denied_save(c->site->folders.state, denied, fault);
		if (r < 0)
			return r;
		audit_write(c->site->audit, "key-refused", c->settings->name, NULL, "%s: the key is refused for good",
			    reason);
		transactions_notice(c->site);
	}
	return open_same_key(c->site, &hit->spki, &same, fault);
}

static void revocation_seen(struct site *site, struct incident *i, const char *source, int reason)
{
	const char *name = policy_reason_name(reason);
	close_incident(site, i);
	incident_tell(site, i, "serial %s is published as revoked (%s), reason %s: nothing is left to do", i->serial,
		      source, name ? name : "not given");
	incident_free(i);
}

int incident_seen_revoked(struct certificate *c, const struct meta *hit, int reason, int64_t at, const char *source,
			  struct fault *fault)
{
	int64_t now = clock_wall();
	const struct notice n = {
		.kind = INCIDENT_REVOKED, .source = source, .reason = reason, .received_at = now, .revoke_at = now};
	bool in_use = digest_equal(&hit->sha256, &c->live.sha256) ||
		      (c->standby.number && digest_equal(&hit->sha256, &c->standby.sha256));
	struct incident *i = about(c, &hit->sha256);
	if (i && !i->revoked_at)
		i->revoked_at = at ? at : now;
	if (i && i->stage == INCIDENT_AWAITING_REVOCATION)
		revocation_seen(c->site, i, source, reason);
	else if ((i || in_use) && !(i = incident_open(c, hit, &n, fault)))
		return fault->code;
	else if (i && !i->revoked_at)
		i->revoked_at = at ? at : now; /* saved with the next line of its story */
	return reason == POLICY_KEY_COMPROMISE ? refuse_key(c, hit, source, fault) : 0;
}

void incident_not_early(struct certificate *c, const struct meta *hit, const char *source)
{
	struct incident *i = about(c, &hit->sha256);
	if (!i || i->kind != INCIDENT_EARLY || i->stage == INCIDENT_SWAPPING)
		return;
	close_incident(c->site, i);
	incident_tell(c->site, i, "the CA asks no longer for an early renewal (%s)", source);
	answer(i, true, "the CA asks no longer for an early renewal", NULL);
	incident_free(i);
}

static void review_now(void *data)
{
	struct incident *i = data;
	timer_close(i->review);
	i->review = NULL;
	if (i->owner)
		incidents_review(i->owner);
}

static void review_soon(struct site *site, struct incident *i)
{
	i->owner = site_certificate(site, i->certificate);
	if (!i->review)
		i->review = timer_start(site->loop, 0, review_now, i);
}

void incident_wait(struct site *site, struct incident *i, incident_wait_cb cb, void *data)
{
	i->waits = xrealloc(i->waits, (i->nwaits + 1) * sizeof *i->waits);
	i->waits[i->nwaits++] = (struct incident_wait){.cb = cb, .data = data};
	review_soon(site, i);
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
