/* swap, rollback, confirm: by hand */
#include <string.h>

#include "ctl/client.h"
#include "ctl/commands.h"

static int run(struct ctl *ctl, const struct args *a, const char *command)
{
	const char *name = a->operands.v[0], *to = args_value(a, OPTION_TO);
	if (!text_is_name(name))
		return ctl_usage(ctl, "%s can't be the name of a certificate here", name);
	if (to && strcmp(to, "standby") != 0 && (!*to || strspn(to, "0123456789") != strlen(to)))
		return ctl_usage(ctl, "--to is standby or the number of a generation");
	json_t *request = json_pack("{s:s, s:s}", "command", command, "name", name);
	if (to)
		json_object_set_new(request, "to", json_string(to));
	int status = client_add_wait(ctl, a, request);
	if (status == CTL_DONE)
		status = client_add_accept(ctl, a, request);
	if (status == CTL_DONE)
		return client_run(ctl, a, request, NULL, 0);
	json_decref(request);
	return status;
}

int command_swap(struct ctl *ctl, const struct args *a)
{
	return run(ctl, a, "swap");
}

int command_rollback(struct ctl *ctl, const struct args *a)
{
	return run(ctl, a, "rollback");
}

int command_confirm(struct ctl *ctl, const struct args *a)
{
	return run(ctl, a, "confirm");
}
