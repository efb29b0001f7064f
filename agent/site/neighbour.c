#include "site/neighbour.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/alert.h"
#include "site/audit.h"
#include "site/mend.h"
#include "site/pair.h"

#define RESCAN_MS     (10 * 60 * 1000) /* in case an event was lost */
#define DRIFTS        3                /* restored so often within the time below, it is left */
#define MEND_MS       (10 * 1000)      /* a link that leads nowhere is put back all the same, but no sooner */
#define AGAIN_MS      1000             /* the machine was in trouble */
#define DRIFT_SECONDS 3600
#define CHANGED_MAX   (1024 * 1024) /* bytes of a file that is taken as a candidate */

/* files in the order of store_file_name */
enum { FILE_FULLCHAIN = 2, FILE_KEY = 3, FILE_COMBINED = 4 };

struct house {
	struct neighbours *neighbours;
	struct certificate *certificate;
	struct watch *watch;
	struct timer *timer;
	unsigned int right; /* the generation that should be live */
	bool restoring;
	unsigned int drifts; /* within DRIFT_SECONDS of `since` */
	int64_t since;
	bool given_up;                      /* until a swap of ours changes what is right */
	unsigned int overwritten;           /* the generation that is being restored */
	unsigned int told;                  /* the generation whose change is in the audit log already */
	struct digest offered[STORE_FILES]; /* what of it lies in the drop box */
};

struct neighbours {
	struct site *site;
	struct house *houses;
	size_t n;
	struct timer *rescan;
};

static void look_soon(void *data);
static void look_again(struct house *h);

/* Who wrote it and when, as far as the file tells. */
static char *writer_of(int folder, const char *path)
{
	struct stat st;
	char at[32];
	if (fstatat(folder, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return xstrdup("it is gone");
	const struct passwd *user = getpwuid(st.st_uid);
	return xasprintf("written %s, owner %s", text_from_time(st.st_mtim.tv_sec, at),
			 user ? user->pw_name : "unknown");
}

/* Counts a restoration; true: it comes back again and again, and is left from now on. */
static bool is_a_war(struct house *h)
{
	int64_t now = clock_wall();
	if (now - h->since > DRIFT_SECONDS) {
		h->since = now;
		h->drifts = 0;
	}
	return ++h->drifts > DRIFTS;
}

static void give_up(struct house *h, const char *what)
{
	struct certificate *c = h->certificate;
	h->given_up = true;
	alert_over(c->site, "drift", c->settings->name, 0, NULL); /* it came back after it had been mended */
	audit_write(c->site->audit, "drift", c->settings->name, NULL, "%s; it came back %d times: left as it is", what,
		    DRIFTS);
	const struct alert alert = {
		.event = "drift",
		.severity = ALERT_TICKET,
		.certificate = c->settings->name,
		.text = what,
		.what_to_do = "find out who writes there (Ansible, Puppet, an ACME client) and let it write somewhere "
			      "else; certswap takes new pairs from incoming/ and watch folders"};
	alert_send(c->site, &alert);
}

static void offer_late(struct house *h);

static void on_restored(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	struct house *h = data;
	struct certificate *c = h->certificate;
	h->restoring = false;
	if (outcome == PAIR_UNPROVED || outcome == PAIR_UNREAD) {
		log_warning("neighbour", "%s: not restored yet: %s", c->settings->name, text);
		h->drifts -= h->drifts > 0;
		return look_again(h);
	}
	bool gone = h->overwritten && (c->swapping || c->live.number != h->overwritten);
	if (outcome == PAIR_REFUSED && (c->ready.number || gone)) {
		offer_late(h); /* what was written is a good pair, and goes live instead */
		return look_soon(h);
	}
	if (outcome == PAIR_HELD)
		log_warning("neighbour", "%s: not restored yet: %s", c->settings->name, text);
	else if (outcome == PAIR_REFUSED || outcome == PAIR_FAILED)
		give_up(h, text);
	else
		audit_write(c->site->audit, "restored", c->settings->name, NULL, "%s", text);
	offer_late(h);
	(void)next;
	look_soon(h);
}

/* ---- content written through the link ---- */

/* Puts what was written into the drop box of the certificate: it may be the pair that somebody meant to install, or
 * half of it. False: the machine is in trouble, and it is still only where it was written. */
static bool offer(struct house *h, size_t i)
{
	char *bytes, path[32];
	const char *file = store_file_name[i];
	size_t len;
	struct fault fault = {0};
	struct certificate *c = h->certificate;
	AUTO_FREE char *from = xasprintf("%s/%s", store_generation_path(h->overwritten, path), file);
	AUTO_FREE char *name = xasprintf("written-through-live-%lld-%s", (long long)clock_wall_ms(), file);
	AUTO_CLOSE int box = files_open_folder(c->site->folders.incoming, c->settings->name, 0700, &fault);
	int r = box < 0 ? box : files_read(c->folder, from, CHANGED_MAX, &bytes, &len, &fault);
	if (r < 0) {
		log_warning("neighbour", "%s: %s", c->settings->name, fault.text);
		return !fault_may_pass(r);
	}
	struct digest digest = hash_bytes(bytes, len);
	bool as_sealed = h->overwritten == c->live.number && digest_equal(&digest, &c->live.files[i]);
	if (len && !as_sealed && !digest_equal(&digest, &h->offered[i])) {
		r = files_create(box, name, bytes, len, 0600, &fault);
		if (r < 0)
			log_warning("neighbour", "%s: %s", c->settings->name, fault.text);
	}
	free_secret(bytes, len);
	if (r < 0 && fault_may_pass(r))
		return false;
	h->offered[i] = digest;
	return true;
}

static bool offer_all(struct house *h, unsigned int changed)
{
	bool done = true;
	for (size_t i = 0; i < STORE_FILES; i++)
		if (changed & 1u << i)
			done &= offer(h, i);
	return done;
}

/* acme.sh writes the key, then the certificate: the second may still have gone into the generation that was restored
 * meanwhile. */
static void offer_late(struct house *h)
{
	struct meta meta = {0};
	if (!h->overwritten || store_read_meta(h->certificate->folder, h->overwritten, &meta, NULL) < 0)
		return;
	unsigned int changed = store_changed_files(h->certificate->folder, &meta);
	meta_done(&meta);
	(void)offer_all(h, changed);
	h->overwritten = 0;
}

static void close_inputs(struct prove_input inputs[2])
{
	for (size_t i = 0; i < 2; i++)
		auto_close_(&inputs[i].fd);
}

/* Opens the files that still have the content that was sealed. 0, or negative: one can't be opened (-ENOENT: none is
 * left). */
static int open_inputs(struct house *h, unsigned int changed, struct prove_input inputs[2])
{
	static const unsigned int sources[][2] = {{FILE_COMBINED, FILE_COMBINED}, {FILE_FULLCHAIN, FILE_KEY}};
	for (size_t i = 0; i < 2; i++)
		inputs[i] = (struct prove_input){.fd = -1, .role = CHECK_SUBMITTED};
	for (size_t s = 0; s < ARRAY_SIZE(sources); s++) {
		if (changed & (1u << sources[s][0] | 1u << sources[s][1]))
			continue;
		for (size_t i = 0; i < 2; i++) {
			inputs[i].fd = store_open_file(h->certificate->folder, h->certificate->live.number,
						       store_file_name[sources[s][i]], NULL);
			if (inputs[i].fd < 0)
				return inputs[i].fd;
		}
		return 0;
	}
	return -ENOENT;
}

/* A new generation with the content that was sealed, from the file that still has it, swapped in by the ordinary way.
 */
static void restore_content(struct house *h, const struct prove_input inputs[2])
{
	struct certificate *c = h->certificate;
	const struct pair_spec spec = {.certificate = c,
				       .inputs = inputs,
				       .ninputs = 2,
				       .leaf = c->live.sha256,
				       .origin = "restored",
				       .at_once = true,
				       .restores = c->live.number,
				       .accepted = &c->live.accepted};
	h->restoring = true;
	pair_start(&spec, on_restored, h);
}

/* Tells of it, once; the caller frees what is told. */
static char *tell_change(struct house *h, unsigned int changed)
{
	char path[32];
	struct certificate *c = h->certificate;
	struct words names = {0};
	for (size_t i = 0; i < STORE_FILES; i++)
		if (changed & 1u << i)
			words_add(&names, store_file_name[i]);
	AUTO_FREE char *list = words_join(&names, ", ");
	AUTO_FREE char *first = xasprintf("%s/%s", store_generation_path(c->live.number, path), names.v[0]);
	AUTO_FREE char *writer = writer_of(c->folder, first);
	char *what = xasprintf("somebody wrote through the link live: %s (%s)", list, writer);
	if (h->told != c->live.number) {
		audit_write(c->site->audit, "written-through", c->settings->name, NULL, "%s", what);
		memset(h->offered, 0, sizeof h->offered);
	}
	h->told = c->live.number;
	words_done(&names);
	return what;
}

static void content_changed(struct house *h, unsigned int changed)
{
	if (changed == STORE_UNREADABLE)
		return look_again(h);
	struct prove_input inputs[2];
	AUTO_FREE char *what = tell_change(h, changed);
	h->overwritten = h->certificate->live.number;
	int r = open_inputs(h, changed, inputs);
	if (!offer_all(h, changed) || (r < 0 && fault_may_pass(r)))
		look_again(h);
	else if (r < 0)
		give_up(h, "the live generation was overwritten, and nothing is left to restore it from; hand the pair "
			   "over again");
	else if (is_a_war(h))
		give_up(h, what);
	else
		restore_content(h, inputs);
	close_inputs(inputs);
}

/* ---- a link that was turned ---- */

/* Is the generation that somebody turned the link to a better one than ours? */
static bool is_better(const struct certificate *c, const struct meta *theirs, const struct meta *ours)
{
	if (certificate_denial(c, theirs))
		return false;
	return certificate_denial(c, ours) || theirs->not_before > ours->not_before;
}

static void link_turned(struct house *h)
{
	struct certificate *c = h->certificate;
	struct meta ours = {0};
	AUTO_FREE char *writer = writer_of(c->folder, "live");
	AUTO_FREE char *what = xasprintf("somebody turned the link live from generation %u to %u (%s)", h->right,
					 c->live.number, writer);
	int r = store_read_meta(c->folder, h->right, &ours, NULL);
	if (r < 0 && fault_may_pass(r))
		return look_again(h);
	bool accept = r < 0 || is_better(c, &c->live, &ours);
	meta_done(&ours);
	audit_write(c->site->audit, "link-turned", c->settings->name, NULL, "%s: %s", what,
		    accept ? "it is better and stays" : "put back");
	if (accept) {
		h->right = c->live.number;
		return;
	}
	if (is_a_war(h))
		return give_up(h, what);
	h->restoring = true;
	h->overwritten = 0;
	pair_swap_generation(c, h->right, NULL, NULL, on_restored, h);
}

/* No web server can start with it: that is mended however often it comes back, if not at once; none is reloaded. */
static void link_gone(struct house *h)
{
	struct certificate *c = h->certificate;
	int r = mend_live(c, h->right);
	if (r < 0)
		return look_again(h);
	if (r > 0)
		look_soon(h);
	if (!h->given_up && is_a_war(h))
		give_up(h, "somebody removes the link live, or lets it lead nowhere, again and again");
}

/* live is no link of ours any more: set aside under another name, and ours put back, each in one step. Nothing is lost.
 */
static void link_replaced(struct house *h)
{
	if (mend_leads_nowhere(h->certificate))
		return link_gone(h);
	char path[32];
	struct fault fault = {0};
	struct certificate *c = h->certificate;
	AUTO_FREE char *aside = xasprintf("live-of-somebody-%lld", (long long)clock_wall_ms());
	AUTO_FREE char *writer = writer_of(c->folder, "live");
	AUTO_FREE char *what = xasprintf("somebody replaced the link live (%s)", writer);
	bool war = is_a_war(h);
	audit_write(c->site->audit, "link-replaced", c->settings->name, NULL, "%s%s%s", what,
		    war ? "" : ": put back; theirs is kept as ", war ? "" : aside);
	if (war)
		return give_up(h, what);
	int r = files_link(c->folder, aside, store_generation_path(h->right, path), &fault);
	if (r == 0)
		r = faccessat(c->folder, "live", F_OK, AT_SYMLINK_NOFOLLOW) == 0
			    ? files_exchange(c->folder, "live", aside, &fault)
			    : files_move(c->folder, aside, c->folder, "live", &fault);
	if (r < 0 && fault_may_pass(r))
		return look_again(h);
	if (r < 0)
		return give_up(h, fault.text);
	certificate_refresh(c);
	look_soon(h);
}

/* ---- looking ---- */

/* Somebody who changed live again and again may have left a link of theirs under the name next, when a swap gave up
 * giving it back. Now that nobody of ours is at it, it is given back: then it is judged like any other. */
static void end_exchange(struct certificate *c)
{
	struct fault fault = {0};
	enum txn_disk disk;
	int live = store_link_number(c->folder, "live", NULL);
	if (live <= 0 || c->transaction || faccessat(c->folder, "next", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (store_look(c->folder, (unsigned int)live, (unsigned int)live, &disk, &fault) < 0)
		log_warning("neighbour", "%s: next: %s", c->settings->name, fault.text); /* the rescan tries again */
}

static void look(void *data)
{
	struct house *h = data;
	struct certificate *c = h->certificate;
	timer_close(h->timer);
	h->timer = NULL;
	if (!h->right && c->passing) { /* it could not be read at the start */
		certificate_refresh(c);
		h->right = c->live.number;
	}
	if (!h->right && c->passing)
		return look_again(h);
	if (h->restoring || c->swapping || c->ready.number || !h->right || (h->given_up && !mend_leads_nowhere(c)))
		return;
	end_exchange(c);
	int live = store_link_number(c->folder, "live", NULL);
	if (live != (int)c->live.number || c->passing || mend_is_gone(c))
		certificate_refresh(c);
	if (c->passing)
		return look_again(h);
	if (live <= 0 || c->trouble)
		return link_replaced(h);
	if (c->live.number != h->right)
		return link_turned(h);
	unsigned int changed = store_changed_files(c->folder, &c->live);
	if (changed)
		content_changed(h, changed);
}

static void look_soon(void *data)
{
	struct house *h = data;
	if (!h->timer)
		h->timer = timer_start(h->neighbours->site->loop, h->given_up ? MEND_MS : 0, look, h);
}

/* The machine was in trouble: nothing is judged by what could not be read. */
static void look_again(struct house *h)
{
	if (!h->timer)
		h->timer = timer_start(h->neighbours->site->loop, AGAIN_MS, look, h);
}

static void rescan(void *data)
{
	struct neighbours *n = data;
	for (size_t i = 0; i < n->n; i++)
		look_soon(&n->houses[i]);
}

void neighbours_review(struct neighbours *n, const struct certificate *c)
{
	struct house *h = &n->houses[c->index];
	if (h->right != c->live.number && c->live.number) {
		h->right = c->live.number;
		h->given_up = false;
	}
	look_soon(h);
}

struct neighbours *neighbours_watch(struct site *site, struct fault *fault)
{
	struct neighbours *n = xcalloc(1, sizeof *n);
	n->site = site;
	n->houses = xcalloc(site->ncertificates, sizeof *n->houses);
	for (size_t i = 0; i < site->ncertificates; i++) {
		struct house *h = &n->houses[n->n++];
		struct certificate *c = site->certificates[i];
		*h = (struct house){.neighbours = n, .certificate = c, .right = c->live.number};
		if (c->settings->manage == MANAGE_OBSERVE)
			continue;
		AUTO_FREE char *path =
			xasprintf("%s/certificates/%s/live", site->settings->state_dir, c->settings->name);
		h->watch = watch_start(site->watcher, path, look_soon, h, fault);
		if (!h->watch) {
			neighbours_close(n);
			return NULL;
		}
		look_soon(h);
	}
	n->rescan = timer_repeat(site->loop, RESCAN_MS, RESCAN_MS, rescan, n);
	return n;
}

void neighbours_close(struct neighbours *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++) {
		if (n->houses[i].watch)
			watch_close(n->houses[i].watch);
		timer_close(n->houses[i].timer);
	}
	timer_close(n->rescan);
	free(n->houses);
	free(n);
}
