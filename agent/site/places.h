/* The places of a transaction: every (endpoint, name or none) where its certificates can be served; what they show,
 * asked of "probe" workers; and what that means for the swap. Runs in certswapd, which itself opens no network socket.
 */
#ifndef SITE_PLACES_H
#define SITE_PLACES_H
#include "site/certificate.h"
#include "swap/journal.h"
#include "wire/probe.h"

/* The kind of key (enum probe_key) that a meta.json's key_type says; NULL: any. */
uint8_t places_key(const char *key_type);

/* Makes j->places anew from the configurations of its certificates (in the order of j->certificates). */
void places_list(struct journal *j, struct certificate *const *certificates);

/* Adds the places of a server that came up after the baseline, as silent ones; none where the configuration names the
 * endpoints. */
void places_add_server(struct journal *j, struct certificate *const *certificates, size_t server);

/* What a round of handshakes found at the places of one server: WANTED, OTHER or BROKEN; parents are not looked at
 * here. */
struct places_part {
	enum txn_wire wire;
	size_t judged, turned; /* places; those that show the new pair */
};
struct places_verdict {
	struct places_part *parts; /* one for each server; a place of no known server counts for all */
	char *text;                /* the first place that is not as wanted, for a person; NULL: all are */
	char *note;           /* of places that are as wanted: what a person should know all the same; NULL: nothing */
	size_t note_about;    /* which certificate of the journal that is about */
	int64_t first_new_us; /* CLOCK_MONOTONIC of the first handshake with a new pair; 0: none */
};
void places_verdict_done(struct places_verdict *v);

enum places_goal {
	PLACES_BASELINE, /* one look: fills before and turns of each place */
	PLACES_NEW,      /* places that turn show the new pair alone, the others still give a handshake */
	PLACES_NEW_ALL,  /* the same, and places that were silent before must not show the old pair: every server runs
			    now */
	PLACES_OLD       /* places that turned show the old pair again, the others still give a handshake */
};

/* Calls back exactly once, never from inside. Also keeps what was seen in each certificate's `served`. */
typedef void (*places_cb)(const struct places_verdict *verdict, void *data);
struct places_round;
struct places_round *places_look(struct site *site, struct journal *j, struct certificate *const *certificates,
				 enum places_goal goal, int64_t deadline_ms, places_cb cb, void *data);
/* Some places of every server show what they should, and nothing else any more; known before all are looked at. */
bool places_have_turned(const struct places_round *round);
void places_close(struct places_round *round); /* no callback; after the callback it is gone by itself */
#endif
