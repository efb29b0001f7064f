/* Watching the CAs: which certificates here, and above them, are published as revoked. All that is managed is looked
 * up at each source at intervals; what is found becomes an incident (site/response.h). Runs in certswapd; what comes
 * from the network is read by "fetch" workers. */
#ifndef SITE_REVOCATION_H
#define SITE_REVOCATION_H
#include <jansson.h>

#include "site/source.h"

enum standing_use { STANDING_LIVE, STANDING_STANDBY, STANDING_FORMER, STANDING_USES };
#define STANDING_FORMERS 3

/* A generation of ours and the certificates in its chain. */
struct standing_chain {
	unsigned int generation; /* 0: none */
	struct meta meta;
	struct subject *v[SOURCES_CERTS_MAX];
	size_t n;
	bool unreadable;              /* was read, and held no certificate */
	bool told[SOURCES_CERTS_MAX]; /* revocations that have become incidents */
	int told_reason;
};
/* What is watched for one managed certificate. */
struct standing {
	struct certificate *certificate;
	struct standing_chain live;
	struct standing_chain *standby; /* NULL as long as there was none */
	struct standing_chain *former;  /* what was live, the newest first */
	size_t nformer;                 /* places there: STANDING_FORMERS, or none as long as there was none */
	bool blind_told;
	bool recalled;         /* what was live before this start is among `former` */
	int64_t early_told;    /* end of the window that was told; 0: none */
	const char *acme;      /* the client that fills its watch folders; "" or NULL: none is known */
	struct words warnings; /* what that client can't do */
};
struct watch_over {
	struct site *site;
	int folder;     /* STATE/revocation */
	void *subjects; /* trees of search.h */
	void *sources;
	struct subject **all_subjects;
	size_t nsubjects;
	struct source **v;
	size_t n;
	struct standing *standings; /* beside site->certificates */
	size_t nstandings;
	unsigned int running; /* jobs */
	struct timer *refresh;
	bool again;                                     /* `refresh` is the next try after a worker that failed */
	struct job *reading;                            /* MESSAGE_SOURCES */
	struct standing_chain *read[SOURCES_FILES_MAX]; /* that it reads */
	struct standing *read_for[SOURCES_FILES_MAX];
	size_t nread;
};

struct watch_over *revocation_start(struct site *site);
void revocation_close(struct watch_over *w);
/* What is live or stands by has changed somewhere. */
void revocation_refresh(struct watch_over *w);

/* For sources: a place is free; the answers about this subject have changed, or were given again. */
void revocation_next(struct watch_over *w);
void revocation_told(struct watch_over *w, struct subject *subject);
void revocation_looked(struct watch_over *w, struct source *source); /* a look has ended, well or not */

/* Makes the places of `former`. */
void standing_make_room(struct standing *standing);
/* Fills the free places of `former` with the newest generations on disk that have not expired: a reason may change to
 * keyCompromise after a restart as well (former.c). */
void standing_recall_formers(struct standing *standing);
struct subject *revocation_subject(const struct watch_over *w, const struct digest *sha256); /* NULL: not known */
const struct standing *revocation_standing(const struct certificate *c);                     /* NULL: not yet */
/* `revocation` and `issuers` of status --json; the caller's. */
json_t *revocation_json(const struct certificate *c);
json_t *revocation_issuers_json(const struct certificate *c);
/* How long each source of this subject takes, for revocation_bound. */
void revocation_intervals(const struct subject *subject, int64_t ret_ms[REVOCATION_SOURCES]);
#endif
