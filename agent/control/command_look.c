#include "control/commands.h"

#include <stdlib.h>

#include "site/incident.h"
#include "site/metrics.h"
#include "site/status.h"

void command_status(struct request *r)
{
	const char *name = request_argument(r, "name");
	if (name && !request_certificate(r))
		return;
	request_finish_with(r, status_json(r->site, name));
}

void command_incidents(struct request *r)
{
	request_finish_with(r, incidents_json(r->site, json_is_true(json_object_get(r->arguments, "all"))));
}

void command_incident(struct request *r)
{
	unsigned int id = (unsigned int)json_integer_value(json_object_get(r->arguments, "id"));
	json_t *o = incident_json_by_id(r->site, id);
	if (!o)
		return request_finish(r, 1, "there is no such incident", "certswapctl incidents --all");
	request_finish_with(r, o);
}

void command_metrics(struct request *r)
{
	char *text = metrics_text(r->site);
	request_finish_with(r, json_pack("{ss}", "text", text));
	free(text);
}

void command_ping(struct request *r)
{
	request_finish(r, 0, "certswapd " CERTSWAP_VERSION, NULL);
}
