#include "site/response.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/alert.h"
#include "site/audit.h"
#include "site/ladder.h"
#include "site/transaction.h"

struct incident_wait {
	incident_wait_cb cb;
	void *data;
};

/* ---- waiting ---- */

void incident_answer(struct incident *i, bool done, const char *text, const char *next)
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

void incident_close(struct site *site, struct incident *i)
{
	i->stage = INCIDENT_CLOSED;
	i->closed_at = clock_wall();
	for (size_t k = 0; k < site->nincidents; k++)
		if (site->incidents[k] == i)
			site->incidents[k] = site->incidents[--site->nincidents];
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

/* What a person has to look at is asked of a person, whatever else is said of it; then what a new key answers. */
static int strictness(char case_letter)
{
	const struct revocation_case *rule = policy_case(case_letter);
	return rule->person ? 2 : rule->new_key;
}

static bool join_case(struct incident *i, char letter, bool stricter_deadline)
{
	int was = strictness(i->case_letter), is = strictness(letter);
	if (!letter || letter == i->case_letter || is < was || (is == was && i->case_letter && !stricter_deadline))
		return false;
	i->case_letter = letter;
	return true;
}

/* True: it said something new. */
static bool join_deadline(struct incident *i, const struct notice *n)
{
	int64_t now = clock_wall(), received = n->received_at && n->received_at < now ? n->received_at : now;
	int64_t deadline = deadline_of(n, received); /* no clock starts in the future */
	bool promoted = n->kind > i->kind, early = promoted && i->kind == INCIDENT_EARLY;
	if (n->kind == i->kind && n->kind != INCIDENT_NOTICE && i->deadline)
		return n->kind == INCIDENT_EARLY && deadline != i->deadline ? (i->deadline = deadline, true) : false;
	if (i->deadline && n->kind < i->kind)
		return false; /* a weaker source changes no clock */
	if (promoted)
		i->kind = n->kind;
	bool stricter = !i->deadline || early || deadline < i->deadline;
	bool changed = join_case(i, n->case_letter, stricter) || promoted;
	if (!stricter)
		return changed;
	if (early) { /* the time to renew says nothing about the time to be revoked */
		i->percent = 0;
		i->urgent = false;
	}
	i->deadline = deadline;
	i->received_at = received;
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
	i->host_scope |= n->host_scope;
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

static bool stands_by(const struct certificate *c, const struct meta *hit)
{
	return c->standby.number && digest_equal(&hit->sha256, &c->standby.sha256) &&
	       !digest_equal(&hit->sha256, &c->live.sha256);
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
	AUTO_FREE char *text = xasprintf("%s: the standby pair, serial %s, %s; it is dropped", i->certificate,
					 i->serial, i->kind == INCIDENT_REVOKED ? "is revoked" : "will be revoked");
	AUTO_FREE char *next = xasprintf("keep another one: certswapctl standby %s FILE...", i->certificate);
	const struct alert alert = {.event = "standby-not-ready",
				    .severity = ALERT_TICKET,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .text = text,
				    .what_to_do = next};
	alert_send(c->site, &alert);
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
	i->saved_later = true;
	tell_opened(c, i);
	if (new)
		incident_tell_wire(i, c, "before");
	if (new || i->kind != before)
		alert_opened(c, i);
	if (stands_by(c, hit) && i->kind != INCIDENT_EARLY)
		drop_standby(c, i);
	if (hit == c->coming || hit == c->going) {
		i->only_standby = true;
		incident_tell(c->site, i, "it was %s",
			      hit == c->coming ? "on its way to go live: not any more"
					       : "just being replaced: the swap goes on");
	}
	incident_sync(c->site, i);
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
	incident_close(site, i);
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
	incident_close(c->site, i);
	incident_tell(c->site, i, "the CA asks no longer for an early renewal (%s)", source);
	incident_answer(i, true, "the CA asks no longer for an early renewal", NULL);
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

void incident_review_in(struct site *site, struct incident *i, int64_t ms)
{
	timer_close(i->review);
	i->review = timer_start(site->loop, ms, review_now, i);
}

static void review_soon(struct site *site, struct incident *i)
{
	i->owner = site_certificate(site, i->certificate);
	incident_review_in(site, i, 0);
}

void incident_wait(struct site *site, struct incident *i, incident_wait_cb cb, void *data)
{
	i->waits = xrealloc(i->waits, (i->nwaits + 1) * sizeof *i->waits);
	i->waits[i->nwaits++] = (struct incident_wait){.cb = cb, .data = data};
	review_soon(site, i);
}

/* Does a person's word change anything? It must not stand in store for a candidate that nobody has seen. */
static bool can_be_confirmed(const struct certificate *c, const struct incident *i, const struct words *accepted)
{
	bool client_waits = c->settings->reissue.n && !policy_case(i->case_letter)->reissue;
	return i->confirmed || accepted->n || client_waits || ladder_needs_person(c, i);
}

int incident_confirm(struct certificate *c, const struct words *accepted, const char *why, struct fault *fault)
{
	struct incident *i = incident_of(c);
	if (!i)
		return fault_set(fault, -ENOENT, "%s has no open incident: nothing waits for a confirmation",
				 c->settings->name);
	if (!can_be_confirmed(c, i, accepted))
		return fault_set(
			fault, -EALREADY,
			"%s: nothing in incident %u waits for a confirmation: what proves good goes live by itself",
			c->settings->name, i->id);
	i->confirmed = true;
	i->stage = INCIDENT_SOUGHT;
	for (size_t k = 0; k < accepted->n; k++)
		words_add(&i->let_pass, accepted->v[k]);
	if (accepted->n)
		i->tried_standby = 0; /* refused before, now with these findings let pass */
	incident_tell(c->site, i, "confirmed by a person%s%s", why ? "; let pass: " : "", why ? why : "");
	return 0;
}

static struct incident *incident_by_id(const struct site *site, unsigned int id)
{
	for (size_t k = 0; k < site->nincidents; k++)
		if (site->incidents[k]->id == id)
			return site->incidents[k];
	return NULL;
}

int incident_end(struct site *site, unsigned int id, const char *why, struct fault *fault)
{
	struct incident *i = incident_by_id(site, id);
	if (!i)
		return fault_set(fault, -ENOENT, "there is no open incident %u", id);
	if (!i->replaced_at)
		return fault_set(fault, -EBUSY,
				 "incident %u: serial %s is not replaced yet; where the notice was wrong: certswapctl "
				 "withdraw %u --why TEXT",
				 id, i->serial, id);
	incident_close(site, i);
	incident_tell(site, i, "closed by a person: %s; what it denies stays denied", why);
	incident_answer(i, true, "the incident was closed", NULL);
	incident_free(i);
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
		bool replaced = i->replaced_at;
		unsigned int issued = i->reissue.issued;
		incident_close(site, i);
		incident_tell(site, i,
			      "withdrawn: %s; %zu denial%s lifted%s; certificates that the reissue command got or may "
			      "have got: %u",
			      why, lifted, lifted == 1 ? "" : "s",
			      replaced ? "; what replaced it stays live" : "; nothing was replaced", issued);
		incident_answer(i, true, "the notice was withdrawn", NULL);
		incident_free(i);
		transactions_notice(site);
		return 0;
	}
	return fault_set(fault, -ENOENT, "there is no open incident %u", id);
}
