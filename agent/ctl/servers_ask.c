/* What a web server's own program says: where its configuration lies, what is built in, which virtual hosts it reads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ctl/disk.h"
#include "ctl/output.h"
#include "ctl/servers.h"

static char path_variable[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C";
static char *const bare[] = {path_variable, locale, NULL};

/* What stands behind `mark`, up to one of `ends`; NULL: not there. The caller frees. */
static char *after(const struct text *text, const char *mark, const char *ends)
{
	const char *found = text->s ? strstr(text->s, mark) : NULL;
	return found ? xstrndup(found + strlen(mark), strcspn(found + strlen(mark), ends)) : NULL;
}

static void fill(char **at, char *value)
{
	if (*at || !value)
		free(value);
	else
		*at = value;
}

static void ask_nginx(struct server *s, char *binary)
{
	char version[] = "-V";
	char *const argv[] = {binary, version, NULL};
	struct text said;
	if (output_of(argv, bare, &said, NULL) < 0)
		return;
	fill(&s->version, after(&said, "nginx/", " \n"));
	char *config = after(&said, "--conf-path=", " \n");
	char *prefix = after(&said, "--prefix=", " \n");
	if (!config)
		config = xasprintf("%s/conf/nginx.conf", prefix ? prefix : "/usr/local/nginx");
	else if (*config != '/' && prefix) {
		char *whole = xasprintf("%s/%s", prefix, config);
		free(config);
		config = whole;
	}
	fill(&s->config, config);
	fill(&s->pidfile, after(&said, "--pid-path=", " \n"));
	fill(&s->prefix, prefix);
	text_done(&said);
}

static void ask_modules(struct server *s, char *binary)
{
	char list[] = "-l";
	char *const argv[] = {binary, list, NULL};
	struct text said;
	if (output_of(argv, bare, &said, NULL) < 0)
		return;
	char *rest = said.s;
	for (char *line; rest && (line = strsep(&rest, "\n"));)
		if (strncmp(line, "  ", 2) == 0)
			words_add(&s->facts.modules, line + 2);
	text_done(&said);
}

static void ask_apache(struct server *s, char *binary)
{
	char version[] = "-V";
	char *const argv[] = {binary, version, NULL};
	struct text said;
	if (output_of(argv, bare, &said, NULL) < 0)
		return;
	fill(&s->version, after(&said, "Apache/", " \n"));
	fill(&s->prefix, after(&said, "HTTPD_ROOT=\"", "\""));
	char *config = after(&said, "SERVER_CONFIG_FILE=\"", "\"");
	if (config && *config != '/' && s->prefix) {
		char *whole = xasprintf("%s/%s", s->prefix, config);
		free(config);
		config = whole;
	}
	fill(&s->config, config);
	text_done(&said);
	ask_modules(s, binary);
}

/* ${NAME} in Apache's configuration may be a variable of the parent's environment. */
static void read_environment(struct server *s)
{
	char path[64], *bytes;
	size_t len;
	snprintf(path, sizeof path, "/proc/%d/environ", (int)s->pid);
	if (!s->pid || disk_read(path, 1 << 20, &bytes, &len) < 0)
		return;
	for (size_t at = 0; at < len; at += strlen(bytes + at) + 1)
		words_add(&s->facts.environment, bytes + at);
	free(bytes);
}

/* Debian's envvars, where Apache does not run: lines of "export NAME=value"; its own $SUFFIX is empty. */
static void read_envvars(struct server *s)
{
	AUTO_FREE char *path = xasprintf("%s/envvars", s->prefix ? s->prefix : "/etc/apache2");
	char *bytes;
	size_t len;
	if (s->facts.environment.n || disk_read(path, 1 << 20, &bytes, &len) < 0)
		return;
	char *rest = bytes;
	for (char *line; (line = strsep(&rest, "\n"));) {
		char *suffix, *comment;
		line += strspn(line, " \t");
		if (strncmp(line, "export ", 7) != 0 || !strchr(line, '='))
			continue;
		if ((suffix = strstr(line, "$SUFFIX")))
			memmove(suffix, suffix + 7, strlen(suffix + 7) + 1);
		if ((comment = strpbrk(line + 7, " \t")))
			*comment = '\0';
		if (!strpbrk(line + 7, "$`\"'"))
			words_add(&s->facts.environment, line + 7);
	}
	free(bytes);
}

void server_ask(struct server *s)
{
	if (s->binary && output_may_run(s->binary)) {
		if (s->kind == WEBCONF_NGINX)
			ask_nginx(s, s->binary);
		else
			ask_apache(s, s->binary);
	}
	if (s->kind == WEBCONF_APACHE) {
		read_environment(s);
		read_envvars(s);
	}
}

static bool host_stands_at(const struct webconf *w, const char *path, unsigned long line)
{
	for (size_t i = 0; i < w->nhosts; i++)
		if (w->hosts[i].at.line == line && strcmp(w->files[w->hosts[i].at.file].path, path) == 0)
			return true;
	return false;
}

/* Lines of DUMP_VHOSTS end with "(FILE:LINE)"; of a macro with "(macro 'NAME' (defined on line N of "FILE") used on
 * line
 * ...)". */
static void compare_line(struct server *s, char *line)
{
	char *open = strrchr(line, '('), *close = open ? strrchr(open, ')') : NULL;
	char *colon = open ? strrchr(open, ':') : NULL;
	if (!close || !colon || colon > close || open[1] != '/')
		return;
	*colon = '\0';
	unsigned long number = strtoul(colon + 1, NULL, 10);
	if (!number || host_stands_at(s->conf, open + 1, number))
		return;
	AUTO_FREE char *problem = xasprintf("Apache itself names a virtual host at %s:%lu that was not understood here",
					    open + 1, number);
	if (!words_has(&s->problems, problem))
		words_add(&s->problems, problem);
}

/* The environment that Apache was started with, or what Debian's envvars gives. */
static char **environment_of(const struct server *s)
{
	const struct words *e = &s->facts.environment;
	char **v = xcalloc(e->n + 3, sizeof *v);
	v[0] = path_variable;
	v[1] = locale;
	for (size_t i = 0; i < e->n; i++)
		v[i + 2] = e->v[i];
	return v;
}

void server_compare(struct server *s)
{
	struct text said;
	if (s->kind != WEBCONF_APACHE || s->foreign || !s->binary || !output_may_run(s->binary))
		return;
	char file[] = "-f", test[] = "-t", define[] = "-D", dump[] = "DUMP_VHOSTS";
	char **argv = xcalloc(s->arguments.n + 8, sizeof *argv);
	size_t n = 0;
	argv[n++] = s->binary;
	for (size_t i = 0; i < s->arguments.n; i++)
		argv[n++] = s->arguments.v[i];
	argv[n++] = file;
	argv[n++] = s->config;
	argv[n++] = test;
	argv[n++] = define;
	argv[n++] = dump;
	char **environment = environment_of(s);
	int status = output_of(argv, environment, &said, NULL);
	free(environment);
	free(argv);
	if (status < 0)
		return;
	AUTO_FREE char *last = NULL;
	char *rest = said.s;
	for (char *line; rest && (line = strsep(&rest, "\n"));) {
		if (status == 0)
			compare_line(s, line);
		else if (*line && !strstr(line, "logs may contain")) {
			free(last);
			last = text_printable(xstrdup(line));
		}
	}
	if (status != 0) {
		AUTO_FREE char *problem =
			xasprintf("Apache refuses this configuration: %s", last ? last : "it does not say why");
		words_add(&s->problems, problem);
	}
	text_done(&said);
}
