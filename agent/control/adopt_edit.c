/* Directives of a web server's configuration, changed for adopt and put back for release. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "control/adopt_disk.h"
#include "control/adopt_files.h"

/* A file of a web server's configuration, as it was read. */
struct opened {
	char *real, *bytes;
	size_t len;
	json_t *like;
};

static void opened_done(struct opened *o)
{
	free(o->real);
	free(o->bytes);
	json_decref(o->like);
}

static int open_for_edit(const char *path, struct opened *ret, struct fault *fault)
{
	struct stat st;
	*ret = (struct opened){.real = realpath(path, NULL)};
	if (!ret->real)
		return fault_errno(fault, errno, "can't open %s", path);
	int r = adopt_read_path(ret->real, &ret->bytes, &ret->len, &st, fault);
	ret->like =
		json_pack("{sI, sI, sI, so}", "mode", (json_int_t)(st.st_mode & 07777), "uid", (json_int_t)st.st_uid,
			  "gid", (json_int_t)st.st_gid, "attributes", adopt_attributes(ret->real));
	return r;
}

static int write_edited(const struct opened *o, const struct text *new, struct fault *fault)
{
	const char *base;
	AUTO_CLOSE int parent = adopt_open_parent(o->real, &base, fault);
	if (parent < 0)
		return parent;
	AUTO_FREE char *fresh = adopt_fresh_name(base);
	int r = adopt_may_write(parent, o->real, fault);
	if (r == 0)
		r = adopt_make_like(parent, fresh, new->s ? new->s : "", new->len, o->like, fault);
	if (r == 0)
		r = adopt_put_in_place(parent, fresh, base, "", o->bytes, o->len, fault);
	if (r < 0)
		(void)unlinkat(parent, fresh, 0);
	return r;
}

/* Copies o up to each edit and the edit; the edits of one file come in their order. */
static int apply(const struct opened *o, const json_t *edits, const char *path, struct text *new, struct fault *fault)
{
	size_t i, at = 0;
	json_t *edit;
	json_array_foreach(edits, i, edit)
	{
		const char *old = adopt_member(edit, "old");
		size_t from = (size_t)json_integer_value(json_object_get(edit, "from")), len = strlen(old);
		if (strcmp(adopt_member(edit, "path"), path) != 0)
			continue;
		if (from < at || from + len > o->len || memcmp(o->bytes + from, old, len) != 0)
			return fault_set(fault, -ESTALE, "%s was changed since it was read: run adopt again", path);
		text_add_bytes(new, o->bytes + at, from - at);
		text_add(new, "%s", adopt_member(edit, "new"));
		at = from + len;
	}
	text_add_bytes(new, o->bytes + at, o->len - at);
	return 0;
}

static char *backup_name(const char *what, const char *real)
{
	char hex[DIGEST_HEX];
	struct digest digest = hash_bytes(real, strlen(real));
	return xasprintf("%s-%.8s", what, digest_text(&digest, hex));
}

/* The whole file: before adopt ("configuration", kept once), for a person, as the undoing goes by the edits; before
 * release ("edited"). Both names come before record.json, which is the last to go (adopt_forget). */
static int keep_backup(const struct site *site, const json_t *record, const struct opened *o, const char *what,
		       struct fault *fault)
{
	AUTO_CLOSE int folder = adopt_folder(site, adopt_member(record, "name"), fault);
	AUTO_FREE char *name = backup_name(what, o->real);
	bool once = strcmp(what, "configuration") == 0;
	if (folder < 0 || (once && faccessat(folder, name, F_OK, 0) == 0))
		return folder < 0 ? folder : 0;
	return files_replace(folder, name, o->bytes, o->len, 0600, fault);
}

int adopt_edit(const struct site *site, const json_t *record, const json_t *edits, const char *path,
	       struct fault *fault)
{
	struct opened o;
	struct text new = {0};
	int r = open_for_edit(path, &o, fault);
	if (r == 0)
		r = keep_backup(site, record, &o, "configuration", fault);
	if (r == 0)
		r = apply(&o, edits, path, &new, fault);
	if (r == 0)
		r = write_edited(&o, &new, fault);
	text_done(&new);
	opened_done(&o);
	return r;
}

/* The edit of this path whose `new` stands at `at`; NULL: none. Where several have the same, they come in their order.
 */
static const json_t *edit_at(const json_t *edits, const char *path, const char *at, size_t left, struct words *used)
{
	size_t i;
	json_t *edit;
	const json_t *found = NULL;
	json_array_foreach(edits, i, edit)
	{
		char mark[24];
		const char *new = adopt_member(edit, "new");
		snprintf(mark, sizeof mark, "%zu", i);
		if (strcmp(adopt_member(edit, "path"), path) != 0 || strlen(new) > left ||
		    memcmp(at, new, strlen(new)) != 0)
			continue;
		found = edit;
		if (words_has(used, mark))
			continue;
		words_add(used, mark);
		break;
	}
	return found;
}

static int unedit_one(const struct site *site, const json_t *record, const char *path, struct words *ret_files,
		      struct fault *fault)
{
	struct opened o;
	struct text new = {0};
	struct words used = {0};
	const json_t *edits = json_object_get(record, "edits");
	bool changed = false;
	int r = open_for_edit(path, &o, fault);
	for (size_t at = 0; r == 0 && at < o.len;) {
		const json_t *edit = edit_at(edits, path, o.bytes + at, o.len - at, &used);
		if (edit)
			text_add(&new, "%s", adopt_member(edit, "old"));
		else
			text_add_bytes(&new, o.bytes + at, 1);
		at += edit ? strlen(adopt_member(edit, "new")) : 1;
		changed |= edit != NULL;
	}
	if (r == 0 && changed)
		r = keep_backup(site, record, &o, "edited", fault);
	if (r == 0 && changed)
		r = write_edited(&o, &new, fault);
	if (r == 0 && changed)
		words_add(ret_files, path);
	words_done(&used);
	text_done(&new);
	opened_done(&o);
	return r;
}

int adopt_unedit(const struct site *site, const json_t *record, struct words *ret_files, struct fault *fault)
{
	size_t i;
	json_t *edit;
	struct words seen = {0};
	const json_t *edits = json_object_get(record, "edits");
	int r = 0;
	json_array_foreach(edits, i, edit)
	{
		const char *path = adopt_member(edit, "path");
		if (r == 0 && !words_has(&seen, path)) {
			words_add(&seen, path);
			r = unedit_one(site, record, path, ret_files, fault);
		}
	}
	words_done(&seen);
	return r;
}

static int reedit_one(int folder, const char *path, struct fault *fault)
{
	struct opened o;
	char *bytes;
	size_t len;
	int r = open_for_edit(path, &o, fault);
	AUTO_FREE char *name = r == 0 ? backup_name("edited", o.real) : NULL;
	if (r == 0 && (r = files_read(folder, name, ADOPT_FILE_MAX, &bytes, &len, fault)) == 0) {
		const struct text was = {.s = bytes, .len = len};
		r = write_edited(&o, &was, fault);
		free(bytes);
	}
	opened_done(&o);
	return r;
}

int adopt_reedit(const struct site *site, const json_t *record, struct fault *fault)
{
	size_t i;
	json_t *edit;
	struct words seen = {0};
	AUTO_CLOSE int folder = adopt_folder(site, adopt_member(record, "name"), fault);
	int r = folder < 0 ? folder : 0;
	json_array_foreach(json_object_get(record, "edits"), i, edit)
	{
		const char *path = adopt_member(edit, "path");
		if (r == 0 && !words_has(&seen, path)) {
			words_add(&seen, path);
			r = reedit_one(folder, path, fault);
		}
	}
	words_done(&seen);
	return r;
}
