#include "ctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/options.h"
#include "ctl/print.h"

void ctl_init(struct ctl *ctl, FILE *out, FILE *err)
{
	const char *from_environment = getenv("CERTSWAP_CONF"), *no_colour = getenv("NO_COLOR"),
		   *terminal = getenv("TERM");
	bool dumb = terminal && strcmp(terminal, "dumb") == 0;
	*ctl = (struct ctl){.out = out, .err = err, .config_file = SETTINGS_DEFAULT_FILE};
	ctl->colour = isatty(fileno(out)) && !(no_colour && *no_colour) && !dumb; /* no-color.org */
	ctl->progress = isatty(fileno(err)) && !dumb;
	ctl->interactive = isatty(STDIN_FILENO) && isatty(fileno(err));
	if (from_environment && *from_environment) {
		ctl->config_file = from_environment;
		ctl->config_named = true;
	}
}

void ctl_done(struct ctl *ctl)
{
	settings_free(ctl->settings);
	settings_free(ctl->some);
	ctl->settings = ctl->some = NULL;
}

void ctl_say(struct ctl *ctl, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = xvasprintf(format, args);
	va_end(args);
	print_text(ctl->err, "certswapctl: ", text);
}

int ctl_usage(struct ctl *ctl, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = xvasprintf(format, args);
	va_end(args);
	AUTO_FREE char *before = xasprintf("certswapctl %s: ", ctl->command->name);
	print_text(ctl->err, before, text);
	command_print_usage(ctl->command, ctl->err);
	return CTL_USAGE;
}

/* The configuration was not named and can't be used: may the default places stand in for it? */
static int without_settings(struct ctl *ctl, int error)
{
	struct stat st;
	bool there = stat(CTL_DEFAULT_RUN "/control.sock", &st) == 0 || stat(CTL_DEFAULT_STATE, &st) == 0;
	if (ctl->config_named || !there) {
		bool denied = error == EACCES || error == EPERM;
		ctl_say(ctl, "can't read the configuration %s: %s\nNext: %s", ctl->config_file, strerror(error),
			denied ? "run it as root (sudo)"
			       : "name it with -c FILE where it is elsewhere; certswap.conf(5) says how to write one");
		return denied ? CTL_NOT_PERMITTED : CTL_USAGE;
	}
	if (ctl->verbose)
		ctl_say(ctl, "can't read the configuration %s (%s); using %s and %s", ctl->config_file, strerror(error),
			CTL_DEFAULT_RUN, CTL_DEFAULT_STATE);
	return CTL_DONE;
}

int ctl_settings(struct ctl *ctl)
{
	if (ctl->settings)
		return CTL_DONE;
	if (access(ctl->config_file, R_OK) < 0)
		return without_settings(ctl, errno);
	struct complaints complaints = {0};
	ctl->settings = settings_load(ctl->config_file, &complaints);
	if (!ctl->settings) {
		complaints_print(&complaints, ctl->err);
		ctl_say(ctl, "the configuration %s has errors", ctl->config_file);
	}
	complaints_done(&complaints);
	return ctl->settings ? CTL_DONE : CTL_USAGE;
}

static bool listens(const char *run_dir)
{
	AUTO_FREE char *path = xasprintf("%s/control.sock", run_dir);
	struct stat st;
	return stat(path, &st) == 0;
}

static int find_folders(struct ctl *ctl)
{
	int status = ctl->some ? CTL_DONE : ctl_settings(ctl);
	if (status != CTL_USAGE || access(ctl->config_file, R_OK) < 0)
		return status;
	struct settings *some = settings_load_some(ctl->config_file);
	if (!some->run_dir || !some->state_dir || !listens(some->run_dir)) {
		settings_free(some);
		return status;
	}
	ctl_say(ctl, "the certswapd that runs goes on with the configuration it read before; it is asked all the same");
	ctl->some = some;
	return CTL_DONE;
}

char *ctl_run_path(struct ctl *ctl, const char *name, int *ret_status)
{
	*ret_status = find_folders(ctl);
	if (*ret_status != CTL_DONE)
		return NULL;
	const struct settings *s = ctl->settings ? ctl->settings : ctl->some;
	return xasprintf("%s/%s", s ? s->run_dir : CTL_DEFAULT_RUN, name);
}

char *ctl_state_path(struct ctl *ctl, const char *name, int *ret_status)
{
	*ret_status = find_folders(ctl);
	if (*ret_status != CTL_DONE)
		return NULL;
	const struct settings *s = ctl->settings ? ctl->settings : ctl->some;
	return xasprintf("%s/%s", s ? s->state_dir : CTL_DEFAULT_STATE, name);
}

static void take_common(struct ctl *ctl, const struct args *a)
{
	if (args_has(a, OPTION_CONFIG)) {
		ctl->config_file = args_value(a, OPTION_CONFIG);
		ctl->config_named = true;
	}
	if (args_has(a, OPTION_VERBOSE))
		ctl->verbose = true;
}

static int run_command(struct ctl *ctl, const struct command *c, int argc, char **argv)
{
	struct args a = {0};
	struct fault fault = {0};
	ctl->command = c;
	int status;
	if (args_parse(c, argc, argv, &a, &fault) < 0) {
		status = ctl_usage(ctl, "%s", fault.text);
	} else if (args_has(&a, OPTION_HELP)) {
		command_print_help(c, ctl->out);
		status = CTL_DONE;
	} else {
		take_common(ctl, &a);
		status = c->run(ctl, &a);
	}
	args_done(&a);
	return status;
}

static int unknown_command(struct ctl *ctl, int argc, char **argv)
{
	if (argc == 0) {
		command_print_list(ctl->err);
		return CTL_USAGE;
	}
	bool prefix = command_is_prefix(argv[0]);
	if (prefix && argc == 1) {
		ctl_say(ctl, "the command %s needs another word", argv[0]);
	} else {
		AUTO_FREE char *words = prefix ? xasprintf("%s %s", argv[0], argv[1]) : xstrdup(argv[0]);
		const char *near = command_near(words);
		ctl_say(ctl, "there is no command %s%s%s%s", words, near ? "; did you mean " : "", near ? near : "",
			near ? "?" : "");
	}
	fputs("`certswapctl help` lists the commands.\n", ctl->err);
	return CTL_USAGE;
}

int ctl_run(struct ctl *ctl, int argc, char **argv)
{
	int i = 1, words = 0;
	for (; i < argc && argv[i][0] == '-'; i++) { /* what may stand before the command */
		if (strcmp(argv[i], "--version") == 0) {
			fprintf(ctl->out, "certswapctl %s\n", CERTSWAP_VERSION);
			return CTL_DONE;
		}
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			command_print_list(ctl->out);
			return CTL_DONE;
		}
		if (strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "--verbose") == 0) {
			ctl->verbose = true;
		} else if (strncmp(argv[i], "--config=", 9) == 0) {
			ctl->config_file = argv[i] + 9;
			ctl->config_named = true;
		} else if ((strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) && i + 1 < argc) {
			ctl->config_file = argv[++i];
			ctl->config_named = true;
		} else {
			ctl_say(ctl, "unknown option or missing value: %s", argv[i]);
			command_print_list(ctl->err);
			return CTL_USAGE;
		}
	}
	const struct command *c = command_find(argc - i, argv + i, &words);
	if (!c)
		return unknown_command(ctl, argc - i, argv + i);
	return run_command(ctl, c, argc - i - words, argv + i + words);
}
