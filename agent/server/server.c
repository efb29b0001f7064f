#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/memory.h"
#include "base/text.h"
#include "server/hold.h"

#define DUMP_MAX     (16 * 1024 * 1024) /* bytes of a configuration: thousands of virtual hosts */
#define AGAIN_MS     250                /* a hook that the machine's trouble kept from starting is tried again */
#define AGAIN_FOR_MS 10000

static const char *const verb_names[] = {
	[SERVER_DUMP] = "dump",     [SERVER_CONFIGTEST] = "configtest", [SERVER_REHEARSE] = "rehearse",
	[SERVER_RELOAD] = "reload", [SERVER_START] = "start",           [SERVER_ALIVE] = "alive",
	[SERVER_NAMED] = "named",   [SERVER_TICKETS] = "tickets",       [SERVER_ROTATE] = "rotate",
	[SERVER_DRAIN] = "drain",
};
_Static_assert(ARRAY_SIZE(verb_names) == SERVER_VERBS, "a name for each verb");

static const char *const reload_names[] = {
	[RELOAD_AUTO] = "auto", [RELOAD_SIGNAL] = "signal", [RELOAD_SYSTEMD] = "systemd"};
_Static_assert(ARRAY_SIZE(reload_names) == RELOAD_SYSTEMD + 1, "a name for each way");

#define EXIT_TRY_LATER     75 /* EX_TEMPFAIL of sysexits.h */
#define EXIT_BROKEN_BEFORE 78 /* EX_CONFIG */

/* One question in the queue of a server. */
struct ask {
	struct server *server;
	struct ask *next;
	enum server_verb verb;
	char *candidate, *live_folder;
	server_done_cb cb;
	void *data;
	struct child *child;
	struct timer *timer; /* reports what could not be started, or tries again */
	int64_t give_up_us;  /* 0: it was not tried yet */
	enum server_answer answer;
	char *output;
	bool waits; /* for server_go */
};

struct server {
	struct loop *loop;
	const struct server_settings *settings;
	char *name, *kind, *hooks;
	struct words environment; /* what is the same for each hook */
	int64_t timeout_ms;
	bool own_proof;            /* no rehearsal is wanted */
	struct ask *first, **last; /* the first one is running */
	struct hold_queue holds;
	pid_t parent_pid;
	int parent; /* pidfd, or -1 */
};

static void set(struct words *environment, const char *name, const char *value)
{
	AUTO_FREE char *pair = xasprintf("CERTSWAP_%s=%s", name, value ? value : "");
	words_add(environment, pair);
}

struct server *server_new(struct loop *loop, const struct server_settings *settings, const char *hooks)
{
	struct server *s = xcalloc(1, sizeof *s);
	s->loop = loop;
	s->settings = settings;
	s->name = xstrdup(settings->name);
	s->kind = xstrdup(settings->kind);
	s->hooks = xstrdup(hooks);
	s->timeout_ms = settings->timeout_ms;
	s->own_proof = settings->rehearsal == REHEARSAL_OWN_PROOF;
	s->last = &s->first;
	s->parent = -1;
	AUTO_FREE char *arguments = words_join(&settings->arguments, "\n");
	set(&s->environment, "SERVER", settings->name);
	set(&s->environment, "CONFIG", settings->config);
	set(&s->environment, "BINARY", settings->binary);
	set(&s->environment, "PIDFILE", settings->pidfile);
	set(&s->environment, "ARGUMENTS", arguments);
	set(&s->environment, "ENVIRONMENT_FILE", settings->environment_file);
	set(&s->environment, "RELOAD", reload_names[settings->reload]);
	return s;
}

static void free_ask(struct ask *ask)
{
	child_close(ask->child);
	timer_close(ask->timer);
	free(ask->candidate);
	free(ask->live_folder);
	free(ask->output);
	free(ask);
}

void server_free(struct server *server)
{
	if (!server)
		return;
	hold_queue_done(&server->holds);
	while (server->first) {
		struct ask *ask = server->first;
		server->first = ask->next;
		free_ask(ask);
	}
	auto_close_(&server->parent);
	words_done(&server->environment);
	free(server->name);
	free(server->kind);
	free(server->hooks);
	free(server);
}

const char *server_name(const struct server *server)
{
	return server->name;
}

const char *server_kind(const struct server *server)
{
	return server->kind;
}

const struct server_settings *server_settings(const struct server *server)
{
	return server->settings;
}

void server_keep_parent(struct server *server, pid_t pid, int pidfd)
{
	auto_close_(&server->parent);
	server->parent = pidfd;
	server->parent_pid = pid;
}

int server_parent(const struct server *server, pid_t pid)
{
	struct pollfd p = {.fd = server->parent, .events = POLLIN};
	return p.fd >= 0 && pid == server->parent_pid && poll(&p, 1, 0) == 0 ? p.fd : -1;
}

struct hold_queue *server_holds(struct server *server)
{
	return &server->holds;
}

/* ---- hooks ---- */

static void run_first(struct server *server);

/* The first of the queue is answered: the next one starts, then its owner hears (and may free the server). */
static void answer(struct ask *ask, enum server_answer what, const char *output)
{
	struct server *server = ask->server;
	server->first = ask->next;
	if (!server->first)
		server->last = &server->first;
	ask->child = NULL; /* gone by itself */
	run_first(server);
	if (ask->cb)
		ask->cb(what, output, ask->data);
	free_ask(ask);
}

static void tell(void *data)
{
	struct ask *ask = data;
	answer(ask, ask->answer, ask->output);
}

/* The answer without having run anything; later, not from inside server_ask. */
static void answer_later(struct ask *ask, enum server_answer what, char *output)
{
	ask->answer = what;
	ask->output = output;
	ask->timer = timer_start(ask->server->loop, 0, tell, ask);
}

/* A config test changes nothing: nobody waits for it to end in vain. */
static void cut_short(struct ask *ask)
{
	if (ask->verb != SERVER_CONFIGTEST || !ask->child)
		return;
	child_close(ask->child);
	ask->child = NULL;
	answer_later(ask, SERVER_CANT_TELL, NULL);
}

void server_forget(struct server *server, const void *data)
{
	for (struct ask *ask = server->first; ask; ask = ask->next)
		if (ask->data == data) {
			ask->cb = NULL;
			cut_short(ask);
		}
}

static bool means_something(enum server_verb verb, int status)
{
	return status == EXIT_TRY_LATER || (status == EXIT_BROKEN_BEFORE && verb == SERVER_REHEARSE);
}

/* Why the hook did not do what it should, in addition to what it printed; NULL: it has answered. Caller frees. */
static char *trouble(const struct ask *ask, const struct child_result *r)
{
	char limit[32];
	const char *kind = ask->server->kind, *verb = verb_names[ask->verb];
	if (r->problem)
		return xstrdup(r->problem);
	if (r->timed_out)
		return xasprintf("the hook %s/%s did not end within %s and was killed", kind, verb,
				 text_from_ms(ask->server->timeout_ms, limit));
	if (r->signal)
		return xasprintf("the hook %s/%s was killed by signal %d", kind, verb, r->signal);
	if (r->exit_status > 1 && !means_something(ask->verb, r->exit_status))
		return xasprintf("the hook %s/%s ended with exit status %d, which means nothing", kind, verb,
				 r->exit_status);
	if (r->truncated && ask->verb == SERVER_DUMP) /* half a configuration is worse than none */
		return xasprintf("the hook %s/%s printed more than %d bytes", kind, verb, DUMP_MAX);
	return NULL;
}

static void try_again(void *data)
{
	struct ask *ask = data;
	timer_close(ask->timer);
	ask->timer = NULL;
	run_first(ask->server);
}

/* No descriptors or no memory to start it: a swap that is under way need not go back for that. */
static bool may_yet_start(const struct ask *ask, const struct child_result *r)
{
	return r->problem && fault_may_pass(r->problem_code) && ask->cb && clock_monotonic_us() < ask->give_up_us;
}

static void hook_ended(const struct child_result *r, void *data)
{
	struct ask *ask = data;
	if (may_yet_start(ask, r)) {
		ask->child = NULL;
		ask->timer = timer_start(ask->server->loop, AGAIN_MS, try_again, ask);
		return;
	}
	AUTO_FREE char *problem = trouble(ask, r);
	if (problem) {
		bool fresh_line = r->output_len == 0 || r->output[r->output_len - 1] == '\n';
		AUTO_FREE char *all = xasprintf("%s%s%s", r->output, fresh_line ? "" : "\n", problem);
		answer(ask, SERVER_BROKEN, all);
	} else if (r->exit_status == 0) {
		answer(ask, SERVER_DONE, r->output);
	} else {
		answer(ask,
		       r->exit_status == 1                    ? SERVER_REFUSED
		       : r->exit_status == EXIT_BROKEN_BEFORE ? SERVER_BROKEN_BEFORE
							      : SERVER_CANT_TELL,
		       r->output);
	}
}

bool server_has(const struct server *server, enum server_verb verb)
{
	AUTO_FREE char *path = xasprintf("%s/%s/%s", server->hooks, server->kind, verb_names[verb]);
	return faccessat(AT_FDCWD, path, F_OK, 0) == 0;
}

/* Hooks run as root: nobody else may be able to write them. NULL, or why it must not run (caller frees). */
static char *check_hook(const char *path, bool *ret_missing)
{
	struct stat st;
	*ret_missing = false;
	if (stat(path, &st) != 0) {
		*ret_missing = errno == ENOENT || errno == ENOTDIR;
		return xasprintf("the hook %s can't be run: %s", path, strerror(errno));
	}
	if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR))
		return xasprintf("the hook %s is not an executable file", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return xasprintf("the hook %s belongs to user %u: it must belong to root", path,
				 (unsigned int)st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return xasprintf("the hook %s can be written by others than its owner: chmod go-w %s", path, path);
	return NULL;
}

static void start_hook(struct ask *ask, const char *path)
{
	const struct server *server = ask->server;
	int64_t patience_ms = server->timeout_ms < AGAIN_FOR_MS ? server->timeout_ms : AGAIN_FOR_MS;
	if (!ask->give_up_us)
		ask->give_up_us = clock_monotonic_us() + patience_ms * 1000;
	struct words environment = {0};
	words_copy(&environment, &server->environment);
	if (ask->candidate)
		set(&environment, "CANDIDATE", ask->candidate);
	if (ask->live_folder)
		set(&environment, "LIVE", ask->live_folder);
	AUTO_FREE const char **list = xcalloc(environment.n + 1, sizeof *list);
	for (size_t i = 0; i < environment.n; i++)
		list[i] = environment.v[i];
	const char *const argv[] = {path, NULL};
	const struct child_spec spec = {.argv = argv,
					.environment = list,
					.timeout_ms = server->timeout_ms,
					.output_max = ask->verb == SERVER_DUMP ? DUMP_MAX : 0,
					.wait = ask->waits};
	ask->child = child_start(server->loop, &spec, hook_ended, ask);
	words_done(&environment);
}

static void run_first(struct server *server)
{
	struct ask *ask = server->first;
	if (!ask)
		return;
	if (!text_is_name(server->kind)) {
		answer_later(
			ask, SERVER_BROKEN,
			xasprintf("\"%s\" can't be the kind of a server: it names a folder of hooks", server->kind));
		return;
	}
	if (ask->verb == SERVER_REHEARSE && server->own_proof) {
		answer_later(ask, SERVER_CANT_TELL, xstrdup("rehearsal = \"own-proof\""));
		return;
	}
	AUTO_FREE char *path = xasprintf("%s/%s/%s", server->hooks, server->kind, verb_names[ask->verb]);
	bool missing;
	char *reason = check_hook(path, &missing);
	if (reason)
		answer_later(ask, missing ? SERVER_NO_HOOK : SERVER_BROKEN, reason);
	else
		start_hook(ask, path);
}

static struct ask *ask_new(struct server *server, enum server_verb verb, server_done_cb cb, void *data)
{
	struct ask *ask = xcalloc(1, sizeof *ask);
	*ask = (struct ask){.server = server, .verb = verb, .cb = cb, .data = data};
	return ask;
}

static void enqueue(struct ask *ask)
{
	struct server *server = ask->server;
	bool idle = !server->first;
	*server->last = ask;
	server->last = &ask->next;
	if (idle)
		run_first(server);
}

void server_ask(struct server *server, enum server_verb verb, const char *candidate, const char *live_folder,
		server_done_cb cb, void *data)
{
	struct ask *ask = ask_new(server, verb, cb, data);
	ask->candidate = xstrdup(candidate);
	ask->live_folder = xstrdup(live_folder);
	enqueue(ask);
}

void server_ask_to_wait(struct server *server, enum server_verb verb, server_done_cb cb, void *data)
{
	struct ask *ask = ask_new(server, verb, cb, data);
	ask->waits = true;
	enqueue(ask);
}

void server_go(struct server *server, const void *data)
{
	for (struct ask *ask = server->first; ask; ask = ask->next) {
		if (ask->data != data)
			continue;
		ask->waits = false; /* one that has not begun to wait yet, behind others, need not */
		if (ask->child)
			child_go(ask->child);
	}
}
