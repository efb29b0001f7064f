/* Small JSON records of the agent's own on disk: meta.json, the journal, incidents. Written in one durable step, read
 * strictly: a missing or wrong field makes the reader `failed`, and one look at the end is enough. Runs in certswapd.
 */
#ifndef SWAP_RECORD_H
#define SWAP_RECORD_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/text.h"

#define RECORD_MAX (4 * 1024 * 1024) /* bytes of one record */

/* Reads an object; the caller json_decrefs it. */
int record_load(int folder, const char *name, json_t **ret, struct fault *fault);
int record_load_large(int folder, const char *name, size_t max, json_t **ret, struct fault *fault); /* of more bytes */
/* Puts the object in the place of what was there, durably; 0600. */
int record_save(int folder, const char *name, const json_t *record, struct fault *fault);
/* At a start: removes the temporary files (".NAME.new") that saves which were cut off have left in the folder. */
int record_sweep(int folder, struct fault *fault);

struct reader {
	const json_t *object;
	bool failed;
	const char *field; /* the first that was missing or wrong */
};
const char *record_string(struct reader *r, const char *field); /* "" where it failed; lives as long as the object */
int64_t record_number(struct reader *r, const char *field);
bool record_bool(struct reader *r, const char *field);
struct digest record_digest(struct reader *r, const char *field);
struct words record_words(struct reader *r, const char *field);  /* the caller's */
const json_t *record_array(struct reader *r, const char *field); /* NULL where it failed */

json_t *record_from_words(const struct words *w); /* NULL: one of them is not UTF-8 */
json_t *record_from_digest(const struct digest *d);
json_t *record_from_time(int64_t seconds);                /* RFC 3339; null for 0 */
int64_t record_time(struct reader *r, const char *field); /* RFC 3339 or null (0) */
#endif
