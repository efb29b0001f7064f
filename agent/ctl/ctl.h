/* certswapctl: what all its commands share. One process, one command, one exit status. */
#ifndef CTL_CTL_H
#define CTL_CTL_H
#include <stdbool.h>
#include <stdio.h>

#include "base/fault.h"
#include "settings/settings.h"

#define CTL_DEFAULT_RUN   "/run/certswap"
#define CTL_DEFAULT_STATE "/var/lib/certswap"

enum ctl_exit { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_UNREACHABLE = 3, CTL_NOT_PERMITTED = 4 };

struct command;
struct ctl {
	FILE *out, *err;
	bool colour;             /* out is a terminal that wants colours */
	bool progress;           /* err is a terminal */
	bool interactive;        /* a person can be asked */
	bool verbose;            /* -v */
	bool config_named;       /* by -c or CERTSWAP_CONF: no other one is used in its place */
	const char *config_file; /* never NULL after ctl_init */
	const char *worker_path; /* certswap-worker; NULL: found relative to /proc/self/exe */
	const struct command *command;
	const char *watch_name;    /* status --watch: of one certificate, or NULL */
	struct settings *settings; /* NULL: not read (yet), or not readable */
	struct settings *some;     /* of a file with mistakes: its folders; NULL: there is no such need */
};

void ctl_init(struct ctl *ctl, FILE *out, FILE *err);
int ctl_run(struct ctl *ctl, int argc, char **argv); /* the whole command line; returns the exit status */
void ctl_done(struct ctl *ctl);

/* "certswapctl: text" on ctl->err; control bytes are taken out, line ends stay. */
void ctl_say(struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with the usage line of the command behind it; returns CTL_USAGE. */
int ctl_usage(struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads the configuration once. CTL_DONE: ctl->settings is there, or it is NULL and the default places are to be used
 * (only where no configuration was named). CTL_USAGE: said on ctl->err what is wrong with it. */
int ctl_settings(struct ctl *ctl);
/* Paths below run_dir and state_dir; the caller frees; NULL: the exit status is in *ret_status, the text was said. A
 * configuration with mistakes is said, and is in nobody's way while a certswapd runs: that one goes on with what it
 * read. */
char *ctl_run_path(struct ctl *ctl, const char *name, int *ret_status);
char *ctl_state_path(struct ctl *ctl, const char *name, int *ret_status);
#endif
