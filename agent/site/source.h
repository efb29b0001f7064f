/* One place where a CA publishes what is asked for: the CRL of an issuer, its OCSP responder, a server of renewal
 * information. Asked at intervals by "fetch" workers, one job at a time for each, for all certificates that it answers
 * for. What must not be forgotten is kept in STATE/revocation/, a small record for each. Runs in certswapd. */
#ifndef SITE_SOURCE_H
#define SITE_SOURCE_H
#include <jansson.h>

#include "site/certificate.h"
#include "swap/renewal.h"
#include "swap/revocation.h"
#include "wire/fetch.h"
#include "wire/sources.h"

/* A certificate of a CA, leaf or intermediate, that is watched: once, however many of ours stand under it. */
struct subject {
	struct source_cert cert;
	struct revocation_answer answers[REVOCATION_SOURCES];
	char *said[REVOCATION_SOURCES];     /* the responder's own words about this one */
	struct renewal_window plan, window; /* ARI: the last ordinary one; the last one */
	char *plan_url, *url;               /* explanationURL of each; NULL: none */
	bool early;                         /* the window is no ordinary one */
	bool wanted;                        /* something here uses it (mark and sweep) */
	unsigned int busy;                  /* jobs that will come back to it */
	struct source *at[FETCH_KINDS];     /* who is asked about it; NULL: nobody */
};
void subject_free(struct subject *s);

struct watch_over; /* site/revocation.h */
struct source {
	struct watch_over *all;
	enum fetch_kind kind; /* CRL, OCSP, ARI */
	struct digest key;
	char record[32]; /* name below STATE/revocation */
	struct words urls;
	char *file;                /* the CRL of a mirror; NULL: none */
	struct certificate *owner; /* whose generation holds `child` and its chain, and whose trust counts */
	unsigned int generation;
	struct digest child;
	struct subject **v;
	size_t n, cap;
	int64_t interval_ms; /* configured: the shortest of all that use it */
	/* the look that is under way */
	struct job *job;
	struct subject **asked;
	size_t nasked, at; /* at: where the next job begins */
	char *elsewhere;   /* a redirect leads there */
	bool renewal_info; /* and what stands there is no directory */
	uint8_t redirects;
	/* the looks before */
	struct timer *timer;
	bool due, fresh; /* due: waits for its turn; fresh: new subjects have never been asked about */
	unsigned int failures;
	char *problem; /* of the last look; NULL: it went well */
	char *etag, *last_modified, *number;
	int64_t this_update, next_update, checked_at, bytes, retry_ms;
	uint64_t looks, requests, received; /* since the start */
};

/* `key` says all that makes it this source. Reads its record. */
struct source *source_new(struct watch_over *all, enum fetch_kind kind, const struct digest *key);
void source_free(struct source *s);
void source_add(struct source *s, struct subject *subject);
/* Everything has been added: looks soon where something is new, else when it was going to. */
void source_schedule(struct source *s);
/* What a record of an earlier run knows about this subject. */
void source_recall(struct source *s, struct subject *subject);
int64_t source_interval(const struct source *s); /* milliseconds: what it comes to */
/* A responder may not know a certificate that is some minutes old (BR 4.9.9): no reason to say anything. */
bool source_is_young(const struct subject *subject, int64_t now);
json_t *source_json(const struct source *s);
#endif
