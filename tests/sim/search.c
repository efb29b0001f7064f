/* Every interleaving of crashes, failing acts, dying servers, strangers and notices through the plan function that
 * certswapd links. Prints a table; ends with 1 if anything is ever wrong. With --mutants each rule is left out once,
 * and it ends with 1 if the search does not notice. With --mutant N shows how that one goes wrong; with --more N so
 * many bad things more come in each world. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "swap/state.h"
#include "world.h"

#define NOWHERE UINT32_MAX

struct node {
	struct world world;
	uint32_t from, calm; /* indices; NOWHERE */
	const char *what;
};

struct search {
	const struct kind *kind;
	enum mutant mutant;
	bool show;
	struct node *nodes;
	size_t n, size;
	uint32_t *table; /* open addressing; NOWHERE: free */
	size_t slots;    /* a power of two */
	size_t wrong[WRONGS];
	size_t seen[TXN_STATES]; /* worlds in each state */
};

static const struct kind kinds[] = {
	/* certificates, servers, bad things */
	{"1 certificate, no server", 1, 0, 6},  {"1 certificate, 1 server", 1, 1, 5},
	{"1 certificate, 2 servers", 1, 2, 3},  {"2 certificates, 1 server", 2, 1, 3},
	{"2 certificates, 2 servers", 2, 2, 2},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static uint64_t hash(const struct world *w)
{
	const unsigned char *p = (const unsigned char *)w;
	uint64_t h = 14695981039346656037u;
	for (size_t i = 0; i < sizeof *w; i++)
		h = (h ^ p[i]) * 1099511628211u;
	return h ^ h >> 29;
}

static void put_in_table(struct search *s, uint32_t index)
{
	size_t at = hash(&s->nodes[index].world) & (s->slots - 1);
	while (s->table[at] != NOWHERE)
		at = (at + 1) & (s->slots - 1);
	s->table[at] = index;
}

static void grow_table(struct search *s)
{
	s->slots = s->slots ? s->slots * 2 : 1u << 16;
	free(s->table);
	s->table = xmalloc(s->slots * sizeof *s->table);
	memset(s->table, 0xff, s->slots * sizeof *s->table);
	for (size_t i = 0; i < s->n; i++)
		put_in_table(s, (uint32_t)i);
}

/* The index of this world; a new one is put at the end. */
static uint32_t visit(struct search *s, const struct world *w, uint32_t from, const char *what)
{
	if (s->n * 2 >= s->slots)
		grow_table(s);
	size_t at = hash(w) & (s->slots - 1);
	for (; s->table[at] != NOWHERE; at = (at + 1) & (s->slots - 1))
		if (memcmp(&s->nodes[s->table[at]].world, w, sizeof *w) == 0)
			return s->table[at];
	if (s->n == s->size) {
		s->size = s->size ? s->size * 2 : 1u << 14;
		s->nodes = xrealloc(s->nodes, s->size * sizeof *s->nodes);
	}
	s->nodes[s->n] = (struct node){.world = *w, .from = from, .calm = NOWHERE, .what = what};
	s->table[at] = (uint32_t)s->n;
	return (uint32_t)s->n++;
}

static void show_path(const struct search *s, uint32_t index)
{
	char text[512];
	if (s->nodes[index].from != NOWHERE)
		show_path(s, s->nodes[index].from);
	printf("    %-40s %s\n", s->nodes[index].what, world_text(s->kind, &s->nodes[index].world, text, sizeof text));
}

static void note(struct search *s, unsigned int wrong, uint32_t from, const char *what, const struct world *w)
{
	char text[512];
	for (unsigned i = 0; i < WRONGS; i++) {
		if (!(wrong & 1u << i) || s->wrong[i]++ || !s->show)
			continue;
		printf("%s: %s:\n", s->kind->name, wrong_name[i]);
		show_path(s, from);
		printf("  ! %-40s %s\n", what, world_text(s->kind, w, text, sizeof text));
	}
}

static void start(const struct world *w, void *data)
{
	visit(data, w, NOWHERE, "");
}

static void expand(struct search *s, uint32_t index, struct moves *moves)
{
	struct world w = s->nodes[index].world; /* the array may move */
	s->seen[w.state]++;
	world_moves(s->kind, s->mutant, &w, moves);
	for (size_t i = 0; i < moves->n; i++) {
		if (moves->move[i].wrong)
			note(s, moves->move[i].wrong, index, moves->move[i].what, &moves->move[i].world);
		uint32_t to = visit(s, &moves->move[i].world, index, moves->move[i].what);
		if (moves->calm == (int)i)
			s->nodes[index].calm = to;
	}
}

static bool may_end_here(const struct world *w)
{
	return !w->dead && (txn_state_is_final((enum txn_state)w->state) || w->state == TXN_AWAITING);
}

/* From every world the daemon, left in peace, must come to an end: its own steps are followed. */
static void find_dead_ends(struct search *s)
{
	enum { NEW, ON_THE_WAY, ENDS, LOST };
	unsigned char *mark = xcalloc(s->n, 1);
	for (size_t i = 0; i < s->n; i++) {
		uint32_t at = (uint32_t)i;
		while (at != NOWHERE && mark[at] == NEW && !may_end_here(&s->nodes[at].world)) {
			mark[at] = ON_THE_WAY;
			at = s->nodes[at].calm;
		}
		bool ends = at != NOWHERE && (mark[at] == NEW || mark[at] == ENDS);
		for (at = (uint32_t)i; at != NOWHERE && mark[at] == ON_THE_WAY; at = s->nodes[at].calm)
			mark[at] = ends ? ENDS : LOST;
		if (!ends)
			note(s, 1u << WRONG_DEAD_END, (uint32_t)i, "no way out", &s->nodes[i].world);
	}
	free(mark);
}

/* How many kinds of wrong were seen. */
static unsigned int run(struct search *s, bool stop_early)
{
	struct moves *moves = xmalloc(sizeof *moves);
	unsigned int kinds_of_wrong = 0;
	world_starts(s->kind, start, s);
	for (size_t i = 0; i < s->n; i++) {
		expand(s, (uint32_t)i, moves);
		for (unsigned k = 0; stop_early && k < WRONGS; k++)
			if (s->wrong[k])
				i = s->n;
	}
	bool any = false;
	for (unsigned k = 0; k < WRONGS; k++)
		any |= s->wrong[k] > 0;
	if (!stop_early || !any) /* else the graph is not whole */
		find_dead_ends(s);
	for (unsigned k = 0; k < WRONGS; k++)
		kinds_of_wrong += s->wrong[k] > 0;
	free(moves);
	return kinds_of_wrong;
}

static void done(struct search *s)
{
	free(s->nodes);
	free(s->table);
}

static void show_wrong(const struct search *s)
{
	const char *comma = "";
	for (unsigned k = 0; k < WRONGS; k++)
		if (s->wrong[k]) {
			if (k == WRONG_DEAD_END)
				printf("%scan't finish", comma);
			else
				printf("%s%s: %zu", comma, wrong_name[k], s->wrong[k]);
			comma = "; ";
		}
	printf("%s |\n", *comma ? "" : "none");
}

/* A state that nothing led to would be a rule that nothing tried. */
static int check_seen(const size_t seen[TXN_STATES])
{
	int status = 0;
	for (unsigned i = 0; i < TXN_STATES; i++)
		if (!seen[i]) {
			printf("never in state %s\n", txn_state_name((enum txn_state)i));
			status = 1;
		}
	return status;
}

/* more: bad things on top of the usual number */
static int search_all(enum mutant mutant, unsigned int more)
{
	int status = 0;
	size_t seen[TXN_STATES] = {0};
	printf("| swap of | bad things | worlds | can't finish | violations |\n"
	       "|---|---|---|---|---|\n");
	for (size_t i = 0; i < KINDS; i++) {
		struct kind kind = kinds[i], *k = &kind;
		struct search s = {.kind = k, .mutant = mutant, .show = true};
		kind.bad = (uint8_t)(kind.bad + more);
		if (run(&s, false))
			status = 1;
		printf("| %s | %d | %zu | %zu | ", k->name, k->bad, s.n, s.wrong[WRONG_DEAD_END]);
		show_wrong(&s);
		fflush(stdout);
		for (size_t j = 0; j < TXN_STATES; j++)
			seen[j] += s.seen[j];
		done(&s);
	}
	return status | check_seen(seen);
}

static bool is_caught(enum mutant mutant)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct search s = {.kind = &kinds[i], .mutant = mutant};
		bool caught = run(&s, true) > 0;
		if (caught) {
			printf("| %s | %s | ", mutant_name[mutant], kinds[i].name);
			show_wrong(&s);
		}
		done(&s);
		if (caught)
			return true;
	}
	printf("| %s | - | NOT NOTICED |\n", mutant_name[mutant]);
	return false;
}

static int search_mutants(void)
{
	int status = 0;
	printf("| rule left out | first seen in | seen as |\n|---|---|---|\n");
	for (unsigned m = MUTANT_NONE + 1; m < MUTANTS; m++)
		if (!is_caught((enum mutant)m))
			status = 1;
	return status;
}

int main(int argc, char **argv)
{
	const char *option = argc > 1 ? argv[1] : "";
	unsigned long n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	if (argc == 1)
		return search_all(MUTANT_NONE, 0);
	if (argc == 2 && strcmp(option, "--mutants") == 0)
		return search_mutants();
	if (argc == 3 && strcmp(option, "--mutant") == 0 && n < MUTANTS)
		return search_all((enum mutant)n, 0);
	if (argc == 3 && strcmp(option, "--more") == 0 && n < 10)
		return search_all(MUTANT_NONE, (unsigned int)n);
	fprintf(stderr, "usage: sim_search [--mutants | --mutant N | --more N]\n");
	return 2;
}
