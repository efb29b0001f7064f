/* The generations of one certificate on disk, and the one link that a swap changes.
 *     NAME/gen/NNNNNN/{cert,chain,fullchain,privkey,combined}.pem meta.json   immutable once meta.json is there
 *     NAME/live -> gen/NNNNNN    NAME/standby -> gen/NNNNNN    NAME/next: only in the middle of an exchange
 * A folder of gen/ without meta.json was being made when the agent died: it is removed at the next start. Runs in
 * certswapd. */
#ifndef SWAP_STORE_H
#define SWAP_STORE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/fault.h"
#include "swap/meta.h"
#include "swap/state.h"

extern const char *const store_file_name[STORE_FILES]; /* in the order of enum check_output */

struct store_owner {
	uid_t uid;
	gid_t gid;
	mode_t mode; /* of the files with a key; the others get its read bits for group and others as well */
};

/* Every function takes the open folder of the certificate (STATE/certificates/NAME); 0 or negative errno. */

/* A new generation with empty files, open for writing. *ret_number is higher than `above` and than that of any
 * generation there is, and none that a link names. */
int store_begin(int folder, unsigned int above, unsigned int *ret_number, int ret_fds[STORE_FILES],
		struct fault *fault);
/* Sets owner and mode, syncs everything, writes meta.json with the files' digests: from here on the generation exists.
 */
int store_seal(int folder, unsigned int number, const int fds[STORE_FILES], const struct meta *meta,
	       const struct store_owner *owner, struct fault *fault);
/* -EBUSY where a link names it, or may: one can't be read now. */
int store_remove(int folder, unsigned int number, struct fault *fault);

/* Which files of a sealed generation are not as they were sealed: a bit each, in the order of store_file_name; a
 * missing one too. STORE_UNREADABLE alone: the machine is in trouble, and nothing can be said of them. */
#define STORE_UNREADABLE (1u << STORE_FILES)
unsigned int store_changed_files(int folder, const struct meta *meta);

int store_read_meta(int folder, unsigned int number, struct meta *ret, struct fault *fault); /* meta_done when 0 */
/* Opens a file of a generation for reading; a descriptor. */
int store_open_file(int folder, unsigned int number, const char *file, struct fault *fault);
const char *store_generation_path(unsigned int number, char *buf); /* "gen/000007"; buf >= 32 */

/* The generation that a link names; 0: there is no link; -EINVAL: something that is not a link of ours. */
int store_link_number(int folder, const char *link, struct fault *fault);
int store_set_standby(int folder, unsigned int number, struct fault *fault); /* 0: removes the link */

/* What `live` is, seen from a swap of old to new. Ends an exchange that a crash cut off between the exchange and the
 * look: where a stranger's link had come out, it is put back. old 0: there was none. */
int store_look(int folder, unsigned int old, unsigned int new, enum txn_disk *ret, struct fault *fault);
/* Makes `live` name `to` if it names `from` now (0: nothing). Exchange, then look at what came out: a stranger's link
 * is put back. Durable. *ret is what live is seen to be afterwards, in terms of old and new as in store_look. May be
 * repeated. */
int store_exchange(int folder, unsigned int from, unsigned int to, bool *ret_foreign, struct fault *fault);

/* Removes what a crash left: generations without meta.json, temporary files and links, `next` once no journal needs it.
 */
int store_sweep(int folder, bool next_too, struct fault *fault);
/* The numbers of at most `max` generations, the newest first; how many. A folder that can't be read has none. */
size_t store_list_newest(int folder, unsigned int *ret_numbers, size_t max);
/* Removes generations that nothing names, all but the `keep` newest. */
int store_prune(int folder, unsigned int keep, struct fault *fault);
#endif
