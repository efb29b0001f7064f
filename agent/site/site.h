/* What certswapd knows and holds: one of these for the process. The files of this room share it; each owns its own
 * part. */
#ifndef SITE_SITE_H
#define SITE_SITE_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/fault.h"
#include "loop/job.h"
#include "loop/loop.h"
#include "loop/watch.h"
#include "server/server.h"
#include "settings/settings.h"
#include "swap/denied.h"

struct adoption;
struct alerts;
struct audit;
struct candidate;
struct certificate;
struct control;
struct dropbox;
struct incident;
struct intake_set;
struct metrics;
struct neighbours;
struct patrol;
struct pending;
struct purge;
struct request;
struct standbys;
struct staple;
struct staples;
struct transaction;
struct watch_over;
struct watched;

/* Open folders of STATE (CONTRACT "Files"). */
struct site_folders {
	int state, certificates, incoming, notices, work, rejected, journal, incidents;
};

struct site {
	struct loop *loop;
	struct settings *settings;
	struct jobs *jobs;
	struct watcher *watcher;
	char *worker, *hooks;           /* certswap-worker; the folder with nginx/, apache/ ... */
	struct settings *next_settings; /* read again, waiting for swaps to end; or NULL */
	struct timer *reload_timer;
	bool reload_waits;    /* for descriptors, as was said */
	char *reload_refused; /* why the file that was read last is not in force; or NULL */
	int64_t reload_asked; /* at: seconds since 1970; 0: never */
	int lock;             /* STATE/lock, held for the life of the process */
	struct site_folders folders;
	struct audit *audit;
	struct alerts *alerts;
	struct timer *tick; /* while incidents are open: site/ladder.h */
	struct denied denied;
	struct server **servers;
	size_t nservers;
	struct certificate **certificates;
	size_t ncertificates;
	void *by_name;                     /* a tree of them: site_certificate */
	struct transaction **transactions; /* under way, AWAITING and STUCK included */
	size_t ntransactions;
	uint64_t swaps;                                  /* that took the queues of their servers, so far */
	struct baseline *ahead;                          /* of a pair that is being proved: site/baseline.h */
	unsigned int last_transaction, kept_transaction; /* the newest; what transactions.json says, never below it */
	unsigned int in_work;                            /* between staging_work_begins and staging_work_ended */
	int64_t progress_us;                             /* CLOCK_MONOTONIC of the last that ended; 0: none did */
	struct timer *start_timer;                       /* starts what is ready, once the present callbacks are done */
	struct incident **incidents;                     /* that are not closed */
	size_t nincidents;
	unsigned int last_incident;
	struct intake_set **sets; /* being identified, proved or swapped */
	size_t nsets;
	struct dropbox *dropbox;
	struct watched *watched;
	struct patrol *patrol;
	size_t drills; /* under way: the configuration is not read again meanwhile */
	struct purge *purge;
	struct standbys *standbys;
	struct staple *stapling; /* responses that are being asked for */
	struct staples *staples;
	struct pending *pending; /* emergency keys being made */
	struct metrics *metrics; /* the file of the option metrics_file; NULL: none */
	struct watch_over *revocation;
	struct candidate *candidates; /* being looked up before they go live */
	struct prove *proofs;         /* under way */
	struct neighbours *neighbours;
	struct timer *watch_timer; /* some of these three can't be watched yet; NULL: all are */
	struct watch *notices;     /* STATE/notices */
	struct timer *notices_timer;
	struct control *control;
	struct request *waiting; /* whose client waits: control/request.h */
	gid_t group;             /* of those who may look, (gid_t)-1: none; with worker_uid kept by control/command.h */
	uid_t worker_uid;        /* is refused at the control socket */
	struct adoption *adoption; /* adopt or release under way; NULL: none */
	int64_t started_at;
	bool failed; /* the loop ends because of trouble: systemd is to start certswapd again */
};

struct server *site_server(const struct site *site, const char *name);           /* NULL: none */
struct certificate *site_certificate(const struct site *site, const char *name); /* NULL: none */
/* "there is no certificate named shpo here; did you mean shop?"; the caller's. */
char *site_no_certificate(const struct site *site, const char *name);
void site_add_certificate(struct site *site, struct certificate *c); /* takes it over */
void site_free_certificates(struct site *site);
#endif
