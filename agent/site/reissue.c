#include "site/reissue.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "loop/child.h"
#include "site/alert.h"
#include "site/ladder.h"
#include "swap/backoff.h"

#define RESULT_MS    10000 /* how long after its good end a result may still come through `watch` */
#define OUTPUT_LINES 20    /* of the end of its output, kept in the story */
#define OUTPUT_BYTES 2000
#define NOTHING_CAME 3600 /* seconds until it is run again after it brought nothing */
#define BACKDATED    3700 /* CAs date notBefore back by an hour */

static uint32_t dice(void)
{
	uint32_t n = 0;
	return getrandom(&n, sizeof n, GRND_NONBLOCK) == sizeof n ? n : (uint32_t)clock_monotonic_us();
}

static void look_again(struct certificate *c)
{
	incidents_review(c); /* may free the incident */
}

/* The last lines: where a client says why. The caller's. */
static char *tail_of(const struct child_result *result)
{
	const char *s = result->output, *end = s + result->output_len;
	while (end > s && (end[-1] == '\n' || end[-1] == ' '))
		end--;
	const char *from = end;
	for (int lines = 0; from > s && end - from < OUTPUT_BYTES; from--)
		if (from[-1] == '\n' && ++lines == OUTPUT_LINES)
			break;
	while (from < end && (*from & 0xc0) == 0x80)
		from++; /* not in the middle of a character */
	char *tail = xstrndup(from, (size_t)(end - from));
	for (char *p = tail; *p; p++)
		if (*p == '\n' || *p == '\t')
			*p = *p == '\n' ? '|' : ' ';
	return tail;
}

static void alert_of(struct certificate *c, const struct incident *i, const char *event, const char *state,
		     const char *text)
{
	const struct alert alert = {.event = event,
				    .severity = ALERT_TICKET,
				    .certificate = i->certificate,
				    .incident = i->id,
				    .deadline = i->deadline,
				    .text = text,
				    .state = state,
				    .what_to_do = "mend it, then run the client by hand, or hand in a certificate; "
						  "certswapctl incident shows what it said"};
	alert_send(c->site, &alert);
}

/* ---- the end of an attempt ---- */

static void failed(struct certificate *c, struct incident *i, const char *how, const char *output, bool cut_off)
{
	int64_t now = clock_wall(), said = backoff_said(output, now);
	int64_t wait = backoff_wait(++i->reissue.failures, said, i->deadline - now, dice());
	char until[32];
	i->reissue.began_at = 0;
	i->reissue.next_at = now + wait;
	if (i->arrived_since || cut_off) /* it got a certificate and failed after that; or who knows */
		i->reissue.issued++;
	incident_tell(c->site, i, "reissue failed: %s; next try at %s%s; it said: %s", how,
		      text_from_time(i->reissue.next_at, until), said ? " (by the client's own words)" : "", output);
	AUTO_FREE char *text = xasprintf("%s: the reissue command failed: %s", i->certificate, how);
	if (i->reissue.failures == 1)
		alert_of(c, i, "reissue-failed", NULL, text);
}

/* It ended well, but no new certificate was seen. */
static void nothing_came(void *data)
{
	struct incident *i = data;
	struct certificate *c = i->owner;
	char until[32];
	timer_close(i->reissue.result);
	i->reissue.result = NULL;
	if (!c)
		return;
	i->reissue.next_at = clock_wall() + NOTHING_CAME;
	incident_tell(
		c->site, i,
		"reissue ended well, but no new certificate came through watch: does the command renew at once, and "
		"is its folder named by watch? Next try at %s",
		text_from_time(i->reissue.next_at, until));
	AUTO_FREE char *text = xasprintf(
		"%s: the reissue command said that all is well, but brought no new certificate", i->certificate);
	alert_of(c, i, "reissue-brought-nothing", NULL, text);
	look_again(c);
}

static void on_done(const struct child_result *result, void *data)
{
	struct incident *i = data;
	struct certificate *c = i->owner;
	AUTO_FREE char *tail = tail_of(result);
	i->reissue.child = NULL;
	if (result->timed_out) {
		failed(c, i, "it took too long and was killed", tail, true);
	} else if (result->problem) {
		failed(c, i, result->problem, "", false);
	} else if (result->exit_status != 0) {
		AUTO_FREE char *how = result->signal ? xasprintf("signal %d", result->signal)
						     : xasprintf("exit status %d", result->exit_status);
		failed(c, i, how, tail, false);
	} else {
		i->reissue.began_at = 0;
		i->reissue.failures = 0;
		i->reissue.issued++;
		i->reissue.stopped = i->arrived_since;
		if (!i->replaced_at && !i->arrived_since)
			i->reissue.result = timer_start(c->site->loop, RESULT_MS, nothing_came, i);
		incident_tell(c->site, i, "reissue ended well; it said: %s", tail);
	}
	look_again(c);
}

/* ---- an attempt ---- */

static char *home_of_ours(void)
{
	const struct passwd *user = getpwuid(geteuid());
	return xasprintf("HOME=%s", user ? user->pw_dir : "/");
}

static const char *reason_of(const struct incident *i)
{
	const char *name = policy_reason_name(i->reason);
	return name ? name : policy_case(i->case_letter)->reason;
}

static void run(struct certificate *c, struct incident *i)
{
	char until[32];
	const struct words *command = &c->settings->reissue;
	AUTO_FREE const char **argv = xcalloc(command->n + 1, sizeof(*argv));
	for (size_t k = 0; k < command->n; k++)
		argv[k] = command->v[k];
	AUTO_FREE char *home = home_of_ours(), *name = xasprintf("CERTSWAP_CERTIFICATE=%s", i->certificate),
		       *id = xasprintf("CERTSWAP_INCIDENT=%u", i->id),
		       *reason = xasprintf("CERTSWAP_REASON=%s", reason_of(i)),
		       *deadline = xasprintf("CERTSWAP_DEADLINE=%s", text_from_time(i->deadline, until));
	const char *const environment[] = {home, name, id, reason, deadline, NULL};
	i->reissue.attempts++;
	i->arrived_since = false;
	i->reissue.began_at = clock_wall();
	i->reissue.next_at = 0;
	incident_tell(c->site, i, "reissue begins: attempt %u, %s", i->reissue.attempts, argv[0]);
	const struct child_spec spec = {
		.argv = argv, .environment = environment, .timeout_ms = c->settings->reissue_timeout_ms};
	i->reissue.child = child_start(c->site->loop, &spec, on_done, i);
}

static void stop(struct certificate *c, struct incident *i, const char *why)
{
	i->reissue.stopped = true;
	incident_tell(c->site, i, "reissue is not run again: %s", why);
}

static bool may_answer(const struct certificate *c, const struct incident *i)
{
	if (!c->settings->reissue.n || c->settings->manage != MANAGE_SWAP || i->replaced_at)
		return false;
	return policy_case(i->case_letter)->reissue || i->confirmed;
}

enum reissue_state reissue_advance(struct certificate *c, struct incident *i)
{
	struct reissue *r = &i->reissue;
	int64_t now = clock_wall();
	if (!may_answer(c, i))
		return REISSUE_NONE;
	if (r->child || r->result || i->candidate)
		return REISSUE_RUNNING;
	if (r->began_at) { /* certswapd was stopped in the middle of it */
		failed(c, i, "it was cut off when certswapd ended", "", true);
	}
	if (r->stopped)
		return REISSUE_STOPPED;
	if (r->issued >= (unsigned int)c->settings->reissue_max) {
		AUTO_FREE char *why = xasprintf(
			"%u certificates were or may have been issued for this incident (reissue_max)", r->issued);
		stop(c, i, why);
		return REISSUE_STOPPED;
	}
	if (r->next_at > now + BACKOFF_BELIEVED)
		r->next_at = now + BACKOFF_LONGEST; /* the clock was set back */
	if (r->next_at > now)
		return REISSUE_WAITING;
	run(c, i);
	return REISSUE_RUNNING;
}

/* ---- what came of it ---- */

void reissue_arrived(struct certificate *c, const char *serial, int64_t not_before)
{
	struct incident *i = incident_of(c);
	char until[32];
	if (!i || i->replaced_at)
		return;
	if (i->reissue.result) {
		timer_close(i->reissue.result);
		i->reissue.result = NULL;
		i->reissue.stopped = true; /* one is enough; its refusal is a person's business */
	}
	i->candidate = true;
	i->arrived_since = true;
	if (i->reissue.child && not_before + BACKDATED < i->reissue.began_at)
		i->arrived_since = false; /* older than the attempt: somebody else's */
	int64_t after = c->settings->ca_revokes_old_after_ms / 1000, now = clock_wall();
	bool first = !i->arrived_at;
	if (first)
		i->arrived_at = now;
	incident_tell(c->site, i, "a new certificate came through watch: serial %s", serial);
	if (!first || !after || now + after >= i->deadline)
		return;
	i->deadline = now + after;
	i->percent = 0;
	incident_tell(c->site, i,
		      "the CA revokes the old certificate because of the reissue (ca.revokes_old_after): the deadline "
		      "is %s now",
		      text_from_time(i->deadline, until));
}

void reissue_settled(struct certificate *c)
{
	for (size_t k = 0; k < c->site->nincidents; k++)
		if (c->site->incidents[k]->owner == c)
			c->site->incidents[k]->candidate = false;
}

void reissue_refused(struct certificate *c, const struct digest *leaf, const char *text)
{
	struct incident *i = incident_of(c);
	char hex[DIGEST_HEX];
	reissue_settled(c);
	if (!i || i->replaced_at)
		return;
	incident_tell(c->site, i, "a candidate is refused: %s", text);
	AUTO_FREE char *said = xasprintf("%s: a candidate for its replacement is refused: %s", i->certificate, text);
	alert_of(c, i, "candidate-refused", digest_text(leaf, hex), said);
	if (i->reissue.attempts)
		stop(c, i, "what it got was refused, and the next one would be too");
	look_again(c);
}
