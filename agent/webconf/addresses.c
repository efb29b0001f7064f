/* Hosts that share an address. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "webconf/inside.h"

char *address_usual(const char *address)
{
	uint8_t bytes[16];
	char text[INET6_ADDRSTRLEN];
	const char *close = *address == '[' ? strrchr(address, ']') : NULL;
	AUTO_FREE char *host = close ? xstrndup(address + 1, (size_t)(close - address) - 1) : NULL;
	if (host && inet_pton(AF_INET6, host, bytes) == 1 && inet_ntop(AF_INET6, bytes, text, sizeof text))
		return xasprintf("[%s]%s", text, close + 1);
	return xstrdup(address);
}

/* A port of TCP and one of UDP are two. */
static int compare_addresses(const struct webconf_listen *x, const struct webconf_listen *y)
{
	int order = strcmp(x->address, y->address);
	return order ? order : (int)x->quic - (int)y->quic;
}

static int compare(const void *a, const void *b)
{
	const struct end *x = a, *y = b;
	int order = compare_addresses(x->listen, y->listen);
	return order ? order : x->order < y->order ? -1 : x->order > y->order;
}

static struct end *collect(struct webconf *w, enum webconf_context context, size_t *ret_n)
{
	size_t n = 0;
	for (size_t i = 0; i < w->nhosts; i++)
		n += w->hosts[i].context == context ? w->hosts[i].nlistens : 0;
	struct end *ends = xcalloc(n + 1, sizeof *ends);
	*ret_n = n;
	n = 0;
	for (size_t i = 0; i < w->nhosts; i++) {
		struct webconf_host *h = &w->hosts[i];
		for (size_t j = 0; h->context == context && j < h->nlistens; j++, n++)
			ends[n] = (struct end){h, &h->listens[j], n};
	}
	return ends;
}

void addresses_each(struct webconf *w, enum webconf_context context,
		    void (*each)(void *baton, const struct end *v, size_t n), void *baton)
{
	size_t n;
	struct end *ends = collect(w, context, &n);
	qsort(ends, n, sizeof *ends, compare);
	for (size_t i = 0, j; i < n; i = j) {
		for (j = i; j < n && compare_addresses(ends[i].listen, ends[j].listen) == 0; j++)
			;
		each(baton, ends + i, j - i);
	}
	free(ends);
}
