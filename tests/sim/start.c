/* Where a transaction may begin, and how a world is shown to a person. */
#include <stdio.h>

#include "swap/state.h"
#include "world.h"

enum beginning { BEGIN_SERVES, BEGIN_DOWN, BEGIN_ELSEWHERE, BEGINNINGS };

static struct world begin(const struct kind *k, unsigned servers, bool first, bool refused)
{
	struct world w = {.bad = k->bad, .tries = TXN_RELOAD_TRIES};
	for (size_t i = 0; i < k->certificates; i++)
		w.certificate[i].live = PAIR_OLD;
	w.certificate[0].first = first;
	w.certificate[0].old_refused = refused;
	for (size_t i = 0; i < k->servers; i++, servers /= BEGINNINGS) {
		enum beginning b = (enum beginning)(servers % BEGINNINGS);
		w.server[i].health = b == BEGIN_DOWN ? HEALTH_DOWN : HEALTH_GOOD;
		for (size_t c = 0; c < k->certificates; c++)
			w.server[i].shown[c] = b == BEGIN_ELSEWHERE || w.certificate[c].first ? PAIR_ELSE
					       : b == BEGIN_DOWN                              ? PAIR_NONE
											      : PAIR_OLD;
	}
	return w;
}

void world_starts(const struct kind *kind, void (*cb)(const struct world *world, void *data), void *data)
{
	unsigned n = 1;
	for (size_t i = 0; i < kind->servers; i++)
		n *= BEGINNINGS;
	for (unsigned servers = 0; servers < n; servers++)
		for (int how = 0; how < 3; how++) { /* plain, a first certificate, a refused old pair */
			struct world w = begin(kind, servers, how == 1, how == 2);
			cb(&w, data);
		}
}

char *world_text(const struct kind *kind, const struct world *w, char *buf, size_t size)
{
	static const char pair[] = "-ONFGx", health[] = "DgB", disk[] = "ONF", wire[] = "?wobd";
	int n = snprintf(buf, size, "%s%s tries %d at %d", w->dead ? "(dead) " : "",
			 txn_state_name((enum txn_state)w->state), w->tries, w->at);
	for (size_t i = 0; i < kind->certificates && n > 0 && (size_t)n < size; i++) {
		const struct world_certificate *c = &w->certificate[i];
		n += snprintf(buf + n, size - (size_t)n, " | live %c next %c disk %c%s%s%s", pair[c->live],
			      pair[c->next], disk[c->disk], c->first ? " first" : "", c->old_refused ? " old!" : "",
			      c->new_refused ? " new!" : "");
	}
	for (size_t i = 0; i < kind->servers && n > 0 && (size_t)n < size; i++) {
		const struct world_server *v = &w->server[i];
		n += snprintf(buf + n, size - (size_t)n, " | %c shows %c%c: %s%s%s%c", health[v->health],
			      pair[v->shown[0]], pair[v->shown[1]], v->ran ? "ran " : "", v->served ? "served " : "",
			      v->runs ? "runs " : "", wire[v->wire]);
	}
	return buf;
}
