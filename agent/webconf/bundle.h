/* Many files in one, in the form in which `nginx -T` prints them: a line "# configuration file PATH:" before each
 * file's bytes. This is how a configuration reaches those who may open no file: the worker, tests, the fuzzer. */
#ifndef WEBCONF_BUNDLE_H
#define WEBCONF_BUNDLE_H
#include "webconf/webconf.h"

struct bundle_file {
	char *path;
	const char *bytes; /* inside of what was given to bundle_open */
	size_t len;
};
struct bundle {
	struct bundle_file *v;
	size_t n;
};
/* `bytes` must stay as long as the bundle. What stands before the first such line is left out; of two files with one
 * path the first counts. */
void bundle_open(const char *bytes, size_t len, struct bundle *ret);
void bundle_done(struct bundle *b);
struct webconf_source bundle_source(struct bundle *b);
#endif
