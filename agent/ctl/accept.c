/* --accept CODE --why TEXT: what a person lets pass. */
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/near.h"
#include "ctl/client.h"
#include "wire/finding.h"

/* Codes are written in capitals; a person may write them small. */
static int parse_code(const char *s, enum finding_code *ret)
{
	for (enum finding_code code = 0; code < FINDING_CODES; code++) {
		if (strcasecmp(s, finding_name(code)) == 0) {
			*ret = code;
			return 0;
		}
	}
	return -1;
}

static int no_such_finding(struct ctl *ctl, const char *word)
{
	const char *near = NULL;
	for (enum finding_code code = 0; code < FINDING_CODES; code++)
		near = near_choose(word, finding_name(code), near);
	return ctl_usage(ctl, "--accept %s: there is no such finding%s%s%s", word, near ? "; did you mean " : "",
			 near ? near : "", near ? "?" : "");
}

int client_add_accept(struct ctl *ctl, const struct args *a, json_t *request)
{
	const struct words *codes = &a->values[OPTION_ACCEPT], *reasons = &a->values[OPTION_WHY];
	if (codes->n == 0)
		return reasons->n ? ctl_usage(ctl, "--why stands without --accept") : CTL_DONE;
	if (reasons->n != 1 && reasons->n != codes->n)
		return ctl_usage(ctl, "each --accept needs its --why TEXT: the reason goes into the audit log");
	json_t *list = json_array();
	json_object_set_new(request, "accept", list);
	for (size_t i = 0; i < codes->n; i++) {
		enum finding_code code;
		const char *why = reasons->v[reasons->n == 1 ? 0 : i];
		if (parse_code(codes->v[i], &code) < 0)
			return no_such_finding(ctl, codes->v[i]);
		if (!finding_can_be_accepted(code)) {
			ctl_say(ctl, "%s can't be accepted: such a pair would not work. %s", finding_name(code),
				finding_what_to_do(code));
			return CTL_USAGE;
		}
		if (!why[strspn(why, " \t")])
			return ctl_usage(ctl, "--why is empty");
		json_array_append_new(list,
				      json_pack("{s:s, s:o}", "code", finding_name(code), "why", client_string(why)));
	}
	return CTL_DONE;
}
