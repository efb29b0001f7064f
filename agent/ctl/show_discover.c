/* What discover found, for people and as JSON. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/memory.h"
#include "ctl/discover.h"
#include "ctl/outlook.h"
#include "ctl/print.h"

static char *addresses_of(const struct webconf_host *h)
{
	struct text text = {0};
	for (size_t i = 0; i < h->nlistens; i++)
		if (h->listens[i].tls && !h->listens[i].unreached)
			text_add(&text, "%s%s", text.len ? " " : "", h->listens[i].address);
	return text.s ? text.s : xstrdup("-");
}

/* Those that are not another host's wherever this one could answer. */
static char *names_of(const struct webconf_host *h)
{
	struct text text = {0};
	for (size_t i = 0; i < h->names.n; i++) {
		bool own = h->starttls || !h->tls;
		for (size_t j = 0; j < h->nlistens; j++)
			own |= !words_has(&h->listens[j].taken, h->names.v[i]);
		if (own && *h->names.v[i])
			text_add(&text, "%s%s", text.len ? " " : "", h->names.v[i]);
	}
	return text.s ? text.s : xstrdup("");
}

static const char *how_shown(const struct place *p)
{
	if (p->host->starttls)
		return " (STARTTLS)";
	if (!p->host->tls)
		return " (no TLS here)";
	if (p->host->rejects)
		return " (never shown: every handshake is refused)";
	if (!webconf_shows(p->host))
		return " (never shown: see the notes above)";
	return p->instead ? " (never shown: see below)" : "";
}

static void print_place(struct ctl *ctl, const struct place *p)
{
	AUTO_FREE char *addresses = addresses_of(p->host);
	AUTO_FREE char *names = names_of(p->host);
	AUTO_FREE char *where = webconf_where(p->server->conf, &p->host->at);
	AUTO_FREE char *cert = webconf_where(p->server->conf, &p->pair->certificate.at);
	bool is_default = false;
	for (size_t i = 0; i < p->host->nlistens; i++)
		is_default |=
			p->host->listens[i].default_server && p->host->listens[i].tls && !p->host->listens[i].unreached;
	AUTO_FREE char *text = xasprintf("%s%s, %s on %s%s (%s)%s%s", *names ? names : "any name", how_shown(p),
					 p->server->name, addresses, is_default ? ", the default" : "", where,
					 p->pair->certificate.inherited ? "; inherited from " : "",
					 p->pair->certificate.inherited ? cert : "");
	print_wrapped(ctl->out, "  for     ", 10, text);
}

static void print_files(struct ctl *ctl, const struct discovered *d)
{
	const struct webconf_value *const v[] = {d->certificate, d->key, d->chain};
	static const char *const before[] = {"  cert    ", "  key     ", "  chain   "};
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		if (!v[i])
			continue;
		print_wrapped(ctl->out, before[i], 10, v[i]->text);
		if (v[i]->out_of_reach) {
			AUTO_FREE char *text = xasprintf("out of reach: %s", v[i]->out_of_reach);
			print_wrapped(ctl->out, "          ", 10, text);
		}
	}
	if (!d->key)
		print_text(ctl->out, "  key     ", "in the certificate's file");
}

static void print_leaf(struct ctl *ctl, const struct check_reply *r)
{
	char until[32], left[48];
	if (digest_is_zero(&r->sha256))
		return;
	AUTO_FREE char *expiry = xasprintf("%s (%s), %s, serial %s", text_from_time(r->not_after, until),
					   text_time_left(r->not_after - clock_wall(), left), r->key_type, r->serial);
	AUTO_FREE char *issuer = xasprintf("%s (%s)", r->issuer, r->publicly_trusted ? "public CA" : "not a public CA");
	print_wrapped(ctl->out, "  until   ", 10, expiry);
	print_wrapped(ctl->out, "  issuer  ", 10, issuer);
}

static void print_wrong(struct ctl *ctl, const struct discovered *d)
{
	for (size_t i = 0; i < d->nwrong; i++) {
		const struct wrong *w = &d->wrong[i];
		bool bad = w->finding ? w->finding->severity == FINDING_BLOCK : w->code != WRONG_UNREADABLE;
		AUTO_FREE char *text =
			xasprintf("%s: %s", w->finding ? finding_name(w->finding->code) : wrong_name[w->code], w->text);
		fputs(colour_on(bad ? COLOUR_BAD : COLOUR_WARN, ctl->colour), ctl->out);
		print_wrapped(ctl->out, "  wrong   ", 10, text);
		fputs(colour_off(bad ? COLOUR_BAD : COLOUR_WARN, ctl->colour), ctl->out);
	}
}

static void print_outlook(struct ctl *ctl, const struct outlook *o)
{
	static const enum colour colours[OUTLOOK_STATUSES] = {
		[OUTLOOK_GOOD] = COLOUR_GOOD, [OUTLOOK_REVOKED] = COLOUR_BAD, [OUTLOOK_UNKNOWN] = COLOUR_WARN};
	AUTO_FREE char *status = xasprintf("%s (%s)", outlook_status_name[o->status], o->status_text);
	fputs(colour_on(colours[o->status], ctl->colour), ctl->out);
	print_wrapped(ctl->out, "  status  ", 10, status);
	fputs(colour_off(colours[o->status], ctl->colour), ctl->out);
	print_wrapped(ctl->out, "  noticed ", 10, o->noticed);
	print_wrapped(ctl->out, "  new one ", 10, o->replaced);
	for (size_t i = 0; i < o->missing.n; i++)
		print_wrapped(ctl->out, "  missing ", 10, o->missing.v[i]);
	if (o->inside)
		print_wrapped(
			ctl->out, "  private ", 10,
			"every address is one of a closed network: a certificate of your own CA would not fall under "
			"the rules of public CAs, and nobody else could revoke it");
}

static void print_discovered(struct ctl *ctl, const struct discovered *d)
{
	AUTO_FREE char *names = d->proved ? words_join(&d->reply.names, ", ") : NULL;
	print_wrapped(ctl->out, "", 2, names && *names ? names : d->certificate->text);
	for (size_t i = 0; i < d->nplaces; i++)
		print_place(ctl, &d->places[i]);
	print_files(ctl, d);
	if (d->proved)
		print_leaf(ctl, &d->reply);
	for (size_t i = 0; i < d->nreaders; i++) {
		const struct reader *r = &d->readers[i];
		AUTO_FREE char *text = xasprintf("%s %s %s (%s)%s", r->program, r->directive, r->path, r->where,
						 r->same_key ? ": another file with the same key" : "");
		print_wrapped(ctl->out, "  also in ", 10, text);
	}
	if (d->outlook)
		print_outlook(ctl, d->outlook);
	print_wrong(ctl, d);
	fputc('\n', ctl->out);
}

static void print_table(struct ctl *ctl, const struct discovery *d)
{
	static const struct column columns[] = {
		{"CERTIFICATE", 34}, {"SERVED BY", 16}, {"ADDRESSES", 22}, {"EXPIRES", 10}, {"", 0}};
	struct table t = {.columns = columns, .ncolumns = ARRAY_SIZE(columns)};
	for (size_t i = 0; i < d->n; i++) {
		const struct discovered *v = &d->v[i];
		AUTO_FREE char *addresses = addresses_of(v->places[0].host);
		char until[32] = "-";
		bool known = v->proved && !digest_is_zero(&v->reply.sha256);
		if (known) {
			text_from_time(v->reply.not_after, until);
			until[10] = '\0'; /* the day is enough here */
		}
		table_add(&t, COLOUR_PLAIN, "%s",
			  known && v->reply.names.n ? v->reply.names.v[0] : v->certificate->text);
		table_add(&t, COLOUR_PLAIN, "%s", v->places[0].server->name);
		table_add(&t, COLOUR_PLAIN, "%s%s", addresses, v->nplaces > 1 ? " ..." : "");
		table_add(&t, COLOUR_PLAIN, "%s", until);
		if (v->nwrong)
			table_add(&t, COLOUR_BAD, "%zu wrong", v->nwrong);
		else
			table_add(&t, v->proved ? COLOUR_GOOD : COLOUR_WARN, v->proved ? "good" : "not known");
	}
	if (d->n)
		table_print(&t, ctl->out, ctl->colour);
	table_done(&t);
	fputc('\n', ctl->out);
}

static void print_server(struct ctl *ctl, const struct server *s)
{
	AUTO_FREE char *line = xasprintf("%s: %s, %s, %zu files", s->config ? s->config : "no configuration file known",
					 s->binary ? s->binary : "no program known", s->pid ? "running" : "not running",
					 s->conf ? s->conf->nfiles : (size_t)0);
	AUTO_FREE char *head = xasprintf("%s  ", s->name);
	print_wrapped(ctl->out, head, 2, line);
	for (size_t i = 0; i < s->problems.n; i++)
		print_wrapped(ctl->out, "  problem: ", 4, s->problems.v[i]);
	for (size_t i = 0; s->conf && i < s->conf->nnotes; i++) {
		const struct webconf_note *n = &s->conf->notes[i];
		struct webconf_place at = {.file = n->file, .line = n->line};
		AUTO_FREE char *where = webconf_where(s->conf, &at), *text = xasprintf("%s: %s", where, n->text);
		print_wrapped(ctl->out, "  note: ", 4, text);
	}
	for (size_t i = 0; s->conf && i < s->conf->nhosts; i++) {
		const struct webconf_host *h = &s->conf->hosts[i];
		AUTO_FREE char *where = webconf_where(s->conf, &h->at);
		AUTO_FREE char *text =
			h->managed_by ? xasprintf("%s: the certificate comes from %s", where, h->managed_by) : NULL;
		if (text)
			print_wrapped(ctl->out, "  out of reach: ", 4, text);
	}
	if (s->conf && s->conf->incomplete)
		print_text(ctl->out, "  ", "not all of this configuration could be read: what follows may not be all");
}

void discovery_print(struct ctl *ctl, const struct discovery *d)
{
	for (size_t i = 0; i < d->servers.n; i++)
		print_server(ctl, &d->servers.v[i]);
	if (!d->servers.n) {
		print_text(ctl->out, "",
			   "No nginx and no Apache was found: none runs, none is installed in a usual place.");
		return;
	}
	fputc('\n', ctl->out);
	if (!d->n)
		print_text(ctl->out, "", "No certificate is configured.");
	else
		print_table(ctl, d);
	for (size_t i = 0; i < d->n; i++)
		print_discovered(ctl, &d->v[i]);
	for (size_t i = 0; i < d->others.unknown.n; i++)
		print_wrapped(ctl->out, "Not known: ", 4, d->others.unknown.v[i]);
	for (size_t i = 0; i < d->unnamed.n; i++) {
		AUTO_FREE char *text =
			xasprintf("certificates/%s/live below the state folder is named by no server: what is "
				  "swapped there is shown to nobody",
				  d->unnamed.v[i]);
		print_wrapped(ctl->out, "Not named: ", 4, text);
	}
}

/* A path or a name may hold any byte; JSON takes UTF-8. NULL: null. */
static json_t *string_json(const char *s)
{
	AUTO_FREE char *text = s ? text_printable(xstrdup(s)) : NULL;
	return text ? json_string(text) : json_null();
}

static json_t *words_json(const struct words *w)
{
	json_t *list = json_array();
	for (size_t i = 0; i < w->n; i++)
		json_array_append_new(list, string_json(w->v[i]));
	return list;
}

static json_t *place_json(const struct webconf *w, const struct webconf_place *at)
{
	const char *path = at->file < w->nfiles ? w->files[at->file].path : "";
	return json_pack("{so, si}", "file", string_json(path), "line", (int)at->line);
}

static json_t *value_json(const struct webconf *w, const struct webconf_value *v)
{
	if (!v || !v->text)
		return json_null();
	return json_pack("{ss, ss, ss?, sb, so, sb}", "path", v->text, "written", v->raw, "out_of_reach",
			 v->out_of_reach, "inherited", v->inherited, "at", place_json(w, &v->at), "in_macro",
			 v->at.in_macro);
}

static json_t *listens_json(const struct webconf_host *h)
{
	json_t *list = json_array();
	for (size_t i = 0; i < h->nlistens; i++) {
		const struct webconf_listen *l = &h->listens[i];
		json_array_append_new(list,
				      json_pack("{so, sb, sb, sb, sb, sb, so}", "address", string_json(l->address),
						"tls", l->tls, "default_server", l->default_server, "proxy_protocol",
						l->proxy_protocol, "quic", l->quic, "unreached", l->unreached, "taken",
						words_json(&l->taken)));
	}
	return list;
}

static json_t *host_json(const struct place *p)
{
	const struct webconf *w = p->server->conf;
	return json_pack("{ss, ss, so, so, so, sb, sb, so, so, so, so}", "server", p->server->name, "context",
			 webconf_context_name[p->host->context], "at", place_json(w, &p->host->at), "names",
			 words_json(&p->host->names), "addresses", listens_json(p->host), "tls", p->host->tls,
			 "rejects", p->host->rejects, "certificate", value_json(w, &p->pair->certificate), "key",
			 value_json(w, &p->pair->key), "chain", value_json(w, &p->pair->chain), "shown_instead",
			 string_json(p->instead));
}

static json_t *leaf_json(const struct discovered *d)
{
	char sha256[DIGEST_HEX], spki[DIGEST_HEX], from[32], to[32];
	const struct check_reply *r = &d->reply;
	if (!d->proved || digest_is_zero(&r->sha256))
		return json_null();
	return json_pack("{ss, ss, ss, ss, ss, ss, ss, ss, so, sb}", "sha256", digest_text(&r->sha256, sha256),
			 "spki_sha256", digest_text(&r->spki, spki), "serial", r->serial, "issuer", r->issuer,
			 "subject", r->subject, "key_type", r->key_type, "not_before",
			 text_from_time(r->not_before, from), "not_after", text_from_time(r->not_after, to), "names",
			 words_json(&r->names), "publicly_trusted", r->publicly_trusted);
}

static json_t *outlook_json(const struct outlook *o)
{
	return json_pack("{ss, so, so, so, so, so, so, sb}", "status", outlook_status_name[o->status], "status_text",
			 string_json(o->status_text), "managed_as", string_json(o->managed), "acme_client",
			 string_json(o->client), "noticed_by", string_json(o->noticed), "replaced_in",
			 string_json(o->replaced), "missing", words_json(&o->missing), "private_candidate", o->inside);
}

static json_t *discovered_json(const struct discovered *d)
{
	json_t *places = json_array(), *readers = json_array(), *wrong = json_array();
	for (size_t i = 0; i < d->nplaces; i++)
		json_array_append_new(places, host_json(&d->places[i]));
	for (size_t i = 0; i < d->nreaders; i++) {
		const struct reader *r = &d->readers[i];
		json_array_append_new(readers,
				      json_pack("{so, so, so, so, sb}", "program", string_json(r->program), "directive",
						string_json(r->directive), "path", string_json(r->path), "where",
						string_json(r->where), "same_key_only", r->same_key));
	}
	for (size_t i = 0; i < d->nwrong; i++) {
		const struct wrong *w = &d->wrong[i];
		json_array_append_new(
			wrong,
			json_pack("{ss, ss, ss}", "code",
				  w->finding ? finding_name(w->finding->code) : wrong_name[w->code], "severity",
				  severity_name(w->finding ? w->finding->severity : FINDING_WARN), "text", w->text));
	}
	json_t *result = json_pack("{so, so, so, sb, sb, so, so, so, so}", "certificate",
				   string_json(d->certificate->text), "key", string_json(d->key ? d->key->text : NULL),
				   "chain", string_json(d->chain ? d->chain->text : NULL), "served", d->served,
				   "key_read", d->proved && !d->no_key, "leaf", leaf_json(d), "places", places,
				   "readers", readers, "wrong", wrong);
	if (d->outlook)
		json_object_set_new(result, "check", outlook_json(d->outlook));
	return result;
}

/* Those without a certificate too: who answers where. */
static json_t *hosts_json(const struct webconf *w)
{
	json_t *list = json_array();
	for (size_t i = 0; w && i < w->nhosts; i++) {
		const struct webconf_host *h = &w->hosts[i];
		json_array_append_new(list,
				      json_pack("{ss, so, so, so, sb, sb}", "context", webconf_context_name[h->context],
						"at", place_json(w, &h->at), "names", words_json(&h->names),
						"addresses", listens_json(h), "tls", h->tls, "rejects", h->rejects));
	}
	return list;
}

static json_t *server_json(const struct server *s)
{
	json_t *notes = json_array(), *managed = json_array();
	for (size_t i = 0; s->conf && i < s->conf->nnotes; i++) {
		const struct webconf_note *n = &s->conf->notes[i];
		struct webconf_place at = {.file = n->file, .line = n->line};
		json_array_append_new(notes, json_pack("{so, ss}", "at", place_json(s->conf, &at), "text", n->text));
	}
	for (size_t i = 0; s->conf && i < s->conf->nhosts; i++) {
		const struct webconf_host *h = &s->conf->hosts[i];
		if (h->managed_by)
			json_array_append_new(managed, json_pack("{so, so, ss}", "at", place_json(s->conf, &h->at),
								 "names", words_json(&h->names), "by", h->managed_by));
	}
	return json_pack("{ss, ss, ss?, ss?, si, sb, so, so, so, sb, so}", "name", s->name, "kind",
			 webconf_kind_name[s->kind], "binary", s->binary, "config", s->config, "pid", (int)s->pid,
			 "elsewhere", s->elsewhere, "problems", words_json(&s->problems), "notes", notes, "managed",
			 managed, "incomplete", s->conf && s->conf->incomplete, "hosts", hosts_json(s->conf));
}

void discovery_print_json(struct ctl *ctl, const struct discovery *d)
{
	json_t *servers = json_array(), *certificates = json_array();
	for (size_t i = 0; i < d->servers.n; i++)
		json_array_append_new(servers, server_json(&d->servers.v[i]));
	for (size_t i = 0; i < d->n; i++)
		json_array_append_new(certificates, discovered_json(&d->v[i]));
	json_t *result = json_pack("{so, so, so, so}", "servers", servers, "certificates", certificates, "unnamed",
				   words_json(&d->unnamed), "unknown", words_json(&d->others.unknown));
	print_json(ctl->out, result);
	json_decref(result);
}
