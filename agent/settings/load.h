/* Reading files into settings. Inside settings/ only. */
#ifndef SETTINGS_LOAD_H
#define SETTINGS_LOAD_H
#include <stdbool.h>

#include "settings/complaints.h"
#include "settings/options.h"
#include "settings/settings.h"

struct source;

/* A name, and where it was read. */
struct note {
	char *name, *file, *source;
	unsigned int line;
};

struct loader {
	struct settings *settings;
	struct complaints *complaints;
	struct source *source; /* of the file that is being read */
	struct words files;    /* all that were read, in order */
	bool broken;           /* the rest of this file is missing: don't complain about what may stand there */
	bool main_broken;
	void *names[OPTION_PLACES]; /* trees of notes: servers, certificates, and the consumers of one certificate */
	struct note *wanted;        /* servers that certificates name */
	size_t nwanted;
};

/* Adds what a file says; `main_file`: the options of the top level, else those of certificates.d. */
void load_file(struct loader *l, const char *path, bool main_file);
void load_end(struct loader *l); /* checks what needs all files, sorts the complaints, frees what the loader holds */

/* What the distribution's layout says of a server of this kind, where the file says nothing: the only look at the host
 * that reading takes (which Apache is there). */
void layout_fill(struct server_settings *server);
#endif
