/* certswapd: argv, the order of start, reload and stop. What it does is in site/; what speaks to the network or parses
 * what came from outside is certswap-worker. */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/service.h"
#include "loop/child.h"
#include "control/life.h"

#define EXIT_USAGE 2
#define LARGE      (128 * 1024) /* bytes: of one piece of memory */

struct arguments {
	const char *file;
	bool test;
	enum log_level level;
};

static int usage(FILE *out, int status)
{
	fprintf(out, "usage: certswapd [-tv] [-c FILE]\n"
		     "  -c, --config FILE   the configuration (default: " SETTINGS_DEFAULT_FILE ")\n"
		     "  -t, --test          test the configuration and exit: 0 good, 2 with every complaint\n"
		     "  -v, --verbose       say more\n"
		     "      --version       print the version and exit\n");
	return status;
}

/* Returns -1 to go on, else the exit status. */
static int read_arguments(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"test", no_argument, NULL, 't'},
		{"verbose", no_argument, NULL, 'v'},      {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
	*a = (struct arguments){.file = SETTINGS_DEFAULT_FILE, .level = LOG_LEVEL_INFO};
	for (int o; (o = getopt_long(argc, argv, "c:tvh", options, NULL)) != -1;) {
		switch (o) {
		case 'c':
			a->file = optarg;
			break;
		case 't':
			a->test = true;
			break;
		case 'v':
			a->level = LOG_LEVEL_DEBUG;
			break;
		case 'V':
			puts("certswapd " CERTSWAP_VERSION);
			return 0;
		case 'h':
			return usage(stdout, 0);
		default:
			return usage(stderr, EXIT_USAGE);
		}
	}
	return optind < argc ? usage(stderr, EXIT_USAGE) : -1;
}

struct programs {
	char *worker, *exec, *hooks;
};

/* In a build folder they stand beside us; installed they are in libexec. */
static int find_programs(struct programs *p, struct fault *fault)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	if (n < 0)
		return fault_errno(fault, errno, "can't read /proc/self/exe");
	exe[n] = '\0';
	const char *folder = dirname(exe);
	p->worker = xasprintf("%s/certswap-worker", folder);
	if (access(p->worker, X_OK) == 0) {
		p->exec = xasprintf("%s/certswap-exec", folder);
		p->hooks = xasprintf("%s/hooks", folder);
		return 0;
	}
	free(p->worker);
	p->worker = xasprintf("%s/../libexec/certswap/certswap-worker", folder);
	p->exec = xasprintf("%s/../libexec/certswap/certswap-exec", folder);
	p->hooks = xasprintf("%s/../libexec/certswap/hooks", folder);
	if (access(p->worker, X_OK) < 0)
		return fault_errno(fault, errno, "certswap-worker is neither in %s nor in %s/../libexec/certswap",
				   folder, folder);
	return 0;
}

/* No core (it would hold keys), enough descriptors, nobody else's files to be written. */
static void settle_process(void)
{
	struct rlimit limit;
	const struct rlimit none = {0, 0};
	umask(077);
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	(void)mallopt(M_MMAP_THRESHOLD, LARGE); /* once set it does not grow: what is large goes back when freed */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN); /* a broken lease (site/dropbox.c) */
}

static void on_stop(int number, void *data)
{
	log_info("stopping", "signal %d", number);
	loop_stop(data);
}

static void on_hup(int number, void *data)
{
	struct fault fault = {0};
	if (site_reload(data, &fault) < 0)
		log_error("reload-refused", "%s", fault.text);
}

static void feed_watchdog(void *data)
{
	service_notify("WATCHDOG=1");
}

static int run(struct settings *settings, const struct programs *programs)
{
	struct fault fault = {0};
	struct loop *loop = loop_new();
	const struct site_programs paths = {.worker = programs->worker, .hooks = programs->hooks};
	child_set_exec_path(programs->exec);
	child_set_outside(getenv("CERTSWAP_COMMANDS"));
	struct site *site = site_open(loop, settings, &paths, &fault);
	if (!site) {
		log_error("start-failed", "%s", fault.text);
		loop_run(loop); /* lets what was opened close; nothing is left to wait for */
		loop_free(loop);
		return 1;
	}
	int64_t watchdog = service_watchdog_interval_ms();
	struct timer *feeding = watchdog ? timer_repeat(loop, 0, watchdog, feed_watchdog, NULL) : NULL;
	loop_on_signal(loop, SIGTERM, on_stop, loop);
	loop_on_signal(loop, SIGINT, on_stop, loop);
	loop_on_signal(loop, SIGHUP, on_hup, site);
	log_info("ready", "certswapd %s: %zu servers, %zu certificates, state in %s", CERTSWAP_VERSION, site->nservers,
		 site->ncertificates, site->settings->state_dir);
	service_notify("READY=1");
	site_resume(site);
	loop_run(loop);
	service_notify("STOPPING=1");
	timer_close(feeding);
	int status = site->failed ? 1 : 0;
	site_close(site);
	loop_free(loop);
	return status;
}

int main(int argc, char **argv)
{
	struct arguments a;
	struct fault fault = {0};
	struct programs programs = {0};
	struct complaints complaints = {0};
	int status = read_arguments(argc, argv, &a);
	if (status >= 0)
		return status;
	if (a.test)
		return settings_print_check(a.file, stdout, stderr);
	log_open("certswapd", a.level);
	settle_process();
	struct settings *settings = settings_load(a.file, &complaints);
	if (!settings) {
		complaints_print(&complaints, stderr);
		complaints_done(&complaints);
		return EXIT_USAGE;
	}
	status = 1;
	if (find_programs(&programs, &fault) < 0)
		log_error("start-failed", "%s", fault.text), settings_free(settings);
	else
		status = run(settings, &programs);
	free(programs.worker);
	free(programs.exec);
	free(programs.hooks);
	return status;
}
