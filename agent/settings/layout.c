/* Where distributions put nginx and Apache. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "settings/load.h"

struct layout {
	const char *kind, *binary, *config, *pidfile, *environment_file;
};

static const struct layout nginx = {"nginx", "/usr/sbin/nginx", "/etc/nginx/nginx.conf", "/run/nginx.pid", ""};
static const struct layout apache_debian = {"apache", "/usr/sbin/apache2", "/etc/apache2/apache2.conf",
					    "/run/apache2/apache2.pid", "/etc/apache2/envvars"};
static const struct layout apache_el = {"apache", "/usr/sbin/httpd", "/etc/httpd/conf/httpd.conf",
					"/run/httpd/httpd.pid", "/etc/sysconfig/httpd"};

/* By the program that the file names, else by the one that is installed. */
static const struct layout *layout_of(const struct server_settings *server)
{
	if (!server->kind)
		return NULL;
	if (strcmp(server->kind, nginx.kind) == 0)
		return &nginx;
	if (strcmp(server->kind, apache_debian.kind) != 0)
		return NULL;
	if (*server->binary)
		return strcmp(server->binary, apache_el.binary) == 0 ? &apache_el : &apache_debian;
	bool is_el = access(apache_debian.binary, X_OK) < 0 && access(apache_el.binary, X_OK) == 0;
	return is_el ? &apache_el : &apache_debian;
}

static void fill(char **at, const char *value)
{
	if (**at)
		return;
	free(*at);
	*at = xstrdup(value);
}

void layout_fill(struct server_settings *server)
{
	const struct layout *layout = layout_of(server);
	if (!layout)
		return;
	fill(&server->binary, layout->binary);
	fill(&server->config, layout->config);
	fill(&server->pidfile, layout->pidfile);
	if (strcmp(server->config, layout->config) == 0) /* a configuration of one's own has its own environment */
		fill(&server->environment_file, layout->environment_file);
}
