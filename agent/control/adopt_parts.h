/* What adopt and release share: one of them under way, and its steps. Inside site/ only. */
#ifndef SITE_ADOPT_PARTS_H
#define SITE_ADOPT_PARTS_H
#include "base/text.h"
#include "control/adopt_files.h"
#include "site/places.h"
#include "control/request.h"

struct adoption;
typedef void (*adopt_step)(struct adoption *a);

struct adoption_ask {
	struct adoption *adoption;
	struct server *server;
};
struct adoption {
	struct site *site;
	struct request *request;
	char *name;
	json_t *record, *edits; /* edits: with the offsets of now */
	json_t *before;         /* the record of what was taken over to its end before; or NULL */
	char *conf_before;      /* and its certificates.d/NAME.conf */
	size_t conf_len;
	bool resumed;                             /* one that was cut off: something may be touched already */
	bool observe, original, releasing, waits; /* waits: for the configuration to be put in place */
	adopt_step configured, next, then;
	struct server_hold *hold;
	struct server **servers;
	size_t nservers, asked;
	struct adoption_ask *asks; /* one for each server */
	bool refused, reloaded, going_back;
	struct words files; /* to be edited, each once */
	size_t file;
	struct journal *journal; /* of a look at the wire; never saved */
	struct places_round *round;
	struct timer *timer;
	size_t showed; /* places that were in order before */
	bool wide;     /* these are looked for at all addresses of the host */
	int64_t deadline_us;
	struct text why; /* what was refused */
};

struct certificate *adoption_certificate(const struct adoption *a);
/* The end: answers the request and frees everything. next: what to do, or NULL. */
void adoption_finish(struct adoption *a, int exit, const char *text, const char *next);
/* Reads the configuration again; `then` runs once it is in place. 0 or negative errno. */
int adoption_reconfigure(struct adoption *a, adopt_step then, struct fault *fault);
int adoption_remove_conf(const struct adoption *a, struct fault *fault);
/* Takes the queues of all servers of the record. */
void adoption_hold(struct adoption *a, adopt_step then);
/* Rehearsal and configuration test of each; a->refused and a->why tell. */
void adoption_test(struct adoption *a, adopt_step then);
/* Reloads those that run; then looks until as many places as before are in order (a->refused: they are not). */
void adoption_reload(struct adoption *a, adopt_step then);
void adoption_look(struct adoption *a, adopt_step then); /* fills a->showed */

struct adoption *adoption_new(struct request *r, const char *name);
#endif
