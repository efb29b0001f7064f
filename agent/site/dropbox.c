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
#include "site/dropbox_parts.h"
#include "site/intake.h"
#include "swap/record.h"

#define DEATHS_MAX 6 /* workers that may die over one file, with a growing pause between them */

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
	free(item->why);
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

int dropbox_open_item(struct dropbox *box, const struct item *item)
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

void dropbox_refuse_item(struct dropbox *box, struct item *item, const char *why, const char *next)
{
	AUTO_CLOSE int folder = open_item_folder(box, item);
	AUTO_FREE char *text = next ? xasprintf("%s\n\nWhat to do: %s", why, next) : xstrdup(why);
	if (folder >= 0 && dropbox_reject(box->site, folder, "content", item->name, text) == 0)
		remove_item(box, item);
	else
		item->state = ITEM_STAYS; /* nothing is lost: it lies in work/, and the next start tries again */
}

/* The content is overwritten before its last name goes: it may hold a key. */
void dropbox_wipe_item(struct dropbox *box, struct item *item)
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
	if (folder >= 0 && unlinkat(folder, "content", 0) == 0)
		(void)fsync(
			folder); /* what it was goes after it: else a power cut may leave a content that nobody knows */
	remove_item(box, item);
}

/* ---- trouble ---- */

/* Those that were never identified begin anew; the others wait for their partner as before. */
static void retry(void *data)
{
	struct dropbox *box = data;
	timer_close(box->retry);
	box->retry = NULL;
	for (size_t i = 0; i < box->nboxes; i++)
		box->boxes[i].changed = true;
	for (size_t i = 0; i < box->nitems; i++)
		if (box->items[i]->state == ITEM_TROUBLE)
			box->items[i]->state = box->items[i]->found.n ? ITEM_WAITING : ITEM_NEW;
	dropbox_look_soon(box);
}

static void retry_later(struct dropbox *box)
{
	if (box->retry)
		return;
	box->delay_ms = intake_delay(box->delay_ms);
	box->retry = timer_start(box->site->loop, box->delay_ms, retry, box);
}

void dropbox_trouble(struct dropbox *box, struct item *item, bool died, const char *why)
{
	if (died && ++item->deaths >= DEATHS_MAX)
		return dropbox_refuse_item(box, item, why, "ask the CA for the same certificate in another format");
	item->state = ITEM_TROUBLE;
	if (!item->why || strcmp(item->why, why) != 0)
		audit_write(box->site->audit, "waiting", *item->box ? item->box : NULL, NULL,
			    "%s: %s; it is tried again", item->name, why);
	free(item->why);
	item->why = xstrdup(why);
	retry_later(box);
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
	free(item->why);
	item->why = NULL;
	if (!item->found.n)
		dropbox_refuse_item(box, item, "UNREADABLE: nothing that looks like a certificate or a key", NULL);
	else if (dropbox_holds_only(item, OBJECT_NOTHING))
		dropbox_refuse_item(box, item, item->found.v[0].text,
				    "ask the CA for the certificate as PEM, PKCS#7 or PKCS#12");
	else if (dropbox_holds_only(item, OBJECT_LOCKED))
		dropbox_refuse_item(box, item, "KEY_ENCRYPTED: it is protected by a password",
				    "certswapctl submit asks for the password");
	else if (dropbox_holds_only(item, OBJECT_REQUEST))
		dropbox_refuse_item(box, item, "it is a request (CSR), not a certificate",
				    "send it to the CA; what comes back belongs here");
}

static void on_identified(struct identify_reply *reply, const struct fault *fault, void *data)
{
	struct looking *l = data;
	struct dropbox *box = l->box;
	bool died = !reply && prove_blame(fault) == PROVE_WORKER;
	if (reply) {
		hand_out(l, reply);
		box->delay_ms = 0;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (reply)
			judge_item(box, l->items[i]);
		else if (!died || l->n == 1)
			dropbox_trouble(box, l->items[i], died, fault->text);
		else { /* one of them brings the reader down: each is read alone */
			l->items[i]->state = ITEM_NEW;
			l->items[i]->alone = true;
		}
	}
	if (died && l->n > 1)
		log_warning("worker-failed", "%s; the files are read one by one", fault->text);
	free(l->items);
	free(l);
	dropbox_look_soon(box);
}

static bool starts_identifying(struct dropbox *box)
{
	int fds[INTAKE_FILES_AT_ONCE];
	struct looking *l = xcalloc(1, sizeof *l);
	l->box = box;
	l->items = xcalloc(INTAKE_FILES_AT_ONCE, sizeof(*l->items));
	for (size_t i = 0; i < box->nitems && l->n < INTAKE_FILES_AT_ONCE; i++) {
		struct item *item = box->items[i];
		if (item->state != ITEM_NEW || (item->alone && l->n))
			continue;
		fds[l->n] = dropbox_open_item(box, item);
		if (fds[l->n] < 0) {
			AUTO_FREE char *why = xasprintf("it can't be opened: %s", strerror(errno));
			dropbox_trouble(box, item, false, why);
			continue;
		}
		item->state = ITEM_BUSY;
		l->items[l->n++] = item;
		if (item->alone)
			break;
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
	if (r < 0 && (to < 0 || faccessat(to, "content", F_OK, AT_SYMLINK_NOFOLLOW) <
					0)) { /* the file is still where it was; what we made goes */
		if (to >= 0)
			(void)files_remove_tree(box->site->folders.work, name, NULL);
		if (r != -ENOENT) {
			log_warning("claim-failed", "%s: %s", clean, fault.text);
			retry_later(box);
		}
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
		return retry_later(box);
	for (size_t i = 0; i < entries.n; i++) {
		struct stat st;
		const char *entry = entries.v[i];
		if (fstatat(folder, entry, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
			continue;
		int fd = dropbox_look(folder, entry, INTAKE_FILE_MAX, &fault);
		if (fd >= 0)
			claim(box, folder, from, entry);
		else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -EIO)
			retry_later(box);
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
	for (size_t i = 0; i < box->nboxes; i++) {
		struct box *b = &box->boxes[i];
		if (!b->changed)
			continue;
		b->changed = false;
		AUTO_CLOSE int folder =
			files_open_folder(box->site->folders.incoming, *b->name ? b->name : ".", 0700, NULL);
		look_into_box(box, folder, b->name);
	}
	while (starts_identifying(box))
		;
	while (dropbox_pair_one(box))
		;
}

void dropbox_look_soon(struct dropbox *box)
{
	if (!box->timer)
		box->timer = timer_start(box->site->loop, 0, look, box);
}

static void on_change(void *data)
{
	struct box *b = data;
	b->changed = true;
	dropbox_look_soon(b->all);
}

void dropbox_review(struct dropbox *box, const struct certificate *c)
{
	if (c->last_swap.result == TXN_HELD)
		return; /* tried again by itself; what is held stays held */
	for (size_t i = 0; i < box->nitems; i++)
		if (box->items[i]->state == ITEM_HELD)
			box->items[i]->state = ITEM_WAITING;
	dropbox_look_soon(box);
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

static int watch_box(struct dropbox *all, const char *path, const char *name, struct fault *fault)
{
	struct box *b = &all->boxes[all->nboxes++];
	*b = (struct box){.all = all, .name = name, .changed = true};
	b->watch = watch_start(all->site->watcher, path, on_change, b, fault);
	return b->watch ? 0 : fault->code;
}

struct dropbox *dropbox_open(struct site *site, struct fault *fault)
{
	struct words names = {0};
	struct dropbox *box = xcalloc(1, sizeof *box);
	box->site = site;
	AUTO_FREE char *incoming = xasprintf("%s/incoming", site->settings->state_dir);
	box->boxes = xcalloc(site->ncertificates + 1, sizeof *box->boxes);
	int r = watch_box(box, incoming, "", fault);
	for (size_t i = 0; r == 0 && i < site->ncertificates; i++) {
		const char *name = site->certificates[i]->settings->name;
		AUTO_CLOSE int folder = files_open_folder(site->folders.incoming, name, 0700, fault);
		AUTO_FREE char *path = xasprintf("%s/%s", incoming, name);
		r = folder < 0 ? folder : watch_box(box, path, name, fault);
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
	dropbox_look_soon(box);
	return box;
}

void dropbox_close(struct dropbox *box)
{
	if (!box)
		return;
	for (size_t i = 0; i < box->nboxes; i++)
		watch_close(box->boxes[i].watch);
	for (size_t i = 0; i < box->nitems; i++)
		item_free(box->items[i]);
	timer_close(box->timer);
	timer_close(box->retry);
	free(box->boxes);
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
		json_array_append_new(list, json_pack("{ss, ss, ss, so, ss}", "file", item->name, "certificate",
						      item->box, "holds", holds, "since", record_from_time(item->since),
						      "why", item->why ? item->why : ""));
	}
	return list;
}
