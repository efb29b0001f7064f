/* What of the drop boxes a person has to know, for `status`. */
#include <sys/stat.h>

#include "base/files.h"
#include "base/memory.h"
#include "site/dropbox_parts.h"
#include "swap/record.h"

static void add_items(const struct dropbox *box, json_t *list)
{
	for (size_t i = 0; i < box->nitems; i++) {
		const struct item *item = box->items[i];
		if (item->state == ITEM_NEW || item->state == ITEM_BUSY)
			continue;
		const char *holds = item->found.n ? item->found.v[0].text : "";
		json_array_append_new(list,
				      json_pack("{ss, ss, ss, so, ss}", "file", item->name, "certificate", item->box,
						"holds", holds, "since", record_from_time(item->since), "why",
						item->why && item->state != ITEM_WAITING ? item->why : ""));
	}
}

/* Somebody copied a whole folder, or mistyped its name: what lies in it would wait for ever, and nobody be told. An
 * empty one is what a certificate leaves that is no longer configured. */
static void add_folder(const struct box *b, const char *entry, json_t *list)
{
	struct stat st;
	struct words files = {0};
	const struct site *site = b->all->site;
	AUTO_FREE char *path = xasprintf("%s%s%s", b->name, *b->name ? "/" : "", entry);
	AUTO_CLOSE int folder = files_open_folder(site->folders.incoming, path, 0, NULL);
	bool empty = folder < 0 || fstat(folder, &st) < 0 || files_list(folder, false, &files, NULL) < 0 || !files.n;
	words_done(&files);
	if (empty)
		return;
	AUTO_FREE char *none = *b->name ? xstrdup("it is a folder") : site_no_certificate(site, entry);
	AUTO_FREE char *why =
		xasprintf("%s. Nobody looks into it: move the files themselves into incoming/ or incoming/NAME/", none);
	AUTO_FREE char *name = text_printable(xasprintf("%s/", entry));
	json_t *o = json_pack("{ss, ss, ss, so, ss}", "file", name, "certificate", b->name, "holds", "", "since",
			      record_from_time(st.st_mtim.tv_sec), "why", why);
	if (o) /* a name that is no UTF-8 is none */
		json_array_append_new(list, o);
}

json_t *dropbox_waiting(const struct dropbox *box)
{
	json_t *list = json_array();
	if (!box) /* it can't be opened just now, and is tried again */
		return list;
	add_items(box, list);
	for (size_t i = 0; i < box->nboxes; i++)
		for (size_t k = 0; k < box->boxes[i].folders.n; k++)
			add_folder(&box->boxes[i], box->boxes[i].folders.v[k], list);
	return list;
}
