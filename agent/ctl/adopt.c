/* adopt, release: the web servers' configuration is read here, the agent is told what to do */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/adopt_plan.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/disk.h"
#include "ctl/print.h"

#define RENEWAL_MAX (256 * 1024)

/* ---- the plan, for people and as JSON ---- */

static void print_plan(const struct plan *p, const struct settings *s, FILE *out)
{
	AUTO_FREE char *servers = words_join(&p->servers, ", "), *watch = words_join(&p->watch, " "),
		       *reissue = words_join(&p->reissue, " ");
	fprintf(out, "%s  (%s)\n", p->name ? p->name : p->paths[PLAN_CERTIFICATE], servers);
	if (p->done) {
		fprintf(out, "  is taken over already\n");
		return;
	}
	if (p->refusal) {
		fprintf(out, "  is left alone: %s\n  what to do: %s\n", p->refusal, p->what_to_do);
		return;
	}
	for (int k = 0; !p->edits && k < PLAN_PARTS; k++)
		if (p->paths[k] && !p->ours[k])
			fprintf(out, "  %s becomes a link to %s/certificates/%s/live/%s\n", p->paths[k], s->state_dir,
				p->name, plan_file(p, (enum plan_part)k));
	for (size_t i = 0; p->edits && i < p->nplaces; i++)
		if (!p->ours[p->places[i].part])
			fprintf(out, "  %s:%u: %s becomes %s\n", p->places[i].path, p->places[i].line, p->places[i].old,
				p->places[i].new);
	if (p->client)
		fprintf(out, "  %s keeps it (%s): its files stay as they are; watch %s\n", p->client, p->lineage,
			watch);
	if (p->reissue.n)
		fprintf(out, "  reissue: %s\n", reissue);
	else if (p->client)
		fprintf(out, "  reissue: not known; write the renew command of %s into its configuration\n", p->client);
	fprintf(out, "  key: owner %s, group %s, mode %s, as now\n", p->key_owner, p->key_group, p->key_mode);
}

static json_t *words_json(const struct words *w)
{
	json_t *list = json_array();
	for (size_t i = 0; i < w->n; i++)
		json_array_append_new(list, client_string(w->v[i]));
	return list;
}

static json_t *edits_json(const struct plan *p)
{
	json_t *list = json_array();
	for (size_t i = 0; p->edits && i < p->nplaces; i++) {
		const struct plan_edit *e = &p->places[i];
		if (!p->ours[e->part])
			json_array_append_new(list, json_pack("{so, sI, so, so}", "path", client_string(e->path),
							      "from", (json_int_t)e->from, "old", client_string(e->old),
							      "new", client_string(e->new)));
	}
	return list;
}

static json_t *links_json(const struct plan *p)
{
	json_t *list = json_array();
	for (int k = 0; !p->edits && k < PLAN_PARTS; k++) {
		bool again = k == PLAN_KEY && p->paths[k] && strcmp(p->paths[k], p->paths[PLAN_CERTIFICATE]) == 0;
		if (p->paths[k] && !p->ours[k] && !again)
			json_array_append_new(list, json_pack("{so, ss}", "path", client_string(p->paths[k]), "file",
							      plan_file(p, (enum plan_part)k)));
	}
	return list;
}

static json_t *plan_json(const struct plan *p)
{
	const char *key = p->paths[PLAN_KEY] ? p->paths[PLAN_KEY] : p->paths[PLAN_CERTIFICATE];
	return json_pack("{ss*, so, so, so, so, so, so, ss*, ss*, ss*, ss*, ss*, ss*, ss*, sb}", "name", p->name,
			 "servers", words_json(&p->servers), "hosts", words_json(&p->hosts), "links", links_json(p),
			 "edits", edits_json(p), "watch", words_json(&p->watch), "reissue", words_json(&p->reissue),
			 "client", p->client, "key", key, "key_owner", p->key_owner, "key_group", p->key_group,
			 "key_mode", p->key_mode, "refusal", p->refusal, "what_to_do", p->what_to_do, "adopted",
			 p->done);
}

/* ---- the ACME client's own dry run ---- */

/* Its standard output and error go nowhere: who wants to read them runs it. 0: it passed. */
static int run_quietly(const char *const *argv)
{
	pid_t pid;
	int status = 0;
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	int error = posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	while (error == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return error == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* certbot's dry run asks Let's Encrypt's staging server, unless it is told the CA that the lineage has. The caller's;
 * NULL: Let's Encrypt. */
static char *other_ca(const char *top, const char *lineage)
{
	char *bytes;
	size_t len;
	AUTO_FREE char *path = xasprintf("%s/renewal/%s.conf", top, lineage);
	if (disk_read(path, RENEWAL_MAX, &bytes, &len) < 0)
		return NULL;
	AUTO_FREE char *text = bytes;
	const char *line = strstr(text, "\nserver = ");
	if (!line || strstr(line, "\nserver = https://acme-v02.api.letsencrypt.org/"))
		return NULL;
	line += strlen("\nserver = ");
	return xstrndup(line, strcspn(line, "\r\n"));
}

/* certbot alone has one. CTL_DONE: it passes, or there is none. */
static int dry_run(struct ctl *ctl, const struct args *a, const struct plan *p, const char *when)
{
	if (!p->client || strcmp(p->client, "certbot") != 0 || !p->client_path || args_has(a, OPTION_SKIP_CLIENT))
		return CTL_DONE;
	AUTO_FREE char *top = xstrndup(p->watch.v[0], strlen(p->watch.v[0]) - strlen(p->lineage) - strlen("/live/"));
	AUTO_FREE char *server = other_ca(top, p->lineage);
	const char *const argv[] = {p->client_path,
				    "renew",
				    "--dry-run",
				    "--cert-name",
				    p->lineage,
				    "-n",
				    "--no-random-sleep-on-renew",
				    "--config-dir",
				    top,
				    server ? "--server" : NULL,
				    server,
				    NULL};
	if (ctl->interactive)
		ctl_say(ctl, "%s: certbot's dry run %s ...", p->name, when);
	if (run_quietly(argv) == 0)
		return CTL_DONE;
	ctl_say(ctl, "%s: certbot's own dry run fails %s: certbot renew --dry-run --cert-name %s\nNext: mend it%s",
		p->name, when, p->lineage,
		strcmp(when, "before") == 0 ? ", or give --skip-client; nothing was touched"
					    : ", or: certswapctl release");
	return CTL_FAILED;
}

/* ---- one pair ---- */

static int send_plan(struct ctl *ctl, const struct args *a, const struct plan *p)
{
	int fds[PLAN_PARTS], status = CTL_DONE;
	size_t n = 0;
	json_t *request = plan_json(p), *labels = json_array();
	json_object_set_new(request, "command", json_string("adopt"));
	json_object_set_new(request, "observe", json_boolean(args_has(a, OPTION_OBSERVE)));
	for (int k = 0; k < PLAN_PARTS && status == CTL_DONE; k++) {
		bool again = k == PLAN_KEY && p->paths[k] && strcmp(p->paths[k], p->paths[PLAN_CERTIFICATE]) == 0;
		if (!p->paths[k] || again)
			continue;
		fds[n] = open(p->paths[k], O_RDONLY | O_CLOEXEC);
		if (fds[n] < 0) {
			ctl_say(ctl, "can't read %s: %s", p->paths[k], strerror(errno));
			status = errno == EACCES ? CTL_NOT_PERMITTED : CTL_FAILED;
			break;
		}
		n++;
		json_array_append_new(labels, client_string(p->paths[k]));
	}
	json_object_set_new(request, "files", labels);
	if (status == CTL_DONE)
		status = client_add_wait(ctl, a, request);
	if (status == CTL_DONE)
		status = client_run(ctl, a, json_incref(request), fds, n);
	json_decref(request);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	return status;
}

static int adopt_one(struct ctl *ctl, const struct args *a, const struct plan *p)
{
	if (p->done) /* the agent knows whether it came to its end */
		return send_plan(ctl, a, p);
	if (p->refusal) {
		ctl_say(ctl, "%s is left alone: %s\nNext: %s", p->name ? p->name : p->paths[PLAN_CERTIFICATE],
			p->refusal, p->what_to_do);
		return CTL_FAILED;
	}
	bool observe = args_has(a, OPTION_OBSERVE);
	int status = observe ? CTL_DONE : dry_run(ctl, a, p, "before");
	if (status == CTL_DONE)
		status = send_plan(ctl, a, p);
	return status == CTL_DONE && !observe ? dry_run(ctl, a, p, "afterwards") : status;
}

/* Offsets move with every directive that is changed: what comes later is read anew. */
static int adopt_fresh(struct ctl *ctl, const struct args *a, const struct plan *p)
{
	struct plans now;
	int status = CTL_DONE;
	if (!p->edits)
		return adopt_one(ctl, a, p);
	plans_make(ctl, &now);
	for (size_t i = 0; i < now.n; i++) {
		struct plan *fresh = &now.v[i];
		if (!fresh->name || strcmp(fresh->name, p->name) != 0)
			continue;
		fresh->edits = true;
		status = adopt_one(ctl, a, fresh);
	}
	plans_done(&now);
	return status;
}

static bool is_meant(const struct args *a, const struct plan *p)
{
	bool meant = a->operands.n == 0;
	for (size_t i = 0; !meant && i < a->operands.n; i++)
		meant = (p->name && plan_is_meant(p, a->operands.v[i])) ||
			strcmp(p->paths[PLAN_CERTIFICATE], a->operands.v[i]) == 0;
	return meant;
}

static int show_plans(struct ctl *ctl, const struct args *a, const struct plans *plans)
{
	json_t *list = json_array();
	for (size_t i = 0; i < plans->n; i++) {
		if (!is_meant(a, &plans->v[i]))
			continue;
		if (args_has(a, OPTION_JSON))
			json_array_append_new(list, plan_json(&plans->v[i]));
		else
			print_plan(&plans->v[i], ctl->settings, ctl->out);
	}
	if (args_has(a, OPTION_JSON))
		print_json(ctl->out, list);
	json_decref(list);
	return CTL_DONE;
}

static bool all_are_known(struct ctl *ctl, const struct args *a, const struct plans *plans)
{
	for (size_t i = 0; i < a->operands.n; i++) {
		bool known = false;
		for (size_t k = 0; k < plans->n; k++)
			known |= (plans->v[k].name && plan_is_meant(&plans->v[k], a->operands.v[i]));
		if (known)
			continue;
		ctl_say(ctl,
			"no web server of %s names a pair that is called %s\nNext: certswapctl adopt --dry-run lists "
			"them",
			ctl->settings->file, a->operands.v[i]);
		return false;
	}
	return true;
}

int command_adopt(struct ctl *ctl, const struct args *a)
{
	struct plans plans;
	int status = ctl_settings(ctl);
	if (status != CTL_DONE)
		return status;
	if (!ctl->settings) {
		ctl_say(ctl, "there is no " SETTINGS_DEFAULT_FILE);
		return CTL_USAGE;
	}
	plans_make(ctl, &plans);
	if (!all_are_known(ctl, a, &plans))
		status = CTL_FAILED;
	else if (args_has(a, OPTION_DRY_RUN))
		status = show_plans(ctl, a, &plans);
	else
		for (size_t i = 0; i < plans.n; i++)
			if (is_meant(a, &plans.v[i])) {
				int one = adopt_fresh(ctl, a, &plans.v[i]);
				status = one != CTL_DONE ? one : status;
			}
	for (size_t i = 0; !a->operands.n && i < plans.notes.n; i++)
		ctl_say(ctl, "%s", plans.notes.v[i]);
	if (!a->operands.n && plans.refused && status == CTL_DONE)
		status = CTL_FAILED;
	if (plans.n == 0 && !plans.refused)
		ctl_say(ctl, "the web servers' configuration names no pair");
	plans_done(&plans);
	return status;
}

int command_release(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands.v[0], *why = args_value(a, OPTION_WHY);
	bool original = args_has(a, OPTION_ORIGINAL);
	if (!text_is_name(name))
		return ctl_usage(ctl, "%s can't be the name of a certificate here", name);
	if (original && (!why || !why[strspn(why, " \t")]))
		return ctl_usage(ctl, "--original needs --why TEXT: the reason goes into the audit log");
	json_t *request = json_pack("{s:s, s:s, s:b}", "command", "release", "name", name, "original", original);
	if (why)
		json_object_set_new(request, "why", client_string(why));
	int status = client_add_wait(ctl, a, request);
	if (status == CTL_DONE)
		return client_run(ctl, a, request, NULL, 0);
	json_decref(request);
	return status;
}
