/* What `adopt` and `release` do on disk. A record, STATE/originals/NAME/record.json, is written before anything is
 * touched; each step is one rename and may be repeated, so that after a crash adopt can be run again, or release. What
 * was there before is kept beside the record. Runs in certswapd.
 *     { "name", "conf", "taken", "servers": [],
 *       "links":   [ { "path", "file", "saved", "mode", "uid", "gid", "was_link", "attributes": { name: hex } } ],
 *       "sources": [ path ],                    certificate, key and chain that the configuration named before
 *       "edits":   [ { "path", "old", "new" } ] } */
#ifndef SITE_ADOPT_FILES_H
#define SITE_ADOPT_FILES_H
#include <jansson.h>

#include "site/certificate.h"

#define ADOPT_RECORD   "record.json"
#define ADOPT_FILE_MAX (4 * 1024 * 1024) /* bytes of a file that is taken over or edited */

/* The folder STATE/originals/NAME, made where it is missing; a descriptor. */
int adopt_folder(const struct site *site, const char *name, struct fault *fault);
int adopt_load(const struct site *site, const char *name, json_t **ret, struct fault *fault); /* -ENOENT: none */
int adopt_save(const struct site *site, const json_t *record, struct fault *fault);
/* Originals and record, in the order of their names: as long as the record is there, release can be run again. */
int adopt_forget(const struct site *site, const char *name, struct fault *fault);

/* Where a link of ours points to: STATE/certificates/NAME/live/FILE; the caller's. */
char *adopt_target(const struct site *site, const char *name, const char *file);

/* Keeps a copy of each path that is no link of ours yet, and its owner, mode and attributes in the record; saves it. */
int adopt_keep(const struct site *site, json_t *record, struct fault *fault);
/* Each path becomes a link into live: exchanged, then looked at. -ESTALE: somebody wrote it since it was kept; it is as
 * they left it. */
int adopt_take(const struct site *site, const json_t *record, struct fault *fault);
/* The key's ACL holds for every generation to come: as default ACL of the folder of generations. */
int adopt_keep_readers(const struct certificate *c, const char *key, struct fault *fault);
/* Each link of ours becomes a regular file again, as it was, with the content of live or with the one that was kept. */
int adopt_give_back(const struct site *site, const json_t *record, bool original, struct fault *fault);

/* Puts `new` in the place of `old`, which must stand at from..to of the file; all edits of this path, in one step.
 * edits: [ { "path", "from", "to", "old", "new" } ]. */
int adopt_edit(const struct site *site, const json_t *record, const json_t *edits, const char *path,
	       struct fault *fault);
/* Puts the record's `old` back wherever `new` stands; *ret_files gets the files that were changed. */
int adopt_unedit(const struct site *site, const json_t *record, struct words *ret_files, struct fault *fault);
/* The files as they were before adopt_unedit, where its result does not pass. */
int adopt_reedit(const struct site *site, const json_t *record, struct fault *fault);
#endif
