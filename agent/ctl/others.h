/* Other programs on this host that read certificates and keys: Postfix, Dovecot, Exim, HAProxy. Only the settings that
 * name such files are looked for; the rest of their configuration is not judged. A file that can't be told from the
 * configuration alone is said to be so. Runs in certswapctl. */
#ifndef CTL_OTHERS_H
#define CTL_OTHERS_H
#include <stdint.h>

#include "base/text.h"

#define OTHERS_MAX 4096

struct other {
	const char *program; /* "postfix" */
	char *directive, *file, *path;
	uint32_t line;
};
struct others {
	struct other *v;
	size_t n;
	struct words unknown; /* for a person: "FILE:LINE: ..." of what names no file that could be told */
};
/* root: "" for this host; a test has a tree of its own. */
void others_read(const char *root, struct others *ret);
void others_done(struct others *o);
#endif
