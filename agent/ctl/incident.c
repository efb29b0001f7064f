/* incidents, incident, metrics: asked for and drawn */
#include "base/clock.h"
#include "base/memory.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/print.h"
#include "ctl/serial.h"
#include "ctl/show.h"

/* Asks; *ret_answer is the caller's where there is a result to draw for a person, else it was all printed. */
static int ask(struct ctl *ctl, const struct args *a, json_t *request, json_t **ret_answer)
{
	json_t *answer = NULL;
	int status = client_ask(ctl, a, request, NULL, 0, &answer);
	json_decref(request);
	*ret_answer = NULL;
	if (!answer)
		return status;
	if (args_has(a, OPTION_JSON) || json_integer_value(json_object_get(answer, "exit")) != CTL_DONE) {
		status = client_print_answer(ctl, a, answer);
		json_decref(answer);
		return status;
	}
	*ret_answer = answer;
	return CTL_DONE;
}

int command_incidents(struct ctl *ctl, const struct args *a)
{
	json_t *answer;
	int status =
		ask(ctl, a, json_pack("{ss, sb}", "command", "incidents", "all", args_has(a, OPTION_ALL)), &answer);
	const json_t *result = json_object_get(answer, "result");
	if (answer)
		show_incidents(json_is_array(result) ? result : json_object_get(result, "incidents"), clock_wall(),
			       ctl->out, ctl->colour);
	json_decref(answer);
	return status;
}

int command_incident(struct ctl *ctl, const struct args *a)
{
	json_int_t id;
	json_t *answer;
	if (incident_number(a->operands.v[0], &id) < 0)
		return ctl_usage(ctl, "%s is not the number of an incident", a->operands.v[0]);
	int status = ask(ctl, a, json_pack("{ss, sI}", "command", "incident", "id", id), &answer);
	if (answer)
		show_incident(json_object_get(answer, "result"), clock_wall(), ctl->out, ctl->colour);
	json_decref(answer);
	return status;
}

int command_metrics(struct ctl *ctl, const struct args *a)
{
	json_t *answer;
	int status = ask(ctl, a, json_pack("{ss}", "command", "metrics"), &answer);
	const char *text = json_string_value(json_object_get(json_object_get(answer, "result"), "text"));
	if (text)
		fputs(text, ctl->out);
	json_decref(answer);
	return status;
}
