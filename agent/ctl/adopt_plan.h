/* What adopt would do with each pair that the web servers of certswap.conf name. Inside ctl/ only. */
#ifndef CTL_ADOPT_PLAN_H
#define CTL_ADOPT_PLAN_H
#include <stdbool.h>
#include <stddef.h>

#include "ctl/ctl.h"
#include "webconf/webconf.h"

enum plan_part { PLAN_CERTIFICATE, PLAN_KEY, PLAN_CHAIN, PLAN_PARTS };

/* A directive to be changed: the bytes `old` at `from` of the file become `new`. */
struct plan_edit {
	char *path, *old, *new;
	size_t from;
	unsigned int line;
	enum plan_part part;
};

struct plan {
	char *name;
	char *paths[PLAN_PARTS]; /* as configured; NULL: none */
	bool ours[PLAN_PARTS];   /* is a link into live, or names it, already */
	struct words servers, hosts;
	struct plan_edit *places; /* of all its directives; edited where the files belong to an ACME client */
	size_t nplaces;
	bool in_macro;
	bool edits;         /* the directives are changed, not the files */
	const char *client; /* "certbot" ...; NULL: nobody is known to write the files */
	char *lineage;      /* the client's name of it */
	char *client_path;  /* its program, where it matters */
	struct words watch, reissue;
	char *key_owner, *key_group, *key_mode;
	char *refusal, *what_to_do; /* NULL: it can be taken over */
	bool done;                  /* it is taken over already */
};
struct plans {
	struct plan *v;
	size_t n;
	struct words notes; /* servers of this host that are left out, and why */
	bool refused;       /* one of them stands in certswap.conf */
};

/* Reads the configuration of every server on this host; the caller frees with plans_done. ctl->settings must be there.
 */
void plans_make(struct ctl *ctl, struct plans *ret);
void plans_done(struct plans *plans);
/* The file of a generation that stands for a part: "fullchain.pem" ... */
const char *plan_file(const struct plan *p, enum plan_part part);
/* Who renews it, where its files tell: certbot, lego, dehydrated, acme.sh. Fills client, lineage, watch, reissue. */
void plan_find_client(struct plan *p);
/* Does the command line name it: by its name, a host name or a path? */
bool plan_is_meant(const struct plan *p, const char *word);
#endif
