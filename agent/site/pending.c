#include "site/pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "swap/record.h"
#include "wire/keygen.h"

#define KEYGEN_TIMEOUT_MS 300000 /* RSA 4096 on a slow and busy machine, at low priority */
#define KEYS_MAX          32     /* of one certificate; each may be at the CA */

struct asked {
	struct certificate *certificate;
	pending_cb cb; /* NULL: nobody waits */
	void *data;
	struct asked *next;
};

struct pending {
	struct site *site;
	struct asked *first; /* what is to be made, those that somebody waits for before the others */
	struct asked *at_work;
	int fds[KEYRING_FILES];
	struct fault fault; /* why it could not begin */
	size_t next;        /* certificate to be looked at; ncertificates: all were */
	struct timer *timer;
};

static void turn_soon(struct pending *p);

/* ---- what is there ---- */

const struct keyring *pending_keys(struct certificate *c)
{
	struct fault fault = {0};
	if (!c->keys) {
		c->keys = xcalloc(1, sizeof *c->keys);
		if (keyring_load(c->folder, c->keys, &fault) < 0)
			log_warning("pending-failed", "%s: %s", c->settings->name, fault.text);
	}
	return c->keys;
}

static struct waiting_key *find(struct certificate *c, const struct digest *spki)
{
	(void)pending_keys(c);
	for (size_t i = 0; i < c->keys->n; i++)
		if (digest_equal(&c->keys->v[i].spki, spki))
			return &c->keys->v[i];
	return NULL;
}

const struct waiting_key *pending_find(struct certificate *c, const struct digest *spki)
{
	return find(c, spki);
}

struct certificate *pending_owner(const struct site *site, const struct digest *spki)
{
	for (size_t i = 0; i < site->ncertificates; i++)
		if (find(site->certificates[i], spki))
			return site->certificates[i];
	return NULL;
}

static bool same_names(const struct words *a, const struct words *b)
{
	bool same = a->n == b->n;
	for (size_t i = 0; same && i < a->n; i++)
		same = words_has(b, a->v[i]);
	return same;
}

static bool fits(const struct certificate *c, const struct waiting_key *key)
{
	return !key->suspect && strcmp(key->key_type, c->settings->key_type) == 0 &&
	       same_names(&key->names, certificate_names(c)) && !denied_find(&c->site->denied, true, &key->spki);
}

const struct waiting_key *pending_fit(struct certificate *c)
{
	const struct waiting_key *newest = NULL;
	const struct keyring *keys = pending_keys(c);
	for (size_t i = 0; i < keys->n; i++)
		if (fits(c, &keys->v[i]) && (!newest || keys->v[i].since >= newest->since))
			newest = &keys->v[i];
	return newest;
}

int pending_show(struct certificate *c, const struct digest *spki, char **ret, struct fault *fault)
{
	struct waiting_key *key = find(c, spki);
	if (!key)
		return fault_set(fault, -ENOENT, "no such key waits for its certificate");
	if (!key->printed) {
		key->printed = true;
		int r = keyring_mark(c->folder, key, fault);
		if (r < 0)
			return r;
	}
	return keyring_read_request(c->folder, spki, ret, fault);
}

json_t *pending_json(struct certificate *c)
{
	json_t *list = json_array();
	const struct keyring *keys = pending_keys(c);
	for (size_t i = 0; i < keys->n; i++) {
		const struct waiting_key *key = &keys->v[i];
		json_array_append_new(
			list, json_pack("{so, so, ss, so, sb, sb, sb}", "spki_sha256", record_from_digest(&key->spki),
					"since", record_from_time(key->since), "key_type", key->key_type, "names",
					record_from_words(&key->names), "shown", key->printed, "suspect", key->suspect,
					"denied", denied_find(&c->site->denied, true, &key->spki) != NULL));
	}
	return list;
}

static void remove_key(struct certificate *c, size_t at, const char *why)
{
	char hex[DIGEST_HEX];
	struct fault fault = {0};
	struct waiting_key *key = &c->keys->v[at];
	if (keyring_remove(c->folder, &key->spki, &fault) < 0)
		return log_warning("pending-failed", "%s: %s", c->settings->name, fault.text);
	audit_write(c->site->audit, "pending-removed", c->settings->name,
		    json_pack("{ss}", "spki_sha256", digest_text(&key->spki, hex)), "%s", why);
	keyring_drop(c->keys, at);
}

/* What is live or stands by has its key in its generation. What nobody has seen the request of, and does not fit any
 * more, can't come back. */
static void tidy(struct certificate *c)
{
	bool proved = c->last_swap.result == TXN_COMMITTED || c->last_swap.result == TXN_UNSERVED;
	for (size_t i = pending_keys(c)->n; i-- > 0;) {
		const struct waiting_key *key = &c->keys->v[i];
		if (c->live.number && proved && !c->transaction && digest_equal(&key->spki, &c->live.spki))
			remove_key(c, i, "its certificate is live");
		else if (c->standby.number && digest_equal(&key->spki, &c->standby.spki))
			remove_key(c, i, "its certificate stands by");
		else if (!key->printed && !fits(c, key))
			remove_key(c, i, "its request was never shown, and is of no use any more");
	}
}

/* ---- making ---- */

static void finish(struct pending *p, const struct waiting_key *key, const struct fault *fault)
{
	struct asked *asked = p->at_work;
	p->at_work = NULL;
	if (!key)
		log_warning("keygen-failed", "%s: %s", asked->certificate->settings->name, fault->text);
	turn_soon(p);
	if (asked->cb)
		asked->cb(key, fault, asked->data);
	free(asked);
}

static int keep(struct pending *p, const struct keygen_reply *reply, struct fault *fault)
{
	char hex[DIGEST_HEX];
	struct certificate *c = p->at_work->certificate;
	if (digest_is_zero(&reply->spki))
		return fault_set(fault, -EIO, "no key was made: %s", reply->problem);
	struct waiting_key key = {
		.spki = reply->spki, .since = clock_wall(), .key_type = xstrdup(c->settings->key_type)};
	words_copy(&key.names, certificate_names(c));
	int r = keyring_seal(c->folder, p->fds, &key, fault);
	if (r < 0) {
		free(key.key_type);
		words_done(&key.names);
		return r;
	}
	keyring_add(c->keys, &key);
	audit_write(c->site->audit, "pending-made", c->settings->name,
		    json_pack("{ss}", "spki_sha256", digest_text(&reply->spki, hex)),
		    "a new %s key waits for its certificate", c->settings->key_type);
	return 0;
}

static void on_reply(struct message *message, const struct fault *fault, void *data)
{
	struct pending *p = data;
	struct keygen_reply reply = {0};
	struct fault problem = fault ? *fault : (struct fault){0};
	bool good = message && keygen_reply_unpack(&message->body, &reply) == 0;
	if (message && !good)
		fault_set(&problem, -EBADMSG, "certswap-worker (keygen) sent a reply that makes no sense");
	good = good && keep(p, &reply, &problem) == 0;
	for (size_t i = 0; i < KEYRING_FILES; i++)
		close(p->fds[i]);
	struct certificate *c = p->at_work->certificate;
	finish(p, good ? &c->keys->v[c->keys->n - 1] : NULL, &problem);
	keygen_reply_done(&reply);
}

/* Another fault than a full ring is told by the worker's reply. */
static int begin(struct pending *p, struct fault *fault)
{
	struct certificate *c = p->at_work->certificate;
	const struct words *names = certificate_names(c);
	if (!names->n)
		return fault_set(fault, -EINVAL,
				 "%s has no names yet: write them into `dns` of its configuration, or submit its first "
				 "pair",
				 c->settings->name);
	tidy(c);
	if (c->keys->n >= KEYS_MAX)
		return fault_set(fault, -ENOSPC,
				 "%s has %zu keys that wait for their certificates: remove those that will never come "
				 "(%s/certificates/%s/pending) and send SIGHUP",
				 c->settings->name, c->keys->n, c->site->settings->state_dir, c->settings->name);
	return keyring_begin(c->folder, p->fds, fault);
}

static void start_making(struct pending *p)
{
	struct certificate *c = p->at_work->certificate;
	if (begin(p, &p->fault) < 0)
		return finish(p, NULL, &p->fault);
	int fds[KEYRING_FILES + 1] = {p->fds[0], p->fds[1], -1};
	AUTO_CLOSE int like = c->live.number ? store_open_file(c->folder, c->live.number, "cert.pem", NULL) : -1;
	fds[KEYRING_FILES] = like;
	struct packer body = {0};
	const struct keygen_request request = {
		.key_type = c->settings->key_type, .names = *certificate_names(c), .subject = like >= 0};
	keygen_request_pack(&body, &request);
	job_start(p->site->jobs, "keygen", MESSAGE_KEYGEN, &body, fds, KEYRING_FILES + (like >= 0), NULL,
		  KEYGEN_TIMEOUT_MS, on_reply, p);
	packer_done(&body);
}

/* ---- turns: one key at a time ---- */

static bool is_wanted(struct certificate *c)
{
	return !c->settings->reissue.n && c->settings->manage == MANAGE_SWAP && certificate_names(c)->n &&
	       !pending_fit(c);
}

static void ask(struct certificate *c, pending_cb cb, void *data)
{
	struct pending *p = c->site->pending;
	struct asked *asked = xcalloc(1, sizeof *asked), **at = &p->first;
	*asked = (struct asked){.certificate = c, .cb = cb, .data = data};
	while (*at && (!cb || (*at)->cb))
		at = &(*at)->next;
	asked->next = *at;
	*at = asked;
	turn_soon(p);
}

static bool is_asked(const struct pending *p, const struct certificate *c)
{
	for (const struct asked *a = p->first; a; a = a->next)
		if (a->certificate == c)
			return true;
	return p->at_work && p->at_work->certificate == c;
}

static void turn(void *data)
{
	struct pending *p = data;
	timer_close(p->timer);
	p->timer = NULL;
	if (p->at_work)
		return;
	if (p->first) {
		p->at_work = p->first;
		p->first = p->first->next;
		p->fault = (struct fault){0};
		return start_making(p);
	}
	if (p->next >= p->site->ncertificates)
		return;
	struct certificate *c = p->site->certificates[p->next++];
	tidy(c);
	if (is_wanted(c))
		ask(c, NULL, NULL);
	turn_soon(p);
}

static void turn_soon(struct pending *p)
{
	if (!p->timer)
		p->timer = timer_start(p->site->loop, 0, turn, p);
}

void pending_review(struct certificate *c)
{
	if (!c->site->pending)
		return; /* before the start is over: all are looked at then */
	tidy(c);
	if (is_wanted(c) && !is_asked(c->site->pending, c))
		ask(c, NULL, NULL);
}

void pending_review_all(struct site *site)
{
	if (!site->pending)
		return;
	site->pending->next = 0;
	turn_soon(site->pending);
}

void pending_make(struct certificate *c, pending_cb cb, void *data)
{
	ask(c, cb, data);
}

void pending_renew(struct certificate *c, pending_cb cb, void *data)
{
	const struct keyring *keys = pending_keys(c);
	for (size_t i = 0; i < keys->n; i++) {
		struct fault fault = {0};
		keys->v[i].suspect = true;
		if (keyring_mark(c->folder, &keys->v[i], &fault) < 0)
			log_error("pending-failed", "%s: %s", c->settings->name, fault.text);
	}
	audit_write(c->site->audit, "pending-suspect", c->settings->name, NULL,
		    "%zu waiting keys were on this disk when somebody broke in: a fresh one is made", keys->n);
	ask(c, cb, data);
}

struct pending *pending_open(struct site *site)
{
	struct pending *p = xcalloc(1, sizeof *p);
	p->site = site;
	turn_soon(p);
	return p;
}

bool pending_is_asked(const struct pending *p)
{
	for (const struct asked *a = p ? p->first : NULL; a; a = a->next)
		if (a->cb)
			return true;
	return p && p->at_work;
}

void pending_close(struct pending *p)
{
	if (!p)
		return;
	if (p->at_work)
		for (size_t i = 0; i < KEYRING_FILES; i++)
			close(p->fds[i]);
	free(p->at_work);
	for (struct asked *next; p->first; p->first = next) {
		next = p->first->next;
		free(p->first);
	}
	timer_close(p->timer);
	free(p);
}

/* ---- the wrong certificate ---- */

char *pending_refusal(struct certificate *c, const struct digest *spki, const char *serial, char **ret_next)
{
	char since[32];
	const struct denial *denial = denied_find(&c->site->denied, true, spki);
	if (!denial)
		return NULL;
	bool old = digest_equal(spki, &c->live.spki);
	*ret_next =
		c->settings->reissue.n
			? xasprintf("have it issued again with a new key: the ACME client must not reuse the old one "
				    "(certbot: --new-key instead of --reuse-key)")
			: xasprintf("send the CA the request of the new key (certswapctl csr %s) and have the "
				    "certificate issued again for it",
				    c->settings->name);
	return xasprintf(
		"KEY_DENIED: this certificate%s%s is for the %s key, which is refused since %s (%s): the CA used "
		"the %s again",
		serial && *serial ? ", serial " : "", serial ? serial : "", old ? "old, compromised" : "refused",
		text_from_time(denial->since, since), denial->reason,
		old ? "old request (CSR)" : "request (CSR) of that key");
}
