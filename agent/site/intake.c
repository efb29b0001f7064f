#include "site/intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "site/audit.h"
#include "site/pending.h"
#include "site/transaction.h"
#include "site/consumer.h"

#define IDENTIFY_TIMEOUT_MS 20000
#define DELAY_MIN_MS        1000
#define DELAY_MAX_MS        60000

int64_t intake_delay(int64_t before)
{
	int64_t next = before * 2;
	return next < DELAY_MIN_MS ? DELAY_MIN_MS : next > DELAY_MAX_MS ? DELAY_MAX_MS : next;
}

struct identifying {
	struct site *site;
	intake_identified_cb cb;
	void *data;
};

static void on_identified(struct message *message, const struct fault *fault, void *data)
{
	struct identifying *i = data;
	struct identify_reply reply = {0};
	struct fault bad = {0};
	if (!message) {
		i->cb(NULL, fault, i->data);
	} else if (identify_reply_unpack(&message->body, &reply) < 0) {
		fault_set(&bad, -EBADMSG, "certswap-worker (check) sent a reply that makes no sense");
		i->cb(NULL, &bad, i->data);
	} else {
		i->cb(&reply, &bad, i->data);
		identify_reply_done(&reply);
	}
	staging_work_ended(i->site);
	free(i);
}

void intake_identify(struct site *site, const int *fds, size_t n, int passwords, intake_identified_cb cb, void *data)
{
	int all[INTAKE_FILES_AT_ONCE + 1];
	struct identifying *i = xcalloc(1, sizeof *i);
	*i = (struct identifying){.site = site, .cb = cb, .data = data};
	memcpy(all, fds, n * sizeof *fds);
	if (passwords >= 0)
		all[n] = passwords;
	struct packer body = {0};
	const struct identify_request request = {.files = (uint16_t)n, .passwords = passwords >= 0};
	identify_request_pack(&body, &request);
	job_start(site->jobs, "check", MESSAGE_IDENTIFY, &body, all, n + (passwords >= 0), NULL, IDENTIFY_TIMEOUT_MS,
		  on_identified, i);
	packer_done(&body);
	staging_work_begins(site);
}

/* How many of the required names are covered; the first that is not in *ret_missing. */
static size_t count_covered(const struct words *names, const struct words *required, const char **ret_missing)
{
	size_t n = 0;
	*ret_missing = NULL;
	for (size_t i = 0; i < required->n; i++) {
		const struct words one = {.v = &required->v[i], .n = 1};
		if (text_names_cover(names, &one, NULL))
			n++;
		else if (!*ret_missing)
			*ret_missing = required->v[i];
	}
	return n;
}

/* Says what keeps it from the certificate that it comes nearest to; NULL: it has no name of any here. */
static void explain_nowhere(const struct words *names, const struct certificate *nearest, const char *missing,
			    struct fault *fault)
{
	AUTO_FREE char *list = words_join(names, ", ");
	if (nearest)
		fault_set(fault, -ENOENT,
			  "it covers %.300s, and %s also needs %s; if it is meant for %s all the same, say so: --name "
			  "%s, or the folder incoming/%s",
			  list, nearest->settings->name, missing, nearest->settings->name, nearest->settings->name,
			  nearest->settings->name);
	else
		fault_set(fault, -ENOENT,
			  "no certificate here has a name that it covers (%.300s); if it is meant for one of them, say "
			  "which: --name NAME, or the folder incoming/NAME",
			  *list ? list : "it has none");
}

struct certificate *intake_route(struct site *site, const struct words *names, struct fault *fault)
{
	struct certificate *found = NULL, *nearest = NULL;
	const char *missing = NULL, *lacks;
	size_t fits = 0, most = 0;
	struct text several = {0};
	for (size_t i = 0; i < site->ncertificates; i++) {
		struct certificate *c = site->certificates[i];
		const struct words *required = certificate_names(c);
		size_t n = count_covered(names, required, &lacks);
		if (n && !lacks) {
			text_add(&several, "%s%s", fits++ ? ", " : "", c->settings->name);
			found = c;
		} else if (n > most) {
			most = n;
			nearest = c;
			missing = lacks;
		}
	}
	if (fits > 1)
		fault_set(fault, -EEXIST,
			  "its names fit several certificates here (%.300s): say which: --name NAME, or the folder "
			  "incoming/NAME",
			  several.s);
	else if (!fits)
		explain_nowhere(names, nearest, missing, fault);
	text_done(&several);
	return fits == 1 ? found : NULL;
}

/* ---- closed sets ---- */

struct intake_set {
	struct site *site;
	struct intake_spec spec;
	struct prove_input *inputs;
	struct timer *timer;
	intake_done_cb cb;
	void *data;
};

static void set_free(struct intake_set *set)
{
	struct site *site = set->site;
	for (size_t i = 0; i < site->nsets; i++)
		if (site->sets[i] == set)
			site->sets[i] = site->sets[--site->nsets];
	for (size_t i = 0; i < set->spec.n; i++) {
		close(set->spec.fds[i]);
		free(set->spec.labels[i]);
	}
	if (set->spec.passwords >= 0)
		close(set->spec.passwords);
	free(set->spec.fds);
	free(set->spec.labels);
	words_done(&set->spec.accepted);
	free(set->spec.why);
	free(set->inputs);
	free(set);
}

static void finish(struct intake_set *set, int exit, const char *text, const char *next)
{
	set->cb(exit, text, next, set->data);
	set_free(set);
}

static void on_pair(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	static const int exits[] = {
		[PAIR_LIVE] = 0,   [PAIR_INSTALLED] = 1, [PAIR_STANDBY] = 0,  [PAIR_SAME] = 0,   [PAIR_REFUSED] = 1,
		[PAIR_FAILED] = 1, [PAIR_HELD] = 1,      [PAIR_UNPROVED] = 1, [PAIR_UNREAD] = 1, [PAIR_INCOMPLETE] = 1};
	struct intake_set *set = data;
	const struct certificate *c = set->spec.certificate;
	/* a first pair has nothing to be proved against: installed is all that was asked for */
	bool first = outcome == PAIR_INSTALLED && c->last_swap.result == TXN_UNSERVED && consumers_verified(c);
	finish(set, first ? 0 : exits[outcome], text, next);
}

/* What each file seems to hold, for a refusal. */
static char *describe(const struct intake_set *set, const struct identify_reply *reply)
{
	struct text t = {0};
	for (size_t i = 0; i < reply->n; i++)
		if (reply->v[i].file < set->spec.n)
			text_add(&t, "\n  %s: %s", set->spec.labels[reply->v[i].file], reply->v[i].text);
	return t.s ? t.s : xstrdup("");
}

/* The leaf of the set: the only one, or the only one whose key is there too. */
static const struct object *choose_leaf(const struct identify_reply *reply, struct fault *fault)
{
	const struct object *only = NULL, *with_key = NULL;
	size_t leaves = 0, pairs = 0;
	for (size_t i = 0; i < reply->n; i++) {
		const struct object *o = &reply->v[i];
		if (o->kind != OBJECT_LEAF || (only && digest_equal(&only->sha256, &o->sha256)))
			continue;
		only = o;
		leaves++;
		for (size_t k = 0; k < reply->n; k++) {
			if (reply->v[k].kind == OBJECT_KEY && digest_equal(&reply->v[k].spki, &o->spki)) {
				with_key = o;
				pairs++;
				break;
			}
		}
	}
	if (pairs == 1)
		return with_key;
	if (leaves == 1)
		return only;
	fault_set(fault, -EINVAL,
		  leaves ? "there are several server certificates in these files: hand them over one by one"
			 : "there is no server certificate in these files");
	return NULL;
}

static bool holds_nothing(const struct identify_reply *reply)
{
	for (size_t i = 0; i < reply->n; i++)
		if (reply->v[i].kind != OBJECT_NOTHING)
			return false;
	return true;
}

static bool is_locked(const struct identify_reply *reply)
{
	for (size_t i = 0; i < reply->n; i++)
		if (reply->v[i].kind == OBJECT_LOCKED)
			return true;
	return false;
}

/* Is there a key, and none that fits? */
static bool has_other_key(const struct identify_reply *reply, const struct digest *spki)
{
	bool other = false;
	for (size_t i = 0; i < reply->n; i++) {
		if (reply->v[i].kind != OBJECT_KEY)
			continue;
		if (digest_equal(&reply->v[i].spki, spki))
			return false;
		other = true;
	}
	return other;
}

/* What is served already is no worse than itself: it is compared with its own files, the leaf's first. */
static size_t add_served(struct intake_set *set, size_t n, uint32_t leaf_file)
{
	if (!set->spec.served)
		return n;
	set->inputs[n++] = (struct prove_input){.fd = set->spec.fds[leaf_file], .role = CHECK_LIVE};
	for (size_t i = 0; i < set->spec.n; i++)
		if (i != leaf_file)
			set->inputs[n++] = (struct prove_input){.fd = set->spec.fds[i], .role = CHECK_LIVE};
	return n;
}

static void on_set_identified(struct identify_reply *reply, const struct fault *fault, void *data)
{
	struct intake_set *set = data;
	struct fault problem = {0};
	if (!reply)
		return finish(set, 1, fault->text, NULL);
	const struct object *leaf = choose_leaf(reply, &problem);
	bool locked = is_locked(reply);
	if (!leaf) {
		AUTO_FREE char *what = describe(set, reply);
		AUTO_FREE char *text =
			xasprintf("%s%s:%s", holds_nothing(reply) ? "UNREADABLE: " : "", problem.text, what);
		const char *next = locked ? "give its password: --password-file FILE, or at the prompt"
				   : holds_nothing(reply)
					   ? "take the files again from what the CA sent, as PEM, PKCS#7 or PKCS#12"
					   : NULL;
		return finish(set, 1, text, next);
	}
	struct certificate *c = set->spec.certificate;
	if (!c)
		c = set->spec.certificate = pending_owner(set->site, &leaf->spki);
	if (!c && !(c = set->spec.certificate = intake_route(set->site, &leaf->names, &problem)))
		return finish(set, 1, problem.text, NULL);
	bool live_already = c->live.number && !c->swapping && /* or it may still go back */
			    digest_equal(&leaf->sha256, &c->live.sha256);
	if (!set->spec.standby && live_already && !has_other_key(reply, &leaf->spki)) {
		AUTO_FREE char *text = xasprintf("%s: serial %s is live already", c->settings->name, c->live.serial);
		return finish(set, 0, text, NULL);
	}
	size_t ninputs = add_served(set, set->spec.n + (set->spec.passwords >= 0), leaf->file);
	const struct pair_spec pair = {.certificate = c,
				       .inputs = set->inputs,
				       .ninputs = ninputs,
				       .leaf = leaf->sha256,
				       .spki = leaf->spki,
				       .standby = set->spec.standby,
				       .origin = set->spec.origin,
				       .accepted = &set->spec.accepted,
				       .why = set->spec.why};
	pair_start(&pair, on_pair, set);
}

void intake_submit(struct site *site, struct intake_spec *spec, intake_done_cb cb, void *data)
{
	struct intake_set *set = xcalloc(1, sizeof *set);
	*set = (struct intake_set){.site = site, .spec = *spec, .cb = cb, .data = data};
	set->spec.fds = xmemdup(spec->fds, spec->n * sizeof *spec->fds);
	set->spec.labels = xcalloc(spec->n, sizeof(*spec->labels));
	set->inputs = xcalloc(2 * spec->n + 1, sizeof *set->inputs);
	for (size_t i = 0; i < spec->n; i++) {
		set->spec.labels[i] = xstrdup(spec->labels[i]);
		set->inputs[i] = (struct prove_input){.fd = spec->fds[i], .role = CHECK_SUBMITTED};
	}
	set->inputs[spec->n] = (struct prove_input){.fd = spec->passwords, .role = CHECK_PASSWORD};
	site->sets = xrealloc(site->sets, (site->nsets + 1) * sizeof(*site->sets));
	site->sets[site->nsets++] = set;
	intake_identify(site, set->spec.fds, spec->n, spec->passwords, on_set_identified, set);
}
