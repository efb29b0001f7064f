#include "site/site.h"

#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/near.h"

#include "site/certificate.h"

struct server *site_server(const struct site *site, const char *name)
{
	for (size_t i = 0; i < site->nservers; i++)
		if (strcmp(server_name(site->servers[i]), name) == 0)
			return site->servers[i];
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct certificate *x = a, *y = b;
	return strcmp(x->settings->name, y->settings->name);
}

struct certificate *site_certificate(const struct site *site, const char *name)
{
	const struct certificate_settings settings = {.name = (char *)(uintptr_t)name};
	const struct certificate wanted = {.settings = &settings};
	void *found = tfind(&wanted, &site->by_name, by_name);
	return found ? *(struct certificate **)found : NULL;
}

void site_add_certificate(struct site *site, struct certificate *c)
{
	c->index = site->ncertificates;
	if (!(site->ncertificates & (site->ncertificates + 1))) /* room for one less than a power of two */
		site->certificates =
			xrealloc(site->certificates, (2 * site->ncertificates + 1) * sizeof(*site->certificates));
	site->certificates[site->ncertificates++] = c;
	if (!tsearch(c, &site->by_name, by_name))
		abort(); /* out of memory */
}

static void keep(void *certificate)
{
	(void)certificate; /* it goes with the array */
}

void site_free_certificates(struct site *site)
{
	tdestroy(site->by_name, keep);
	site->by_name = NULL;
	for (size_t i = 0; i < site->ncertificates; i++)
		certificate_free(site->certificates[i]);
	free(site->certificates);
	site->certificates = NULL;
	site->ncertificates = 0;
}

char *site_no_certificate(const struct site *site, const char *name)
{
	const char *near = NULL;
	for (size_t i = 0; i < site->ncertificates; i++)
		near = near_choose(name, site->certificates[i]->settings->name, near);
	return xasprintf("there is no certificate named %.80s here%s%s%s", name, near ? "; did you mean " : "",
			 near ? near : "", near ? "?" : "");
}
