#include "control/commands.h"

#include <stdlib.h>

#include "site/incident.h"
#include "site/metrics.h"
#include "site/status.h"

/* The tree of 10,000 certificates takes six times as much as its text. */
static void finish_with_text(struct request *r, const struct text *result)
{
	struct text line = {0};
	text_add(&line, "{\"exit\":0,\"message\":\"\",\"result\":");
	text_add_bytes(&line, result->s, result->len);
	text_add(&line, "}");
	if (r->client) {
		client_set_data(r->client, NULL);
		client_send(r->client, line.s, line.len);
		client_finish(r->client);
		r->client = NULL;
	}
	text_done(&line);
	request_free(r);
}

void command_status(struct request *r)
{
	const char *name = request_argument(r, "name");
	if (name && !request_certificate(r))
		return;
	struct text status = {0};
	status_write(r->site, name, &status);
	finish_with_text(r, &status);
	text_done(&status);
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
