/* What the files of the drop box share: dropbox.c looks and identifies, dropbox_claim.c moves into
 * work/ and out of it, dropbox_pair.c finds what belongs together,
 * dropbox_file.c judges and refuses single files. Nobody else includes this. Runs in certswapd. */
#ifndef SITE_DROPBOX_PARTS_H
#define SITE_DROPBOX_PARTS_H
#include "site/dropbox.h"
#include "wire/identify.h"

enum item_state {
	ITEM_NEW,     /* claimed, not looked into yet */
	ITEM_BUSY,    /* in a worker, or in a swap */
	ITEM_WAITING, /* for its other half */
	ITEM_STAYS,   /* refused, and can't be moved to rejected/ now */
	ITEM_LACKING, /* with its other half, but a CA certificate is missing: that may be on its way */
	ITEM_HELD,    /* proved; something on the host must be mended first */
	ITEM_TROUBLE  /* the machine was in trouble: looked at again after a while */
};

/* One claimed file. */
struct item {
	char *file; /* its name in work/ */
	char *name; /* as it was called in the box */
	char *box;  /* "" or the name of a certificate */
	enum item_state state;
	struct identify_reply found;
	int64_t since;
	char *why;       /* the last trouble with it; NULL: none */
	unsigned deaths; /* of workers over it */
	bool taken_up;   /* claimed before the start */
	bool alone;      /* identified without others: one of them may have brought the worker down */
	struct dropbox *all;
	struct timer *patience; /* it lacks a CA certificate: until that is a refusal */
	bool overdue;           /* it was waited for in vain */
};

/* One folder. */
struct box {
	struct dropbox *all;
	const char *name; /* of its certificate; "": incoming/ itself */
	struct watch *watch;
	bool changed;
	struct words folders; /* in it, that are no box: nobody looks into them */
};

struct dropbox {
	struct site *site;
	struct box *boxes;
	size_t nboxes;
	struct words names;  /* of the certificates, sorted: there may be 10,000 */
	struct timer *timer; /* a look that was asked for */
	struct item **items;
	size_t nitems;
	unsigned int last;
	unsigned int identifying; /* workers that look into files */
	struct timer *retry;      /* after trouble */
	int64_t delay_ms;         /* before it; 0: all was well */
};

/* dropbox_claim.c: takes an entry of a box; trouble is logged, and tried again later. */
void dropbox_claim(struct dropbox *box, int folder, const char *from, const char *entry);
int dropbox_take_up(struct dropbox *box, struct fault *fault); /* what was claimed before the start */
/* Overwritten before its name goes: it may hold a key. */
void dropbox_wipe_content(struct dropbox *box, const struct item *item);
void dropbox_retry_later(struct dropbox *box);
int dropbox_open_item(struct dropbox *box, const struct item *item); /* a descriptor, or negative */
/* Into rejected/ with why; where that fails it stays in work/ (ITEM_STAYS). */
void dropbox_refuse_item(struct dropbox *box, struct item *item, const char *why, const char *next);
void dropbox_wipe_item(struct dropbox *box, struct item *item); /* overwritten, then removed; `item` is gone */
/* Only a CA certificate is missing: the item with the leaf waits for it, INTAKE_PATIENCE_MS at most. */
void dropbox_wait_for_chain(struct item *item);
bool dropbox_holds_only(const struct item *item, enum object_kind kind);
/* Sends one pair, or a file that can't be of any, on its way; false: there is none. */
bool dropbox_pair_one(struct dropbox *box);
/* Trouble that says nothing against the file: it waits and is looked at again. `died`: a worker did over it; after a
 * few of these it is refused. */
void dropbox_trouble(struct dropbox *box, struct item *item, bool died, const char *why);
#endif
