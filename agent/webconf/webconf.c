#include "webconf/webconf.h"

#include <stdlib.h>

#include "base/memory.h"
#include "webconf/inside.h"

const char *const webconf_kind_name[] = {[WEBCONF_NGINX] = "nginx", [WEBCONF_APACHE] = "apache"};
_Static_assert(ARRAY_SIZE(webconf_kind_name) == WEBCONF_KINDS, "each kind has its name");
const char *const webconf_context_name[] = {[WEBCONF_HTTP] = "http",
					    [WEBCONF_STREAM] = "stream",
					    [WEBCONF_MAIL] = "mail",
					    [WEBCONF_VHOST] = "virtual host",
					    [WEBCONF_MAIN] = "main server"};
_Static_assert(ARRAY_SIZE(webconf_context_name) == WEBCONF_CONTEXTS, "each context has its name");

struct webconf *webconf_read(enum webconf_kind kind, const char *config, const struct webconf_facts *facts,
			     const struct webconf_source *source)
{
	static const struct webconf_facts nothing;
	struct webconf *w = xcalloc(1, sizeof *w);
	struct reading r = {.w = w, .source = source, .facts = facts ? facts : &nothing};
	w->kind = kind;
	switch (kind) {
	case WEBCONF_NGINX:
		nginx_read(&r, config);
		break;
	case WEBCONF_APACHE:
		apache_read(&r, config);
		break;
	case WEBCONF_KINDS:
		break;
	}
	return w;
}

static void uses_done(struct webconf_use *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].directive);
		value_done(&v[i].file);
	}
	free(v);
}

static void host_done(struct webconf_host *h)
{
	words_done(&h->names);
	for (size_t i = 0; i < h->nlistens; i++)
		listen_done(&h->listens[i]);
	for (size_t i = 0; i < h->npairs; i++) {
		value_done(&h->pairs[i].certificate);
		value_done(&h->pairs[i].key);
		value_done(&h->pairs[i].chain);
	}
	free(h->listens);
	free(h->pairs);
	uses_done(h->uses, h->nuses);
	free(h->managed_by);
}

void webconf_free(struct webconf *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->nfiles; i++) {
		free(w->files[i].path);
		free(w->files[i].why);
	}
	for (size_t i = 0; i < w->nhosts; i++)
		host_done(&w->hosts[i]);
	for (size_t i = 0; i < w->nnotes; i++)
		free(w->notes[i].text);
	free(w->files);
	free(w->hosts);
	free(w->notes);
	uses_done(w->uses, w->nuses);
	free(w);
}

static bool listen_shows(const struct webconf_host *h, const struct webconf_listen *l)
{
	bool named = false;
	for (size_t i = 0; !named && i < h->names.n; i++)
		named = !words_has(&l->taken, h->names.v[i]);
	return l->tls && !l->unreached && (named || l->default_server);
}

bool webconf_shows(const struct webconf_host *h)
{
	bool shows = h->starttls;
	for (size_t i = 0; i < h->nlistens; i++)
		shows |= listen_shows(h, &h->listens[i]);
	return shows && !h->rejects;
}

char *webconf_where(const struct webconf *w, const struct webconf_place *at)
{
	const char *path = at->file < w->nfiles ? w->files[at->file].path : "?";
	return at->line ? xasprintf("%s:%u", path, at->line) : xstrdup(path);
}
