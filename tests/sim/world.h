/* A small world in which one swap happens: what is on disk, what each server serves, what the daemon has journalled,
 * and how many bad things may still come. Every effect and every journal write is a step of its own. The decisions are
 * those of the very plan_next that certswapd links. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_CERTIFICATES 2
#define WORLD_SERVERS      2

/* What a link names and what a server shows. A first certificate's OLD is: no link. */
enum pair {
	PAIR_NONE,
	PAIR_OLD,
	PAIR_NEW,
	PAIR_STRANGER,  /* the first stranger's */
	PAIR_STRANGER2, /* a second one came after it */
	PAIR_ELSE       /* shown by a server whose configuration does not name the certificate, for ever */
};

enum health { HEALTH_DOWN, HEALTH_GOOD, HEALTH_BROKEN };

/* Bytes only: worlds are compared and hashed as they lie in memory. */
struct world_certificate {
	uint8_t live, next;                      /* enum pair: the two names that are exchanged */
	uint8_t newest;                          /* who wrote last, the agent left out; OLD: put the old pair back */
	uint8_t disk;                            /* enum txn_disk: a fact of the journal, as all below */
	uint8_t first, old_refused, new_refused; /* bool */
};

struct world_server {
	uint8_t shown[WORLD_CERTIFICATES], health;
	uint8_t died_by_us, reloaded;     /* bool; reloaded: and not looked at since */
	uint8_t base[WORLD_CERTIFICATES]; /* facts, from here on; NONE: it was down at the baseline */
	uint8_t ran, served, runs, wire;
};

struct world {
	struct world_certificate certificate[WORLD_CERTIFICATES];
	struct world_server server[WORLD_SERVERS];
	uint8_t state, tries;
	uint8_t dead;                /* the daemon; it comes back */
	uint8_t at, failed;          /* in the middle of an act: which certificate or server is next, how many failed */
	uint8_t link, put, expected; /* in the middle of an exchange */
	uint8_t bad;                 /* crashes, failures, strangers, stops, notices that may still come */
	uint8_t stops;               /* by somebody else, up to now; 2: or more */
	uint8_t injected, undo_failed, acted,
		disturbed; /* bool; acted: a hook of ours ran; disturbed: by more than crashes */
};

struct kind {
	const char *name;
	uint8_t certificates, servers;
	uint8_t bad; /* how many bad things come, in any mixture */
};

/* What must never be. */
enum wrong {
	WRONG_COMMITTED,
	WRONG_ROLLED_BACK,
	WRONG_TOUCHED,
	WRONG_FOREIGN,
	WRONG_LOST,
	WRONG_DOWN,
	WRONG_STUCK,
	WRONG_REFUSED_BACK,
	WRONG_REFUSED_KEPT,
	WRONG_RELOAD,
	WRONG_USELESS,
	WRONG_DEAD_END,
	WRONGS
};
extern const char *const wrong_name[WRONGS];

/* Rules that can be left out, to see that the search notices. */
enum mutant {
	MUTANT_NONE,
	MUTANT_NO_PROBE_AFTER_RESTORE,
	MUTANT_PLAIN_RENAME,
	MUTANT_RELOAD_AGAIN,
	MUTANT_FIRST_SERVER_COMMITS,
	MUTANT_NO_SETTLING,
	MUTANT_NO_START,
	MUTANT_REFUSED_GOES_BACK,
	MUTANT_UNDO_WITHOUT_LOOK,
	MUTANT_CRASH_COSTS_TRIES,
	MUTANT_NOTICE_IGNORED,
	MUTANT_BLIND_ROLLBACK_TO_REFUSED,
	MUTANT_GIVES_UP,
	MUTANT_LEAVES_DEAD,
	MUTANT_DISCARDS_HALF,
	MUTANT_STRANGER_ENDS_ALL,
	MUTANT_STANDS_STILL,
	MUTANTS
};
extern const char *const mutant_name[MUTANTS];

/* The steps that may come next. */
#define WORLD_MOVES 48
struct moves {
	size_t n;
	int calm; /* index of what the daemon does where nothing bad happens; -1: a final state, or it waits */
	struct {
		struct world world;
		const char *what;
		unsigned int wrong; /* bits 1u << enum wrong */
	} move[WORLD_MOVES];
};

/* Calls back with each world in which a transaction of this kind may begin. */
void world_starts(const struct kind *kind, void (*cb)(const struct world *world, void *data), void *data);
void world_moves(const struct kind *kind, enum mutant mutant, const struct world *world, struct moves *ret);
/* One line for a person. */
char *world_text(const struct kind *kind, const struct world *world, char *buf, size_t size);
#endif
