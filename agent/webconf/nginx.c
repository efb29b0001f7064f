/* What nginx's configuration means. Directives of the http (stream, mail) level hold for the servers below that don't
 * have their own, also where they stand behind them; so servers are finished at the end of their level. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "webconf/inside.h"

/* Directives that a server takes from the level above, all of them or none. */
enum inherited { CERTIFICATE, KEY, TICKET_KEY, STAPLE, PASSWORD, TRUSTED, INHERITED };
static const char *const inherited_names[] = {
	[CERTIFICATE] = "ssl_certificate", [KEY] = "ssl_certificate_key",    [TICKET_KEY] = "ssl_session_ticket_key",
	[STAPLE] = "ssl_stapling_file",    [PASSWORD] = "ssl_password_file", [TRUSTED] = "ssl_trusted_certificate"};
_Static_assert(ARRAY_SIZE(inherited_names) == INHERITED, "each directive has its name");
enum flag { SSL_ON, REJECTS, STAPLING, VERIFY, STARTTLS, FLAGS };
static const char *const flag_names[] = {[SSL_ON] = "ssl",
					 [REJECTS] = "ssl_reject_handshake",
					 [STAPLING] = "ssl_stapling",
					 [VERIFY] = "ssl_verify_client",
					 [STARTTLS] = "starttls"};
_Static_assert(ARRAY_SIZE(flag_names) == FLAGS, "each flag has its name");

struct values {
	struct webconf_value *v;
	size_t n;
};
struct scope {
	struct values lists[INHERITED];
	int8_t flags[FLAGS]; /* 0: not said, 1: on, -1: off */
	bool commands;       /* ssl_conf_command stands here: all of the level above are off */
	bool overridden;     /* one of them names a certificate or a key */
	size_t host;         /* index */
};
enum level { LEVEL_MAIN, LEVEL_SERVERS, LEVEL_SERVER, LEVEL_BELOW };
struct walk {
	struct reading *r;
	char *folder;
	enum level level;
	enum webconf_context context;
	struct scope *scope;    /* of the level http or of the server; NULL at the top */
	struct scope **servers; /* collected at the level of http */
	size_t *nservers;
};

static void scope_done(struct scope *s)
{
	for (size_t i = 0; i < INHERITED; i++) {
		for (size_t j = 0; j < s->lists[i].n; j++)
			value_done(&s->lists[i].v[j]);
		free(s->lists[i].v);
	}
}

/* Why a value names no file that could be swapped, or NULL. */
static const char *out_of_reach(const char *text)
{
	static const struct {
		const char *begin, *why;
	} forms[] = {
		{"data:", "the pair stands in the configuration or a variable itself (data:), not in a file"},
		{"engine:", "the key lies in an OpenSSL engine (engine:), not in a file"},
		{"store:", "the key is loaded from a store of OpenSSL (store:), not from a file"},
		{"pkcs11:", "the key lies in a token (pkcs11:), not in a file"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (strncmp(text, forms[i].begin, strlen(forms[i].begin)) == 0)
			return forms[i].why;
	return strchr(text, '$') ? "the path holds a variable: which file it is shows only at each handshake" : NULL;
}

static struct webconf_value value_of(const struct walk *walk, uint32_t file, const struct node *node)
{
	const char *text = node->words[1].text, *why = out_of_reach(text);
	struct webconf_value value = {.text = why ? xstrdup(text) : path_below(walk->folder, text),
				      .raw = xstrdup(text),
				      .out_of_reach = xstrdup(why),
				      .at = place_of(file, node)};
	hide_pin(value.text);
	hide_pin(value.raw);
	return value;
}

static struct webconf_host *host_of(const struct walk *walk)
{
	bool inside = walk->level == LEVEL_SERVER || walk->level == LEVEL_BELOW;
	return inside && walk->scope ? &walk->r->w->hosts[walk->scope->host] : NULL;
}

static void add_address(struct webconf_host *h, const struct webconf_listen *like, char *address)
{
	struct webconf_listen *l = host_add_listen(h);
	*l = *like;
	l->address = address;
}

/* "443" "*:443" "10.0.0.1" "[::]:443" "unix:/path" "host:443-445"; without a port: 80 */
static void add_addresses(struct webconf_host *h, const struct webconf_listen *like, const char *text)
{
	size_t digits = strspn(text, "0123456789-");
	const char *bracket = *text == '[' ? strchr(text, ']') : NULL;
	const char *colon = strrchr(bracket ? bracket : text, ':');
	AUTO_FREE char *host = !text[digits] ? xstrdup("*")
			       : colon       ? xstrndup(text, (size_t)(colon - text))
					     : xstrdup(text);
	const char *port = !text[digits] ? text : colon ? colon + 1 : "80";
	char *end;
	if (strcmp(host, "0.0.0.0") == 0)
		strcpy(host, "*"); /* nginx takes both for one */
	if (strncmp(text, "unix:", 5) == 0) {
		add_address(h, like, xstrdup(text));
		return;
	}
	unsigned long first = strtoul(port, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
	if (*end || first > last || last > 65535 || last - first > 256) {
		AUTO_FREE char *address = xasprintf("%s:%s", host, port);
		add_address(h, like, address_usual(address));
		return;
	}
	for (unsigned long p = first; p <= last; p++) {
		AUTO_FREE char *address = xasprintf("%s:%lu", host, p);
		add_address(h, like, address_usual(address));
	}
}

static void read_listen(const struct walk *walk, uint32_t file, const struct node *node)
{
	struct webconf_listen l = {.at = place_of(file, node)};
	bool udp = false;
	for (size_t i = 2; i < node->nwords; i++) {
		const char *word = node->words[i].text;
		l.tls |= strcmp(word, "ssl") == 0 || strcmp(word, "quic") == 0;
		l.quic |= strcmp(word, "quic") == 0;
		l.default_server |= strcmp(word, "default_server") == 0 || strcmp(word, "default") == 0;
		l.proxy_protocol |= strcmp(word, "proxy_protocol") == 0;
		udp |= strcmp(word, "udp") == 0;
	}
	if (udp || !reading_takes(walk->r, host_of(walk)->nlistens, WEBCONF_LIST_MAX))
		return; /* over UDP no certificate is shown, but for QUIC */
	add_addresses(host_of(walk), &l, node->words[1].text);
}

/* proxy_ssl_certificate, grpc_..., uwsgi_...: files that nginx shows as a client, at any level */
static bool read_client(const struct walk *walk, uint32_t file, const struct node *node)
{
	const char *name = node->words[0].text, *rest = strstr(name, "_ssl_certificate");
	if (!rest || rest == name ||
	    (strcmp(rest, "_ssl_certificate") != 0 && strcmp(rest, "_ssl_certificate_key") != 0))
		return false;
	struct webconf_value value = value_of(walk, file, node);
	use_add(walk->r, host_of(walk),
		rest[strlen("_ssl_certificate")] ? WEBCONF_USE_CLIENT_KEY : WEBCONF_USE_CLIENT_CERTIFICATE, name,
		&value);
	return true;
}

/* Of other builds: Tengine's and Angie's certificates of other kinds. */
static void note_strange(const struct walk *walk, uint32_t file, const struct node *node)
{
	static const char *const known[] = {
		"ssl_client_certificate", "ssl_trusted_certificate",     "ssl_certificate",
		"ssl_certificate_key",    "ssl_certificate_compression", "ssl_certificate_cache"};
	const char *name = node->words[0].text;
	if (strncmp(name, "ssl_", 4) != 0 || !strstr(name, "certificate") || strstr(name, "_by_lua"))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(name, known[i]) == 0)
			return;
	reading_note(walk->r, file, node->line, "%s is not understood: it may bring in another certificate", name);
}

/* ssl_conf_command Certificate FILE: OpenSSL takes it in the place of ssl_certificate */
static void read_command(struct scope *s, const struct node *node)
{
	const char *command = node->words[1].text;
	s->commands = true;
	s->overridden |= strcasecmp(command, "Certificate") == 0 || strcasecmp(command, "PrivateKey") == 0;
}

/* ssl_verify_client optional and optional_no_ca demand nothing. */
static bool is_off(const char *text)
{
	return strcmp(text, "off") == 0 || strncmp(text, "optional", 8) == 0;
}

/* Directives of the levels http and server. */
static void read_setting(const struct walk *walk, uint32_t file, const struct node *node)
{
	const char *name = node->words[0].text;
	note_strange(walk, file, node);
	if (strcmp(name, "ssl_conf_command") == 0)
		read_command(walk->scope, node);
	for (size_t i = 0; i < INHERITED; i++) {
		struct values *list = &walk->scope->lists[i];
		if (strcmp(name, inherited_names[i]) != 0)
			continue;
		if (!reading_takes(walk->r, list->n, WEBCONF_PAIRS_MAX))
			return;
		list->v = xrealloc(list->v, (list->n + 1) * sizeof *list->v);
		list->v[list->n++] = value_of(walk, file, node);
		return;
	}
	for (size_t i = 0; i < FLAGS; i++)
		if (strcmp(name, flag_names[i]) == 0)
			walk->scope->flags[i] = is_off(node->words[1].text) ? -1 : 1;
}

static void read_server(const struct walk *walk, uint32_t file, const struct node *node)
{
	struct webconf_host *h = host_of(walk);
	const char *name = node->words[0].text;
	if (strncmp(name, "ssl_certificate_by_lua", 22) == 0) {
		free(h->managed_by);
		h->managed_by = xstrdup("a Lua handler (ssl_certificate_by_lua), which may choose another certificate");
	} else if (node->nwords < 2) {
		return;
	} else if (strcmp(name, "listen") == 0) {
		read_listen(walk, file, node);
	} else if (strcmp(name, "acme_certificate") == 0) {
		free(h->managed_by);
		h->managed_by = xstrdup("nginx's own ACME module");
	} else if (strcmp(name, "server_name") == 0) {
		for (size_t i = 1; i < node->nwords; i++)
			words_add(&h->names, node->words[i].text);
	}
}

static void walk_nodes(const struct walk *walk, uint32_t file, const struct node *v, size_t n);

static void include(const struct walk *walk, uint32_t file, const struct node *node)
{
	AUTO_FREE char *pattern = path_below(walk->folder, node->words[1].text);
	struct words paths = {0};
	const struct webconf_source *s = walk->r->source;
	int error = s->list(s->context, pattern, false, &paths);
	if (error < 0)
		reading_note(walk->r, file, node->line, "can't list %s: %s", pattern, strerror(-error));
	if (paths.n == 0 && !strpbrk(pattern, "*?["))
		words_add(&paths, pattern); /* reading it says what is wrong */
	for (size_t i = 0; i < paths.n; i++) {
		struct nodes nodes;
		int64_t index = reading_enter(walk->r, paths.v[i], file, node->line, &nodes);
		if (index < 0)
			continue;
		walk_nodes(walk, (uint32_t)index, nodes.v, nodes.n);
		reading_leave(walk->r, &nodes);
	}
	words_done(&paths);
}

static void finish_server(struct reading *r, struct scope *s, const struct scope *above);
static void finish_addresses(struct reading *r, enum webconf_context context);

static void walk_level(const struct walk *above, enum webconf_context context, uint32_t file, const struct node *node)
{
	struct scope level = {0}, *servers = NULL;
	size_t n = 0;
	struct walk walk = *above;
	walk.level = LEVEL_SERVERS;
	walk.context = context;
	walk.scope = &level;
	walk.servers = &servers;
	walk.nservers = &n;
	walk_nodes(&walk, file, node->children, node->nchildren);
	for (size_t i = 0; i < n; i++) {
		finish_server(walk.r, &servers[i], &level);
		scope_done(&servers[i]);
	}
	free(servers);
	scope_done(&level);
	finish_addresses(walk.r, context);
}

static void walk_server(const struct walk *above, uint32_t file, const struct node *node)
{
	struct reading *r = above->r;
	struct scope scope = {.host = r->w->nhosts};
	struct walk walk = *above;
	if (!reading_takes(r, r->w->nhosts, WEBCONF_HOSTS_MAX))
		return;
	host_add(r, above->context, file, node);
	walk.level = LEVEL_SERVER;
	walk.scope = &scope;
	walk_nodes(&walk, file, node->children, node->nchildren);
	if ((*above->nservers & (*above->nservers - 1)) == 0)
		*above->servers =
			xrealloc(*above->servers, (*above->nservers ? 2 * *above->nservers : 1) * sizeof scope);
	(*above->servers)[(*above->nservers)++] = scope;
}

static void walk_block(const struct walk *walk, uint32_t file, const struct node *node)
{
	const char *name = node->words[0].text;
	static const enum webconf_context contexts[] = {WEBCONF_HTTP, WEBCONF_STREAM, WEBCONF_MAIL};
	struct walk below = *walk;
	if (walk->level == LEVEL_MAIN) {
		for (size_t i = 0; i < ARRAY_SIZE(contexts); i++)
			if (strcmp(name, webconf_context_name[contexts[i]]) == 0)
				walk_level(walk, contexts[i], file, node);
		return;
	}
	if (walk->level == LEVEL_SERVERS && strcmp(name, "server") == 0) {
		walk_server(walk, file, node);
		return;
	}
	if (walk->level == LEVEL_SERVERS)
		below.scope = NULL; /* upstream, map: nothing of them belongs to a host */
	below.level = LEVEL_BELOW;
	walk_nodes(&below, file, node->children, node->nchildren);
}

/* ssl_certificate"/p" is one word to nginx: it reads a quote as one only where a word begins. */
static bool is_glued(const struct node *node)
{
	return !node->words[0].quoted && strpbrk(node->words[0].text, "\"'");
}

static void walk_nodes(const struct walk *walk, uint32_t file, const struct node *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct node *node = &v[i];
		const char *name = node->words[0].text;
		if (walk->level != LEVEL_BELOW && is_glued(node))
			reading_note(walk->r, file, node->line,
				     "no directive is called %s: a space is missing before the quote", name);
		if (walk->level == LEVEL_SERVER)
			read_server(walk, file, node);
		if (node->block)
			walk_block(walk, file, node);
		else if (node->nwords < 2)
			continue;
		else if (strcmp(name, "include") == 0)
			include(walk, file, node);
		else if (!read_client(walk, file, node) && walk->level != LEVEL_MAIN && walk->level != LEVEL_BELOW)
			read_setting(walk, file, node);
	}
}

/* A directive of its own, or of the level above. The caller frees *ret with value_done. */
static void take(const struct scope *s, const struct scope *above, enum inherited which, size_t i,
		 struct webconf_value *ret)
{
	bool own = s->lists[which].n > 0;
	const struct values *list = own ? &s->lists[which] : &above->lists[which];
	*ret = (struct webconf_value){0};
	if (i >= list->n)
		return;
	value_copy(ret, &list->v[i]);
	ret->inherited = !own;
}

static size_t count(const struct scope *s, const struct scope *above, enum inherited which)
{
	return s->lists[which].n ? s->lists[which].n : above->lists[which].n;
}

static void finish_server(struct reading *r, struct scope *s, const struct scope *above)
{
	static const enum webconf_use_kind uses[INHERITED] = {[TICKET_KEY] = WEBCONF_USE_TICKET_KEY,
							      [STAPLE] = WEBCONF_USE_STAPLE,
							      [PASSWORD] = WEBCONF_USE_PASSWORD,
							      [TRUSTED] = WEBCONF_USE_TRUSTED};
	struct webconf_host *h = &r->w->hosts[s->host];
	int8_t flags[FLAGS];
	for (size_t i = 0; i < FLAGS; i++)
		flags[i] = s->flags[i] ? s->flags[i] : above->flags[i];
	for (size_t i = 0; i < count(s, above, CERTIFICATE); i++) {
		struct webconf_pair *pair = host_add_pair(h);
		take(s, above, CERTIFICATE, i, &pair->certificate);
		take(s, above, KEY, i, &pair->key);
		if (!pair->key.text)
			reading_note(r, pair->certificate.at.file, pair->certificate.at.line,
				     "no ssl_certificate_key belongs to %s", pair->certificate.raw);
	}
	for (size_t which = TICKET_KEY; which < INHERITED; which++) {
		for (size_t i = 0; i < count(s, above, (enum inherited)which); i++) {
			struct webconf_value value;
			take(s, above, (enum inherited)which, i, &value);
			use_add(r, h, uses[which], inherited_names[which], &value);
		}
	}
	if (s->commands ? s->overridden : above->overridden) {
		free(h->managed_by);
		h->managed_by = xstrdup("ssl_conf_command, which names a certificate or key in the place of these");
	}
	h->rejects = flags[REJECTS] > 0;
	h->must_staple = flags[STAPLING] > 0;
	h->demands_client = flags[VERIFY] > 0;
	h->tls = flags[SSL_ON] > 0;
	h->starttls = h->context == WEBCONF_MAIL && flags[STARTTLS] > 0;
	if (h->nlistens == 0)
		host_add_listen(h)->address = xstrdup("*:80");
	for (size_t i = 0; i < h->nlistens; i++)
		h->listens[i].tls |= h->tls;
}

/* Servers on one address share what its listen directives say: each of them ends TLS if one says "ssl". */
static void finish_address(void *reading, const struct end *v, size_t n)
{
	bool tls = false, proxy = false, said = false;
	for (size_t i = 0; i < n; i++) {
		tls |= v[i].listen->tls;
		proxy |= v[i].listen->proxy_protocol;
		said |= v[i].listen->default_server;
	}
	for (size_t i = 0; i < n; i++) {
		v[i].listen->tls = tls;
		v[i].listen->proxy_protocol = proxy;
	}
	v[0].listen->default_server |= !said;
	if (tls)
		nginx_answers(reading, v, n);
}

/* nginx does not start where the server that answers first on an address has none; a visitor of any other that has none
 * is shown what that one has. */
static void note_bare(struct reading *r, const struct webconf_host *h)
{
	bool first = false;
	if (!h->tls || h->npairs || h->rejects || h->managed_by)
		return;
	for (size_t i = 0; i < h->nlistens; i++)
		first |= h->listens[i].tls && h->listens[i].default_server;
	if (h->context != WEBCONF_HTTP || first)
		reading_note(r, h->at.file, h->at.line, "it ends TLS, but has no ssl_certificate");
	else
		reading_note(r, h->at.file, h->at.line,
			     "it has no ssl_certificate: its visitors are shown that of the default server of its "
			     "address");
}

static void finish_addresses(struct reading *r, enum webconf_context context)
{
	struct webconf *w = r->w;
	addresses_each(w, context, finish_address, r);
	for (size_t i = 0; i < w->nhosts; i++) {
		struct webconf_host *h = &w->hosts[i];
		for (size_t j = 0; h->context == context && j < h->nlistens; j++)
			h->tls |= h->listens[j].tls;
		if (h->context == context)
			note_bare(r, h);
	}
}

void nginx_read(struct reading *r, const char *config)
{
	AUTO_FREE char *folder = path_folder(config);
	struct walk walk = {.r = r, .folder = folder, .level = LEVEL_MAIN};
	struct nodes nodes;
	int64_t index = reading_enter(r, config, 0, 0, &nodes);
	if (index < 0)
		return;
	walk_nodes(&walk, (uint32_t)index, nodes.v, nodes.n);
	reading_leave(r, &nodes);
}
