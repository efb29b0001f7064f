#include "control/life.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/control.h"
#include "control/adopt.h"
#include "site/aftermath.h"
#include "site/alert.h"
#include "site/audit.h"
#include "site/baseline.h"
#include "site/candidate.h"
#include "site/certificate.h"
#include "control/command.h"
#include "control/confine.h"
#include "control/request.h"
#include "site/consumer.h"
#include "site/dropbox.h"
#include "site/ladder.h"
#include "site/mend.h"
#include "site/metrics.h"
#include "site/neighbour.h"
#include "site/notice.h"
#include "site/parent.h"
#include "site/patrol.h"
#include "site/prove.h"
#include "site/pending.h"
#include "site/purge.h"
#include "site/standby.h"
#include "site/staple.h"
#include "site/response.h"
#include "site/revocation.h"
#include "site/transaction.h"
#include "site/watched.h"

#define STATE_VERSION  1
#define RELOAD_LOOK_MS 250
#define DESCRIPTORS    64   /* that a start takes, beside one for each certificate */
#define WATCH_AGAIN_MS 1000 /* folders that could not be watched */
#define WORKERS        16   /* most of them wait for the wire */
#define SPARES         5    /* what one swap asks for */
#define REFILL_MS      200  /* not while the swap needs the processor */

/* ---- the state folder ---- */

static int lock_state(struct site *site, struct fault *fault)
{
	site->lock = openat(site->folders.state, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (site->lock < 0)
		return fault_errno(fault, errno, "can't open %s/lock", site->settings->state_dir);
	/* a lock of this process alone: one by flock(2) would live on in a child that was being started when we died */
	const struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(site->lock, F_SETLK, &lock) == 0)
		return 0;
	return fault_set(
		fault, -EBUSY,
		"another certswapd works with %s already: stop it first, or give this one a state_dir of its own",
		site->settings->state_dir);
}

/* A newer certswapd may have left what this one would misread. */
static int check_version(struct site *site, struct fault *fault)
{
	char *text;
	int r = files_read(site->folders.state, "version", 64, &text, NULL, fault);
	if (r == -ENOENT) {
		char ours[16];
		snprintf(ours, sizeof ours, "%d\n", STATE_VERSION);
		return files_create(site->folders.state, "version", ours, strlen(ours), 0644, fault);
	}
	if (r < 0)
		return r;
	long version = strtol(text, NULL, 10);
	free(text);
	if (version >= 1 && version <= STATE_VERSION)
		return 0;
	return fault_set(fault, -EPROTO,
			 "%s is of format %ld, this certswapd knows %d at most: install the newer version again",
			 site->settings->state_dir, version, STATE_VERSION);
}

static int open_folders(struct site *site, struct fault *fault)
{
	struct site_folders *f = &site->folders;
	const struct {
		int *fd;
		const char *name;
		mode_t mode;
	} parts[] = {{&f->certificates, "certificates", 0700}, {&f->incoming, "incoming", 0700},
		     {&f->notices, "notices", 0700},           {&f->work, "work", 0700},
		     {&f->rejected, "rejected", 0700},         {&f->journal, "journal", 0700},
		     {&f->incidents, "incidents", 0700}};
	f->state = files_open_path(site->settings->state_dir, 0711, fault);
	if (f->state < 0)
		return f->state;
	int r = lock_state(site, fault);
	if (r == 0)
		r = check_version(site, fault);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++) {
		*parts[i].fd = files_open_folder(f->state, parts[i].name, parts[i].mode, fault);
		r = *parts[i].fd < 0 ? *parts[i].fd : 0;
	}
	int run = r < 0 ? r : files_open_path(site->settings->run_dir, 0755, fault);
	auto_close_(&run);
	return run < 0 ? run : 0;
}

/* ---- what the configuration makes ---- */

static void tear_down(struct site *site)
{
	for (size_t i = 0; i < site->ncertificates; i++)
		aftermath_close(site->certificates[i]); /* they hold queues of servers */
	transactions_close(site);                       /* they hold queues, hooks and jobs */
	for (size_t i = 0; i < site->nservers; i++)
		server_free(site->servers[i]); /* before the others: no hook answers any more */
	metrics_close(site->metrics);
	site->metrics = NULL;
	timer_close(site->watch_timer);
	site->watch_timer = NULL;
	notices_close(site);
	watched_close(site->watched);
	neighbours_close(site->neighbours);
	dropbox_close(site->dropbox);
	pending_close(site->pending);
	standbys_close(site->standbys);
	staples_close(site);
	purge_close(site->purge);
	candidates_close(site);
	revocation_close(site->revocation);
	patrol_close(site->patrol); /* it holds jobs */
	baseline_forget(site);
	consumers_close(site);
	jobs_close(site->jobs);
	proofs_close(site); /* theirs were among the jobs */
	deadlines_close(site);
	incidents_close(site);
	site_free_certificates(site);
	watcher_close(site->watcher);
	free(site->servers);
	site->servers = NULL;
	site->nservers = 0;
	site->jobs = NULL;
	site->watcher = NULL;
	site->pending = NULL;
	site->standbys = NULL;
	site->purge = NULL;
	site->dropbox = NULL;
	site->watched = NULL;
	site->patrol = NULL;
	site->revocation = NULL;
	site->neighbours = NULL;
}

static int make_servers(struct site *site)
{
	const struct settings *s = site->settings;
	site->servers = xcalloc(s->nservers, sizeof(*site->servers));
	for (size_t i = 0; i < s->nservers; i++) {
		site->servers[site->nservers++] = server_new(site->loop, &s->servers[i], site->hooks);
		if (*s->servers[i].config && access(s->servers[i].config, R_OK) < 0)
			log_warning("server-missing", "%s: %s can't be read now (%s)", s->servers[i].name,
				    s->servers[i].config, strerror(errno));
	}
	return 0;
}

static int make_certificates(struct site *site, struct fault *fault)
{
	const struct settings *s = site->settings;
	bool group = false; /* somebody of a group reads a key: then the folders above it let him through */
	for (size_t i = 0; i < s->ncertificates; i++)
		group |= (s->certificates[i].key_mode & 0070) != 0;
	if (fchmod(site->folders.certificates, group ? 0711 : 0700) < 0)
		return fault_errno(fault, errno, "can't set the mode of certificates/");
	for (size_t i = 0; i < s->ncertificates; i++) {
		struct certificate *c = certificate_new(site, &s->certificates[i], fault);
		if (!c)
			return fault_prefix(fault, fault->code, "certificate %s", s->certificates[i].name);
		site_add_certificate(site, c);
	}
	return 0;
}

/* Leftovers of a crash go; what stands under the name `next` only where no journal needs it. A live link that
 * somebody removed is put back before the web servers start. */
static void sweep(struct site *site)
{
	for (size_t i = 0; i < site->ncertificates; i++) {
		struct certificate *c = site->certificates[i];
		(void)store_sweep(c->folder, !c->transaction, NULL);
		if ((!c->transaction || transaction_state(c) == TXN_AWAITING) && c->settings->manage == MANAGE_SWAP)
			(void)mend_live(c, 0);
	}
}

static int build(struct site *site, struct fault *fault)
{
	const struct settings *s = site->settings;
	const char *sandbox = confine_policy(s, site->worker, fault);
	if (!sandbox)
		return fault->code;
	const struct jobs_spec jobs = {.worker_path = site->worker,
				       .user = s->worker_user,
				       .trust = s->trust,
				       .sandbox = sandbox,
				       .at_once = WORKERS,
				       .spares = SPARES,
				       .refill_ms = REFILL_MS};
	site->watcher = watcher_new(site->loop, fault);
	site->jobs = site->watcher ? jobs_new(site->loop, &jobs) : NULL;
	if (!site->jobs)
		return fault->code ? fault->code : -EIO;
	int r = make_servers(site);
	if (r == 0)
		r = make_certificates(site, fault);
	if (r == 0)
		r = transactions_recover(site, fault);
	if (r == 0)
		r = incidents_load(site, fault);
	if (r < 0)
		return r;
	sweep(site);
	return 0;
}

static void review_all(struct site *site)
{
	for (size_t i = 0; i < site->nincidents; i++)
		incident_wait(site, site->incidents[i], NULL, NULL);
}

/* What can't be watched in trouble (no descriptors, a folder moved away) is tried again until it can. */
static void watch_folders(void *data)
{
	struct site *site = data;
	struct fault fault = {0};
	bool again = site->watch_timer != NULL;
	timer_close(site->watch_timer);
	site->watch_timer = NULL;
	if (!site->dropbox)
		site->dropbox = dropbox_open(site, &fault);
	if (!site->notices)
		(void)notices_watch(site, &fault);
	if (!site->neighbours)
		site->neighbours = neighbours_watch(site, &fault);
	bool all = site->dropbox && site->notices && site->neighbours;
	if (!all)
		site->watch_timer = timer_start(site->loop, WATCH_AGAIN_MS, watch_folders, site);
	if (!all && !again)
		log_error("watch-failed", "drop boxes or live links can't be watched, and are tried again: %s",
			  fault.text);
	else if (all && again)
		log_info("watch-works", "drop boxes and live links are watched again");
}

void site_resume(struct site *site)
{
	transactions_resume(site);
	parents_meet(site);
	watch_folders(site);
	site->watched = watched_open(site);
	site->patrol = patrol_start(site);
	site->pending = pending_open(site);
	site->standbys = standbys_open(site);
	site->staples = staples_open(site);
	site->purge = purge_open(site);
	for (size_t i = 0; i < site->ncertificates; i++)
		aftermath_resume(site->certificates[i]);
	site->revocation = revocation_start(site);
	consumers_open(site);
	adopt_warn(site);
	review_all(site);
	site->metrics = metrics_open(site);
}

/* ---- reading the configuration again ---- */

static bool is_idle(const struct site *site)
{
	if (site->drills || pending_is_asked(site->pending))
		return false;
	for (size_t i = 0; i < site->ncertificates; i++)
		if (consumers_at_work(site->certificates[i]))
			return false;
	return !transactions_at_work(site) && !site->nsets && !adopt_is_at_work(site);
}

/* Are there descriptors for what the new configuration needs? Those of the certificates before are given back at once,
 * those of watches, workers and connections a moment later. */
static bool has_room(const struct site *site)
{
	size_t before = site->ncertificates, after = site->next_settings->ncertificates, got = 0;
	size_t n = DESCRIPTORS + (after > before ? after - before : 0);
	AUTO_FREE int *fds = xcalloc(n, sizeof *fds);
	while (got < n && (fds[got] = fcntl(site->folders.state, F_DUPFD_CLOEXEC, 0)) >= 0)
		got++;
	for (size_t i = 0; i < got; i++)
		close(fds[i]);
	return got == n;
}

/* A configuration that was torn down and can't be built would end us. */
static bool waits_for_room(struct site *site)
{
	bool waits = !has_room(site);
	if (waits && !site->reload_waits)
		log_warning("reload-waits", "the configuration was read, and is put in place once there are "
					    "descriptors again (LimitNOFILE=, fs.file-max)");
	site->reload_waits = waits;
	return waits;
}

static void put_in_place(void *data)
{
	struct site *site = data;
	struct fault fault = {0};
	if (!site->next_settings || !is_idle(site) || waits_for_room(site))
		return;
	timer_close(site->reload_timer);
	site->reload_timer = NULL;
	tear_down(site);
	settings_free(site->settings);
	site->settings = site->next_settings;
	site->next_settings = NULL;
	if (build(site, &fault) < 0) {
		log_error("reload-failed", "%s: stopping, so that a restart can mend it", fault.text);
		site->failed = true;
		return loop_stop(site->loop);
	}
	command_look_up(site);
	site_resume(site);
	audit_write(site->audit, "configuration", NULL, NULL, "%s was read again: %zu servers, %zu certificates",
		    site->settings->file, site->settings->nservers, site->settings->ncertificates);
	adopt_configured(site);
}

static int same_folders(const struct settings *a, const struct settings *b, struct fault *fault)
{
	if (strcmp(a->state_dir, b->state_dir) == 0 && strcmp(a->run_dir, b->run_dir) == 0)
		return 0;
	return fault_set(fault, -EINVAL, "state_dir and run_dir can't change while certswapd runs: restart it");
}

static int read_again(struct site *site, struct fault *fault)
{
	struct complaints complaints = {0};
	struct settings *new = settings_load(site->settings->file, &complaints);
	if (!new) {
		complaints_print(&complaints, stderr);
		struct text all = {0};
		for (size_t i = 0; i < complaints.n; i++)
			text_add(&all, "%s%s:%u: %s", i ? "\n" : "", complaints.v[i].file, complaints.v[i].line,
				 complaints.v[i].text);
		fault_set(fault, -EINVAL, "the configuration stays as it was: %.900s", all.s);
		text_done(&all);
		complaints_done(&complaints);
		return fault->code;
	}
	if (same_folders(site->settings, new, fault) < 0 ||
	    (new->sandbox != SANDBOX_AUTO && !confine_policy(new, site->worker, fault))) {
		settings_free(new);
		return fault->code;
	}
	settings_free(site->next_settings);
	site->next_settings = new;
	if (!site->reload_timer)
		site->reload_timer = timer_repeat(site->loop, 0, RELOAD_LOOK_MS, put_in_place, site);
	return 0;
}

int site_reload(struct site *site, struct fault *fault)
{
	int r = read_again(site, fault);
	free(site->reload_refused);
	site->reload_refused = r < 0 ? xstrdup(fault->text) : NULL;
	site->reload_asked = clock_wall();
	return r;
}

/* ---- begin and end ---- */

struct swap_alert {
	const char *event, *what_to_do;
	enum alert_severity severity, in_incident;
};
static const struct swap_alert swap_alerts[TXN_STATES] = {
	[TXN_COMMITTED] = {"swapped", "nothing", ALERT_INFO, ALERT_INFO},
	[TXN_UNSERVED] = {"swapped", "nothing, once the web servers' configuration names it", ALERT_INFO, ALERT_INFO},
	[TXN_AWAITING] = {"swapped", "start the web server; certswap looks at it then", ALERT_TICKET, ALERT_TICKET},
	[TXN_ROLLED_BACK] = {"rolled-back", "certswapctl status; then the web server's error log", ALERT_TICKET,
			     ALERT_PAGE},
	[TXN_DISCARDED] = {"swap-discarded", "certswapctl status says where it stands", ALERT_TICKET, ALERT_TICKET},
	[TXN_HELD] = {"swap-held", "mend what the text names; certswap tries again every 30 s", ALERT_TICKET,
		      ALERT_TICKET},
	[TXN_FOREIGN] = {"drift", "certswapctl status; find the other program that changes the link live", ALERT_TICKET,
			 ALERT_TICKET},
	[TXN_STUCK] = {"stuck", "certswapctl status", ALERT_PAGE, ALERT_PAGE},
};

static void alert_of_swap(struct certificate *c)
{
	const struct last_swap *last = &c->last_swap;
	const struct swap_alert *a = &swap_alerts[last->result];
	const struct incident *incident = incident_of(c);
	if (!a->event)
		return;
	AUTO_FREE char *text = xasprintf("%s: the swap ended in %s%s%s", c->settings->name,
					 txn_state_name(last->result), *last->reason ? ": " : "", last->reason);
	/* what is held is tried again and again, and told once until something else comes of it */
	bool held = last->result == TXN_HELD;
	AUTO_FREE char *commands = last->result == TXN_STUCK ? transaction_way_out(c) : NULL;
	AUTO_FREE char *state = held ? xstrdup("held") : xasprintf("%lld", (long long)last->at_ms);
	const struct alert alert = {.state = state,
				    .event = a->event,
				    .severity = incident ? a->in_incident : a->severity,
				    .certificate = c->settings->name,
				    .incident = incident ? incident->id : 0,
				    .deadline = incident ? incident->deadline : 0,
				    .text = text,
				    .what_to_do = commands ? commands : a->what_to_do};
	if (!held)
		alert_over(c->site, swap_alerts[TXN_HELD].event, c->settings->name, incident ? incident->id : 0,
			   "held");
	alert_send(c->site, &alert);
}

static void on_certificate_changed(struct certificate *c)
{
	pending_review(c);
	aftermath_review(c);
	alert_of_swap(c);
	metrics_changed(c->site->metrics);
	patrol_review(c->site->patrol, c);
	consumers_review(c);
	incidents_review(c);
	purge_soon(c->site);
	if (c->site->dropbox)
		dropbox_review(c->site->dropbox, c);
	if (c->site->neighbours)
		neighbours_review(c->site->neighbours, c);
	if (c->site->watched)
		watched_review(c->site->watched, c);
	if (c->site->revocation)
		revocation_refresh(c->site->revocation);
}

static int start(struct site *site, struct fault *fault)
{
	int r = open_folders(site, fault);
	if (r < 0)
		return r;
	site->audit = audit_open(site->folders.state, fault);
	if (!site->audit)
		return fault->code;
	r = denied_load(site->folders.state, &site->denied, fault);
	if (r < 0)
		return fault_prefix(fault, r, "the list of refused keys must be readable before anything is touched");
	site->alerts = alerts_open(site, fault);
	if (!site->alerts)
		return fault->code;
	transactions_on_change(on_certificate_changed);
	transactions_on_step(request_tell_step);
	r = build(site, fault);
	if (r < 0)
		return r;
	site->control = command_open(site, site_reload, fault);
	return site->control ? 0 : fault->code;
}

struct site *site_open(struct loop *loop, struct settings *settings, const struct site_programs *programs,
		       struct fault *fault)
{
	struct site *site = xcalloc(1, sizeof *site);
	site->loop = loop;
	site->settings = settings;
	site->worker = xstrdup(programs->worker);
	site->hooks = xstrdup(programs->hooks);
	site->started_at = clock_wall();
	site->lock = -1;
	memset(&site->folders, 0xff, sizeof site->folders); /* -1 each */
	if (start(site, fault) == 0)
		return site;
	site_close(site);
	return NULL;
}

void site_close(struct site *site)
{
	if (site->control)
		control_close(site->control);
	timer_close(site->reload_timer);
	adopt_close(site);
	tear_down(site);
	alerts_close(site->alerts);
	audit_close(site->audit);
	denied_done(&site->denied);
	settings_free(site->next_settings);
	settings_free(site->settings);
	const int fds[] = {site->folders.state,   site->folders.certificates, site->folders.incoming,
			   site->folders.notices, site->folders.work,         site->folders.rejected,
			   site->folders.journal, site->folders.incidents,    site->lock};
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		auto_close_(&fds[i]);
	free(site->reload_refused);
	free(site->worker);
	free(site->hooks);
	free(site->transactions);
	free(site->incidents);
	free(site->sets);
	free(site);
}
