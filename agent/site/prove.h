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
};
/* reply NULL: the worker failed and `fault` says how. number: the generation that was made and sealed; 0: refused (the
 * findings say why), or fault. */
typedef void (*prove_cb)(const struct check_reply *reply, unsigned int number, const struct fault *fault, void *data);

/* Calls back exactly once, never from inside this call. */
void prove_start(struct certificate *c, const struct prove_spec *spec, prove_cb cb, void *data);
/* Proves a generation that is there (standby), without making another. */
void prove_generation(struct certificate *c, unsigned int number, prove_cb cb, void *data);
#endif
