#include "settings/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/files.h"
#include "base/memory.h"
#include "settings/complaints.h"
#include "settings/load.h"
#include "settings/options.h"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n > m && strcmp(s + n - m, end) == 0;
}

/* certificates.d beside the main file; that there is none is fine. */
static void load_folder(struct loader *l, const char *main_file)
{
	const char *slash = strrchr(main_file, '/');
	AUTO_FREE char *folder = slash ? xasprintf("%.*s/certificates.d", (int)(slash - main_file), main_file)
				       : xstrdup("certificates.d");
	struct fault fault = {0};
	struct words names = {0};
	AUTO_CLOSE int fd = files_open_folder(AT_FDCWD, folder, 0, &fault);
	if (fd == -ENOENT)
		return;
	if (fd < 0 || files_list(fd, false, &names, &fault) < 0)
		complaint_add(l->complaints, folder, 0, NULL, "%s", fault.text);
	for (size_t i = 0; i < names.n; i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", folder, names.v[i]);
		if (ends_with(names.v[i], ".conf"))
			load_file(l, path, false);
	}
	words_done(&names);
}

static struct settings *load(const char *file, struct complaints *ret)
{
	struct settings *s = xcalloc(1, sizeof *s);
	struct loader loader = {.settings = s, .complaints = ret};
	s->file = xstrdup(file);
	option_defaults(PLACE_TOP, s);
	words_add(&loader.files, file); /* first in the order of complaints, readable or not */
	load_file(&loader, file, true);
	load_folder(&loader, file);
	load_end(&loader);
	return s;
}

struct settings *settings_load(const char *file, struct complaints *ret)
{
	size_t before = ret->n;
	struct settings *s = load(file, ret);
	if (ret->n == before)
		return s;
	settings_free(s);
	return NULL;
}

struct settings *settings_load_some(const char *file)
{
	struct complaints complaints = {0};
	struct settings *s = load(file, &complaints);
	complaints_done(&complaints);
	return s;
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	option_free(PLACE_TOP, s);
	free(s->file);
	free(s);
}

const struct certificate_settings *settings_certificate(const struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->ncertificates; i++)
		if (s->certificates[i].name && strcmp(s->certificates[i].name, name) == 0)
			return &s->certificates[i];
	return NULL;
}

const struct server_settings *settings_server(const struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->nservers; i++)
		if (s->servers[i].name && strcmp(s->servers[i].name, name) == 0)
			return &s->servers[i];
	return NULL;
}

int settings_print_check(const char *file, FILE *out, FILE *err)
{
	struct complaints complaints = {0};
	struct settings *s = settings_load(file, &complaints);
	if (s)
		fprintf(out, "%s: syntax and values are right: %zu server%s, %zu certificate%s\n", file, s->nservers,
			s->nservers == 1 ? "" : "s", s->ncertificates, s->ncertificates == 1 ? "" : "s");
	else
		complaints_print(&complaints, err);
	int status = s ? 0 : 2;
	settings_free(s);
	complaints_done(&complaints);
	return status;
}
