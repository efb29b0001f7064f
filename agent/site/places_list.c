#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/memory.h"
#include "site/parent.h"
#include "site/places.h"

#define ENDPOINTS_MAX 64
#define PLACES_PROXY  "proxy:" /* before an endpoint of the configuration */

uint8_t places_key(const char *key_type)
{
	if (key_type && strncmp(key_type, "rsa", 3) == 0)
		return PROBE_KEY_RSA;
	return key_type && strncmp(key_type, "ecdsa", 5) == 0 ? PROBE_KEY_ECDSA : PROBE_KEY_ANY;
}

/* A wildcard is probed by a label that nobody has a reason to serve otherwise. */
static char *probe_name(const char *name)
{
	return strncmp(name, "*.", 2) == 0 ? xasprintf("certswap-probe.%s", name + 2) : xstrdup(name);
}

/* A place for each version of TLS: a server may turn for one of them only. */
static void add_place(struct journal *j, size_t belongs, const char *endpoint, char *server_name)
{
	size_t prefix = strlen(PLACES_PROXY);
	bool proxy = strncmp(endpoint, PLACES_PROXY, prefix) == 0;
	for (int version = PROBE_TLS_1_3; version >= PROBE_TLS_1_2; version--) {
		j->places = xrealloc(j->places, (j->nplaces + 1) * sizeof *j->places);
		j->places[j->nplaces++] = (struct journal_place){.endpoint = xstrdup(endpoint + (proxy ? prefix : 0)),
								 .server_name = xstrdup(server_name),
								 .proxy_protocol = proxy,
								 .version = (uint8_t)version,
								 .turns = -1,
								 .server = -1,
								 .belongs = (int)belongs};
	}
	free(server_name);
}

static bool is_address(const char *name)
{
	return strchr(name, ':') || name[strspn(name, "0123456789.")] == '\0';
}

static void list_listeners(const struct site *site, const char *server, const struct words *more, struct words *ret)
{
	struct listeners l = {0};
	const struct server_settings *s = settings_server(site->settings, server);
	if (s)
		parent_listeners(s, &l);
	listeners_endpoints(&l, more, ret);
	free(l.v);
}

/* Where each server listens now, looked for once for all certificates of a list. */
struct listening {
	const struct words *more; /* addresses beside loopback */
	struct words servers;
	struct words *endpoints; /* of each */
};

static const struct words *listening_of(struct listening *l, const struct site *site, const char *server)
{
	for (size_t i = 0; i < l->servers.n; i++)
		if (strcmp(l->servers.v[i], server) == 0)
			return &l->endpoints[i];
	l->endpoints = xrealloc(l->endpoints, (l->servers.n + 1) * sizeof *l->endpoints);
	struct words *endpoints = &l->endpoints[l->servers.n];
	*endpoints = (struct words){0};
	words_add(&l->servers, server);
	list_listeners(site, server, l->more, endpoints);
	return endpoints;
}

static void listening_done(struct listening *l)
{
	for (size_t i = 0; i < l->servers.n; i++)
		words_done(&l->endpoints[i]);
	free(l->endpoints);
	words_done(&l->servers);
}

/* The configured ones, else whatever its servers listen on now: the baseline shows which of these serve this
 * certificate. */
static void list_endpoints(const struct certificate *c, struct listening *l, struct words *ret)
{
	if (c->settings->probe.n)
		return words_copy(ret, &c->settings->probe);
	for (size_t i = 0; i < c->settings->servers.n; i++) {
		const struct words *endpoints = listening_of(l, c->site, c->settings->servers.v[i]);
		for (size_t k = 0; k < endpoints->n; k++)
			words_add(ret, endpoints->v[k]);
	}
}

static void forget_places(struct journal *j)
{
	for (size_t i = 0; i < j->nplaces; i++) {
		free(j->places[i].endpoint);
		free(j->places[i].server_name);
	}
	free(j->places);
	j->places = NULL;
	j->nplaces = 0;
}

/* Every name of the certificate at every endpoint, and no name. */
static void add_places(struct journal *j, size_t belongs, const struct certificate *c, const struct words *endpoints)
{
	const struct words *names = certificate_names(c);
	for (size_t e = 0; e < endpoints->n && e < ENDPOINTS_MAX; e++) {
		add_place(j, belongs, endpoints->v[e], xstrdup(""));
		for (size_t n = 0; n < names->n; n++)
			if (!is_address(names->v[n])) /* RFC 6066 3: no addresses in SNI */
				add_place(j, belongs, endpoints->v[e], probe_name(names->v[n]));
	}
}

void places_list(struct journal *j, struct certificate *const *certificates)
{
	struct words addresses = {0};
	address_list(&addresses);
	struct listening near = {0}, far = {.more = &addresses};
	forget_places(j);
	for (size_t i = 0; i < j->txn.ncertificates; i++) {
		struct words endpoints = {0};
		list_endpoints(certificates[i], certificates[i]->elsewhere ? &far : &near, &endpoints);
		add_places(j, i, certificates[i], &endpoints);
		words_done(&endpoints);
	}
	listening_done(&near);
	listening_done(&far);
	words_done(&addresses);
}

void places_add_server(struct journal *j, struct certificate *const *certificates, size_t server)
{
	for (size_t i = 0; i < j->nplaces; i++)
		if (j->places[i].server == (int)server)
			return;
	struct words endpoints = {0};
	size_t before = j->nplaces;
	list_listeners(certificates[0]->site, j->servers[server], NULL, &endpoints);
	for (size_t i = 0; i < j->txn.ncertificates; i++)
		if (!certificates[i]->settings->probe.n)
			add_places(j, i, certificates[i], &endpoints);
	for (size_t k = before; k < j->nplaces; k++)
		j->places[k].server = (int)server;
	words_done(&endpoints);
}
