#include "ctl/outlook.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

const char *const outlook_status_name[] = {
	[OUTLOOK_GOOD] = "good", [OUTLOOK_REVOKED] = "revoked", [OUTLOOK_UNKNOWN] = "unknown"};
_Static_assert(ARRAY_SIZE(outlook_status_name) == OUTLOOK_STATUSES, "each status has its name");

/* ACME clients by the folders that they keep, and when they would learn of a revocation by themselves. */
static const struct client {
	const char *name, *mark, *noticed;
} clients[] = {
	{"certbot", "/letsencrypt/",
	 "certbot, at its next timer (up to 24 h), where it can ask an OCSP responder or, from 4.1 on, Renewal "
	 "Information"},
	{"lego", "/.lego/", "lego, when it is run next, by Renewal Information alone"},
	{"lego", "/lego/certificates/", "lego, when it is run next, by Renewal Information alone"},
	{"acme.sh", "/.acme.sh/",
	 "acme.sh, at its next daily run, by Renewal Information and only in versions of 2026 or newer"},
	{"dehydrated", "/dehydrated/certs/", "nobody: dehydrated looks at the expiry alone"},
};

static bool in_network(const uint8_t *address, const uint8_t *network, unsigned int bits)
{
	unsigned int whole = bits / 8, rest = bits % 8;
	uint8_t mask = (uint8_t)(0xff00 >> rest);
	return memcmp(address, network, whole) == 0 && (!rest || (address[whole] & mask) == (network[whole] & mask));
}

bool outlook_is_inside(const char *address)
{
	static const struct {
		int family;
		uint8_t network[4];
		unsigned int bits;
	} closed[] = {{AF_INET, {10}, 8},    {AF_INET, {172, 16}, 12},    {AF_INET, {192, 168}, 16},
		      {AF_INET, {127}, 8},   {AF_INET, {169, 254}, 16},   {AF_INET, {100, 64}, 10},
		      {AF_INET6, {0xfc}, 7}, {AF_INET6, {0xfe, 0x80}, 10}};
	uint8_t bytes[16];
	const char *colon = strrchr(address, ':');
	if (strncmp(address, "unix:", 5) == 0 || strncmp(address, "localhost:", 10) == 0)
		return true;
	if (!colon)
		return false;
	bool bracket = *address == '[' && colon > address + 1 && colon[-1] == ']';
	AUTO_FREE char *host = xstrndup(address + bracket, (size_t)(colon - address) - 2 * (size_t)bracket);
	int family = bracket ? AF_INET6 : AF_INET;
	if (inet_pton(family, host, bytes) != 1)
		return false;
	if (bracket && strcmp(host, "::1") == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++)
		if (closed[i].family == family && in_network(bytes, closed[i].network, closed[i].bits))
			return true;
	return false;
}

static bool all_inside(const struct discovered *d)
{
	bool any = false;
	for (size_t i = 0; i < d->nplaces; i++) {
		const struct webconf_host *h = d->places[i].host;
		for (size_t j = 0; j < h->nlistens; j++) {
			if (!h->listens[j].tls)
				continue;
			any = true;
			if (!outlook_is_inside(h->listens[j].address))
				return false;
		}
	}
	return any;
}

const struct certificate_settings *outlook_managing(const struct ctl *ctl, const struct discovered *d)
{
	char path[PATH_MAX], live[PATH_MAX];
	if (!ctl->settings || !realpath(d->certificate->text, path))
		return NULL;
	for (size_t i = 0; i < ctl->settings->ncertificates; i++) {
		const struct certificate_settings *c = &ctl->settings->certificates[i];
		AUTO_FREE char *link = xasprintf("%s/certificates/%s/live", ctl->settings->state_dir, c->name);
		size_t n = realpath(link, live) ? strlen(live) : 0;
		if (n && strncmp(path, live, n) == 0 && path[n] == '/')
			return c;
	}
	return NULL;
}

static const struct client *client_of(const struct discovered *d)
{
	char path[PATH_MAX];
	const char *real = realpath(d->certificate->text, path) ? path : d->certificate->text;
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		if (strstr(real, clients[i].mark))
			return &clients[i];
	return NULL;
}

static bool has_standby(const struct ctl *ctl, const struct certificate_settings *c)
{
	AUTO_FREE char *link = xasprintf("%s/certificates/%s/standby", ctl->settings->state_dir, c->name);
	return access(link, F_OK) == 0;
}

static void judge_managed(const struct ctl *ctl, const struct certificate_settings *c, struct outlook *o)
{
	char interval[24], lead[24];
	bool standby = has_standby(ctl, c);
	o->managed = c->name;
	o->noticed = xasprintf("certswap, within %s of its publication%s", text_from_ms(c->check_interval_ms, interval),
			       c->manage == MANAGE_OBSERVE ? " (it only observes: it would not act)" : "");
	if (standby)
		o->replaced = xstrdup("seconds: a standby pair is ready");
	else if (c->reissue.n)
		o->replaced = xstrdup("minutes: the reissue command asks the CA");
	else if (c->ca_lead_time_ms)
		o->replaced = xasprintf("%s: the lead time of the CA's desk", text_from_ms(c->ca_lead_time_ms, lead));
	else
		o->replaced = xstrdup("as long as the CA's desk takes: send it the request of `certswapctl csr`");
	if (!standby)
		words_add(&o->missing, "a standby pair (certswapctl standby)");
	if (!standby && !c->reissue.n && !c->watch.n)
		words_add(&o->missing, "a reissue command or a folder to watch (options reissue, watch)");
}

static void judge_alone(const struct client *client, struct outlook *o)
{
	o->client = client ? client->name : NULL;
	o->noticed = xstrdup(client ? client->noticed
				    : "nobody on this host, until a visitor does or the CA's mail is read");
	o->replaced =
		client ? xasprintf(
				 "minutes, once somebody makes %s renew by force; it does not look what is served then",
				 client->name)
		       : xstrdup("as long as the CA's desk and a person take: hours to days");
	words_add(&o->missing, "certswap does not look after it (certswapctl adopt)");
}

void outlook_make(struct ctl *ctl, const char *trust, const struct discovered *d, struct outlook *ret)
{
	const struct certificate_settings *c = outlook_managing(ctl, d);
	const struct client *client = client_of(d);
	*ret = (struct outlook){.status = OUTLOOK_UNKNOWN};
	if (c)
		judge_managed(ctl, c, ret);
	else
		judge_alone(client, ret);
	for (size_t i = 0; i < d->reply.findings.n; i++)
		if (d->reply.findings.v[i].code == FINDING_NO_STATUS_SOURCE)
			words_add(&ret->missing,
				  "a source of its status: it names neither a CRL nor an OCSP responder");
	ret->inside = d->proved && d->reply.publicly_trusted && all_inside(d);
	outlook_ask(ctl, trust, d, ret);
}

void outlook_done(struct outlook *o)
{
	free(o->status_text);
	free(o->noticed);
	free(o->replaced);
	words_done(&o->missing);
}
