/* The chain of hashes in STATE/audit.jsonl: each line's "previous" is the SHA-256 of the line before, without its
 * newline; 64 zeros in the first. */
#ifndef CTL_CHAIN_H
#define CTL_CHAIN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/fault.h"
#include "base/hash.h"

struct chain {
	size_t lines;
	struct digest last; /* of the last line that was read; zero: none yet */
	size_t cut, cuts;   /* the last line that a crash left incomplete and that is chained all the same; how many */
	bool last_cut;      /* that line is the last one */
	bool last_has_newline; /* of the last line read */
};
/* The next line, without its newline. 0, or -EBADMSG with a text that names the line. */
int chain_add(struct chain *chain, const char *line, size_t len, struct fault *fault);
/* All of a file. 0, -EBADMSG (broken, or the end is cut off), or another negative errno. */
int chain_verify(FILE *in, struct chain *ret, struct fault *fault);
#endif
