/* What discover finds: the servers, each certificate that they name, where it is served, who else reads it, and what is
 * wrong. Runs in certswapctl. */
#ifndef CTL_DISCOVER_H
#define CTL_DISCOVER_H
#include "ctl/others.h"
#include "ctl/servers.h"
#include "wire/check.h"

/* A host whose configuration names the pair. */
struct place {
	const struct server *server;
	const struct webconf_host *host;
	const struct webconf_pair *pair;
	const char *instead; /* NULL, or the host's certificate that is shown in its place */
};
struct outlook; /* ctl/outlook.h */
/* Something else that reads one of its files, or has its key. */
struct reader {
	const char *program; /* "nginx", "postfix" */
	const char *directive;
	const char *path;
	char *where;   /* "FILE:LINE" */
	bool same_key; /* another file with the same key */
};
enum wrong_code {
	WRONG_FINDING,     /* a finding of the proof, as `check` shows it */
	WRONG_NAME,        /* a server's name that the certificate does not cover */
	WRONG_MISSING,     /* a file is not there */
	WRONG_UNREADABLE,  /* it may not be read by who runs this: nothing is known of it */
	WRONG_PERMISSIONS, /* others may read or write the key */
	WRONG_SHARED_KEY,  /* another certificate here has the same key */
	WRONG_NOT_SHOWN,   /* the server shows another certificate of this host in its place */
	WRONG_CODES
};
extern const char *const wrong_name[WRONG_CODES]; /* of --json */
struct wrong {
	enum wrong_code code;
	const struct finding *finding; /* WRONG_FINDING */
	char *text;
};
/* Certificate and key, as files; each once, however often they are named. */
struct discovered {
	const struct webconf_value *certificate, *key, *chain; /* key, chain: NULL where there is none */
	struct place *places;
	size_t nplaces;
	struct reader *readers;
	size_t nreaders;
	struct wrong *wrong;
	size_t nwrong;
	bool served; /* a running server ends TLS with it */
	bool proved; /* `reply` is there */
	bool no_key; /* the key could not be read: only the certificate was looked at */
	struct check_reply reply;
	struct outlook *outlook; /* --check; NULL: not asked for */
};
struct discovery {
	struct servers servers;
	struct others others;
	struct discovered *v;
	size_t n;
	struct words unnamed; /* certificates of certswap.conf whose live pair no server's configuration names */
};

/* trust: PEM file of roots; NULL: the configured or the system's. */
void discovery_make(struct ctl *ctl, const char *trust, struct discovery *ret);
/* Only what the server with this parent process names; nothing is proved yet. */
void discovery_read_one(pid_t pid, struct discovery *ret);
void discovery_done(struct discovery *d);
void discovered_add_wrong(struct discovered *d, enum wrong_code code, const struct finding *finding, const char *format,
			  ...) __attribute__((format(printf, 4, 5)));
/* Proves it in a check worker; adds what is wrong. */
void discovered_prove(struct ctl *ctl, const char *trust, struct discovered *d);
/* The others that read its files or have its key; after every pair was proved. */
void discovery_find_readers(struct ctl *ctl, struct discovery *d);

void discovery_print(struct ctl *ctl, const struct discovery *d);
void discovery_print_json(struct ctl *ctl, const struct discovery *d);
#endif
