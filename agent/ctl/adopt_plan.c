#include "ctl/adopt_plan.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "ctl/servers.h"

static void plan_done(struct plan *p)
{
	for (int i = 0; i < PLAN_PARTS; i++)
		free(p->paths[i]);
	for (size_t i = 0; i < p->nplaces; i++) {
		free(p->places[i].path);
		free(p->places[i].old);
		free(p->places[i].new);
	}
	free(p->places);
	words_done(&p->servers);
	words_done(&p->hosts);
	words_done(&p->watch);
	words_done(&p->reissue);
	free(p->name);
	free(p->lineage);
	free(p->client_path);
	free(p->key_owner);
	free(p->key_group);
	free(p->key_mode);
	free(p->refusal);
	free(p->what_to_do);
}

void plans_done(struct plans *plans)
{
	for (size_t i = 0; i < plans->n; i++)
		plan_done(&plans->v[i]);
	free(plans->v);
	words_done(&plans->notes);
	*plans = (struct plans){0};
}

static void refuse(struct plan *p, const char *why, const char *what_to_do)
{
	if (p->refusal)
		return;
	p->refusal = xstrdup(why);
	p->what_to_do = xstrdup(what_to_do);
}

/* Where certificate and key are one file, it stands for both. */
static bool is_combined(const struct plan *p)
{
	const char *certificate = p->paths[PLAN_CERTIFICATE], *key = p->paths[PLAN_KEY];
	return !key || strcmp(certificate, key) == 0;
}

const char *plan_file(const struct plan *p, enum plan_part part)
{
	if (part == PLAN_CHAIN)
		return "chain.pem";
	if (is_combined(p))
		return "combined.pem";
	if (part == PLAN_KEY)
		return "privkey.pem";
	return p->paths[PLAN_CHAIN] ? "cert.pem" : "fullchain.pem";
}

bool plan_is_meant(const struct plan *p, const char *word)
{
	for (int i = 0; i < PLAN_PARTS; i++)
		if (p->paths[i] && strcmp(p->paths[i], word) == 0)
			return true;
	return strcmp(p->name, word) == 0 || words_has(&p->hosts, word);
}

/* ---- what is ours ---- */

/* The NAME in STATE/certificates/NAME/live/FILE; NULL: another path. The caller's. */
static char *name_of_live(const struct settings *s, const char *path)
{
	size_t len = strlen(s->state_dir);
	if (strncmp(path, s->state_dir, len) != 0 || strncmp(path + len, "/certificates/", 14) != 0)
		return NULL;
	const char *name = path + len + 14, *end = strchr(name, '/');
	return end && strncmp(end, "/live/", 6) == 0 ? xstrndup(name, (size_t)(end - name)) : NULL;
}

static bool is_ours(const struct settings *s, struct plan *p, const char *path)
{
	char target[PATH_MAX];
	AUTO_FREE char *direct = name_of_live(s, path);
	AUTO_FREE char *linked =
		files_read_link(AT_FDCWD, path, target, sizeof target, NULL) == 0 ? name_of_live(s, target) : NULL;
	const char *name = direct ? direct : linked;
	if (name && !p->name)
		p->name = xstrdup(name);
	return name != NULL;
}

/* ---- grouping ---- */

static struct plan *find(struct plans *plans, const struct webconf_pair *pair)
{
	const char *wanted[PLAN_PARTS] = {pair->certificate.text, pair->key.text, pair->chain.text};
	for (size_t i = 0; i < plans->n; i++) {
		bool same = true;
		for (int k = 0; k < PLAN_PARTS; k++) {
			const char *have = plans->v[i].paths[k];
			same &= wanted[k] && have ? strcmp(wanted[k], have) == 0 : wanted[k] == have;
		}
		if (same)
			return &plans->v[i];
	}
	plans->v = xrealloc(plans->v, (plans->n + 1) * sizeof *plans->v);
	struct plan *p = &plans->v[plans->n++];
	*p = (struct plan){0};
	for (int k = 0; k < PLAN_PARTS; k++)
		p->paths[k] = xstrdup(wanted[k]);
	return p;
}

/* The bytes of a directive's value, with its quotes. */
static char *value_bytes(const char *path, const struct webconf_place *at)
{
	char *bytes;
	size_t len;
	AUTO_FREE char *real = realpath(path, NULL);
	if (!real || files_read(AT_FDCWD, real, WEBCONF_BYTES_MAX, &bytes, &len, NULL) < 0)
		return NULL;
	char *value = at->value_from <= at->value_to && at->value_to <= len
			      ? xstrndup(bytes + at->value_from, at->value_to - at->value_from)
			      : NULL;
	free(bytes);
	return value;
}

static void add_place(struct plan *p, const struct webconf *w, const struct webconf_value *value, enum plan_part part)
{
	if (!value->text)
		return;
	const char *path = w->files[value->at.file].path;
	for (size_t i = 0; i < p->nplaces; i++)
		if (p->places[i].from == value->at.value_from && strcmp(p->places[i].path, path) == 0)
			return;
	p->in_macro |= value->at.in_macro;
	char *old = value_bytes(path, &value->at);
	p->places = xrealloc(p->places, (p->nplaces + 1) * sizeof *p->places);
	p->places[p->nplaces++] = (struct plan_edit){.path = xstrdup(path),
						     .from = value->at.value_from,
						     .line = value->at.line,
						     .part = part,
						     .old = old ? old : xstrdup(value->raw)};
}

static void add_pair(struct plans *plans, const char *server, const struct webconf *w, const struct webconf_host *host,
		     const struct webconf_pair *pair)
{
	const struct webconf_value *values[PLAN_PARTS] = {&pair->certificate, &pair->key, &pair->chain};
	if (!pair->certificate.text)
		return;
	struct plan *p = find(plans, pair);
	for (int k = 0; k < PLAN_PARTS; k++) {
		if (values[k]->out_of_reach) {
			AUTO_FREE char *why =
				xasprintf("%s can't be taken over: %s", values[k]->text, values[k]->out_of_reach);
			refuse(p, why, "put certificate and key into files that the configuration names plainly");
		}
		add_place(p, w, values[k], (enum plan_part)k);
	}
	if (!pair->key.text && w->kind == WEBCONF_NGINX)
		refuse(p, "it has no ssl_certificate_key", "name its key");
	if (!words_has(&p->servers, server))
		words_add(&p->servers, server);
	for (size_t i = 0; i < host->names.n; i++)
		if (!words_has(&p->hosts, host->names.v[i]))
			words_add(&p->hosts, host->names.v[i]);
}

/* ---- names ---- */

static char *as_name(const char *text)
{
	const char *from = strncmp(text, "*.", 2) == 0 ? text + 2 : text;
	char *name = xstrndup(from, 64);
	for (char *c = name; *c; c++)
		*c = isalnum((unsigned char)*c) || strchr("._-", *c) ? *c : '-';
	if (text_is_name(name))
		return name;
	free(name);
	return NULL;
}

static bool is_taken(const struct plans *plans, const struct plan *p, const char *name)
{
	for (size_t i = 0; i < plans->n && &plans->v[i] != p; i++)
		if (plans->v[i].name && strcmp(plans->v[i].name, name) == 0)
			return true;
	return false;
}

static void give_name(const struct plans *plans, struct plan *p)
{
	const char *slash = strrchr(p->paths[PLAN_CERTIFICATE], '/');
	AUTO_FREE char *file = xstrdup(slash ? slash + 1 : p->paths[PLAN_CERTIFICATE]);
	char *dot = strrchr(file, '.'), *name = p->lineage ? as_name(p->lineage) : NULL;
	if (dot && dot != file)
		*dot = '\0';
	for (size_t i = 0; !name && i < p->hosts.n; i++)
		if (p->hosts.v[i][0] != '~' && strcmp(p->hosts.v[i], "_") != 0 && p->hosts.v[i][0])
			name = as_name(p->hosts.v[i]);
	if (!name)
		name = as_name(file);
	if (!name)
		name = xstrdup("certificate");
	AUTO_FREE char *base = name;
	p->name = xstrdup(base);
	for (int n = 2; is_taken(plans, p, p->name); n++) {
		free(p->name);
		p->name = xasprintf("%.60s-%d", base, n);
	}
}

/* ---- one plan, looked at ---- */

/* Who may read the key now; the generations get the same. */
static void look_at_key(struct plan *p)
{
	struct stat st;
	const char *key = is_combined(p) ? p->paths[PLAN_CERTIFICATE] : p->paths[PLAN_KEY];
	if (stat(key, &st) < 0) {
		AUTO_FREE char *why = xasprintf("%s can't be read: %s", key, strerror(errno));
		return refuse(p, why, "the web server could not start either; mend its configuration");
	}
	const struct passwd *user = getpwuid(st.st_uid);
	const struct group *group = getgrgid(st.st_gid);
	p->key_owner = user ? xstrdup(user->pw_name) : xasprintf("%u", (unsigned int)st.st_uid);
	p->key_group = group ? xstrdup(group->gr_name) : xasprintf("%u", (unsigned int)st.st_gid);
	p->key_mode = xasprintf("%04o", (st.st_mode & 0640) | 0400);
	if (!(st.st_mode & 0004))
		return;
	AUTO_FREE char *why = xasprintf("everybody on this host can read the key %s", key);
	AUTO_FREE char *next = xasprintf("chmod o-r %s (and chgrp to the group of those who have to read it), then run "
					 "adopt again; a key that strangers could read should be replaced",
					 key);
	refuse(p, why, next);
}

/* A server in a container or chroot must see our folder under its name. */
static void look_at_roots(struct plan *p, const struct settings *s)
{
	struct stat here, there;
	for (size_t i = 0; i < p->servers.n; i++) {
		char *bytes;
		const struct server_settings *server = settings_server(s, p->servers.v[i]);
		if (!server || files_read(AT_FDCWD, server->pidfile, 64, &bytes, NULL, NULL) < 0)
			continue;
		long pid = strtol(bytes, NULL, 10);
		free(bytes);
		AUTO_FREE char *seen = xasprintf("/proc/%ld/root%s", pid, s->state_dir);
		AUTO_FREE char *process = xasprintf("/proc/%ld/root/", pid);
		if (pid <= 0 || stat(s->state_dir, &here) < 0 || access(process, F_OK) < 0)
			continue;
		if (stat(seen, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino)
			continue;
		AUTO_FREE char *why =
			xasprintf("%s runs in a container or chroot that does not see %s", server->name, s->state_dir);
		refuse(p, why, "bind-mount that folder into it under the same path, or run certswapd inside");
	}
}

/* A file that another pair names too can't become this pair's link: there the directives are changed. */
static bool is_shared(const struct plans *plans, const struct plan *p)
{
	for (size_t i = 0; i < plans->n; i++)
		for (int k = 0; k < PLAN_PARTS; k++)
			for (int m = 0; &plans->v[i] != p && m < PLAN_PARTS; m++)
				if (p->paths[m] && plans->v[i].paths[k] &&
				    strcmp(p->paths[m], plans->v[i].paths[k]) == 0)
					return true;
	return false;
}

static int by_place(const void *a, const void *b)
{
	const struct plan_edit *x = a, *y = b;
	int order = strcmp(x->path, y->path);
	return order ? order : x->from < y->from ? -1 : x->from > y->from;
}

/* The text that a directive gets: the file of live that stands for what it names now. */
static void fill_edits(struct plan *p, const struct settings *s)
{
	for (size_t i = 0; i < p->nplaces; i++) {
		struct plan_edit *e = &p->places[i];
		AUTO_FREE char *path =
			xasprintf("%s/certificates/%s/live/%s", s->state_dir, p->name, plan_file(p, e->part));
		bool plain = !strpbrk(path, " \t;{}\"'#$\\");
		e->new = plain ? xstrdup(path) : xasprintf("\"%s\"", path);
	}
}

static void look_at(struct plans *plans, struct plan *p, const struct settings *s)
{
	size_t ours = 0, parts = 0;
	for (int k = 0; k < PLAN_PARTS; k++) {
		if (!p->paths[k])
			continue;
		parts++;
		ours += p->ours[k] = is_ours(s, p, p->paths[k]);
	}
	p->done = ours == parts;
	if (p->done)
		return;
	plan_find_client(p);
	if (!p->name)
		give_name(plans, p);
	p->edits = p->client || is_shared(plans, p);
	if (p->edits && p->in_macro)
		refuse(p, "its directives stand in a macro, which other virtual hosts may use",
		       "write the directives into the virtual host itself");
	if (!p->refusal)
		look_at_key(p);
	if (!p->refusal)
		look_at_roots(p, s);
	fill_edits(p, s);
}

/* Only servers of certswap.conf can be reloaded; of the others that run it is said what would be needed. */
static void add_server(const struct settings *s, struct plans *plans, const struct server *server)
{
	const struct webconf *w = server->conf;
	AUTO_FREE char *note =
		server->elsewhere ? xasprintf("%s (process %d) runs in a container or chroot: to take over what it "
					      "serves, run certswapd inside",
					      server->name, (int)server->pid)
				  : xasprintf("%s (process %d) does not stand in certswap.conf: to take over what it "
					      "serves, add to servers in "
					      "%s: { name = \"%s\"; kind = \"%s\"; config = \"%s\"; }",
					      server->name, (int)server->pid, s->file, server->name,
					      webconf_kind_name[server->kind], server->config ? server->config : "");
	if (!server->configured) {
		if (server->pid)
			words_add(&plans->notes, note);
		return;
	}
	if (server->elsewhere) {
		words_add(&plans->notes, note);
		plans->refused = true;
	}
	for (size_t h = 0; w && h < w->nhosts; h++)
		for (size_t k = 0; k < w->hosts[h].npairs; k++)
			add_pair(plans, server->name, w, &w->hosts[h], &w->hosts[h].pairs[k]);
}

void plans_make(struct ctl *ctl, struct plans *ret)
{
	struct servers servers;
	*ret = (struct plans){0};
	servers_find(ctl, &servers);
	for (size_t i = 0; i < servers.n; i++)
		add_server(ctl->settings, ret, &servers.v[i]);
	for (size_t i = 0; i < ret->n; i++) {
		struct plan *p = &ret->v[i];
		qsort(p->places, p->nplaces, sizeof *p->places, by_place);
		look_at(ret, p, ctl->settings);
	}
	servers_done(&servers);
}
