/* Proving a pair in a worker, into a new generation: begin, check, seal. Nothing that a check refuses stays on disk. */
#ifndef SITE_PROVE_H
#define SITE_PROVE_H
#include "site/certificate.h"
#include "wire/check.h"

struct prove_input {
	int fd; /* stays the caller's */
	enum check_role role;
};
struct prove_spec {
	const struct prove_input *inputs;
	size_t ninputs;
	struct digest leaf;           /* which of the leaves among the inputs; zero: the only one */
	const char *origin;           /* for meta.json */
	bool older_blocks;            /* an automatic source must not bring something older than what is live */
	const struct words *accepted; /* codes that a person lets pass; may be NULL */
	bool only_check;              /* make no generation */
	unsigned int generation;      /* only_check: the one that is proved; 0: none */
};
/* reply NULL: the worker failed and `fault` says how. number: the generation that was made and sealed; 0: refused (the
 * findings say why), or fault. */
typedef void (*prove_cb)(const struct check_reply *reply, unsigned int number, const struct fault *fault, void *data);

/* Who is to blame for a fault without a reply: of prove_cb, and of intake_identified_cb. */
enum prove_blame {
	PROVE_PAIR,   /* what was handed in is refused */
	PROVE_WORKER, /* a worker died or fell silent over it: it may be what was handed in, or the machine */
	PROVE_MACHINE /* no descriptor, no room on the disk, no worker ...: says nothing about the pair */
};
enum prove_blame prove_blame(const struct fault *fault);

/* Calls back exactly once, never from inside this call. What is sound is looked up at its CA before (site/candidate.h);
 * where an issuer is missing, it is fetched and the proof is made again (site/completion.h). */
void prove_start(struct certificate *c, const struct prove_spec *spec, prove_cb cb, void *data);
void proofs_close(struct site *site); /* those under way; no callbacks */
/* Proves a generation that is there (standby), without making another. accepted: codes that a person lets pass now,
 * besides those of the day when it came; or NULL. */
void prove_generation(struct certificate *c, unsigned int number, const struct words *accepted, prove_cb cb,
		      void *data);
#endif
