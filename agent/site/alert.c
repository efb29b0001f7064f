#include "site/alert.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "loop/child.h"
#include "site/metrics.h"
#include "swap/record.h"

#define ALERT_TIMEOUT_MS 60000

static const char *const severity_words[] = {[ALERT_INFO] = "info", [ALERT_TICKET] = "ticket", [ALERT_PAGE] = "page"};

static void on_done(const struct child_result *result, void *data)
{
	char *event = data;
	if (result->exit_status != 0)
		log_warning("alert-failed", "the alert command failed for %s: %s", event,
			    result->problem     ? result->problem
			    : result->timed_out ? "it took too long"
						: result->output);
	free(event);
}

/* The same state of the same thing has the same id, so that a receiver can tell a repetition. */
static char *stable_id(const struct alert *a)
{
	return xasprintf("%s/%s/%u", a->event, a->certificate ? a->certificate : "-", a->incident);
}

void alert_send(struct site *site, const struct alert *a)
{
	metrics_changed(site->metrics);
	const struct words *command = &site->settings->alert;
	if (!command->n)
		return;
	AUTO_FREE char *id = stable_id(a);
	json_t *event = json_pack("{ss, ss, ss, ss*, so, so, ss, ss}", "id", id, "event", a->event, "severity",
				  severity_words[a->severity], "certificate", a->certificate, "incident",
				  a->incident ? json_integer(a->incident) : json_null(), "deadline",
				  record_from_time(a->deadline), "text", a->text, "what_to_do", a->what_to_do);
	AUTO_FREE char *input = event ? json_dumps(event, JSON_COMPACT) : NULL;
	json_decref(event);
	if (!input)
		return log_error("alert-failed", "%s can't be written as JSON", a->event);
	const char **argv = xcalloc(command->n + 1, sizeof(*argv));
	for (size_t i = 0; i < command->n; i++)
		argv[i] = command->v[i];
	const struct child_spec spec = {
		.argv = argv, .input = input, .input_len = strlen(input), .timeout_ms = ALERT_TIMEOUT_MS};
	child_start(site->loop, &spec, on_done, xstrdup(a->event));
	free(argv);
}
