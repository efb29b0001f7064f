/* The drop boxes STATE/incoming and STATE/incoming/NAME. A file is claimed before it is read: renamed, never replacing,
 * into STATE/work/NNNNNN,BOX,NAME, so that the one rename also says where it came from; nothing in incoming/ is ever
 * unlinked by name. Files are known by content alone; a pair is complete when key and certificate fit, whatever the
 * hours between them. Used files are wiped once the wire is proved; refused ones go to STATE/rejected/TIME-FILE/ with
 * why.txt. Runs in certswapd. */
#ifndef SITE_DROPBOX_H
#define SITE_DROPBOX_H
#include <jansson.h>

#include "site/certificate.h"

/* Takes up what was claimed before; watches. NULL and fault: the machine is in trouble; nothing was touched. */
struct dropbox *dropbox_open(struct site *site, struct fault *fault);
void dropbox_close(struct dropbox *box);
/* A certificate has changed: what was held for it is looked at again. */
void dropbox_review(struct dropbox *box, const struct certificate *c);
/* Files that wait for their other half, for `status`: [ { "file", "certificate", "holds", "since" } ]. NULL: none. */
json_t *dropbox_waiting(const struct dropbox *box);

/* At what waits, at the end of the present callbacks. */
void dropbox_look_soon(struct dropbox *box);
/* Moves an entry of a folder into STATE/rejected/TIME-NAME/ with why.txt. Also used for notice files. 0, or negative:
 * it is still where it was. */
int dropbox_reject(struct site *site, int folder, const char *entry, const char *name, const char *why);
/* May this entry be read at all? Opens it where it may: regular, ours or root's, one link, not too large. A descriptor;
 * -EBUSY: somebody still writes it; another negative errno: refuse it, with fault. */
int dropbox_look(int folder, const char *entry, size_t max, struct fault *fault);
/* Is somebody writing the file? A read lease can be had only where nobody is; filesystems without leases can't tell
 * (false). */
bool dropbox_is_being_written(int fd);
#endif
