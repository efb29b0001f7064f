/* What is done about an incident: it is opened by a notice, looks for a replacement, asks a person where it must, and
 * ends when the wire has shown the new pair. Runs in certswapd. */
#ifndef SITE_RESPONSE_H
#define SITE_RESPONSE_H
#include "site/incident.h"

/* What a notice says (CONTRACT "A notice file"); times in seconds, 0: not said. */
struct notice {
	char case_letter; /* 0: not said */
	int reason;       /* CRLReason; -1: not said */
	bool host_scope;  /* every key on this disk is suspect */
	int64_t received_at, revoke_at;
	const char *reference; /* may be NULL */
};

/* A notice hit `hit`, a generation of c: opens an incident or joins the one that is open (the stricter deadline and
 * reason win), denies the key where the case says so, and begins to look for a replacement. NULL and fault when it
 * can't be recorded. */
struct incident *incident_open(struct certificate *c, const struct meta *hit, const struct notice *notice,
			       struct fault *fault);

/* Begins the search for a replacement soon. cb (may be NULL) is called once: closed (the replacement is proved), or as
 * soon as only a person or another party can move it on; `next` says what to do. */
typedef void (*incident_wait_cb)(struct incident *incident, bool done, const char *text, const char *next, void *data);
void incident_wait(struct site *site, struct incident *incident, incident_wait_cb cb, void *data);

/* The facts about c have changed: each of its incidents looks again. */
void incidents_review(struct certificate *c);
/* confirm NAME / withdraw ID. */
int incident_confirm(struct certificate *c, struct fault *fault);
int incident_withdraw(struct site *site, unsigned int id, const char *why, struct fault *fault);
#endif
