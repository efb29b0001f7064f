#include "site/revocation.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/acme.h"
#include "site/alert.h"
#include "site/response.h"
#include "swap/record.h"

#define REFRESH_MS      50
#define READ_TIMEOUT_MS 30000
#define REREAD_MS       60000 /* after a worker that could not be started, or died */
#define BLIND_FAILURES  3     /* looks that failed before a source that never answered is called broken */

/* ---- subjects and sources by their digest ---- */

static int by_sha256(const void *a, const void *b)
{
	return memcmp(&((const struct subject *)a)->cert.sha256, &((const struct subject *)b)->cert.sha256,
		      sizeof(struct digest));
}

static int by_key(const void *a, const void *b)
{
	return memcmp(&((const struct source *)a)->key, &((const struct source *)b)->key, sizeof(struct digest));
}

struct subject *revocation_subject(const struct watch_over *w, const struct digest *sha256)
{
	const struct subject wanted = {.cert.sha256 = *sha256};
	void *found = tfind(&wanted, &w->subjects, by_sha256);
	return found ? *(struct subject **)found : NULL;
}

static struct subject *subject_for(struct watch_over *w, const struct source_cert *cert)
{
	struct subject *s = revocation_subject(w, &cert->sha256);
	if (s)
		return s;
	s = xcalloc(1, sizeof *s);
	source_cert_copy(&s->cert, cert);
	if (!tsearch(s, &w->subjects, by_sha256))
		abort(); /* out of memory */
	w->all_subjects = xrealloc(w->all_subjects, (w->nsubjects + 1) * sizeof(struct subject *));
	w->all_subjects[w->nsubjects++] = s;
	return s;
}

static struct digest key_of(enum fetch_kind kind, const struct certificate *c, const struct source_cert *cert)
{
	const struct certificate_settings *s = c->settings;
	const bool file = kind == FETCH_CRL && strncmp(s->check_crl, "file:", 5) == 0;
	char issuer[DIGEST_HEX], points[DIGEST_HEX];
	AUTO_FREE char *urls = words_join(kind == FETCH_CRL ? &cert->crls : &cert->ocsp, " ");
	AUTO_FREE char *all =
		kind == FETCH_ARI
			? xasprintf("ari %s %s", s->check_ari, certificate_trust(c))
			: xasprintf("%s %s %s %s %s %s", fetch_kind_name[kind], digest_text(&cert->issuer, issuer),
				    kind == FETCH_CRL ? digest_text(&cert->points, points) : "",
				    file ? s->check_crl : urls, certificate_trust(c), file ? "file" : "");
	return hash_bytes(all, strlen(all));
}

static struct source *source_for(struct watch_over *w, enum fetch_kind kind, const struct certificate *c,
				 const struct source_cert *cert)
{
	const struct source wanted = {.key = key_of(kind, c, cert)};
	void *found = tfind(&wanted, &w->sources, by_key);
	if (found)
		return *(struct source **)found;
	struct source *s = source_new(w, kind, &wanted.key);
	if (!tsearch(s, &w->sources, by_key))
		abort(); /* out of memory */
	w->v = xrealloc(w->v, (w->n + 1) * sizeof(*w->v));
	w->v[w->n++] = s;
	if (kind == FETCH_CRL && strncmp(c->settings->check_crl, "file:", 5) == 0)
		s->file = xstrdup(c->settings->check_crl + 5);
	else if (kind == FETCH_ARI)
		words_add(&s->urls, c->settings->check_ari);
	else
		words_copy(&s->urls, kind == FETCH_CRL ? &cert->crls : &cert->ocsp);
	return s;
}

/* ---- who is asked about what ---- */

static void ask_at(struct watch_over *w, enum fetch_kind kind, struct certificate *c, unsigned int generation,
		   struct subject *b)
{
	struct source *s = source_for(w, kind, c, &b->cert);
	if (!s->n) {
		s->owner = c;
		s->generation = generation;
		s->child = b->cert.sha256;
		s->interval_ms = c->settings->check_interval_ms;
	}
	if (c->settings->check_interval_ms < s->interval_ms)
		s->interval_ms = c->settings->check_interval_ms;
	bool anew = kind == FETCH_ARI ? !b->plan.end
				      : b->answers[kind == FETCH_CRL ? REVOCATION_CRL : REVOCATION_OCSP].status ==
						REVOCATION_NONE;
	if (anew)
		source_recall(s, b);
	source_add(s, b);
	b->at[kind] = s;
}

static void attach_chain(struct watch_over *w, struct standing *st, struct standing_chain *chain, bool live)
{
	struct certificate *c = st->certificate;
	int64_t now = clock_wall();
	for (size_t i = 0; i < chain->n; i++) {
		struct subject *b = chain->v[i];
		b->wanted = true;
		if (b->cert.self_signed || b->cert.not_after < now)
			continue;
		bool crl = strcmp(c->settings->check_crl, "false") != 0;
		if (crl && (b->cert.crls.n || c->settings->check_crl[0] == 'f'))
			ask_at(w, FETCH_CRL, c, chain->generation, b);
		if (c->settings->check_ocsp && b->cert.ocsp.n)
			ask_at(w, FETCH_OCSP, c, chain->generation, b);
		/* not after the replacement, and not after it has expired (RFC 9773 4.3) */
		if (live && i == 0 && *c->settings->check_ari && *b->cert.cert_id)
			ask_at(w, FETCH_ARI, c, chain->generation, b);
	}
}

static void sweep_subjects(struct watch_over *w)
{
	size_t n = 0;
	for (size_t i = 0; i < w->nsubjects; i++) {
		struct subject *b = w->all_subjects[i];
		if (b->wanted || b->busy) {
			w->all_subjects[n++] = b;
			continue;
		}
		tdelete(b, &w->subjects, by_sha256);
		subject_free(b);
	}
	w->nsubjects = n;
}

static void sweep_sources(struct watch_over *w)
{
	size_t n = 0;
	for (size_t i = 0; i < w->n; i++) {
		struct source *s = w->v[i];
		if (s->n) {
			w->v[n++] = s;
			continue;
		}
		tdelete(s, &w->sources, by_key);
		source_free(s);
	}
	w->n = n;
}

/* What the client that renews it can't do, said when it changes. */
static void look_at_client(struct standing *st)
{
	const struct certificate_settings *s = st->certificate->settings;
	struct words now = {0};
	if (!s->watch.n || !st->live.n)
		return;
	st->acme = acme_client_name(acme_look(&s->watch, &s->reissue, st->live.v[0]->cert.ocsp.n > 0, &now));
	for (size_t i = 0; i < now.n; i++)
		if (!words_has(&st->warnings, now.v[i]))
			log_warning("acme-client", "%s: %s", s->name, now.v[i]);
	words_done(&st->warnings);
	st->warnings = now;
}

static void attach_all(struct watch_over *w)
{
	for (size_t i = 0; i < w->nsubjects; i++) {
		w->all_subjects[i]->wanted = false;
		memset(w->all_subjects[i]->at, 0, sizeof w->all_subjects[i]->at);
	}
	for (size_t i = 0; i < w->n; i++)
		w->v[i]->n = 0;
	for (size_t i = 0; i < w->nstandings; i++) {
		struct standing *st = &w->standings[i];
		look_at_client(st);
		attach_chain(w, st, &st->live, true);
		if (st->standby)
			attach_chain(w, st, st->standby, false);
		for (size_t k = 0; k < st->nformer; k++)
			attach_chain(w, st, &st->former[k], false);
	}
	sweep_sources(w); /* their jobs hold subjects */
	sweep_subjects(w);
	for (size_t i = 0; i < w->n; i++)
		source_schedule(w->v[i]);
}

/* ---- reading the chains ---- */

static void forget(struct standing_chain *chain)
{
	meta_done(&chain->meta);
	*chain = (struct standing_chain){0};
}

/* What was live goes on being looked up: a CA may say later that its key was compromised (BR 7.2.2). */
static void keep_former(struct standing *st, struct standing_chain *chain)
{
	if (chain->n && chain->meta.not_after > clock_wall()) {
		standing_make_room(st);
		forget(&st->former[st->nformer - 1]);
		memmove(&st->former[1], &st->former[0], (st->nformer - 1) * sizeof st->former[0]);
		st->former[0] = *chain;
		*chain = (struct standing_chain){0};
	} else {
		forget(chain);
	}
}

static bool is_same(const struct standing_chain *chain, const struct meta *meta)
{
	return chain->generation == meta->number && (!meta->number || digest_equal(&chain->meta.sha256, &meta->sha256));
}

/* Puts a chain on the list of those to be read, where it is not what it was. */
static void want(struct watch_over *w, struct standing *st, struct standing_chain *chain, const struct meta *meta)
{
	if (is_same(chain, meta) && (chain->n || chain->unreadable || !chain->generation))
		return;
	if (w->nread == SOURCES_FILES_MAX)
		return;
	if (!is_same(chain, meta)) {
		forget(chain);
		if (!meta->number)
			return;
		meta_copy(&chain->meta, meta);
		chain->generation = meta->number;
	}
	w->read[w->nread] = chain;
	w->read_for[w->nread++] = st;
}

static void want_former(struct watch_over *w, struct standing *st)
{
	struct site *site = w->site;
	for (size_t i = 0; i < site->nincidents; i++) {
		const struct incident *in = site->incidents[i];
		struct meta meta = {0};
		if (in->owner != st->certificate || in->stage != INCIDENT_AWAITING_REVOCATION || !in->generation ||
		    (st->nformer && st->former[0].generation) ||
		    store_read_meta(st->certificate->folder, in->generation, &meta, NULL) < 0)
			continue;
		if (digest_equal(&meta.sha256, &in->sha256)) {
			standing_make_room(st);
			want(w, st, &st->former[0], &meta);
		}
		meta_done(&meta);
	}
}

static void want_all(struct watch_over *w)
{
	w->nread = 0;
	for (size_t i = 0; i < w->nstandings && w->nread < SOURCES_FILES_MAX; i++) {
		struct standing *st = &w->standings[i];
		const struct certificate *c = st->certificate;
		if (!is_same(&st->live, &c->live) && st->live.n) {
			keep_former(st, &st->live);
			st->blind_told = false;
			st->early_told = 0;
		}
		want(w, st, &st->live, &c->live);
		if (c->standby.number && !st->standby)
			st->standby = xcalloc(1, sizeof *st->standby);
		if (st->standby)
			want(w, st, st->standby, &c->standby);
		want_former(w, st);
		if (!st->recalled)
			standing_recall_formers(st);
		st->recalled = true;
		for (size_t k = 0; k < st->nformer; k++)
			want(w, st, &st->former[k], &st->former[k].meta);
	}
}

static void read_some(void *data);

static void take_file(struct watch_over *w, struct standing_chain *chain, const struct source_file *file)
{
	for (size_t i = 0; i < file->n; i++)
		chain->v[chain->n++] = subject_for(w, &file->v[i]);
}

static void on_read(struct message *message, const struct fault *fault, void *data)
{
	struct watch_over *w = data;
	struct sources_reply *reply = xcalloc(1, sizeof *reply);
	w->reading = NULL;
	size_t got = 0;
	if (!message)
		log_warning("sources", "where the CAs publish can't be read: %s", fault->text);
	else if (sources_reply_unpack(&message->body, reply) == 0)
		got = reply->n;
	for (size_t i = 0; i < got && i < w->nread; i++) {
		take_file(w, w->read[i], &reply->v[i]);
		w->read[i]->unreadable = !w->read[i]->n;
		if (w->read[i]->unreadable)
			log_warning("sources", "%s: generation %u holds no certificate that can be read",
				    w->read_for[i]->certificate->settings->name, w->read[i]->generation);
	}
	sources_reply_done(reply);
	free(reply);
	if (got)
		return read_some(w);
	attach_all(w); /* what is known already; the rest is tried again */
	w->again = true;
	if (!w->refresh)
		w->refresh = timer_start(w->site->loop, REREAD_MS, read_some, w);
}

/* Reads what is not known yet, 16 generations at a time; then everything finds its sources. */
static void read_some(void *data)
{
	struct watch_over *w = data;
	int fds[SOURCES_FILES_MAX];
	size_t n = 0;
	timer_close(w->refresh);
	w->refresh = NULL;
	if (w->reading)
		return;
	want_all(w);
	for (size_t i = 0; i < w->nread; i++) {
		int fd = store_open_file(w->read_for[i]->certificate->folder, w->read[i]->generation, "fullchain.pem",
					 NULL);
		w->read[i]->unreadable = fd == -ENOENT;
		if (fd < 0)
			continue;
		w->read[n] = w->read[i];
		w->read_for[n] = w->read_for[i];
		fds[n++] = fd;
	}
	w->nread = n;
	if (n) {
		struct packer body = {0};
		w->reading = job_start(w->site->jobs, "check", MESSAGE_SOURCES, &body, fds, n, NULL, READ_TIMEOUT_MS,
				       on_read, w);
		packer_done(&body);
	} else {
		attach_all(w);
	}
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

void revocation_refresh(struct watch_over *w)
{
	if (w->reading || (w->refresh && !w->again))
		return;
	timer_close(w->refresh);
	w->again = false;
	w->refresh = timer_start(w->site->loop, REFRESH_MS, read_some, w);
}

/* ---- what is found ---- */

static void tell_leaf(struct standing *st, struct standing_chain *chain, const struct subject *b,
		      const struct revocation_verdict *v)
{
	struct fault fault = {0};
	AUTO_FREE char *source = xasprintf("%s", revocation_source_name(v->source));
	if (chain->told[0] && chain->told_reason == v->answer->reason)
		return;
	if (incident_seen_revoked(st->certificate, &chain->meta, v->answer->reason, v->answer->revoked_at, source,
				  &fault) < 0)
		return log_error("revoked", "%s: serial %s is published as revoked, and that can't be recorded: %s",
				 st->certificate->settings->name, b->cert.serial, fault.text);
	chain->told[0] = true;
	chain->told_reason = v->answer->reason;
}

/* Everything under a revoked intermediate is as good as revoked; what its CA says of it is nothing about our key. */
static void tell_issuer(struct standing *st, struct standing_chain *chain, size_t i, const struct subject *b,
			const struct revocation_verdict *v)
{
	struct fault fault = {0};
	if (chain->told[i] || chain == st->standby)
		return; /* a standby under it is refused when it is proved */
	AUTO_FREE char *source =
		xasprintf("%s of the intermediate %s", revocation_source_name(v->source), b->cert.subject);
	const struct notice notice = {.kind = INCIDENT_REVOKED,
				      .source = source,
				      .reason = -1,
				      .received_at = v->answer->checked_at,
				      .revoke_at = v->answer->checked_at,
				      .reference = "revoked intermediate"};
	if (!incident_open(st->certificate, &chain->meta, &notice, &fault))
		return log_error("revoked", "%s: %s", st->certificate->settings->name, fault.text);
	chain->told[i] = true;
}

static void tell_chain(struct standing *st, struct standing_chain *chain, const struct subject *b)
{
	bool former = chain != &st->live && chain != st->standby;
	struct revocation_verdict v = revocation_judge(b->answers, clock_wall());
	for (size_t i = 0; i < chain->n; i++) {
		if (chain->v[i] != b)
			continue;
		if (i == 0)
			tell_leaf(st, chain, b, &v);
		else if (!former)
			tell_issuer(st, chain, i, b, &v);
	}
}

static void tell_early(struct standing *st, const struct subject *b)
{
	struct certificate *c = st->certificate;
	struct fault fault = {0};
	const struct notice notice = {.kind = INCIDENT_EARLY,
				      .source = b->url ? b->url : "ari",
				      .reason = -1,
				      .received_at = clock_wall(),
				      .revoke_at = b->window.end};
	if (!b->early)
		incident_not_early(c, &st->live.meta, "ari"); /* it may have been opened before a restart */
	else if (st->early_told == b->window.end)
		return;
	else if (!incident_open(c, &st->live.meta, &notice, &fault))
		return log_error("renew-early", "%s: %s", c->settings->name, fault.text);
	st->early_told = b->early ? b->window.end : 0;
}

void revocation_told(struct watch_over *w, struct subject *b)
{
	bool revoked = revocation_judge(b->answers, clock_wall()).status == REVOCATION_REVOKED;
	for (size_t i = 0; (revoked || b->window.end) && i < w->nstandings; i++) {
		struct standing *st = &w->standings[i];
		if (b->window.end && st->live.n && st->live.v[0] == b)
			tell_early(st, b);
		if (!revoked)
			continue;
		tell_chain(st, &st->live, b);
		if (st->standby)
			tell_chain(st, st->standby, b);
		for (size_t k = 0; k < st->nformer; k++)
			tell_chain(st, &st->former[k], b);
	}
}

/* ---- nobody would know ---- */

static const char *blind_text(const struct subject *b, bool failing)
{
	if (failing)
		return "none of the CA's sources gives a usable answer";
	if (!b->cert.crls.n && !b->cert.ocsp.n)
		return "the certificate names neither a CRL nor an OCSP responder";
	return "check.crl and check.ocsp are switched off";
}

/* Has each source of it had its chance? One that was not asked yet says nothing. */
static bool were_all_asked(const struct subject *b)
{
	for (enum fetch_kind k = 0; k < FETCH_KINDS; k++) {
		const struct source *s = k == FETCH_ARI ? NULL : b->at[k];
		if (s && (!s->looks || (s->failures && s->failures < BLIND_FAILURES)))
			return false;
	}
	return true;
}

static void look_for_blind(struct standing *st)
{
	const struct subject *b = st->live.n ? st->live.v[0] : NULL;
	if (!b || b->cert.self_signed || revocation_short_lived(b->cert.not_before, b->cert.not_after))
		return;
	enum revocation_status status = revocation_judge(b->answers, clock_wall()).status;
	if (status == REVOCATION_GOOD || status == REVOCATION_REVOKED) {
		st->blind_told = false;
		return;
	}
	if (st->blind_told || !were_all_asked(b) || source_is_young(b, clock_wall()))
		return;
	const char *name = st->certificate->settings->name;
	AUTO_FREE char *text = xasprintf("%s: nobody here would know of a revocation: %s", name,
					 blind_text(b, status == REVOCATION_UNKNOWN));
	const struct alert alert = {.event = "blind",
				    .severity = ALERT_TICKET,
				    .certificate = name,
				    .text = text,
				    .what_to_do = "certswapctl status --json shows each source and what is wrong with "
						  "it; a mirror of the CRL helps (check.crl = \"file:/path\")"};
	log_warning("blind", "%s", text);
	alert_send(st->certificate->site, &alert);
	st->blind_told = true;
}

void revocation_looked(struct watch_over *w, struct source *source)
{
	if (source->kind == FETCH_ARI)
		return;
	for (size_t i = 0; i < w->nstandings; i++)
		look_for_blind(&w->standings[i]);
}

/* ---- all of it ---- */

struct watch_over *revocation_start(struct site *site)
{
	struct watch_over *w = xcalloc(1, sizeof *w);
	struct fault fault = {0};
	w->site = site;
	w->folder = files_open_folder(site->folders.state, "revocation", 0700, &fault);
	if (w->folder < 0)
		log_error("revocation", "STATE/revocation: %s", fault.text);
	else
		(void)record_sweep(w->folder, NULL);
	w->nstandings = site->ncertificates;
	w->standings = xcalloc(w->nstandings, sizeof *w->standings);
	for (size_t i = 0; i < w->nstandings; i++) {
		w->standings[i].certificate = site->certificates[i];
		site->certificates[i]->standing = &w->standings[i];
	}
	revocation_refresh(w);
	return w;
}

void revocation_close(struct watch_over *w)
{
	if (!w)
		return;
	timer_close(w->refresh);
	job_close(w->reading);
	for (size_t i = 0; i < w->n; i++) {
		tdelete(w->v[i], &w->sources, by_key);
		source_free(w->v[i]);
	}
	for (size_t i = 0; i < w->nsubjects; i++) {
		tdelete(w->all_subjects[i], &w->subjects, by_sha256);
		subject_free(w->all_subjects[i]);
	}
	for (size_t i = 0; i < w->nstandings; i++) {
		w->standings[i].certificate->standing = NULL;
		words_done(&w->standings[i].warnings);
		meta_done(&w->standings[i].live.meta);
		if (w->standings[i].standby)
			meta_done(&w->standings[i].standby->meta);
		free(w->standings[i].standby);
		for (size_t k = 0; k < w->standings[i].nformer; k++)
			meta_done(&w->standings[i].former[k].meta);
		free(w->standings[i].former);
	}
	auto_close_(&w->folder);
	free(w->standings);
	free(w->all_subjects);
	free(w->v);
	free(w);
}
