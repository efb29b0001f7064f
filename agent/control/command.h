/* What certswapctl can ask over RUN/control.sock: one JSON request a line, progress, one final answer
 * (docs/architecture.md). Root and the agent's own user may do everything, the group certswap may look, the worker's
 * user nothing. Runs in certswapd. */
#ifndef SITE_COMMAND_H
#define SITE_COMMAND_H
#include "loop/control.h"
#include "site/site.h"

/* SIGHUP and `reload`: set by daemon.c. Returns 0, or negative with the complaints in fault. */
typedef int (*command_reload_fn)(struct site *site, struct fault *fault);
struct control *command_open(struct site *site, command_reload_fn reload, struct fault *fault);
/* Looks up the group certswap and the worker's user, again after the configuration was read again. */
void command_look_up(struct site *site);
#endif
