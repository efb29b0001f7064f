/* The rules that a certificate and its chain must hold to, apart from the question whether the pair is one. The same
 * function judges the candidate and the live one: what is no worse than today never blocks. Used by the check worker.
 */
#ifndef PKI_POLICY_H
#define PKI_POLICY_H
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "pki/chain.h"
#include "pki/weak.h"
#include "wire/finding.h"

struct policy_subject {
	const struct chain *chain;
	bool public_rules;            /* the rules for publicly trusted certificates apply (BR, browsers) */
	int64_t now;                  /* seconds */
	const struct words *required; /* names that it must cover */
	const struct words *pins; /* "sha256/base64"; one key of the chain must be among them, where there are any */
	const struct weak_list *weak; /* Debian's keys; NULL: no list was given */
};
/* Adds what is found, with the severities of the contract. */
void policy_judge(const struct policy_subject *s, struct findings *f);

/* Is the finding one that the live pair may have too (a rule), or does it say that the pair can't or must not serve? */
bool policy_is_rule(enum finding_code code);

/* Names of `required` that the certificate does not cover. */
void policy_missing_names(X509 *leaf, const struct words *required, struct words *ret);

/* How many days a publicly trusted certificate issued then may live (BR 6.3.2). */
int policy_days_max(int64_t not_before);
/* Is it short-lived, so that no revocation need ever be published (BR 1.6.1)? */
bool policy_is_short_lived(int64_t not_before, int64_t not_after);
#endif
