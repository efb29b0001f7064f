/* What is done about an incident: it is opened by a notice, looks for a replacement, asks a person where it must, and
 * ends when the wire has shown the new pair. Runs in certswapd. */
#ifndef SITE_RESPONSE_H
#define SITE_RESPONSE_H
#include "site/incident.h"

/* What a source says about a certificate; times in seconds, 0: not said. A zeroed one with `source` set and reason -1
 * is good. Sources other than a person: CRL, OCSP      incident_seen_revoked, at each look that shows it revoked RFC
 * 9773       kind INCIDENT_EARLY, source "ari" or the explanation URL, revoke_at = end of the window;
 *                  incident_not_early once it asks no longer */
struct notice {
	enum incident_kind kind;
	const char *source; /* for people; NULL: "operator" */
	char case_letter;   /* 0: not said */
	int reason;         /* CRLReason; -1: not said */
	bool host_scope;    /* every key on this disk is suspect */
	int64_t received_at, revoke_at;
	const char *reference; /* may be NULL */
};

/* A notice hit `hit`, a generation of c: opens an incident or joins the one that is open (the stronger kind, the
 * stricter deadline and reason win; an early one is promoted), denies the certificate, and the key where case or reason
 * says so, and begins to look for a replacement. Saying the same again changes nothing. NULL and fault when it can't be
 * recorded.
 */
struct incident *incident_open(struct certificate *c, const struct meta *hit, const struct notice *notice,
			       struct fault *fault);

/* A generation of c, live or not, is published as revoked with this CRLReason, since `at` (seconds; 0: not known).
 * May be said at each look. Opens or promotes an incident (deadline now) where the generation is in use; ends "awaiting
 * revocation"; with keyCompromise, also where that comes later than the revocation itself, the key is refused for
 * good and every certificate here that has it gets an incident. 0, or negative: it could not be recorded. */
int incident_seen_revoked(struct certificate *c, const struct meta *hit, int reason, int64_t at, const char *source,
			  struct fault *fault);
/* Renewal Information asks no longer for an early renewal of it: an incident of that kind ends. */
void incident_not_early(struct certificate *c, const struct meta *hit, const char *source);

/* Begins the search for a replacement soon. cb (may be NULL) is called once: closed (the replacement is proved), or as
 * soon as only a person or another party can move it on; `next` says what to do. */
typedef void (*incident_wait_cb)(struct incident *incident, bool done, const char *text, const char *next, void *data);
void incident_wait(struct site *site, struct incident *incident, incident_wait_cb cb, void *data);

/* Looks at the facts again after a while. */
void incident_review_in(struct site *site, struct incident *incident, int64_t ms);

/* confirm NAME / withdraw ID. accepted, why: findings that the person lets pass, as in pair_spec. */
int incident_confirm(struct certificate *c, const struct words *accepted, const char *why, struct fault *fault);
/* A person needs no more of it: it ends, and all that it denied stays denied. -EBUSY: it is not replaced yet. */
int incident_end(struct site *site, unsigned int id, const char *why, struct fault *fault);
int incident_withdraw(struct site *site, unsigned int id, const char *why, struct fault *fault);
#endif
