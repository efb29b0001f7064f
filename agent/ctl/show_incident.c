#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "ctl/print.h"
#include "ctl/show.h"
#include "ctl/when.h"

void show_incidents(const json_t *list, int64_t now, FILE *out, bool colour)
{
	static const struct column columns[] = {{"ID", 6},      {"CERTIFICATE", 0}, {"CASE", 4},      {"REASON", 13},
						{"OPENED", 17}, {"STAGE", 18},      {"TIME LEFT", 17}};
	struct table t = {.columns = columns, .ncolumns = ARRAY_SIZE(columns)};
	size_t i;
	json_t *incident;
	json_array_foreach(list, i, incident)
	{
		char left[48];
		AUTO_FREE char *name = print_member(incident, "certificate", "?");
		AUTO_FREE char *letter = print_member(incident, "case", "?");
		AUTO_FREE char *reason = print_member(incident, "reason", "-");
		AUTO_FREE char *opened = print_member(incident, "opened_at", "?");
		AUTO_FREE char *stage = print_member(incident, "stage", "?");
		int64_t deadline = show_time(incident, "deadline");
		bool closed = json_is_string(json_object_get(incident, "closed_at"));
		table_add(&t, COLOUR_PLAIN, "#%lld", (long long)json_integer_value(json_object_get(incident, "id")));
		table_add(&t, COLOUR_PLAIN, "%s", name);
		table_add(&t, COLOUR_PLAIN, "%s", letter);
		table_add(&t, COLOUR_PLAIN, "%s", reason);
		table_add(&t, COLOUR_PLAIN, "%.10s %.5sZ", opened, strlen(opened) > 16 ? opened + 11 : "");
		table_add(&t, closed ? COLOUR_DIM : COLOUR_WARN, "%s", stage);
		table_add(&t, closed ? COLOUR_DIM : COLOUR_BAD, "%s",
			  closed || !deadline ? "-" : show_left(deadline, now, left));
	}
	if (t.ncells)
		table_print(&t, out, colour);
	else
		fputs("No incident.\n", out);
	table_done(&t);
}

/* Facts in a fixed order, under the names that a person knows; what is missing or empty is left out. */
static void show_facts(const json_t *incident, FILE *out)
{
	static const char *const facts[][2] = {
		{"certificate", "Certificate"},
		{"serial", "Serial"},
		{"sha256", "SHA-256"},
		{"spki_sha256", "Key"},
		{"case", "Case"},
		{"meaning", "Meaning"},
		{"needs", "Needs"},
		{"reason", "Reason"},
		{"reference", "Reference"},
		{"stage", "Stage"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++) {
		AUTO_FREE char *value = print_member(incident, facts[i][0], "");
		AUTO_FREE char *before = xasprintf("%-11s ", facts[i][1]);
		if (*value)
			print_wrapped(out, before, 12, value);
	}
	if (json_is_true(json_object_get(incident, "denies_key")))
		fprintf(out, "%-11s %s\n", "Denies", "this key, for every certificate here");
}

static void show_moment(const json_t *incident, const char *key, const char *label, FILE *out)
{
	char text[WHEN_TEXT];
	int64_t t = show_time(incident, key);
	if (t)
		fprintf(out, "%-11s %s\n", label, when_text(t, text));
}

void show_incident(const json_t *incident, int64_t now, FILE *out, bool colour)
{
	size_t i;
	json_t *step;
	char left[48];
	int64_t deadline = show_time(incident, "deadline");
	bool closed = json_is_string(json_object_get(incident, "closed_at"));
	fprintf(out, "%-11s #%lld\n", "Incident", (long long)json_integer_value(json_object_get(incident, "id")));
	show_facts(incident, out);
	show_moment(incident, "opened_at", "Opened", out);
	show_moment(incident, "received_at", "Received", out);
	show_moment(incident, "deadline", "Deadline", out);
	show_moment(incident, "closed_at", "Closed", out);
	if (deadline && !closed)
		fprintf(out, "%-11s %s%s%s\n", "Time left", colour_on(COLOUR_BAD, colour),
			show_left(deadline, now, left), colour_off(COLOUR_BAD, colour));
	json_array_foreach(json_object_get(incident, "story"), i, step)
	{
		AUTO_FREE char *time = print_member(step, "time", "?");
		AUTO_FREE char *text = print_member(step, "text", "?");
		AUTO_FREE char *before = xasprintf("%s%s  ", i ? "" : "\n", time);
		print_wrapped(out, before, 12, text);
	}
}
