#include "base/clock.h"
#include "base/memory.h"
#include "site/revocation.h"

static bool is_known(const struct standing *st, unsigned int generation)
{
	bool known = generation == st->live.generation || (st->standby && generation == st->standby->generation);
	for (size_t k = 0; k < st->nformer; k++)
		known |= generation == st->former[k].generation;
	return known;
}

void standing_make_room(struct standing *st)
{
	if (st->nformer)
		return;
	st->nformer = STANDING_FORMERS;
	st->former = xcalloc(st->nformer, sizeof *st->former);
}

static struct standing_chain *free_place(struct standing *st)
{
	standing_make_room(st);
	for (size_t k = 0; k < st->nformer; k++)
		if (!st->former[k].generation)
			return &st->former[k];
	return NULL;
}

void standing_recall_formers(struct standing *st)
{
	unsigned int numbers[STANDING_FORMERS + 2];
	size_t n = store_list_newest(st->certificate->folder, numbers, ARRAY_SIZE(numbers));
	for (size_t i = 0; i < n; i++) {
		struct meta meta = {0};
		if (is_known(st, numbers[i]) || store_read_meta(st->certificate->folder, numbers[i], &meta, NULL) < 0)
			continue;
		struct standing_chain *place = meta.not_after > clock_wall() ? free_place(st) : NULL;
		if (place) {
			place->generation = numbers[i];
			meta_copy(&place->meta, &meta);
		}
		meta_done(&meta);
	}
}
