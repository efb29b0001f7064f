/* config test, config dump, config reload */
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/commands.h"

static int load(struct ctl *ctl)
{
	ctl->config_named = true; /* here nothing stands in for it */
	return ctl_settings(ctl);
}

int command_config_test(struct ctl *ctl, const struct args *a)
{
	int status = load(ctl);
	if (status == CTL_DONE)
		fprintf(ctl->out, "%s is good: certificates: %zu, servers: %zu\n", ctl->settings->file,
			ctl->settings->ncertificates, ctl->settings->nservers);
	return status;
}

int command_config_dump(struct ctl *ctl, const struct args *a)
{
	int status = load(ctl);
	if (status == CTL_DONE)
		settings_dump(ctl->settings, ctl->out);
	return status;
}

/* certswapd is the one to judge the file: it says what is wrong with it, and remembers that it is not in force. */
int command_config_reload(struct ctl *ctl, const struct args *a)
{
	if (access(ctl->config_file, R_OK) == 0)
		ctl->some = settings_load_some(ctl->config_file);
	return client_run(ctl, a, json_pack("{ss}", "command", "reload"), NULL, 0);
}
