#include "control/command.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "control/commands.h"

#define NO_GROUP ((gid_t)-1)
#define NOBODY   65534 /* the worker's user where the configured one is missing */

static command_reload_fn reload_fn;

static void command_reload(struct request *r)
{
	struct fault fault = {0};
	struct client *client = r->client;
	(void)client;
	int code = reload_fn(r->site, &fault);
	request_finish(r, code < 0 ? 2 : 0,
		       code < 0 ? fault.text : "the configuration is read again once no swap is under way", NULL);
}

static const struct {
	const char *name;
	void (*run)(struct request *);
	bool only_looks; /* the group certswap may */
} commands[] = {
	{"status", command_status, true},
	{"incidents", command_incidents, true},
	{"incident", command_incident, true},
	{"metrics", command_metrics, true},
	{"ping", command_ping, true},
	{"submit", command_submit, false},
	{"standby", command_standby, false},
	{"swap", command_swap, false},
	{"rollback", command_rollback, false},
	{"notice", command_notice, false},
	{"confirm", command_confirm, false},
	{"waive", command_waive, false},
	{"adopt", command_adopt, false},
	{"release", command_release, false},
	{"withdraw", command_withdraw, false},
	{"close", command_close, false},
	{"csr", command_csr, false},
	{"drill", command_drill, false},
	{"request", command_request, false},
	{"deny_add", command_deny_add, false},
	{"deny_confirm", command_deny_confirm, false},
	{"deny_remove", command_deny_remove, false},
	{"reload", command_reload, false},
};

/* Who may do what: SO_PEERCRED decides. No user database is asked here: one that hangs (LDAP) would hold up a swap. */
static bool is_permitted(const struct site *site, const struct client *client, bool only_looks)
{
	uid_t uid = client_uid(client);
	if (uid == 0 || uid == geteuid())
		return true;
	if (uid == site->worker_uid)
		return false;
	return only_looks && site->group != NO_GROUP && client_in_group(client, site->group);
}

static void run(struct request *r, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (is_permitted(r->site, r->client, commands[i].only_looks))
			return commands[i].run(r);
		return request_finish(
			r, 4, "not permitted: root and the agent's own user do everything, the group certswap may look",
			NULL);
	}
	request_finish(r, 2, "this certswapd does not know that command",
		       "certswapctl and certswapd should be of one version");
}

static void on_request(struct client *client, char *line, size_t len, int *fds, size_t nfds, void *data)
{
	json_error_t error;
	struct request *r = xcalloc(1, sizeof *r);
	r->site = data;
	r->client = client;
	r->fds = nfds ? xmemdup(fds, nfds * sizeof *fds) : NULL;
	r->nfds = nfds;
	r->arguments = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	client_set_data(client, r);
	const char *name = json_string_value(json_object_get(r->arguments, "command"));
	if (!name)
		return request_finish(r, 2, "not a request", NULL);
	run(r, name);
}

static void on_gone(struct client *client, void *data)
{
	struct request *r = client_data(client);
	(void)data;
	if (r)
		r->client = NULL;
}

void command_look_up(struct site *site)
{
	const struct passwd *worker = getpwnam(site->settings->worker_user);
	const struct group *group = getgrnam("certswap");
	site->worker_uid = worker ? worker->pw_uid : NOBODY;
	site->group = group ? group->gr_gid : NO_GROUP;
}

struct control *command_open(struct site *site, command_reload_fn reload, struct fault *fault)
{
	AUTO_FREE char *path = xasprintf("%s/control.sock", site->settings->run_dir);
	reload_fn = reload;
	command_look_up(site);
	return control_new(site->loop, path, on_request, on_gone, site, fault);
}
