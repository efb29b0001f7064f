#include "site/site.h"

#include <string.h>

#include "site/certificate.h"

struct server *site_server(const struct site *site, const char *name)
{
	for (size_t i = 0; i < site->nservers; i++)
		if (strcmp(server_name(site->servers[i]), name) == 0)
			return site->servers[i];
	return NULL;
}

struct certificate *site_certificate(const struct site *site, const char *name)
{
	for (size_t i = 0; i < site->ncertificates; i++)
		if (strcmp(site->certificates[i]->settings->name, name) == 0)
			return site->certificates[i];
	return NULL;
}
