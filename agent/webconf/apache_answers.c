/* Which virtual host answers where. Apache looks for the most particular address: IP:port, IP, *:port, *. The first
 * host on it decides whether TLS is spoken, and answers to names that nobody there has; the others are asked in their
 * order, each whether ServerName or an alias fits. */
#include <ctype.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "webconf/apache.h"

#define MATCHES_MAX 20000000 /* of names with wildcards */

/* A name that is a pattern: of ServerAlias alone. */
struct wild {
	const char *pattern;
	const struct webconf_host *host;
};
struct owner {
	const char *name;
	const struct webconf_host *host;
};
struct names {
	void *exact; /* of struct owner */
	struct wild *wild;
	size_t nwild;
};

static int compare_owners(const void *a, const void *b)
{
	return strcasecmp(((const struct owner *)a)->name, ((const struct owner *)b)->name);
}

/* Does the pattern fit all that `name`, which may be a pattern itself, fits? */
static bool covers(const char *pattern, const char *name)
{
	const char *star = NULL, *back = NULL;
	while (*name) {
		bool one = *pattern == '?' ? *name != '*'
					   : tolower((unsigned char)*pattern) == tolower((unsigned char)*name);
		if (*pattern == '*') {
			star = pattern++;
			back = name;
		} else if (one) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++back;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

static const struct webconf_host *owner_of(struct reading *r, const struct names *names, const char *name)
{
	const struct owner key = {name, NULL};
	struct owner **found = tfind(&key, &names->exact, compare_owners);
	if (found)
		return (*found)->host;
	for (size_t i = 0; i < names->nwild; i++) {
		if (!reading_takes(r, r->matches++, MATCHES_MAX))
			return NULL;
		if (covers(names->wild[i].pattern, name))
			return names->wild[i].host;
	}
	return NULL;
}

static void keep(struct names *names, const char *name, const struct webconf_host *host)
{
	struct owner *one = xcalloc(1, sizeof *one);
	*one = (struct owner){name, host};
	struct owner **found = tsearch(one, &names->exact, compare_owners);
	if (!found)
		abort(); /* out of memory */
	if (*found != one)
		free(one);
	if (!strpbrk(name, "*?"))
		return;
	if ((names->nwild & (names->nwild - 1)) == 0)
		names->wild = xrealloc(names->wild, (names->nwild ? 2 * names->nwild : 1) * sizeof *names->wild);
	names->wild[names->nwild++] = (struct wild){name, host};
}

/* An earlier host that has the name answers to it, whatever its certificate. */
static void share_names(struct reading *r, const struct end *v, size_t n)
{
	struct names names = {0};
	for (size_t i = 0; n > 1 && i < n; i++) {
		const struct webconf_host *h = v[i].host;
		for (size_t j = 0; j < h->names.n; j++) {
			const char *name = h->names.v[j];
			const struct webconf_host *owner = owner_of(r, &names, name);
			if (!owner || words_has(&v[i].listen->taken, name))
				continue;
			AUTO_FREE char *where = webconf_where(r->w, &owner->at);
			words_add(&v[i].listen->taken, name);
			if (v[i].listen->tls)
				reading_note(r, h->at.file, h->at.line,
					     "on %s, the virtual host at %s answers to %s: not this one",
					     v[i].listen->address, where, name);
		}
		for (size_t j = 0; j < h->names.n; j++)
			keep(&names, h->names.v[j], h);
	}
	tdestroy(names.exact, free);
	free(names.wild);
}

static void decide_tls(struct reading *r, const struct end *v, size_t n)
{
	bool tls = v[0].listen->tls;
	AUTO_FREE char *where = webconf_where(r->w, &v[0].host->at);
	for (size_t i = 1; i < n; i++) {
		if (v[i].listen->tls == tls)
			continue;
		v[i].listen->tls = false;
		reading_note(r, v[i].host->at.file, v[i].host->at.line,
			     tls ? "SSLEngine is off here, but %s, the first on %s, speaks TLS: its certificate is "
				   "shown to who asks for this host"
				 : "SSLEngine is on here, but %s, the first on %s, speaks no TLS, so nobody there does",
			     where, v[i].listen->address);
	}
}

static bool has_port(const char *address, const char *port)
{
	const char *own = strrchr(address, ':') + 1;
	return strcmp(own, "*") == 0 || strcmp(port, "*") == 0 || strcmp(own, port) == 0;
}

static bool is_any(const char *address)
{
	return strncmp(address, "*:", 2) == 0;
}

static bool is_number(const char *address)
{
	return *address == '[' || strspn(address, "0123456789.") == (size_t)(strrchr(address, ':') - address);
}

static bool same_host(const char *a, const char *b)
{
	size_t n = (size_t)(strrchr(a, ':') - a);
	return (size_t)(strrchr(b, ':') - b) == n && strncasecmp(a, b, n) == 0;
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Is there a group of hosts on this address? */
static bool is_claimed(const struct apache *a, const char *host, size_t len, const char *port)
{
	AUTO_FREE char *address = xasprintf("%.*s:%s", (int)len, host, port);
	const char *key = address;
	return bsearch(&key, a->claimed.v, a->claimed.n, sizeof *a->claimed.v, compare_words) != NULL;
}

/* Does a connection that comes in by this Listen get to the hosts of an address? */
static bool leads_to(const struct apache *a, const char *listen, const char *address)
{
	const char *port = strrchr(listen, ':') + 1;
	bool every_port = strcmp(strrchr(address, ':'), ":*") == 0;
	size_t host = (size_t)(strrchr(listen, ':') - listen);
	if (!has_port(address, port))
		return false;
	if (!is_any(address)) { /* "10.0.0.1:443" or "10.0.0.1:*" */
		size_t len = (size_t)(strrchr(address, ':') - address);
		bool fits = is_any(listen) || same_host(listen, address) || !is_number(listen) || !is_number(address);
		return fits && !(every_port && is_claimed(a, address, len, port));
	}
	if (every_port && is_claimed(a, "*", 1, port))
		return false;
	return is_any(listen) || !(is_claimed(a, listen, host, port) || is_claimed(a, listen, host, "*"));
}

static void decide_reach(const struct apache *a, const struct end *v, size_t n)
{
	bool reached = a->listens.nlistens == 0; /* a part of a configuration */
	for (size_t i = 0; !reached && i < a->listens.nlistens; i++)
		reached = leads_to(a, a->listens.listens[i].address, v[0].listen->address);
	for (size_t i = 0; !reached && i < n; i++) {
		v[i].listen->unreached = true;
		if (v[i].listen->tls)
			reading_note(
				a->r, v[i].host->at.file, v[i].host->at.line,
				"no connection gets here by %s: no Listen leads to it, or hosts of more particular "
				"addresses take all",
				v[i].listen->address);
	}
}

static void finish_address(void *context, const struct end *v, size_t n)
{
	struct apache *a = context;
	v[0].listen->default_server = true;
	decide_tls(a->r, v, n);
	decide_reach(a, v, n);
	if (v[0].listen->tls)
		share_names(a->r, v, n);
}

static void note_claim(void *context, const struct end *v, size_t n)
{
	struct apache *a = context;
	(void)n;
	words_add(&a->claimed, v[0].listen->address);
}

void apache_answers(struct apache *a)
{
	struct webconf *w = a->r->w;
	addresses_each(w, WEBCONF_VHOST, note_claim, a); /* in the order of the addresses */
	addresses_each(w, WEBCONF_VHOST, finish_address, a);
	words_done(&a->claimed);
}
