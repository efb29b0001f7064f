/* Incidents: a certificate here was noticed as to be revoked (or will be); until its replacement is proved on the wire
 * the incident is open and looks for one. One record each, STATE/incidents/NNNNNN.json, so that a restart takes it up
 * where the facts stand. Runs in certswapd. */
#ifndef SITE_INCIDENT_H
#define SITE_INCIDENT_H
#include <jansson.h>

#include "site/certificate.h"
#include "swap/policy.h"

enum incident_stage {
	INCIDENT_SOUGHT,       /* a replacement is looked for */
	INCIDENT_PROVING,      /* the standby pair, once more */
	INCIDENT_CONFIRMATION, /* a proved one waits for `certswapctl confirm` */
	INCIDENT_SWAPPING,
	INCIDENT_CLOSED, /* replaced, or withdrawn */
	INCIDENT_STAGES
};
const char *incident_stage_name(enum incident_stage stage);

/* What a notice says (CONTRACT "A notice file"); times in seconds, 0: not said. */
struct notice {
	char case_letter; /* 0: not said */
	int reason;       /* CRLReason; -1: not said */
	bool host_scope;  /* every key on this disk is suspect */
	int64_t received_at, revoke_at;
	const char *reference; /* may be NULL */
};

struct incident {
	unsigned int id;
	char *certificate, *reference, *serial;
	struct digest sha256, spki; /* of what was noticed */
	char case_letter;
	int reason;
	int64_t opened_at, received_at, deadline, closed_at;
	enum incident_stage stage;
	bool confirmed, denies_key;
	json_t *story; /* [ { "time", "text" } ] */
	/* in memory only */
	struct certificate *owner;  /* NULL: not configured here any more */
	struct timer *timer;        /* confirm_by */
	struct timer *review;       /* a look at the facts that was asked for */
	char *told;                 /* the last reason for which nothing goes on: said once */
	unsigned int tried_standby; /* a standby that was refused is not tried again */
	bool only_standby;          /* what was noticed stood by and was never seen by anybody */
	struct incident_wait *waits;
	size_t nwaits;
};

int incidents_load(struct site *site, struct fault *fault);
void incidents_close(struct site *site);

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

struct incident *incident_of(const struct certificate *c); /* the open one with the nearest deadline; NULL: none */
json_t *incident_json(const struct incident *incident, bool whole);
/* All of them, closed ones included, read from disk; the caller's. */
json_t *incidents_json(const struct site *site, bool all);
json_t *incident_json_by_id(const struct site *site, unsigned int id); /* NULL: no such incident */
#endif
