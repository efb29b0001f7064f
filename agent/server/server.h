/* What a web server can be asked to do, through the hooks of its kind (HOOKS/KIND/VERB, CONTRACT "A hook"). One queue
 * for each server: a transaction takes the queues of all its servers at once or waits. Nothing here knows nginx from
 * Apache. Runs in certswapd. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H
#include <stdbool.h>
#include <sys/types.h>

#include "loop/child.h"
#include "settings/settings.h"

enum server_verb {
	SERVER_DUMP,
	SERVER_CONFIGTEST,
	SERVER_REHEARSE,
	SERVER_RELOAD,
	SERVER_START,
	SERVER_ALIVE,
	SERVER_NAMED,   /* does its configuration name the candidate folder? 0 yes, 1 no */
	SERVER_TICKETS, /* its session ticket key files, a path a line */
	SERVER_ROTATE,  /* new random content for them; prints those that it changed */
	SERVER_DRAIN,   /* ends workers older than the link live_folder; prints their pids */
	SERVER_VERBS
};

enum server_answer {
	SERVER_DONE,          /* exit 0; for ALIVE: it runs */
	SERVER_REFUSED,       /* exit 1; for ALIVE: it does not run */
	SERVER_CANT_TELL,     /* exit 75: try again later */
	SERVER_BROKEN_BEFORE, /* exit 78 of REHEARSE: with the pair in service it would not start either */
	SERVER_BROKEN,        /* any other exit, a signal, its time limit, not started */
	SERVER_NO_HOOK        /* there is no such hook (rehearse may be missing) */
};

/* Bytes of a list of folders for a hook: one variable of an environment holds no more (MAX_ARG_STRLEN of execve(2) is
 * 128 KiB); about 1,500 certificates. */
#define SERVER_CANDIDATES_MAX 120000

struct server;
/* Keeps a copy of what it needs from `settings`. hooks: the folder that holds nginx/, apache/ ... */
struct server *server_new(struct loop *loop, const struct server_settings *settings, const char *hooks);
void server_free(struct server *server); /* running hooks are killed, no callbacks */
const char *server_name(const struct server *server);
const char *server_kind(const struct server *server);
/* What it was made of; not copied. */
const struct server_settings *server_settings(const struct server *server);

typedef void (*server_done_cb)(enum server_answer answer, const char *output, void *data);
/* Is there such a hook? Whether it can be run is seen when it is asked. */
bool server_has(const struct server *server, enum server_verb verb);
/* The parent process that the hook alive found, so that it need not be asked each time: `pidfd` is taken over. */
void server_keep_parent(struct server *server, pid_t pid, int pidfd);
/* The same, as long as it lives and `pid` (what the pid file names now) is its own; the server's, not the caller's. -1:
 * the hook must be asked. */
int server_parent(const struct server *server, pid_t pid);
/* Runs one hook. candidate: folder of a generation that a rehearsal or config test should see in the place of
 * live_folder; NULL otherwise (CERTSWAP_CANDIDATE, CERTSWAP_LIVE in the hook's environment). Calls back exactly once;
 * `output` is what it printed, or why it could not run; where the machine is out of descriptors or memory, that is
 * said only after some seconds. Hooks of one server run one after the other. */
void server_ask(struct server *server, enum server_verb verb, const char *candidate, const char *live_folder,
		server_done_cb cb, void *data);

/* The same, but nothing happens before server_go: what starts it is there then. For one that may be asked for only once
 * something is on disk. */
void server_ask_to_wait(struct server *server, enum server_verb verb, server_done_cb cb, void *data);
void server_go(struct server *server, const void *data);

/* Whoever asked with this `data` wants no answer any more: nobody is called back. A config test is ended, every other
 * hook runs to its end. */
void server_forget(struct server *server, const void *data);

/* The queue. server_take_all calls back (never from inside) when all n servers are free, and holds them; first come,
 * first served; waits as a whole. server_release_all frees them. */
struct server_hold;
typedef void (*server_held_cb)(void *data);
struct server_hold *server_take_all(struct loop *loop, struct server *const *servers, size_t n, server_held_cb cb,
				    void *data);
void server_release_all(struct server_hold *hold); /* held or still waiting */
#endif
