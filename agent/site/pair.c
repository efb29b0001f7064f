#include "site/pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "site/audit.h"
#include "site/baseline.h"
#include "site/pending.h"
#include "site/standby.h"
#include "site/consumer.h"
#include "site/transaction.h"
#include "swap/record.h"

#define PAIR_AGAIN "this says nothing against the pair: mend what the text names (disk, memory, limits), then try again"

struct pair {
	struct certificate *certificate;
	bool standby;
	bool at_once;
	bool patient;
	unsigned int restores; /* the generation that somebody wrote over; 0: it restores none */
	bool counted;          /* by staging_work_begins */
	bool automatic;
	unsigned int beside; /* the live generation that it was compared with */
	unsigned int number; /* of a generation that was there before; 0: to be made */
	char *why;
	enum txn_state state; /* how the swap ended, while the consumers are waited for */
	pair_cb cb;
	void *data;
};

static void finish(struct pair *p, enum pair_outcome outcome, const char *text, const char *next)
{
	p->cb(outcome, text, next, p->data);
	free(p->why);
	free(p);
}

/* A certificate for a key that must not come back is told apart from a pair with some fault. */
static bool refuse_key(struct pair *p, const struct check_reply *reply)
{
	char *next;
	AUTO_FREE char *text = pending_refusal(p->certificate, &reply->spki, reply->serial, &next);
	if (!text)
		return false;
	audit_write(p->certificate->site->audit, "refused", p->certificate->settings->name,
		    json_pack("{s[s]}", "findings", "KEY_DENIED"), "%s", text);
	finish(p, PAIR_REFUSED, text, next);
	free(next);
	return true;
}

/* Is all that blocks that an issuer is not among the files? */
static bool lacks_only_chain(const struct findings *findings)
{
	for (size_t i = 0; i < findings->n; i++)
		if (findings->v[i].severity == FINDING_BLOCK && findings->v[i].code != FINDING_CHAIN_INCOMPLETE)
			return false;
	return findings_block(findings);
}

/* The findings that block, a line each, and what to do about the first. */
static void refuse(struct pair *p, const struct findings *findings)
{
	struct text t = {0};
	struct words codes = {0};
	const struct finding *worst = findings_worst(findings);
	for (size_t i = 0; i < findings->n; i++) {
		if (findings->v[i].severity != FINDING_BLOCK)
			continue;
		text_add(&t, "%s%s: %s", t.len ? "\n" : "", finding_name(findings->v[i].code), findings->v[i].text);
		words_add(&codes, finding_name(findings->v[i].code));
	}
	bool waits = p->patient && lacks_only_chain(findings);
	if (!waits)
		audit_write(p->certificate->site->audit, "refused", p->certificate->settings->name,
			    json_pack("{so}", "findings", record_from_words(&codes)), "%s", worst->text);
	finish(p, waits ? PAIR_INCOMPLETE : PAIR_REFUSED, t.s, finding_what_to_do(worst->code));
	words_done(&codes);
	text_done(&t);
}

/* What a person is told for each way a swap can end; the caller's. */
static char *text_of(const struct certificate *c, enum txn_state state, const char *reason)
{
	struct words down = {0};
	const char *name = c->settings->name, *serial = c->live.serial ? c->live.serial : "?";
	if (state == TXN_COMMITTED)
		return xasprintf("%s: serial %s is served, proved on the wire, after %lld ms of swapping", name, serial,
				 (long long)c->last_swap.milliseconds);
	if (state == TXN_UNSERVED)
		return xasprintf(
			"%s: serial %s is live on disk; no web server showed the old one, so nothing could be proved",
			name, serial);
	if (state != TXN_AWAITING)
		return xasprintf("%s: %s: %s", name, txn_state_name(state),
				 *reason ? reason : "no reason was recorded");
	transaction_unverified(c, &down);
	AUTO_FREE char *names = words_join(&down, ", ");
	words_done(&down);
	return xasprintf("%s: serial %s is live on disk; not running, so not proved: %s", name, serial, names);
}

char *pair_what_to_do(const struct certificate *c, enum txn_state state)
{
	if (state == TXN_COMMITTED)
		return NULL;
	if (state == TXN_UNSERVED)
		return xasprintf("point the web servers at %s/certificates/%s/live/fullchain.pem and privkey.pem",
				 c->site->settings->state_dir, c->settings->name);
	if (state == TXN_AWAITING)
		return xstrdup("start the web server; certswap looks at it then");
	if (state == TXN_HELD)
		return xstrdup("mend what the reason names; certswap tries again every 30 s");
	if (state == TXN_STUCK)
		return transaction_way_out(c);
	return xasprintf("certswapctl status %s; then look at the web server's error log", c->settings->name);
}

static enum pair_outcome outcome_of(enum txn_state state)
{
	if (state == TXN_COMMITTED)
		return PAIR_LIVE;
	if (state == TXN_UNSERVED || state == TXN_AWAITING)
		return PAIR_INSTALLED;
	if (state == TXN_HELD)
		return PAIR_HELD;
	return state == TXN_DISCARDED || state == TXN_FOREIGN ? PAIR_REFUSED : PAIR_FAILED;
}

/* "Done" is said once the other programs that read the pair have shown it too, or have failed to. */
static void on_consumers(struct certificate *c, void *data)
{
	struct pair *p = data;
	AUTO_FREE char *text = text_of(c, p->state, "");
	AUTO_FREE char *next = pair_what_to_do(c, p->state);
	if (consumers_verified(c))
		return finish(p, outcome_of(p->state), text, next);
	AUTO_FREE char *problem = consumers_problem(c);
	AUTO_FREE char *all = xasprintf("%s\nthe consumers do not all show it yet: %s", text, problem);
	AUTO_FREE char *waive = xasprintf("certswap tries again by itself; where it need not show it: "
					  "certswapctl waive %s CONSUMER --why TEXT",
					  c->settings->name);
	finish(p, PAIR_INSTALLED, all, waive);
}

static void on_swapped(struct certificate *c, enum txn_state state, const char *reason, void *data)
{
	struct pair *p = data;
	if ((state == TXN_COMMITTED || state == TXN_UNSERVED) && !consumers_verified(c)) {
		p->state = state;
		return consumers_wait(c, on_consumers, p);
	}
	AUTO_FREE char *text = text_of(c, state, reason), *next = pair_what_to_do(c, state);
	finish(data, outcome_of(state), text, next);
}

static void keep_as_standby(struct pair *p, unsigned int number, const struct check_reply *reply)
{
	struct fault fault = {0};
	struct certificate *c = p->certificate;
	if (store_set_standby(c->folder, number, &fault) < 0)
		return finish(p, PAIR_REFUSED, fault.text, NULL);
	certificate_refresh(c);
	pending_review(c);
	standby_was_proved(c);
	const char *weakness = standby_weakness(c);
	AUTO_FREE char *text = xasprintf("serial %s stands by%s%s", reply->serial, *weakness ? "; but " : "", weakness);
	audit_write(c->site->audit, "standby", c->settings->name, NULL, "%s", text);
	finish(p, PAIR_STANDBY, text, NULL);
	standby_changed(c);
}

/* Meanwhile another pair was proved, or went live: it is no older than what was written over, and takes its place. */
static bool is_restored_by_another(const struct pair *p)
{
	const struct certificate *c = p->certificate;
	return p->restores && (c->ready.number || c->swapping || c->live.number != p->restores);
}

/* Came by itself, and is older than what is on its way in, or went live meanwhile. It waits for the end of that and is
 * proved anew: then it is refused as older, or goes live where the newer one did not. */
static bool is_overtaken(const struct pair *p, unsigned int number)
{
	struct meta own = {0};
	struct certificate *c = p->certificate;
	if (!p->automatic || store_read_meta(c->folder, number, &own, NULL) < 0)
		return false;
	transaction_look(c);
	bool coming = (c->swapping || c->ready.number) && c->coming && c->coming->number &&
		      c->coming->not_before > own.not_before;
	bool came = c->live.number != p->beside && c->live.not_before > own.not_before;
	meta_done(&own);
	return coming || came;
}

static void on_proved(const struct check_reply *reply, unsigned int number, const struct fault *fault, void *data)
{
	struct pair *p = data;
	struct certificate *c = p->certificate;
	struct fault problem = {0};
	if (p->counted)
		staging_work_ended(c->site);
	static const enum pair_outcome outcomes[] = {
		[PROVE_PAIR] = PAIR_REFUSED, [PROVE_WORKER] = PAIR_UNREAD, [PROVE_MACHINE] = PAIR_UNPROVED};
	if (!reply)
		return finish(p, outcomes[prove_blame(fault)], fault->text,
			      prove_blame(fault) == PROVE_PAIR ? NULL : PAIR_AGAIN);
	if (findings_block(&reply->findings) && refuse_key(p, reply))
		return;
	if (findings_block(&reply->findings))
		return refuse(p, &reply->findings);
	if (p->number)
		number = p->number;
	audit_write_soon(c->site->audit, "proved", c->settings->name,
			 json_pack("{sI, ss}", "generation", (json_int_t)number, "serial", reply->serial),
			 "serial %s from %s%s%s", reply->serial, reply->issuer,
			 p->why ? "; let pass by a person: " : "", p->why ? p->why : "");
	if (p->standby)
		return keep_as_standby(p, number, reply);
	if (is_restored_by_another(p)) /* the generation stays: it is what `rollback` goes back to */
		return finish(p, PAIR_REFUSED, "another pair takes its place", NULL);
	int r = is_overtaken(p, number)
			? fault_set(&problem, -EAGAIN, "a newer pair is on its way in, or has just gone live")
			: transaction_stage(c, number, p->at_once, on_swapped, p, &problem);
	if (r < 0)
		audit_sync(c->site->audit);
	if (r == -EAGAIN) {
		if (!p->number)
			(void)store_remove(c->folder, number, NULL);
		finish(p, PAIR_UNPROVED, problem.text, PAIR_AGAIN);
	} else if (r < 0) {
		finish(p, PAIR_REFUSED, problem.text, NULL);
	}
}

static struct pair *pair_new(struct certificate *c, pair_cb cb, void *data)
{
	struct pair *p = xcalloc(1, sizeof *p);
	*p = (struct pair){.certificate = c, .cb = cb, .data = data};
	return p;
}

/* The key that waits here for this certificate; -1: none. */
static int open_waiting_key(const struct pair_spec *spec)
{
	const struct waiting_key *key =
		digest_is_zero(&spec->spki) ? NULL : pending_find(spec->certificate, &spec->spki);
	if (!key || (key->suspect && spec->automatic))
		return -1;
	return keyring_open_key(spec->certificate->folder, &spec->spki, NULL);
}

void pair_start(const struct pair_spec *spec, pair_cb cb, void *data)
{
	struct pair *p = pair_new(spec->certificate, cb, data);
	p->standby = spec->standby;
	p->counted = !spec->standby;
	p->at_once = spec->at_once;
	p->patient = spec->patient;
	p->restores = spec->restores;
	p->automatic = spec->automatic;
	p->beside = spec->certificate->live.number;
	if (p->counted)
		staging_work_begins(spec->certificate->site);
	p->why = xstrdup(spec->why);
	AUTO_CLOSE int key = open_waiting_key(spec);
	struct prove_input *inputs = xcalloc(spec->ninputs + 1, sizeof *inputs);
	if (spec->ninputs)
		memcpy(inputs, spec->inputs, spec->ninputs * sizeof *inputs);
	inputs[spec->ninputs] = (struct prove_input){.fd = key, .role = CHECK_KEY};
	const struct prove_spec prove = {.inputs = inputs,
					 .ninputs = spec->ninputs + (key >= 0),
					 .leaf = spec->leaf,
					 .origin = spec->origin,
					 .older_blocks = spec->automatic,
					 .accepted = spec->accepted};
	prove_start(spec->certificate, &prove, on_proved, p);
	if (!spec->standby)
		baseline_ahead(spec->certificate);
	transaction_tell_step(&p->certificate, 1, "proving the pair");
	free(inputs);
}

void pair_swap_generation(struct certificate *c, unsigned int number, const struct words *accepted, const char *why,
			  pair_cb cb, void *data)
{
	struct pair *p = pair_new(c, cb, data);
	p->number = number;
	p->at_once = true;
	p->why = xstrdup(why);
	prove_generation(c, number, accepted, on_proved, p);
	baseline_ahead(c);
	transaction_tell_step(&c, 1, "proving the pair");
}
