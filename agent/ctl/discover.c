/* discover: what the web servers of this host serve */
#include "ctl/discover.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/commands.h"
#include "ctl/inputs.h"
#include "ctl/outlook.h"
#include "ctl/print.h"
#include "ctl/prove.h"

const char *const wrong_name[] = {[WRONG_FINDING] = "FINDING",
				  [WRONG_NAME] = "NAME_NOT_COVERED",
				  [WRONG_MISSING] = "FILE_MISSING",
				  [WRONG_UNREADABLE] = "FILE_UNREADABLE",
				  [WRONG_PERMISSIONS] = "KEY_PERMISSIONS",
				  [WRONG_SHARED_KEY] = "KEY_SHARED",
				  [WRONG_NOT_SHOWN] = "NOT_SHOWN"};
_Static_assert(ARRAY_SIZE(wrong_name) == WRONG_CODES, "each code has its name");

void discovered_add_wrong(struct discovered *d, enum wrong_code code, const struct finding *finding, const char *format,
			  ...)
{
	va_list args;
	va_start(args, format);
	char *text = text_printable(xvasprintf(format, args));
	va_end(args);
	d->wrong = xrealloc(d->wrong, (d->nwrong + 1) * sizeof *d->wrong);
	d->wrong[d->nwrong++] = (struct wrong){code, finding, text};
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct discovered *find_or_add(struct discovery *d, const struct webconf_pair *pair)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct discovered *v = &d->v[i];
		if (same_text(v->certificate->text, pair->certificate.text) &&
		    same_text(v->key ? v->key->text : NULL, pair->key.text))
			return &d->v[i];
	}
	if ((d->n & (d->n - 1)) == 0)
		d->v = xrealloc(d->v, (d->n ? 2 * d->n : 1) * sizeof *d->v);
	struct discovered *v = &d->v[d->n++];
	*v = (struct discovered){.certificate = &pair->certificate};
	v->key = pair->key.text ? &pair->key : NULL;
	v->chain = pair->chain.text ? &pair->chain : NULL;
	return v;
}

static void add_pair(struct discovery *d, const struct server *server, const struct webconf_host *host,
		     const struct webconf_pair *pair)
{
	struct discovered *v = find_or_add(d, pair);
	v->places = xrealloc(v->places, (v->nplaces + 1) * sizeof *v->places);
	v->places[v->nplaces++] = (struct place){server, host, pair, NULL};
	v->served |= webconf_shows(host) && server->pid != 0;
}

static void collect(struct discovery *d)
{
	for (size_t i = 0; i < d->servers.n; i++) {
		const struct server *s = &d->servers.v[i];
		for (size_t j = 0; s->conf && j < s->conf->nhosts; j++)
			for (size_t k = 0; k < s->conf->hosts[j].npairs; k++)
				add_pair(d, s, &s->conf->hosts[j], &s->conf->hosts[j].pairs[k]);
	}
}

/* A server's name against what a certificate covers; what is no name (regex, "_", variables) is not judged. */
static bool name_is_covered(const char *name, const struct words *patterns)
{
	if (!*name || strpbrk(name, "~^$ /_?") || !strchr(name, '.'))
		return true;
	AUTO_FREE char *wild = *name == '.' ? xasprintf("*%s", name) : NULL;
	const char *bare = *name == '.' ? name + 1 : name;
	bool bare_covered = false, wild_covered = !wild;
	for (size_t i = 0; i < patterns->n; i++) {
		bare_covered |= strncmp(bare, "*.", 2) == 0 ? strcasecmp(patterns->v[i], bare) == 0
							    : text_name_covers(patterns->v[i], bare);
		wild_covered |= wild && strcasecmp(patterns->v[i], wild) == 0;
	}
	return bare_covered && wild_covered;
}

/* Does another host answer to it wherever this one could? */
static bool is_taken(const struct webconf_host *h, const char *name)
{
	bool free = false;
	for (size_t i = 0; i < h->nlistens; i++)
		free |= h->listens[i].tls && !words_has(&h->listens[i].taken, name);
	return !free && !h->starttls;
}

static void compare_names(struct discovered *d)
{
	struct words seen = {0};
	for (size_t i = 0; i < d->nplaces; i++) {
		const struct webconf_host *h = d->places[i].host;
		for (size_t j = 0; h->tls && webconf_shows(h) && j < h->names.n; j++) {
			const char *name = h->names.v[j];
			if (is_taken(h, name) || name_is_covered(name, &d->reply.names) || words_has(&seen, name))
				continue;
			AUTO_FREE char *where = webconf_where(d->places[i].server->conf, &h->at);
			discovered_add_wrong(d, WRONG_NAME, NULL, "%s (%s) is not a name of this certificate", name,
					     where);
			words_add(&seen, name);
		}
	}
	words_done(&seen);
}

static void look_at_key(struct discovered *d, const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return;
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		discovered_add_wrong(d, WRONG_PERMISSIONS, NULL,
				     "others than its owner may write the key %s (mode %04o)", path,
				     (unsigned int)(st.st_mode & 07777));
	else if (st.st_mode & S_IROTH)
		discovered_add_wrong(d, WRONG_PERMISSIONS, NULL,
				     "every user of this host may read the key %s (mode %04o)", path,
				     (unsigned int)(st.st_mode & 07777));
}

/* Can it be handed to a worker? Says what is wrong with it. */
static bool is_readable(struct discovered *d, const char *what, const char *path)
{
	if (access(path, R_OK) == 0)
		return true;
	if (errno == EACCES)
		discovered_add_wrong(d, WRONG_UNREADABLE, NULL,
				     "the %s %s may not be read by this user: run it as root", what, path);
	else
		discovered_add_wrong(d, WRONG_MISSING, NULL, "the %s %s can't be read: %s", what, path,
				     strerror(errno));
	return false;
}

static bool is_path(const struct webconf_value *v)
{
	return v && *v->text == '/' && !strchr(v->text, '$');
}

/* Without the right to read the key nothing can be said of it; that is no finding. */
static bool comes_from_missing_key(const struct finding *f)
{
	return f->code == FINDING_KEY_MISSING || f->code == FINDING_HANDSHAKE_FAILED;
}

static void take_outcome(struct discovered *d, const struct outcome *o)
{
	d->proved = true;
	d->reply = o->reply;
	for (size_t i = 0; i < d->reply.findings.n; i++) {
		const struct finding *f = &d->reply.findings.v[i];
		if (f->severity != FINDING_INFO && !(d->no_key && comes_from_missing_key(f)))
			discovered_add_wrong(d, WRONG_FINDING, f, "%s", f->text);
	}
	compare_names(d);
}

void discovered_prove(struct ctl *ctl, const char *trust, struct discovered *d)
{
	const struct webconf_value *const values[] = {d->certificate, d->key, d->chain};
	static const char *const what[] = {"certificate", "key", "chain"};
	struct words paths = {0}, no_names = {0};
	struct inputs in = {.passwords = -1};
	struct outcome o = {0};
	struct fault fault = {0};
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (!is_path(values[i]) || words_has(&paths, values[i]->text))
			continue;
		if (is_readable(d, what[i], values[i]->text))
			words_add(&paths, values[i]->text);
		else if (i == 1)
			d->no_key = true;
	}
	bool has_leaf = paths.n && is_path(d->certificate) && words_has(&paths, d->certificate->text);
	if (d->key && !is_path(d->key))
		d->no_key = true;
	if (is_path(d->certificate))
		look_at_key(d, d->key && is_path(d->key) ? d->key->text : d->key ? "" : d->certificate->text);
	if (has_leaf && inputs_open(ctl, &paths, &in) == CTL_DONE) {
		if (prove_pair(ctl, &in, &no_names, CHECK_PROFILE_AUTO, trust, &o, &fault) == 0)
			take_outcome(d, &o);
		else
			discovered_add_wrong(d, WRONG_UNREADABLE, NULL, "%s", fault.text);
	}
	inputs_done(&in);
	words_done(&paths);
}

static void prove_all(struct ctl *ctl, const char *trust, struct discovery *d)
{
	for (size_t i = 0; i < d->n; i++) {
		AUTO_FREE char *text = xasprintf("proving %zu of %zu: %s", i + 1, d->n, d->v[i].certificate->text);
		if (ctl->progress)
			progress_show(ctl->err, text);
		discovered_prove(ctl, trust, &d->v[i]);
	}
	if (ctl->progress)
		progress_clear(ctl->err);
}

static void find_shared_keys(struct discovery *d)
{
	for (size_t i = 0; i < d->n; i++)
		for (size_t j = 0; j < d->n; j++)
			if (i != j && d->v[i].proved && d->v[j].proved && !digest_is_zero(&d->v[i].reply.spki) &&
			    digest_equal(&d->v[i].reply.spki, &d->v[j].reply.spki) &&
			    !digest_equal(&d->v[i].reply.sha256, &d->v[j].reply.sha256))
				discovered_add_wrong(&d->v[i], WRONG_SHARED_KEY, NULL,
						     "%s has the same key: a compromise of one hits both",
						     d->v[j].certificate->text);
}

static const struct discovered *find_pair(const struct discovery *d, const struct webconf_pair *pair)
{
	for (size_t i = 0; i < d->n; i++)
		if (same_text(d->v[i].certificate->text, pair->certificate.text) &&
		    same_text(d->v[i].key ? d->v[i].key->text : NULL, pair->key.text))
			return &d->v[i];
	return NULL;
}

/* "ecdsa" of "ecdsa-p256" */
static bool same_kind(const struct discovered *a, const struct discovered *b)
{
	size_t n = strcspn(a->reply.key_type, "-");
	return n && strncmp(a->reply.key_type, b->reply.key_type, n) == 0 && strchr("-", b->reply.key_type[n]);
}

/* A server keeps one certificate for each kind of key: the last one. */
static void find_not_shown(struct discovery *d)
{
	for (size_t i = 0; i < d->n; i++) {
		struct discovered *v = &d->v[i];
		for (size_t j = 0; v->proved && j < v->nplaces; j++) {
			struct place *p = &v->places[j];
			size_t at = (size_t)(p->pair - p->host->pairs);
			for (size_t k = at + 1; k < p->host->npairs && !p->instead; k++) {
				const struct discovered *other = find_pair(d, &p->host->pairs[k]);
				if (other && other != v && other->proved && same_kind(v, other))
					p->instead = other->certificate->text;
			}
			if (!p->instead)
				continue;
			AUTO_FREE char *where = webconf_where(p->server->conf, &p->host->at);
			discovered_add_wrong(v, WRONG_NOT_SHOWN, NULL,
					     "%s shows %s in its place: the last one of a kind of key counts", where,
					     p->instead);
		}
	}
}

/* A swap of these ends as UNSERVED: better said before. Where not all could be read, it is not known. */
static void find_unnamed(const struct ctl *ctl, struct discovery *d)
{
	for (size_t i = 0; i < d->servers.n; i++)
		if (d->servers.v[i].configured && d->servers.v[i].conf && d->servers.v[i].conf->incomplete)
			return;
	for (size_t i = 0; ctl->settings && i < ctl->settings->ncertificates; i++) {
		const struct certificate_settings *c = &ctl->settings->certificates[i];
		bool named = c->nconsumers > 0;
		for (size_t j = 0; !named && j < d->n; j++)
			named = outlook_managing(ctl, &d->v[j]) == c;
		if (!named)
			words_add(&d->unnamed, c->name);
	}
}

void discovery_make(struct ctl *ctl, const char *trust, struct discovery *ret)
{
	*ret = (struct discovery){0};
	servers_find(ctl, &ret->servers);
	others_read("", &ret->others);
	collect(ret);
	find_unnamed(ctl, ret);
	prove_all(ctl, trust, ret);
	find_shared_keys(ret);
	find_not_shown(ret);
	discovery_find_readers(ctl, ret);
}

void discovery_read_one(pid_t pid, struct discovery *ret)
{
	*ret = (struct discovery){0};
	servers_find_one(pid, &ret->servers);
	collect(ret);
}

void discovery_done(struct discovery *d)
{
	for (size_t i = 0; i < d->n; i++) {
		struct discovered *v = &d->v[i];
		for (size_t j = 0; j < v->nreaders; j++)
			free(v->readers[j].where);
		for (size_t j = 0; j < v->nwrong; j++)
			free(v->wrong[j].text);
		if (v->proved)
			check_reply_done(&v->reply);
		if (v->outlook)
			outlook_done(v->outlook);
		free(v->outlook);
		free(v->places);
		free(v->readers);
		free(v->wrong);
	}
	free(d->v);
	words_done(&d->unnamed);
	servers_done(&d->servers);
	others_done(&d->others);
}

/* Exit status: is one revoked? */
static int look_ahead(struct ctl *ctl, const char *trust, struct discovery *d)
{
	int status = CTL_DONE;
	for (size_t i = 0; i < d->n; i++) {
		struct discovered *v = &d->v[i];
		AUTO_FREE char *text = xasprintf("asking the CA %zu of %zu: %s", i + 1, d->n, v->certificate->text);
		if (ctl->progress)
			progress_show(ctl->err, text);
		v->outlook = xcalloc(1, sizeof *v->outlook);
		outlook_make(ctl, trust, v, v->outlook);
		if (v->served && v->outlook->status == OUTLOOK_REVOKED)
			status = CTL_FAILED;
	}
	if (ctl->progress)
		progress_clear(ctl->err);
	return status;
}

int command_discover(struct ctl *ctl, const struct args *a)
{
	struct discovery d;
	/* a host without certswap's configuration is the usual case here */
	if (ctl->config_named || access(ctl->config_file, R_OK) == 0) {
		int status = ctl_settings(ctl);
		if (status != CTL_DONE)
			return status;
	}
	if (args_has(a, OPTION_LOADS))
		return command_discover_loads(ctl, a);
	discovery_make(ctl, args_value(a, OPTION_TRUST), &d);
	int status = d.servers.n ? CTL_DONE : CTL_FAILED;
	if (args_has(a, OPTION_CHECK) && look_ahead(ctl, args_value(a, OPTION_TRUST), &d) != CTL_DONE)
		status = CTL_FAILED;
	if (args_has(a, OPTION_JSON))
		discovery_print_json(ctl, &d);
	else
		discovery_print(ctl, &d);
	discovery_done(&d);
	return status;
}
