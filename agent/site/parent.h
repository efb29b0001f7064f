/* The parent process of a web server, known by its pid file, watched by pidfd_open(2): its death is seen at once, not
 * at the next look. Runs in certswapd. */
#ifndef SITE_PARENT_H
#define SITE_PARENT_H
#include <sys/types.h>

#include "settings/settings.h"

pid_t parent_pid(const struct server_settings *server); /* 0: no pid file, or nothing sensible in it */
int parent_open(const struct server_settings *server);  /* a pidfd, readable when the process ends; negative errno */
#endif
