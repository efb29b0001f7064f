/* Incidents: a certificate here will be revoked, was found revoked, or should be renewed early; until its replacement
 * is proved on the wire the incident is open and looks for one. response.h opens them. One record each,
 * STATE/incidents/NNNNNN.json, so that a restart takes it up where the facts stand. Runs in certswapd. */
#ifndef SITE_INCIDENT_H
#define SITE_INCIDENT_H
#include <jansson.h>

#include "site/certificate.h"
#include "swap/policy.h"

/* How it was learned. Sorted: what comes later is stronger, and a weaker incident is promoted by a stronger source. */
enum incident_kind {
	INCIDENT_EARLY,   /* Renewal Information asks for it: a ticket; `reissue` alone; denies nothing, no standby */
	INCIDENT_NOTICE,  /* somebody says that it will be revoked */
	INCIDENT_REVOKED, /* found published as revoked: the time is over */
	INCIDENT_KINDS
};
const char *incident_kind_name(enum incident_kind kind);

enum incident_stage {
	INCIDENT_SOUGHT,       /* a replacement is looked for */
	INCIDENT_PROVING,      /* the standby pair, once more */
	INCIDENT_CONFIRMATION, /* a proved one waits for `certswapctl confirm` */
	INCIDENT_SWAPPING,
	INCIDENT_PARTLY,              /* the web servers show the replacement, a consumer does not yet */
	INCIDENT_AWAITING_REVOCATION, /* replaced; the compromised key's certificate is not seen revoked yet */
	INCIDENT_CLOSED,              /* replaced, or withdrawn */
	INCIDENT_STAGES
};
const char *incident_stage_name(enum incident_stage stage);

/* The search by the command `reissue`; what counts is on disk before the command starts. */
struct reissue {
	unsigned int attempts;
	unsigned int failures;     /* in a row */
	unsigned int issued;       /* attempts that issued a certificate, or may have */
	int64_t began_at, next_at; /* of an attempt under way, or cut off; not before this. 0: none */
	bool stopped;              /* not repeated: its result was refused, or reissue_max is reached */
	struct child *child;       /* in memory only */
	struct timer *result;      /* in memory only: it has ended well, and its result is not here yet */
};

struct incident {
	unsigned int id;
	enum incident_kind kind;
	char *certificate, *reference, *serial;
	char *source;            /* who said so, for people: "operator", "notice file", "crl", "ocsp", "ari", a URL */
	unsigned int generation; /* of what was noticed; 0: not known (records of older versions) */
	struct digest sha256, spki; /* of what was noticed */
	char case_letter;
	int reason;
	int64_t opened_at, received_at, deadline, replaced_at, closed_at; /* 0: not yet */
	int64_t revoked_at;                                               /* seen published as revoked; 0: not seen */
	enum incident_stage stage;
	bool confirmed, denies_key;
	unsigned int newest;  /* generation when it was opened: what has no higher number was on this disk before */
	bool host_scope;      /* every key on this disk is suspect */
	int64_t arrived_at;   /* a replacement came while it was open; 0: none yet */
	unsigned int percent; /* of its time: the highest mark that was told: 50, 75, 90, 100 (it has passed) */
	bool urgent;          /* told: little time is left and nothing is proved */
	bool after_done;      /* after_swap was run, or there is nothing to run */
	bool awaits;          /* replaced, and a source here will show its revocation */
	bool reminded;        /* told: still not seen revoked */
	struct reissue reissue;
	json_t *story; /* [ { "time", "text" } ] */
	/* in memory only */
	struct certificate *owner;  /* NULL: not configured here any more */
	struct timer *review;       /* a look at the facts that was asked for */
	struct child *after;        /* after_swap */
	char *told;                 /* the last reason for which nothing goes on: said once */
	unsigned int tried_standby; /* a standby that was refused is not tried again */
	struct words let_pass;      /* findings that a person accepted with `confirm` */
	bool waits_turn;            /* its standby pair is proved once less is in work */
	bool saved_later;           /* what is told waits for incident_sync: somebody has better to do than to wait
				       for the disk */
	bool unsaved;               /* told, and not on disk yet */
	bool only_standby;          /* what was noticed was not live: it stood by, or was on its way */
	bool candidate;             /* what came through watch is being proved or swapped in */
	bool arrived_since;         /* something new came through watch since the last attempt began */
	struct incident_wait *waits;
	size_t nwaits;
};

int incidents_load(struct site *site, struct fault *fault);
void incidents_close(struct site *site);

void incident_save(struct site *site, struct incident *incident); /* a failure is logged */
/* Saves what was told while saved_later was set, and the audit log. incidents_sync: of all, in the preflight of a swap.
 */
void incident_sync(struct site *site, struct incident *incident);
void incidents_sync(struct site *site);
/* Adds a line to its story, saves it, and writes it to the audit log. */
void incident_tell(struct site *site, struct incident *incident, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, and what each place showed at the last look: the wire before or after. */
void incident_tell_wire(struct incident *incident, const struct certificate *c, const char *when);
/* The open incident of c about this generation, made where there is none. */
struct incident *incident_for(struct certificate *c, const struct meta *hit);
void incident_free(struct incident *incident);

/* The open one with the nearest deadline, those that are replaced and await their revocation last; NULL: none. */
struct incident *incident_of(const struct certificate *c);
json_t *incident_json(const struct incident *incident, bool whole);
/* All of them, closed ones included, read from disk; the caller's. */
json_t *incidents_json(const struct site *site, bool all);
json_t *incident_json_by_id(const struct site *site, unsigned int id); /* NULL: no such incident */
#endif
