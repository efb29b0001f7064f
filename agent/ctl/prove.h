/* The proof of a pair by a check worker of our own, as the agent would hold it: with its trust store, its intermediates
 * and its refused keys, as far as this user may read them. */
#ifndef CTL_PROVE_H
#define CTL_PROVE_H
#include "ctl/inputs.h"
#include "wire/check.h"

struct outcome {
	struct check_reply reply; /* check_reply_done */
	bool denied_read;         /* the refused keys could be looked at */
};
/* names: must be covered. trust: PEM file of roots; NULL: the configured or the system's. 0 or negative errno. */
int prove_pair(struct ctl *ctl, const struct inputs *in, const struct words *names, enum check_profile profile,
	       const char *trust, struct outcome *ret, struct fault *fault);
/* The PEM file of roots that is used; never NULL. */
const char *prove_trust(const struct ctl *ctl, const char *named);
#endif
