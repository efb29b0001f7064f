/* What a revocation case demands: the sixteen cases of BR 4.9.1.1, in the order of its items 1 to 16, letters a to p,
 * and the CRLReason codes (RFC 5280 5.3.1). Pure. Runs in certswapd and certswapctl. */
#ifndef SWAP_POLICY_H
#define SWAP_POLICY_H
#include <stdbool.h>
#include <stdint.h>

struct revocation_case {
	char letter;         /* 'a' .. 'p'; 0: not known, treated as 24 h (a code does not tell the deadline) */
	int64_t within;      /* seconds from the CA's knowledge to revocation, at most (BR 4.9.1.1: MUST) */
	const char *reason;  /* CRLReason that the CA will publish */
	bool new_key;        /* the replacement must have another key, and this key is refused from now on */
	bool person;         /* a replacement goes live only when a person says that its data is right */
	bool reissue;        /* the same order once more, with a new key, answers it: a client may do that by itself */
	const char *meaning; /* for people */
	const char *needs;   /* what the replacement needs, for people */
};
/* letter 0: the unknown case. NULL: no such case. */
const struct revocation_case *policy_case(char letter);

/* A CRLReason by its name in RFC 5280 ("keyCompromise"), any case, or its number; -ENOENT. */
int policy_reason(const char *text, int *ret_code);
const char *policy_reason_name(int code); /* NULL: none */
#define POLICY_KEY_COMPROMISE 1
#endif
