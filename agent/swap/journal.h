/* The journal: one durable record for each transaction, STATE/journal/NNNNNN.json, saved before each act. What it holds
 * is enough to finish or undo the swap after a crash at any instruction. Runs in certswapd. */
#ifndef SWAP_JOURNAL_H
#define SWAP_JOURNAL_H
#include "base/fault.h"
#include "base/hash.h"
#include "base/text.h"
#include "swap/state.h"

struct journal_certificate {
	char *name;
	unsigned int old_number, new_number; /* generations; old 0: there was none */
	struct digest old_sha256, new_sha256;
	uint8_t old_key, new_key; /* enum probe_key: the kind of each leaf's key */
};

/* A place where handshakes are made, and what it showed before anything was touched (the baseline). */
struct journal_place {
	char *endpoint, *server_name;
	uint8_t starttls; /* enum probe_starttls */
	bool proxy_protocol;
	uint8_t version;      /* enum probe_version */
	struct digest before; /* zero: it gave no handshake */
	int turns;            /* index of the certificate whose old pair it showed; -1: it showed another, or nothing */
	int server;           /* index of the server that listens there; -1: not known */
	int belongs;          /* index of the certificate whose configuration names the endpoint */
};

struct journal {
	unsigned int id;
	struct txn txn; /* txn.certificates and .servers run beside the arrays here */
	struct journal_certificate *certificates;
	char **servers; /* names */
	struct journal_place *places;
	size_t nplaces;
	int64_t started_at_ms, ended_at_ms; /* wall clock; 0: not yet */
	char *reason;                       /* why it went back or stopped, for a person; "" */
};

struct journal *journal_new(unsigned int id, size_t certificates, size_t servers);
void journal_free(struct journal *j);
void journal_reason(struct journal *j, const char *format, ...)
	__attribute__((format(printf, 2, 3))); /* adds it, once */

/* `folder` is STATE/journal. 0 or negative errno. */
/* Keeps some room on the disk for the journal of a swap that is under way when the disk gets full. Before a swap
 * begins. */
int journal_reserve(int folder, struct fault *fault);
int journal_save(int folder, const struct journal *j, struct fault *fault);
int journal_load(int folder, unsigned int id, struct journal **ret, struct fault *fault);
/* At a start: what saves that were cut off have left goes, then the ids of the journals, ascending; the caller frees.
 */
int journal_list(int folder, unsigned int **ret_ids, size_t *ret_n, struct fault *fault);
int journal_remove(int folder, unsigned int id, struct fault *fault);
#endif
