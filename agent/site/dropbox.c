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
#include "site/transaction.h"
#include "swap/record.h"

#define READERS_MAX 4 /* workers at once, INTAKE_FILES_AT_ONCE files each */
#define DEATHS_MAX  6 /* workers that may die over one file, with a growing pause between them */

/* ---- items ---- */

static void item_free(struct item *item)
{
	identify_reply_done(&item->found);
	timer_close(item->patience);
	free(item->file);
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

void dropbox_refuse_item(struct dropbox *box, struct item *item, const char *why, const char *next)
{
	AUTO_FREE char *text = next ? xasprintf("%s\n\nWhat to do: %s", why, next) : xstrdup(why);
	if (dropbox_reject(box->site, box->site->folders.work, item->file, item->name, text) == 0)
		forget(box, item);
	else
		item->state = ITEM_STAYS; /* nothing is lost: it lies in work/, and the next start tries again */
}

void dropbox_wipe_item(struct dropbox *box, struct item *item)
{
	dropbox_wipe_content(box, item);
	forget(box, item);
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

void dropbox_retry_later(struct dropbox *box)
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
	dropbox_retry_later(box);
}

/* ---- waiting for a chain ---- */

static void review_lacking(struct dropbox *box, const char *name)
{
	for (size_t i = 0; i < box->nitems; i++)
		if (box->items[i]->state == ITEM_LACKING && strcmp(box->items[i]->box, name) == 0)
			box->items[i]->state = ITEM_WAITING;
}

static void on_overdue(void *data)
{
	struct item *item = data;
	timer_close(item->patience);
	item->patience = NULL;
	item->overdue = true;
	review_lacking(item->all, item->box);
	dropbox_look_soon(item->all);
}

void dropbox_wait_for_chain(struct item *item)
{
	if (!item->patience)
		item->patience = timer_start(item->all->site->loop, INTAKE_PATIENCE_MS, on_overdue, item);
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
	review_lacking(box, item->box);
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
	box->identifying--;
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
	if (box->identifying >= READERS_MAX || staging_is_full(box->site))
		return false;
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
	box->identifying++;
	intake_identify(box->site, fds, l->n, -1, on_identified, l);
	for (size_t i = 0; i < l->n; i++)
		close(fds[i]);
	return true;
}

/* ---- claiming ---- */

static int open_box(struct dropbox *box, const char *name)
{
	return files_open_folder(box->site->folders.incoming, *name ? name : ".", 0700, NULL);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void note_folder(struct box *b, const char *entry)
{
	const struct words *names = &b->all->names;
	if (*b->name || !names->n || !bsearch(&entry, names->v, names->n, sizeof *names->v, compare))
		words_add(&b->folders, entry);
}

static void look_into_box(struct box *b, int folder)
{
	struct words entries = {0};
	struct fault fault = {0};
	struct dropbox *box = b->all;
	words_done(&b->folders);
	if (folder < 0 || files_list(folder, false, &entries, &fault) < 0)
		return dropbox_retry_later(box);
	for (size_t i = 0; i < entries.n; i++) {
		struct stat st;
		const char *entry = entries.v[i];
		bool gone = fstatat(folder, entry, &st, AT_SYMLINK_NOFOLLOW) < 0;
		if (!gone && S_ISDIR(st.st_mode))
			note_folder(b, entry);
		if (gone || S_ISDIR(st.st_mode))
			continue;
		int fd = dropbox_look(folder, entry, INTAKE_FILE_MAX, &fault);
		if (fd >= 0)
			dropbox_claim(box, folder, b->name, entry);
		else if (fault_may_pass(fd))
			dropbox_retry_later(box);
		else if (fd != -EBUSY && fd != -ENOENT)
			dropbox_reject(box->site, folder, entry, entry, fault.text);
		auto_close_(&fd);
	}
	words_done(&entries);
}

/* Claims are made durable while a worker reads them already: until then a power cut puts them back into their box. */
static void sync_claims(struct dropbox *box, const struct words *boxes)
{
	struct fault fault = {0};
	int r = boxes->n ? files_sync_folder(box->site->folders.work, &fault) : 0;
	for (size_t i = 0; r == 0 && i < boxes->n; i++) {
		AUTO_CLOSE int folder = open_box(box, boxes->v[i]);
		r = folder < 0 ? folder : files_sync_folder(folder, &fault);
	}
	if (r < 0)
		log_warning("claim-failed", "%s", fault.text);
}

static void look(void *data)
{
	struct dropbox *box = data;
	struct words claimed_from = {0};
	timer_close(box->timer);
	box->timer = NULL;
	for (size_t i = 0; i < box->nboxes; i++) {
		struct box *b = &box->boxes[i];
		unsigned int last = box->last;
		if (!b->changed)
			continue;
		b->changed = false;
		AUTO_CLOSE int folder = open_box(box, b->name);
		look_into_box(b, folder);
		if (box->last != last)
			words_add(&claimed_from, b->name);
	}
	while (starts_identifying(box))
		;
	sync_claims(box, &claimed_from);
	words_done(&claimed_from);
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

static int watch_box(struct dropbox *all, const char *path, const char *name, struct fault *fault)
{
	struct box *b = &all->boxes[all->nboxes++];
	*b = (struct box){.all = all, .name = name, .changed = true};
	b->watch = watch_start(all->site->watcher, path, on_change, b, fault);
	return b->watch ? 0 : fault->code;
}

struct dropbox *dropbox_open(struct site *site, struct fault *fault)
{
	struct dropbox *box = xcalloc(1, sizeof *box);
	box->site = site;
	AUTO_FREE char *incoming = xasprintf("%s/incoming", site->settings->state_dir);
	box->boxes = xcalloc(site->ncertificates + 1, sizeof *box->boxes);
	int r = watch_box(box, incoming, "", fault);
	for (size_t i = 0; r == 0 && i < site->ncertificates; i++) {
		const char *name = site->certificates[i]->settings->name;
		words_add(&box->names, name);
		AUTO_CLOSE int folder = files_open_folder(site->folders.incoming, name, 0700, fault);
		AUTO_FREE char *path = xasprintf("%s/%s", incoming, name);
		r = folder < 0 ? folder : watch_box(box, path, name, fault);
	}
	if (box->names.n)
		qsort(box->names.v, box->names.n, sizeof *box->names.v, compare);
	if (r == 0)
		r = dropbox_take_up(box, fault);
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
	for (size_t i = 0; i < box->nboxes; i++) {
		watch_close(box->boxes[i].watch);
		words_done(&box->boxes[i].folders);
	}
	words_done(&box->names);
	for (size_t i = 0; i < box->nitems; i++)
		item_free(box->items[i]);
	timer_close(box->timer);
	timer_close(box->retry);
	free(box->boxes);
	free(box->items);
	free(box);
}
