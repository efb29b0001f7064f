/* discover --loads: would the server that runs as this process start again with the pairs that its configuration names?
 * For one that ends when it does not like a pair, and that can't be rehearsed. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ctl/commands.h"
#include "ctl/discover.h"

/* Weak, expired or incomplete is bad, but it is loaded; and a passphrase is known to the parent that runs. */
static bool is_not_loaded(const struct wrong *w)
{
	if (w->code == WRONG_MISSING)
		return true;
	return w->code == WRONG_FINDING &&
	       (w->finding->code == FINDING_PAIR_MISMATCH || w->finding->code == FINDING_KEY_MISSING ||
		w->finding->code == FINDING_UNREADABLE);
}

/* Lies the file in one of these folders, whatever links lead there? One that is missing would lie where its folder is.
 */
static bool lies_in(const char *path, const struct words *folders)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *above = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	AUTO_FREE char *file = realpath(path, NULL), *missing = file ? NULL : realpath(above, NULL);
	const char *real = file ? file : missing;
	for (size_t i = 0; real && i < folders->n; i++) {
		AUTO_FREE char *folder = realpath(folders->v[i], NULL);
		size_t len = folder ? strlen(folder) : 0;
		if (len && strncmp(real, folder, len) == 0 && (real[len] == '/' || (missing && !real[len])))
			return true;
	}
	return false;
}

static bool ends_tls(const struct discovered *d)
{
	for (size_t i = 0; i < d->nplaces; i++)
		if (d->places[i].host->tls)
			return true;
	return false;
}

/* Says what is wrong, with the line of the configuration. */
static bool says_no(struct ctl *ctl, const struct discovered *d)
{
	bool no = false;
	for (size_t i = 0; i < d->nwrong; i++) {
		if (!is_not_loaded(&d->wrong[i]))
			continue;
		AUTO_FREE char *where = webconf_where(d->places[0].server->conf, &d->certificate->at);
		fprintf(ctl->out, "%s: %s: %s\n", where, d->certificate->text, d->wrong[i].text);
		no = true;
	}
	return no;
}

int command_discover_loads(struct ctl *ctl, const struct args *a)
{
	struct discovery d;
	char *end;
	long pid = strtol(args_value(a, OPTION_LOADS), &end, 10);
	if (*end || pid <= 0 || pid > INT_MAX)
		return ctl_usage(ctl, "--loads %s is not the number of a process", args_value(a, OPTION_LOADS));
	discovery_read_one((pid_t)pid, &d);
	const struct server *s = d.servers.n ? &d.servers.v[0] : NULL;
	int status = s && s->conf ? CTL_DONE : CTL_UNREACHABLE;
	if (!s)
		ctl_say(ctl, "process %ld is no nginx or Apache that certswapctl knows", pid);
	for (size_t i = 0; s && i < s->problems.n; i++)
		ctl_say(ctl, "%s", s->problems.v[i]);
	for (size_t i = 0; i < d.n; i++) {
		if (!ends_tls(&d.v[i]) || lies_in(d.v[i].certificate->text, &a->values[OPTION_EXCEPT]))
			continue;
		discovered_prove(ctl, NULL, &d.v[i]);
		if (says_no(ctl, &d.v[i]))
			status = CTL_FAILED;
	}
	discovery_done(&d);
	return status;
}
