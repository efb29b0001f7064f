/* What must hold, and the rules that a mutant leaves out. */
#ifndef SIM_RULES_H
#define SIM_RULES_H
#include "swap/plan.h"
#include "world.h"

/* plan_next on the facts of this world, or what is left of it in a mutant. */
struct plan_step rules_next(const struct kind *kind, enum mutant mutant, const struct world *world,
			    enum txn_event event);
/* Each returns bits 1u << enum wrong. */
unsigned int rules_check_step(const struct kind *kind, const struct world *before, enum txn_event event,
			      enum txn_state to);
unsigned int rules_check_final(const struct kind *kind, const struct world *world);
unsigned int rules_check_always(const struct kind *kind, const struct world *world);
#endif
