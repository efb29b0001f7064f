/* The web servers of this host and their configuration, read: those that certswap.conf names, those that run, else
 * those that are installed. Nothing is changed, no daemon is needed. Runs in certswapctl. */
#ifndef CTL_SERVERS_H
#define CTL_SERVERS_H
#include <sys/types.h>

#include "ctl/ctl.h"
#include "webconf/webconf.h"

struct server {
	char *name; /* as in certswap.conf, or made up: "nginx", "apache", "nginx-2" */
	enum webconf_kind kind;
	char *binary, *config, *pidfile;
	struct words arguments; /* those of the running parent, for certswap.conf's `arguments` */
	pid_t pid;              /* of the parent; 0: it does not run */
	bool configured;        /* certswap.conf names it */
	bool elsewhere;         /* runs in a container or chroot: its paths mean nothing here, conf is NULL */
	bool foreign;           /* started by another user than root and us: nothing that it names is run */
	struct webconf_facts facts;
	char *prefix, *version; /* what facts point to */
	struct webconf *conf;
	struct words problems; /* for a person: what keeps this from being whole */
};
struct servers {
	struct server *v;
	size_t n;
};
/* Finds and reads them. ctl->settings may be NULL. */
void servers_find(struct ctl *ctl, struct servers *ret);
/* The one with this parent process, read; none where it is no nginx or Apache. */
void servers_find_one(pid_t pid, struct servers *ret);
void servers_done(struct servers *s);

/* /proc: the parents of nginx and Apache that run now; adds to ret. */
void servers_find_running(struct servers *ret);
/* What the program says of itself (`-V`, `-l`), its environment, and for Apache its own list of virtual hosts. */
void server_ask(struct server *s);
/* After reading: is a virtual host missing that Apache itself names? Adds to problems. */
void server_compare(struct server *s);
#endif
