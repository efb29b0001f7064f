#include "swap/state.h"

#include <errno.h>
#include <string.h>

static const char *const names[] = {
	[TXN_STAGED] = "STAGED",
	[TXN_PREFLIGHT] = "PREFLIGHT",
	[TXN_INSTALLING] = "INSTALLING",
	[TXN_INSTALLED] = "INSTALLED",
	[TXN_RELOADING] = "RELOADING",
	[TXN_VERIFYING] = "VERIFYING",
	[TXN_STARTING] = "STARTING",
	[TXN_AWAITING] = "AWAITING",
	[TXN_ROLLING_BACK] = "ROLLING_BACK",
	[TXN_RB_VERIFYING] = "RB_VERIFYING",
	[TXN_RB_RELOADING] = "RB_RELOADING",
	[TXN_RB_STARTING] = "RB_STARTING",
	[TXN_COMMITTED] = "COMMITTED",
	[TXN_UNSERVED] = "UNSERVED",
	[TXN_ROLLED_BACK] = "ROLLED_BACK",
	[TXN_DISCARDED] = "DISCARDED",
	[TXN_HELD] = "HELD",
	[TXN_FOREIGN] = "FOREIGN",
	[TXN_STUCK] = "STUCK",
};
_Static_assert(sizeof names / sizeof *names == TXN_STATES, "a state has no name");

const char *txn_state_name(enum txn_state state)
{
	return (unsigned)state < TXN_STATES ? names[state] : "?";
}

int txn_state_parse(const char *name, enum txn_state *ret)
{
	for (unsigned i = 0; i < TXN_STATES; i++)
		if (strcmp(names[i], name) == 0) {
			*ret = (enum txn_state)i;
			return 0;
		}
	return -ENOENT;
}

bool txn_state_is_final(enum txn_state state)
{
	return state >= TXN_COMMITTED && state < TXN_STATES;
}
