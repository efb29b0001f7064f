/* What waits: files of the drop boxes for their other half, or for what was in the way to be mended; a configuration
 * that was read again and is not in force. */
#include <string.h>

#include "base/memory.h"
#include "ctl/print.h"
#include "ctl/show.h"

void show_configuration(const json_t *result, FILE *out)
{
	const json_t *configuration = json_object_get(result, "configuration");
	AUTO_FREE char *state = print_member(configuration, "state", "in force"),
		       *why = print_member(configuration, "why", ""), *at = print_member(configuration, "read_at", "?");
	if (strcmp(state, "in force") == 0)
		return;
	AUTO_FREE char *text = xasprintf("The configuration read at %s %s %s", at,
					 strcmp(state, "waiting") == 0 ? "waits" : "was refused:", why);
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		print_wrapped(out, "", 2, line);
	fputc('\n', out);
}

/* Of one certificate: what lies in its own box, and what may still turn out to be its own. */
static bool concerns(const json_t *waiting, const char *certificate)
{
	const char *its = json_string_value(json_object_get(waiting, "certificate"));
	return !certificate || !its || !*its || strcmp(its, certificate) == 0;
}

void show_waiting(const json_t *result, const char *certificate, FILE *out)
{
	size_t i, shown = 0;
	json_t *w;
	json_array_foreach(json_object_get(result, "waiting"), i, w)
	{
		if (!concerns(w, certificate))
			continue;
		AUTO_FREE char *box = print_member(w, "certificate", ""), *file = print_member(w, "file", "?"),
			       *holds = print_member(w, "holds", ""), *since = print_member(w, "since", "?"),
			       *why = print_member(w, "why", "");
		if (!shown++)
			fputs("\nWaiting in incoming/:\n", out);
		AUTO_FREE char *text = xasprintf("%s%s%s, since %s: %s", box, *box ? "/" : "", file, since,
						 *why ? why : "its other half has not come yet");
		AUTO_FREE char *held = *holds ? xasprintf("%s; it holds: %s", text, holds) : xstrdup(text);
		print_wrapped(out, "  ", 4, held);
	}
}
