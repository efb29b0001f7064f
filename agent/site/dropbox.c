#include "site/dropbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/certificate.h"
#include "site/intake.h"
#include "swap/record.h"

enum item_state {
	ITEM_NEW,     /* claimed, not looked into yet */
	ITEM_BUSY,    /* in a worker, or in a swap */
	ITEM_WAITING, /* for its other half */
	ITEM_STAYS,   /* refused, and can't be moved to rejected/ now */
	ITEM_HELD     /* proved; the web server's configuration must be mended first */
};

/* One claimed file. */
struct item {
	unsigned int number; /* of its folder in work/ */
	char *name;          /* as it was called in the box */
	char *box;           /* "" or the name of a certificate */
	enum item_state state;
	struct identify_reply found;
	int64_t since;
};

struct dropbox {
	struct site *site;
	struct watch **watches;
	size_t nwatches;
	struct timer *timer; /* a look that was asked for */
	struct item **items;
	size_t nitems;
	unsigned int last;
};

static void look_soon(void *data);

/* ---- refusing ---- */

/* A name for a folder that says when and what; only harmless characters of the file's name. */
static char *rejected_name(const char *name)
{
	char now[32];
	text_from_time_ms(clock_wall_ms(), now);
	char *s = xasprintf("%.23s-%.100s", now, name);
	for (char *p = s; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p))
			*p = '_';
	return s;
}

static bool is_there(int folder, const char *entry)
{
	return faccessat(folder, entry, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int dropbox_reject(struct site *site, int folder, const char *entry, const char *name, const char *why)
{
	struct fault fault = {0};
	AUTO_FREE char *base = rejected_name(name), *text = xasprintf("%s\n", why);
	AUTO_FREE char *target = xstrdup(base);
	for (int i = 2; is_there(site->folders.rejected, target); i++) {
		free(target);
		target = xasprintf("%s.%d", base, i);
	}
	AUTO_CLOSE int to = files_open_folder(site->folders.rejected, target, 0700, &fault);
	int r = to < 0 ? to : files_create(to, "why.txt", text, strlen(text), 0600, &fault);
	if (r == 0)
		r = files_move(folder, entry, to, strcmp(name, "why.txt") == 0 ? "file-why.txt" : name, &fault);
	if (r < 0 && is_there(folder, entry)) { /* a move whose sync failed is a move all the same */
		log_error("reject-failed", "%s is refused (%s), but stays where it is: %s", name, why, fault.text);
		return r;
	}
	audit_write(site->audit, "rejected", NULL, json_pack("{ss}", "folder", target), "%s: %s", name, why);
	return 0;
}

bool dropbox_is_being_written(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

int dropbox_look(int folder, const char *entry, size_t max, struct fault *fault)
{
	struct stat st;
	int fd = openat(folder, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int error = errno;
		auto_close_(&fd);
		return error == ELOOP ? fault_set(fault, -ELOOP, "a symbolic link: put the file itself here")
				      : fault_errno(fault, error, "can't be opened");
	}
	const char *wrong = !S_ISREG(st.st_mode) ? "not a regular file"
			    : st.st_uid != 0 && st.st_uid != geteuid()
				    ? "owned by neither root nor the agent's user: it is not read"
			    : st.st_nlink != 1 ? "a hard link to a file elsewhere: put a copy here"
					       : NULL;
	int r = wrong ? fault_set(fault, -EPERM, "%s", wrong) : 0;
	if (r == 0 && dropbox_is_being_written(fd))
		r = -EBUSY;
	if (r == 0 && (uintmax_t)st.st_size > max)
		r = fault_set(fault, -EFBIG, "TOO_LARGE: %lld bytes; a certificate or key has at most %zu",
			      (long long)st.st_size, max);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

/* ---- items ---- */

static void item_folder_name(unsigned int number, char buf[16])
{
	snprintf(buf, 16, "%06u", number);
}

static void item_free(struct item *item)
{
	identify_reply_done(&item->found);
	free(item->name);
	free(item->box);
	free(item);
}

static void forget(struct dropbox *box, struct item *item)
{
	for (size_t i = 0; i < box->nitems; i++)
		if (box->items[i] == item)
			box->items[i] = box->items[--box->nitems];
	item_free(item);
}

static struct item *remember(struct dropbox *box, unsigned int number, const char *from, const char *name)
{
	struct item *item = xcalloc(1, sizeof *item);
	*item = (struct item){.number = number, .name = xstrdup(name), .box = xstrdup(from), .since = clock_wall()};
	box->items = xrealloc(box->items, (box->nitems + 1) * sizeof(*box->items));
	box->items[box->nitems++] = item;
	return item;
}

static int open_item_folder(struct dropbox *box, const struct item *item)
{
	char name[16];
	item_folder_name(item->number, name);
	return files_open_folder(box->site->folders.work, name, 0, NULL);
}

static int open_item(struct dropbox *box, const struct item *item)
{
	AUTO_CLOSE int folder = open_item_folder(box, item);
	return folder < 0 ? folder : openat(folder, "content", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

static void remove_item(struct dropbox *box, struct item *item)
{
	char name[16];
	struct fault fault = {0};
	item_folder_name(item->number, name);
	if (files_remove_tree(box->site->folders.work, name, &fault) < 0)
		log_warning("record-failed", "work/%s: %s", name, fault.text);
	forget(box, item);
}

static void refuse_item(struct dropbox *box, struct item *item, const char *why, const char *next)
{
	AUTO_CLOSE int folder = open_item_folder(box, item);
	AUTO_FREE char *text = next ? xasprintf("%s\n\nWhat to do: %s", why, next) : xstrdup(why);
	if (folder >= 0 && dropbox_reject(box->site, folder, "content", item->name, text) == 0)
		remove_item(box, item);
	else
		item->state = ITEM_STAYS; /* nothing is lost: it lies in work/, and the next start tries again */
}

/* The content is overwritten before its last name goes: it may hold a key. */
static void wipe_item(struct dropbox *box, struct item *item)
{
	static const char zeros[4096];
	struct stat st;
	AUTO_CLOSE int folder = open_item_folder(box, item);
	int fd = folder < 0 ? -1 : openat(folder, "content", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		for (off_t at = 0; at < st.st_size; at += (off_t)sizeof zeros)
			if (pwrite(fd, zeros, sizeof zeros, at) < 0)
				break;
		(void)fsync(fd);
	}
	auto_close_(&fd);
	remove_item(box, item);
}

/* ---- pairs ---- */

struct going {
	struct dropbox *box;
	struct item **items;
	size_t n;
	int fds[INTAKE_FILES_AT_ONCE];
};

static void on_pair(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	struct going *g = data;
	for (size_t i = 0; i < g->n; i++) {
		struct item *item = g->items[i];
		switch (outcome) {
		case PAIR_LIVE:
		case PAIR_INSTALLED:
		case PAIR_STANDBY:
		case PAIR_SAME:
			wipe_item(g->box, item);
			break;
		case PAIR_REFUSED:
		case PAIR_FAILED:
			refuse_item(g->box, item, text, next);
			break;
		case PAIR_HELD:
			item->state = ITEM_HELD;
			break;
		}
	}
	struct dropbox *box = g->box;
	free(g->items);
	free(g);
	look_soon(box);
}

static bool holds_only(const struct item *item, enum object_kind kind)
{
	for (size_t i = 0; i < item->found.n; i++)
		if (item->found.v[i].kind != kind)
			return false;
	return item->found.n > 0;
}

static void take(struct going *g, struct item *item)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->items[i] == item)
			return;
	if (g->n < INTAKE_FILES_AT_ONCE)
		g->items[g->n++] = item;
}

/* Sends a pair on its way with all that lies in the same box as CA certificates. */
static void go(struct dropbox *box, struct certificate *c, const struct object *leaf, struct item *with_leaf,
	       struct item *with_key)
{
	struct going *g = xcalloc(1, sizeof *g);
	struct prove_input inputs[INTAKE_FILES_AT_ONCE];
	g->box = box;
	g->items = xcalloc(INTAKE_FILES_AT_ONCE, sizeof(*g->items));
	take(g, with_leaf);
	take(g, with_key);
	for (size_t i = 0; i < box->nitems; i++)
		if (strcmp(box->items[i]->box, with_leaf->box) == 0 && box->items[i]->state == ITEM_WAITING &&
		    holds_only(box->items[i], OBJECT_CA))
			take(g, box->items[i]);
	for (size_t i = 0; i < g->n; i++) {
		g->items[i]->state = ITEM_BUSY;
		g->fds[i] = open_item(box, g->items[i]);
		inputs[i] = (struct prove_input){.fd = g->fds[i], .role = CHECK_SUBMITTED};
	}
	const struct pair_spec spec = {.certificate = c,
				       .inputs = inputs,
				       .ninputs = g->n,
				       .leaf = leaf->sha256,
				       .automatic = true,
				       .origin = "drop box"};
	pair_start(&spec, on_pair, g);
	for (size_t i = 0; i < g->n; i++)
		auto_close_(&g->fds[i]);
}

/* The item of the same box that holds the key; NULL: none yet. */
static struct item *find_key(struct dropbox *box, const struct item *beside, const struct digest *spki)
{
	for (size_t i = 0; i < box->nitems; i++) {
		struct item *item = box->items[i];
		if (strcmp(item->box, beside->box) != 0 || (item->state != ITEM_WAITING && item != beside))
			continue;
		for (size_t k = 0; k < item->found.n; k++)
			if (item->found.v[k].kind == OBJECT_KEY && digest_equal(&item->found.v[k].spki, spki))
				return item;
	}
	return NULL;
}

/* A key that can't be waiting for this leaf: it stands in the same file, or it is the key of what is live or stands by.
 */
static struct item *find_wrong_key(struct dropbox *box, const struct item *beside, const struct certificate *c)
{
	for (size_t i = 0; i < box->nitems; i++) {
		struct item *item = box->items[i];
		if (strcmp(item->box, beside->box) != 0 || (item->state != ITEM_WAITING && item != beside))
			continue;
		for (size_t k = 0; k < item->found.n; k++) {
			const struct object *o = &item->found.v[k];
			if (o->kind == OBJECT_KEY && (item == beside || digest_equal(&o->spki, &c->live.spki) ||
						      digest_equal(&o->spki, &c->standby.spki)))
				return item;
		}
	}
	return NULL;
}

/* Does the leaf's own file bring a key, and not the right one? */
static bool holds_other_key(const struct item *item, const struct object *leaf)
{
	bool other = false;
	for (size_t k = 0; k < item->found.n; k++) {
		const struct object *o = &item->found.v[k];
		if (o->kind == OBJECT_KEY && digest_equal(&o->spki, &leaf->spki))
			return false;
		other |= o->kind == OBJECT_KEY;
	}
	return other;
}

/* What happens to one leaf of an item; true: the item is on its way or gone. */
static bool place_leaf(struct dropbox *box, struct item *item, const struct object *leaf)
{
	struct fault fault = {0};
	struct certificate *c =
		*item->box ? site_certificate(box->site, item->box) : intake_route(box->site, &leaf->names, &fault);
	if (!c) {
		refuse_item(box, item, *fault.text ? fault.text : "there is no such certificate here any more", NULL);
		return true;
	}
	if (digest_equal(&leaf->sha256, &c->live.sha256) && c->live.number && !holds_other_key(item, leaf)) {
		audit_write(box->site->audit, "live-already", c->settings->name, NULL,
			    "%s holds the certificate that is live", item->name);
		wipe_item(box, item);
		return true;
	}
	struct item *with_key = find_key(box, item, &leaf->spki);
	if (!with_key) /* the proof says what is wrong, in its own words */
		with_key = find_wrong_key(box, item, c);
	if (!with_key)
		return false;
	go(box, c, leaf, item, with_key);
	return true;
}

/* Looks for pairs among what waits; each that is found changes the list, so it begins again. */
static bool pair_one(struct dropbox *box)
{
	for (size_t i = 0; i < box->nitems; i++) {
		struct item *item = box->items[i];
		for (size_t k = 0; item->state == ITEM_WAITING && k < item->found.n; k++)
			if (item->found.v[k].kind == OBJECT_LEAF && place_leaf(box, item, &item->found.v[k]))
				return true;
	}
	return false;
}

/* ---- looking into files ---- */

struct looking {
	struct dropbox *box;
	struct item **items;
	size_t n;
};

/* Moves an identified object to the item that it is about. */
static void hand_out(struct looking *l, struct identify_reply *reply)
{
	for (size_t i = 0; i < reply->n; i++) {
		struct object *o = &reply->v[i];
		if (o->file >= l->n)
			continue;
		struct identify_reply *found = &l->items[o->file]->found;
		found->v = xrealloc(found->v, (found->n + 1) * sizeof *found->v);
		found->v[found->n++] = *o;
		*o = (struct object){.kind = OBJECT_NOTHING};
	}
}

static void judge_item(struct dropbox *box, struct item *item)
{
	item->state = ITEM_WAITING;
	if (!item->found.n)
		refuse_item(box, item, "UNREADABLE: nothing that looks like a certificate or a key", NULL);
	else if (holds_only(item, OBJECT_NOTHING))
		refuse_item(box, item, item->found.v[0].text,
			    "ask the CA for the certificate as PEM, PKCS#7 or PKCS#12");
	else if (holds_only(item, OBJECT_LOCKED))
		refuse_item(box, item, "KEY_ENCRYPTED: it is protected by a password",
			    "certswapctl submit asks for the password");
	else if (holds_only(item, OBJECT_REQUEST))
		refuse_item(box, item, "it is a request (CSR), not a certificate",
			    "send it to the CA; what comes back belongs here");
}

static void on_identified(struct identify_reply *reply, const struct fault *fault, void *data)
{
	struct looking *l = data;
	struct dropbox *box = l->box;
	if (reply)
		hand_out(l, reply);
	for (size_t i = 0; i < l->n; i++) {
		if (reply)
			judge_item(box, l->items[i]);
		else if (l->n == 1)
			refuse_item(box, l->items[0], fault->text, NULL); /* this file brings the reader down */
		else
			l->items[i]->state = ITEM_NEW; /* one of them does: each is read alone */
	}
	bool alone = !reply && l->n > 1;
	if (alone)
		log_warning("worker-failed", "%s; the files are read one by one", fault->text);
	for (size_t i = 0; alone && i < l->n; i++)
		l->items[i]->found.n = 0;
	free(l->items);
	free(l);
	look_soon(box);
}

static bool starts_identifying(struct dropbox *box)
{
	int fds[INTAKE_FILES_AT_ONCE];
	struct looking *l = xcalloc(1, sizeof *l);
	l->box = box;
	l->items = xcalloc(INTAKE_FILES_AT_ONCE, sizeof(*l->items));
	for (size_t i = 0; i < box->nitems && l->n < INTAKE_FILES_AT_ONCE; i++) {
		if (box->items[i]->state != ITEM_NEW)
			continue;
		fds[l->n] = open_item(box, box->items[i]);
		if (fds[l->n] < 0)
			continue;
		box->items[i]->state = ITEM_BUSY;
		l->items[l->n++] = box->items[i];
	}
	if (!l->n) {
		free(l->items);
		free(l);
		return false;
	}
	intake_identify(box->site, fds, l->n, -1, on_identified, l);
	for (size_t i = 0; i < l->n; i++)
		close(fds[i]);
	return true;
}

/* ---- claiming ---- */

static void claim(struct dropbox *box, int folder, const char *from, const char *entry)
{
	char name[16];
	struct fault fault = {0};
	item_folder_name(++box->last, name);
	AUTO_CLOSE int to = files_open_folder(box->site->folders.work, name, 0700, &fault);
	AUTO_FREE char *clean = text_printable(xstrdup(entry));
	json_t *record = json_pack("{ss, ss, sI}", "box", from, "name", clean, "since", (json_int_t)clock_wall());
	if (!record)
		record = json_pack("{ss, ss, sI}", "box", from, "name", "file", "since", (json_int_t)clock_wall());
	int r = to < 0 ? to : record_save(to, "from.json", record, &fault);
	json_decref(record);
	if (r == 0)
		r = files_move(folder, entry, to, "content", &fault);
	if (r < 0 && (to < 0 || !is_there(to, "content"))) { /* the file is still where it was; what we made goes */
		if (to >= 0)
			(void)files_remove_tree(box->site->folders.work, name, NULL);
		if (r != -ENOENT)
			log_warning("claim-failed", "%s: %s", clean, fault.text);
		return;
	}
	remember(box, box->last, from, clean);
	log_debug("claimed", "%s", clean);
}

static void look_into_box(struct dropbox *box, int folder, const char *from)
{
	struct words entries = {0};
	struct fault fault = {0};
	if (folder < 0 || files_list(folder, false, &entries, &fault) < 0)
		return;
	for (size_t i = 0; i < entries.n; i++) {
		struct stat st;
		const char *entry = entries.v[i];
		if (fstatat(folder, entry, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
			continue;
		int fd = dropbox_look(folder, entry, INTAKE_FILE_MAX, &fault);
		if (fd >= 0)
			claim(box, folder, from, entry);
		else if (fd != -EBUSY && fd != -ENOENT)
			dropbox_reject(box->site, folder, entry, entry, fault.text);
		auto_close_(&fd);
	}
	words_done(&entries);
}

static void look(void *data)
{
	struct dropbox *box = data;
	timer_close(box->timer);
	box->timer = NULL;
	look_into_box(box, box->site->folders.incoming, "");
	for (size_t i = 0; i < box->site->ncertificates; i++) {
		const char *name = box->site->certificates[i]->settings->name;
		AUTO_CLOSE int folder = files_open_folder(box->site->folders.incoming, name, 0700, NULL);
		look_into_box(box, folder, name);
	}
	while (starts_identifying(box))
		;
	while (pair_one(box))
		;
}

static void look_soon(void *data)
{
	struct dropbox *box = data;
	if (!box->timer)
		box->timer = timer_start(box->site->loop, 0, look, box);
}

void dropbox_review(struct dropbox *box, const struct certificate *c)
{
	if (c->last_swap.result == TXN_HELD)
		return; /* tried again by itself; what is held stays held */
	for (size_t i = 0; i < box->nitems; i++)
		if (box->items[i]->state == ITEM_HELD)
			box->items[i]->state = ITEM_WAITING;
	look_soon(box);
}

/* ---- start ---- */

static void take_up(struct dropbox *box, const char *name)
{
	json_t *record;
	struct fault fault = {0};
	unsigned int number = (unsigned int)strtoul(name, NULL, 10);
	AUTO_CLOSE int folder = files_open_folder(box->site->folders.work, name, 0, NULL);
	box->last = number > box->last ? number : box->last;
	bool has_content = folder >= 0 && faccessat(folder, "content", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (!has_content) { /* the claim was cut off before the file came: it is still in its box */
		(void)files_remove_tree(box->site->folders.work, name, NULL);
		return;
	}
	if (record_load(folder, "from.json", &record, &fault) < 0) {
		log_error("record-failed", "work/%s: %s", name, fault.text);
		return;
	}
	struct reader r = {.object = record};
	struct item *item = remember(box, number, record_string(&r, "box"), record_string(&r, "name"));
	item->since = record_number(&r, "since");
	json_decref(record);
}

static int watch_box(struct dropbox *box, const char *path, struct fault *fault)
{
	struct watch *watch = watch_start(box->site->watcher, path, look_soon, box, fault);
	if (!watch)
		return fault->code;
	box->watches = xrealloc(box->watches, (box->nwatches + 1) * sizeof(*box->watches));
	box->watches[box->nwatches++] = watch;
	return 0;
}

struct dropbox *dropbox_open(struct site *site, struct fault *fault)
{
	struct words names = {0};
	struct dropbox *box = xcalloc(1, sizeof *box);
	box->site = site;
	AUTO_FREE char *incoming = xasprintf("%s/incoming", site->settings->state_dir);
	int r = watch_box(box, incoming, fault);
	for (size_t i = 0; r == 0 && i < site->ncertificates; i++) {
		const char *name = site->certificates[i]->settings->name;
		AUTO_CLOSE int folder = files_open_folder(site->folders.incoming, name, 0700, fault);
		AUTO_FREE char *path = xasprintf("%s/%s", incoming, name);
		r = folder < 0 ? folder : watch_box(box, path, fault);
	}
	if (r == 0)
		r = files_list(site->folders.work, false, &names, fault);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		take_up(box, names.v[i]);
	words_done(&names);
	if (r < 0) {
		dropbox_close(box);
		return NULL;
	}
	look_soon(box);
	return box;
}

void dropbox_close(struct dropbox *box)
{
	if (!box)
		return;
	for (size_t i = 0; i < box->nwatches; i++)
		watch_close(box->watches[i]);
	for (size_t i = 0; i < box->nitems; i++)
		item_free(box->items[i]);
	timer_close(box->timer);
	free(box->watches);
	free(box->items);
	free(box);
}

json_t *dropbox_waiting(const struct dropbox *box)
{
	json_t *list = json_array();
	for (size_t i = 0; i < box->nitems; i++) {
		const struct item *item = box->items[i];
		if (item->state == ITEM_NEW || item->state == ITEM_BUSY)
			continue;
		const char *holds = item->found.n ? item->found.v[0].text : "";
		json_array_append_new(list, json_pack("{ss, ss, ss, so}", "file", item->name, "certificate", item->box,
						      "holds", holds, "since", record_from_time(item->since)));
	}
	return list;
}
