#include "site/command.h"

#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/intake.h"
#include "site/notice.h"
#include "site/response.h"
#include "site/status.h"
#include "site/transaction.h"
#include "site/watched.h"
#include "wire/finding.h"

#define DEFAULT_TIMEOUT_MS 300000

/* One request until its answer. It outlives its client: work that was taken goes on when the client is gone. */
struct request {
	struct site *site;
	struct client *client; /* NULL: gone, or answered */
	json_t *arguments;
	int *fds;
	size_t nfds;
	struct timer *timeout;
	size_t waiting_for; /* answers of incidents */
	int exit;
	struct text text, next;
};

/* ---- answering ---- */

static void send_json(struct request *r, json_t *o)
{
	char *line = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (r->client && line)
		client_send(r->client, line, strlen(line));
	free(line);
}

static void close_fds(struct request *r)
{
	for (size_t i = 0; i < r->nfds; i++)
		if (r->fds[i] >= 0)
			close(r->fds[i]);
	free(r->fds);
	r->fds = NULL;
	r->nfds = 0;
}

/* Sends the final answer; the request stays until its work has ended too (request_free). Takes over result. */
static void answer_with(struct request *r, int exit, const char *message, const char *next, json_t *result)
{
	json_t *o = json_pack("{si, ss, ss*, so*}", "exit", exit, "message", message ? message : "", "next", next,
			      "result", result);
	timer_close(r->timeout);
	r->timeout = NULL;
	if (!r->client)
		return json_decref(o);
	client_set_data(r->client, NULL);
	if (o)
		send_json(r, o);
	client_finish(r->client);
	r->client = NULL;
}

static void answer(struct request *r, int exit, const char *message, const char *next)
{
	answer_with(r, exit, message, next, NULL);
}

static void request_free(struct request *r)
{
	timer_close(r->timeout);
	close_fds(r);
	json_decref(r->arguments);
	text_done(&r->text);
	text_done(&r->next);
	free(r);
}

static void finish(struct request *r, int exit, const char *message, const char *next)
{
	answer(r, exit, message, next);
	request_free(r);
}

static void finish_with(struct request *r, json_t *result)
{
	answer_with(r, 0, "", NULL, result);
	request_free(r);
}

static void on_timeout(void *data)
{
	struct request *r = data;
	answer(r, 1, "the time is up; the work goes on", "certswapctl status; certswapctl log");
}

static const char *argument(const struct request *r, const char *key)
{
	const char *s = json_string_value(json_object_get(r->arguments, key));
	return s && *s ? s : NULL;
}

/* The answer comes when the wire is proved, at the timeout, or now where nobody waits. */
static void wait_for_work(struct request *r)
{
	const json_t *wait = json_object_get(r->arguments, "wait"),
		     *timeout = json_object_get(r->arguments, "timeout_ms");
	if (wait && json_is_false(wait))
		return answer(r, 0, "taken; the work goes on", NULL);
	int64_t ms = json_is_integer(timeout) ? json_integer_value(timeout) : DEFAULT_TIMEOUT_MS;
	r->timeout = timer_start(r->site->loop, ms, on_timeout, r);
}

/* The certificate that the request names; NULL: answered already. */
static struct certificate *named(struct request *r)
{
	const char *name = argument(r, "name");
	struct certificate *c = name ? site_certificate(r->site, name) : NULL;
	if (c)
		return c;
	AUTO_FREE char *text = name ? xasprintf("there is no certificate named %s here", name)
				    : xstrdup("a certificate's name is needed");
	finish(r, name ? 1 : 2, text, "certswapctl status lists the names");
	return NULL;
}

/* ---- looking ---- */

static void do_status(struct request *r)
{
	const char *name = argument(r, "name");
	if (name && !named(r))
		return;
	finish_with(r, status_json(r->site, name));
}

static void do_incidents(struct request *r)
{
	finish_with(r, incidents_json(r->site, json_is_true(json_object_get(r->arguments, "all"))));
}

static void do_incident(struct request *r)
{
	unsigned int id = (unsigned int)json_integer_value(json_object_get(r->arguments, "id"));
	json_t *o = incident_json_by_id(r->site, id);
	if (!o)
		return finish(r, 1, "there is no such incident", "certswapctl incidents --all");
	finish_with(r, o);
}

static void do_ping(struct request *r)
{
	finish(r, 0, "certswapd " CERTSWAP_VERSION, NULL);
}

/* ---- files ---- */

static void on_intake_done(int exit, const char *text, const char *next, void *data)
{
	finish(data, exit, text, next);
}

static int read_accepted(const struct request *r, struct intake_spec *spec, struct fault *fault)
{
	size_t i;
	json_t *v;
	struct text why = {0};
	json_array_foreach(json_object_get(r->arguments, "accept"), i, v)
	{
		enum finding_code code;
		const char *name = json_string_value(json_object_get(v, "code")),
			   *reason = json_string_value(json_object_get(v, "why"));
		if (!name || finding_parse(name, &code) < 0 || !reason || !*reason) {
			text_done(&why);
			return fault_set(fault, -EINVAL,
					 "--accept takes a finding's code and --why TEXT: %.40s is not one",
					 name ? name : "?");
		}
		if (!finding_can_be_accepted(code)) {
			text_done(&why);
			return fault_set(fault, -EPERM,
					 "%s can't be let pass: such a pair would not work, or must never come back",
					 name);
		}
		words_add(&spec->accepted, name);
		text_add(&why, "%s%s: %s", why.len ? "; " : "", name, reason);
	}
	spec->why = why.s;
	return 0;
}

static void take_files(struct request *r, struct certificate *c, bool standby)
{
	struct fault fault = {0};
	const json_t *files = json_object_get(r->arguments, "files");
	bool passwords = json_is_true(json_object_get(r->arguments, "passwords"));
	size_t n = json_array_size(files);
	if (!n || r->nfds != n + passwords)
		return finish(r, 2, "no files were handed over", NULL);
	struct intake_spec spec = {
		.certificate = c, .standby = standby, .origin = standby ? "standby" : "submit", .n = n};
	if (read_accepted(r, &spec, &fault) < 0) {
		words_done(&spec.accepted);
		return finish(r, 2, fault.text, NULL);
	}
	spec.fds = r->fds;
	spec.passwords = passwords ? r->fds[n] : -1;
	spec.labels = xcalloc(n, sizeof(*spec.labels));
	for (size_t i = 0; i < n; i++) {
		const char *label = json_string_value(json_array_get(files, i));
		spec.labels[i] = text_printable(xstrdup(label ? label : "?"));
	}
	wait_for_work(r);
	intake_submit(r->site, &spec, on_intake_done, r);
	for (size_t i = 0; i < n; i++)
		free(spec.labels[i]);
	free(spec.labels);
	free(r->fds); /* the descriptors are the set's now */
	r->fds = NULL;
	r->nfds = 0;
}

static void do_submit(struct request *r)
{
	struct certificate *c = NULL;
	if (argument(r, "name") && !(c = named(r)))
		return;
	take_files(r, c, false);
}

static void drop_standby(struct request *r, struct certificate *c)
{
	struct fault fault = {0};
	if (!c->standby.number)
		return finish(r, 1, "there is no standby pair", NULL);
	if (store_set_standby(c->folder, 0, &fault) < 0)
		return finish(r, 1, fault.text, NULL);
	certificate_refresh(c);
	audit_write(r->site->audit, "standby-dropped", c->settings->name, NULL, "dropped by a person");
	finish(r, 0, "the standby pair is dropped", NULL);
}

static void do_standby(struct request *r)
{
	struct certificate *c = named(r);
	if (!c)
		return;
	if (json_is_true(json_object_get(r->arguments, "drop")))
		return drop_standby(r, c);
	take_files(r, c, true);
}

/* ---- swaps by hand ---- */

static void on_pair_done(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	finish(data, outcome == PAIR_LIVE || outcome == PAIR_SAME ? 0 : 1, text, next);
}

static void swap_to(struct request *r, struct certificate *c, unsigned int number)
{
	struct fault fault = {0};
	struct meta meta = {0};
	if (c->live.number == number)
		return finish(r, 0, "that generation is live already", NULL);
	if (store_read_meta(c->folder, number, &meta, &fault) < 0)
		return finish(r, 1, fault.text, "certswapctl status NAME; ls STATE/certificates/NAME/gen");
	meta_done(&meta);
	wait_for_work(r);
	pair_swap_generation(c, number, on_pair_done, r);
}

static void do_swap(struct request *r)
{
	struct certificate *c = named(r);
	const char *to = argument(r, "to");
	if (!c)
		return;
	if (!to || strcmp(to, "standby") == 0)
		return c->standby.number
			       ? swap_to(r, c, c->standby.number)
			       : finish(r, 1, "there is no standby pair", "certswapctl standby NAME FILE... makes one");
	unsigned int number = (unsigned int)strtoul(to, NULL, 10);
	if (!number)
		return finish(r, 2, "--to takes standby or the number of a generation", NULL);
	swap_to(r, c, number);
}

/* The newest generation older than the live one. */
static void do_rollback(struct request *r)
{
	struct certificate *c = named(r);
	if (!c)
		return;
	for (unsigned int number = c->live.number; number-- > 1;) {
		struct meta meta = {0};
		if (number == c->standby.number || store_read_meta(c->folder, number, &meta, NULL) < 0)
			continue;
		meta_done(&meta);
		return swap_to(r, c, number);
	}
	finish(r, 1, "there is no older generation to go back to", NULL);
}

/* ---- notices ---- */

static void on_incident(struct incident *incident, bool done, const char *text, const char *next, void *data)
{
	struct request *r = data;
	text_add(&r->text, "%sincident %u: %s", r->text.len ? "\n" : "", incident->id, text);
	if (!done) {
		r->exit = 1;
		if (next)
			text_add(&r->next, "%s%s", r->next.len ? "\n" : "", next);
	}
	if (--r->waiting_for == 0)
		finish(r, r->exit, r->text.s, r->next.s);
}

/* Hits of a key compromise on more than one certificate are asked for. True: the question was sent. */
static bool ask_first(struct request *r, const struct notice *notice, const struct notice_hits *hits)
{
	struct text list = {0};
	bool compromise = policy_case(notice->case_letter)->new_key || notice->reason == POLICY_KEY_COMPROMISE;
	if (hits->n < 2 || !compromise || json_is_true(json_object_get(r->arguments, "yes")))
		return false;
	for (size_t i = 0; i < hits->n; i++)
		text_add(&list, "\n  %s (%s, serial %s)", hits->v[i].certificate->settings->name,
			 hits->v[i].meta == &hits->v[i].certificate->live ? "live" : "standby",
			 hits->v[i].meta->serial);
	AUTO_FREE char *text = xasprintf("this compromised key is used by %zu certificates here:%s", hits->n, list.s);
	text_done(&list);
	json_t *o = json_pack("{si, ss, ss, ss}", "exit", 1, "message", text, "ask", text, "next",
			      "say yes, or give --yes in a script");
	send_json(r, o);
	client_set_data(r->client, NULL);
	client_finish(r->client);
	r->client = NULL;
	return true;
}

static void do_notice(struct request *r)
{
	struct fault fault = {0};
	struct notice notice;
	struct notice_hits hits;
	if (notice_read(r->site, r->arguments, false, &notice, &hits, &fault) < 0)
		return finish(r, 1, fault.text, NULL);
	if (ask_first(r, &notice, &hits)) {
		free(hits.v);
		return request_free(r);
	}
	struct incident **opened = xcalloc(hits.n, sizeof(*opened));
	for (size_t i = 0; i < hits.n; i++) {
		opened[i] = incident_open(hits.v[i].certificate, hits.v[i].meta, &notice, &fault);
		r->waiting_for += opened[i] != NULL;
	}
	if (!r->waiting_for)
		finish(r, 1, fault.text, NULL);
	else
		wait_for_work(r);
	for (size_t i = 0; i < hits.n; i++)
		if (opened[i])
			incident_wait(r->site, opened[i], on_incident, r);
	free(opened);
	free(hits.v);
}

static void do_confirm(struct request *r)
{
	struct fault fault = {0};
	struct certificate *c = named(r);
	if (!c)
		return;
	if (incident_confirm(c, &fault) < 0)
		return finish(r, 1, fault.text, NULL);
	r->waiting_for = 1;
	wait_for_work(r);
	incident_wait(r->site, incident_of(c), on_incident, r);
}

static void do_withdraw(struct request *r)
{
	struct fault fault = {0};
	const char *why = argument(r, "why");
	unsigned int id = (unsigned int)json_integer_value(json_object_get(r->arguments, "incident"));
	if (!why)
		return finish(r, 2, "--why TEXT is needed", NULL);
	if (incident_withdraw(r->site, id, why, &fault) < 0)
		return finish(r, 1, fault.text, "certswapctl incidents");
	watched_forget_refusals(r->site->watched);
	finish(r, 0, "the incident is closed, the denials that it brought are lifted", NULL);
}

/* ---- denials ---- */

static void deny(struct request *r, const char *event,
		 int (*change)(struct request *, const struct digest *, const char *))
{
	struct digest d;
	struct fault fault = {0};
	const char *spki = argument(r, "spki"), *why = argument(r, "why");
	if (!spki || digest_parse(spki, &d) < 0)
		return finish(r, 2, "a SHA-256 of a SubjectPublicKeyInfo is needed (64 hexadecimal digits)", NULL);
	if (!change(r, &d, why ? why : ""))
		return finish(r, 1, "nothing to change: certswapctl deny list shows what is refused", NULL);
	if (denied_save(r->site->folders.state, &r->site->denied, &fault) < 0)
		return finish(r, 1, fault.text, NULL);
	audit_write(r->site->audit, event, NULL,
		    json_pack("{ss, sI}", "spki_sha256", spki, "uid", (json_int_t)client_uid(r->client)), "%s",
		    why ? why : "by a person");
	transactions_notice(r->site);
	watched_forget_refusals(r->site->watched);
	finish(r, 0, "done", NULL);
}

static int add_denial(struct request *r, const struct digest *d, const char *why)
{
	const struct denial denial = {.is_key = true,
				      .digest = *d,
				      .since = clock_wall(),
				      .confirmed = true,
				      .reason = (char *)(uintptr_t)(*why ? why : "by a person")};
	return denied_add(&r->site->denied, &denial);
}

static int confirm_denial(struct request *r, const struct digest *d, const char *why)
{
	(void)why;
	return denied_confirm(&r->site->denied, d);
}

static int remove_denial(struct request *r, const struct digest *d, const char *why)
{
	return *why ? denied_remove(&r->site->denied, d) > 0 : 0;
}

static void do_deny_add(struct request *r)
{
	deny(r, "deny-add", add_denial);
}

static void do_deny_confirm(struct request *r)
{
	deny(r, "deny-confirm", confirm_denial);
}

static void do_deny_remove(struct request *r)
{
	if (!argument(r, "why"))
		return finish(r, 2, "--why TEXT is needed", NULL);
	deny(r, "deny-remove", remove_denial);
}

/* ---- the table ---- */

static command_reload_fn reload_fn;

static void do_reload(struct request *r)
{
	struct fault fault = {0};
	struct client *client = r->client;
	(void)client;
	int code = reload_fn(r->site, &fault);
	finish(r, code < 0 ? 2 : 0, code < 0 ? fault.text : "the configuration is read again once no swap is under way",
	       NULL);
}

static const struct {
	const char *name;
	void (*run)(struct request *);
	bool only_looks; /* the group certswap may */
} commands[] = {
	{"status", do_status, true},
	{"incidents", do_incidents, true},
	{"incident", do_incident, true},
	{"ping", do_ping, true},
	{"submit", do_submit, false},
	{"standby", do_standby, false},
	{"swap", do_swap, false},
	{"rollback", do_rollback, false},
	{"notice", do_notice, false},
	{"confirm", do_confirm, false},
	{"withdraw", do_withdraw, false},
	{"deny_add", do_deny_add, false},
	{"deny_confirm", do_deny_confirm, false},
	{"deny_remove", do_deny_remove, false},
	{"reload", do_reload, false},
};

static bool in_group(uid_t uid, gid_t gid)
{
	const struct group *group = getgrnam("certswap");
	if (!group)
		return false;
	if (gid == group->gr_gid)
		return true;
	const struct passwd *user = getpwuid(uid);
	for (char **m = group->gr_mem; user && *m; m++)
		if (strcmp(*m, user->pw_name) == 0)
			return true;
	return false;
}

/* Who may do what: SO_PEERCRED decides. */
static bool is_permitted(const struct site *site, const struct client *client, bool only_looks)
{
	const struct passwd *worker = getpwnam(site->settings->worker_user);
	uid_t uid = client_uid(client);
	if (uid == 0 || uid == geteuid())
		return true;
	if (worker && uid == worker->pw_uid)
		return false;
	return only_looks && in_group(uid, client_gid(client));
}

static void run(struct request *r, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (is_permitted(r->site, r->client, commands[i].only_looks))
			return commands[i].run(r);
		return finish(r, 4,
			      "not permitted: root and the agent's own user do everything, the group certswap may look",
			      NULL);
	}
	finish(r, 2, "this certswapd does not know that command", "certswapctl and certswapd should be of one version");
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
		return finish(r, 2, "not a request", NULL);
	run(r, name);
}

static void on_gone(struct client *client, void *data)
{
	struct request *r = client_data(client);
	(void)data;
	if (r)
		r->client = NULL;
}

struct control *command_open(struct site *site, command_reload_fn reload, struct fault *fault)
{
	AUTO_FREE char *path = xasprintf("%s/control.sock", site->settings->run_dir);
	reload_fn = reload;
	return control_new(site->loop, path, on_request, on_gone, site, fault);
}
