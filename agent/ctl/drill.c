/* drill NAME: would the day go well? */
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/print.h"

static void add_item(struct table *t, const json_t *item)
{
	const json_t *good = json_object_get(item, "good"), *ms = json_object_get(item, "milliseconds");
	AUTO_FREE char *what = print_member(item, "what", "?"), *text = print_member(item, "text", "");
	table_add(t, COLOUR_PLAIN, "%s", what);
	if (json_is_null(good))
		table_add(t, COLOUR_WARN, "?");
	else
		table_add(t, json_is_true(good) ? COLOUR_GOOD : COLOUR_BAD, "%s",
			  json_is_true(good) ? "good" : "NOT GOOD");
	if (json_is_integer(ms))
		table_add(t, COLOUR_PLAIN, "%lld ms", (long long)json_integer_value(ms));
	else
		table_add(t, COLOUR_DIM, "-");
	table_add(t, COLOUR_PLAIN, "%s", text);
}

static const char *answer_of(const json_t *result, const char *key)
{
	const json_t *v = json_object_get(result, key);
	return json_is_null(v) ? "can't tell" : json_is_true(v) ? "yes" : "NO";
}

static void show(struct ctl *ctl, const json_t *result)
{
	static const struct column columns[] = {{"WHAT", 20}, {"STATE", 8}, {"TIME", 10}, {"", 0}};
	struct table t = {.columns = columns, .ncolumns = ARRAY_SIZE(columns)};
	size_t i;
	json_t *v;
	char took[48];
	json_array_foreach(json_object_get(result, "items"), i, v) add_item(&t, v);
	table_print(&t, ctl->out, ctl->colour);
	table_done(&t);
	const json_t *seconds = json_object_get(result, "fastest_seconds");
	AUTO_FREE char *way = print_member(result, "fastest", "?");
	fprintf(ctl->out, "\nFastest way: %s%s%s\nReplaced within 24 hours: %s. Within 5 days: %s.\n", way,
		json_is_integer(seconds) ? ", about " : "",
		json_is_integer(seconds) ? text_time_left(json_integer_value(seconds), took) : "",
		answer_of(result, "in_24_hours"), answer_of(result, "in_5_days"));
	const json_t *stopped = json_object_get(result, "stopped_by");
	fputs(json_array_size(stopped) ? "\nWhat would have stopped you:\n"
				       : "\nNothing that was tried would have stopped you.\n",
	      ctl->out);
	json_array_foreach(stopped, i, v) print_wrapped(ctl->out, "  - ", 4, json_string_value(v));
}

int command_drill(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands.v[0], *letter = args_value(a, OPTION_CASE);
	if (!text_is_name(name))
		return ctl_usage(ctl, "%s can't be the name of a certificate here", name);
	if (letter && (strlen(letter) != 1 || *letter < 'a' || *letter > 'p'))
		return ctl_usage(ctl, "--case is one of the letters a to p");
	json_t *answer = NULL, *request = json_pack("{ss, ss, ss, sb}", "command", "drill", "name", name, "case",
						    letter ? letter : "c", "live", args_has(a, OPTION_LIVE));
	int status = client_add_wait(ctl, a, request);
	if (status == CTL_DONE)
		status = client_ask(ctl, a, request, NULL, 0, &answer);
	json_decref(request);
	if (!answer)
		return status;
	const json_t *result = json_object_get(answer, "result");
	if (!json_is_object(result) || args_has(a, OPTION_JSON)) {
		status = client_print_answer(ctl, a, answer);
	} else {
		show(ctl, result);
		status = (int)json_integer_value(json_object_get(answer, "exit"));
	}
	json_decref(answer);
	return status;
}
