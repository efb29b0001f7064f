#include "ctl/servers.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/disk.h"

static const struct layout {
	enum webconf_kind kind;
	const char *binary, *config;
} layouts[] = {{WEBCONF_NGINX, "/usr/sbin/nginx", "/etc/nginx/nginx.conf"},
	       {WEBCONF_NGINX, "/usr/local/nginx/sbin/nginx", "/usr/local/nginx/conf/nginx.conf"},
	       {WEBCONF_NGINX, "/usr/local/openresty/nginx/sbin/nginx", "/usr/local/openresty/nginx/conf/nginx.conf"},
	       {WEBCONF_APACHE, "/usr/sbin/apache2", "/etc/apache2/apache2.conf"},
	       {WEBCONF_APACHE, "/usr/sbin/httpd", "/etc/httpd/conf/httpd.conf"},
	       {WEBCONF_APACHE, "/usr/local/apache2/bin/httpd", "/usr/local/apache2/conf/httpd.conf"}};

static struct server *add(struct servers *s)
{
	s->v = xrealloc(s->v, (s->n + 1) * sizeof *s->v);
	s->v[s->n] = (struct server){0};
	return &s->v[s->n++];
}

static pid_t read_pidfile(const char *path)
{
	char *bytes;
	size_t len;
	if (!path || !*path || disk_read(path, 64, &bytes, &len) < 0)
		return 0;
	long pid = strtol(bytes, NULL, 10);
	free(bytes);
	return pid > 1 && pid < 0x7fffffff ? (pid_t)pid : 0;
}

/* A server of certswap.conf; the running parent that its pid file names gives the rest. */
static void add_configured(struct servers *s, const struct server_settings *c)
{
	int kind = strcmp(c->kind, "nginx") == 0 ? WEBCONF_NGINX : strcmp(c->kind, "apache") == 0 ? WEBCONF_APACHE : -1;
	pid_t pid = read_pidfile(c->pidfile);
	struct server *found = NULL;
	if (kind < 0)
		return; /* a kind of the administrator's own: nothing here reads its configuration */
	for (size_t i = 0; pid && i < s->n; i++)
		if (s->v[i].pid == pid)
			found = &s->v[i];
	if (!found)
		found = add(s);
	found->kind = (enum webconf_kind)kind;
	found->configured = true;
	free(found->name);
	free(found->config);
	free(found->pidfile);
	found->name = xstrdup(c->name);
	found->config = *c->config ? xstrdup(c->config) : NULL;
	found->pidfile = xstrdup(c->pidfile);
	if (!found->binary || !found->pid) {
		free(found->binary);
		found->binary = *c->binary ? xstrdup(c->binary) : NULL;
	}
	if (c->arguments.n) {
		words_done(&found->arguments);
		words_copy(&found->arguments, &c->arguments);
	}
}

static bool kind_is_there(const struct servers *s, enum webconf_kind kind)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].kind == kind && !s->v[i].elsewhere)
			return true;
	return false;
}

static void add_installed(struct servers *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		const struct layout *l = &layouts[i];
		if (kind_is_there(s, l->kind) || access(l->config, F_OK) < 0)
			continue;
		struct server *server = add(s);
		server->kind = l->kind;
		server->binary = xstrdup(l->binary);
		server->config = xstrdup(l->config);
	}
}

static bool name_is_taken(const struct servers *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].name && strcmp(s->v[i].name, name) == 0)
			return true;
	return false;
}

/* "nginx", "nginx-2": those that certswap.conf does not name */
static void name_all(struct servers *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const char *kind = webconf_kind_name[s->v[i].kind];
		if (s->v[i].name)
			continue;
		char *name = xstrdup(kind);
		for (size_t n = 2; name_is_taken(s, name); n++) {
			free(name);
			name = xasprintf("%s-%zu", kind, n);
		}
		s->v[i].name = name;
	}
}

static void read_all(struct servers *s)
{
	const struct webconf_source source = disk_source();
	for (size_t i = 0; i < s->n; i++) {
		struct server *server = &s->v[i];
		if (server->elsewhere)
			continue;
		server_ask(server);
		if (!server->config) {
			words_add(&server->problems, "its configuration file is not known");
			continue;
		}
		server->facts.prefix = server->prefix;
		server->facts.version = server->version;
		server->conf = webconf_read(server->kind, server->config, &server->facts, &source);
		server_compare(server);
	}
}

void servers_find(struct ctl *ctl, struct servers *ret)
{
	*ret = (struct servers){0};
	servers_find_running(ret);
	for (size_t i = 0; ctl->settings && i < ctl->settings->nservers; i++)
		add_configured(ret, &ctl->settings->servers[i]);
	add_installed(ret);
	name_all(ret);
	read_all(ret);
}

static void server_done(struct server *v)
{
	free(v->name);
	free(v->binary);
	free(v->config);
	free(v->pidfile);
	free(v->prefix);
	free(v->version);
	words_done(&v->arguments);
	words_done(&v->facts.defines);
	words_done(&v->facts.environment);
	words_done(&v->facts.modules);
	words_done(&v->problems);
	webconf_free(v->conf);
}

void servers_find_one(pid_t pid, struct servers *ret)
{
	*ret = (struct servers){0};
	servers_find_running(ret);
	for (size_t i = ret->n; i-- > 0;) {
		if (ret->v[i].pid == pid)
			continue;
		server_done(&ret->v[i]);
		ret->v[i] = ret->v[--ret->n];
	}
	name_all(ret);
	read_all(ret);
}

void servers_done(struct servers *s)
{
	for (size_t i = 0; i < s->n; i++)
		server_done(&s->v[i]);
	free(s->v);
	*s = (struct servers){0};
}
