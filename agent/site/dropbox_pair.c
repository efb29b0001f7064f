#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "site/audit.h"
#include "site/dropbox_parts.h"
#include "site/intake.h"
#include "site/pending.h"
#include "site/transaction.h"

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
			dropbox_wipe_item(g->box, item);
			break;
		case PAIR_REFUSED:
		case PAIR_FAILED:
			dropbox_refuse_item(g->box, item, text, next);
			break;
		case PAIR_HELD:
			item->state = ITEM_HELD;
			free(item->why);
			item->why = xstrdup(text);
			break;
		case PAIR_INCOMPLETE:
			item->state = ITEM_LACKING;
			free(item->why);
			item->why = xstrdup(text);
			break;
		case PAIR_UNPROVED:
		case PAIR_UNREAD:
			dropbox_trouble(g->box, item, outcome == PAIR_UNREAD, text);
			break;
		}
	}
	struct dropbox *box = g->box;
	if (outcome == PAIR_INCOMPLETE)
		dropbox_wait_for_chain(g->items[0]); /* the one with the leaf */
	if (outcome != PAIR_UNPROVED && outcome != PAIR_UNREAD)
		box->delay_ms = 0;
	free(g->items);
	free(g);
	dropbox_look_soon(box);
}

bool dropbox_holds_only(const struct item *item, enum object_kind kind)
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
		    dropbox_holds_only(box->items[i], OBJECT_CA))
			take(g, box->items[i]);
	for (size_t i = 0; i < g->n; i++) {
		g->items[i]->state = ITEM_BUSY;
		g->fds[i] = dropbox_open_item(box, g->items[i]);
		inputs[i] = (struct prove_input){.fd = g->fds[i], .role = CHECK_SUBMITTED};
	}
	const struct pair_spec spec = {.certificate = c,
				       .inputs = inputs,
				       .ninputs = g->n,
				       .leaf = leaf->sha256,
				       .spki = leaf->spki,
				       .automatic = true,
				       .patient = !with_leaf->overdue,
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
		if ((item->state != ITEM_WAITING && item != beside) || strcmp(item->box, beside->box) != 0)
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
		if ((item->state != ITEM_WAITING && item != beside) || strcmp(item->box, beside->box) != 0)
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

/* By its key, where that waits here; else by its names. */
static struct certificate *route(struct site *site, const struct object *leaf, struct fault *fault)
{
	struct certificate *c = pending_owner(site, &leaf->spki);
	return c ? c : intake_route(site, &leaf->names, fault);
}

/* A certificate without its key would wait for ever for one that is refused. */
static bool refuse_key(struct dropbox *box, struct item *item, struct certificate *c, const struct object *leaf)
{
	char *next;
	AUTO_FREE char *text = pending_refusal(c, &leaf->spki, leaf->serial, &next);
	if (text) {
		dropbox_refuse_item(box, item, text, next);
		free(next);
		return true;
	}
	const struct waiting_key *key = pending_find(c, &leaf->spki);
	if (!key || !key->suspect)
		return false;
	AUTO_FREE char *fresh =
		xasprintf("certswapctl csr %s shows the request of a fresh key. As a stopgap a person may "
			  "let it in: certswapctl submit --name %s FILE",
			  c->settings->name, c->settings->name);
	dropbox_refuse_item(box, item, "its key was on this disk when somebody broke in", fresh);
	return true;
}

/* Is a swap of this very pair under way? It may still go back, also where it is live already. */
static bool is_being_swapped(struct certificate *c, const struct object *leaf)
{
	if (!c->swapping)
		return false;
	transaction_look(c);
	return (c->live.number && digest_equal(&leaf->sha256, &c->live.sha256)) ||
	       (c->coming && c->coming->number && digest_equal(&leaf->sha256, &c->coming->sha256));
}

/* Its swap was under way when certswapd ended, and went back: whoever handed it in is told so, as without that end. */
static void refuse_undone(struct dropbox *box, struct item *item, const struct certificate *c,
			  const struct object *leaf)
{
	enum txn_state state = c->last_swap.result == TXN_STUCK ? TXN_STUCK : TXN_ROLLED_BACK;
	bool known = c->last_swap.result == state && *c->last_swap.reason;
	AUTO_FREE char *text = xasprintf("%s: %s%s%s", c->settings->name, txn_state_name(state), known ? ": " : "",
					 known ? c->last_swap.reason : "");
	AUTO_FREE char *next = pair_what_to_do(c, state);
	struct item *its_key = find_key(box, item, &leaf->spki);
	if (its_key && its_key != item && dropbox_holds_only(its_key, OBJECT_KEY))
		dropbox_refuse_item(box, its_key, text, next);
	dropbox_refuse_item(box, item, text, next);
}

/* What happens to one leaf of an item; true: the item is on its way or gone. */
static bool place_leaf(struct dropbox *box, struct item *item, const struct object *leaf)
{
	struct fault fault = {0};
	struct certificate *c = *item->box ? site_certificate(box->site, item->box) : route(box->site, leaf, &fault);
	if (!c) {
		dropbox_refuse_item(box, item, *fault.text ? fault.text : "there is no such certificate here any more",
				    NULL);
		return true;
	}
	if (is_being_swapped(c, leaf) && !holds_other_key(item, leaf)) {
		item->state = ITEM_HELD;
		free(item->why);
		item->why = xstrdup("a swap of this very pair is not over yet");
		return true;
	}
	if (digest_equal(&leaf->sha256, &c->live.sha256) && c->live.number && !holds_other_key(item, leaf)) {
		audit_write(box->site->audit, "live-already", c->settings->name, NULL,
			    "%s holds the certificate that is live", item->name);
		struct item *its_key = find_key(box, item, &leaf->spki);
		if (its_key && its_key != item && dropbox_holds_only(its_key, OBJECT_KEY))
			dropbox_wipe_item(box, its_key);
		dropbox_wipe_item(box, item);
		return true;
	}
	if (item->taken_up && digest_equal(&leaf->sha256, &c->last_swap.undone)) {
		refuse_undone(box, item, c, leaf);
		return true;
	}
	struct item *with_key = find_key(box, item, &leaf->spki);
	if (!with_key && refuse_key(box, item, c, leaf))
		return true;
	if (!with_key && pending_find(c, &leaf->spki))
		with_key = item; /* its key waits here */
	if (!with_key)           /* the proof says what is wrong, in its own words */
		with_key = find_wrong_key(box, item, c);
	if (!with_key)
		return false;
	go(box, c, leaf, item, with_key);
	return true;
}

/* A key that is refused waits for no certificate. */
static bool refuse_denied(struct dropbox *box, struct item *item)
{
	char since[32];
	const struct denial *denial = NULL;
	if (item->state != ITEM_WAITING || !dropbox_holds_only(item, OBJECT_KEY))
		return false;
	for (size_t k = 0; k < item->found.n && !denial; k++)
		denial = denied_find(&box->site->denied, true, &item->found.v[k].spki);
	if (!denial)
		return false;
	AUTO_FREE char *text = xasprintf("KEY_DENIED: this private key is refused since %s (%s)",
					 text_from_time(denial->since, since), denial->reason);
	dropbox_refuse_item(box, item, text, "have the certificate issued for a new key, and remove this one");
	return true;
}

/* Looks for pairs among what waits; each that is found changes the list, so it begins again. */
bool dropbox_pair_one(struct dropbox *box)
{
	for (size_t i = 0; i < box->nitems && !staging_is_full(box->site); i++) {
		struct item *item = box->items[i];
		if (refuse_denied(box, item))
			return true;
		for (size_t k = 0; item->state == ITEM_WAITING && k < item->found.n; k++)
			if (item->found.v[k].kind == OBJECT_LEAF && place_leaf(box, item, &item->found.v[k]))
				return true;
	}
	return false;
}
