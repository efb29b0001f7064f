#include "swap/policy.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <strings.h>

#include "base/memory.h"

#define HOURS_24 86400
#define DAYS_5   432000

/* BR 4.9.1.1 items 1 to 16; CRLReason from BR 4.9.1.1 and 7.2.2; item 6 (f) is about the key's size or parameters
 * (6.1.5, 6.1.6). */
static const struct revocation_case cases[] = {
	{'a', HOURS_24, "unspecified", false, false, true, "the subscriber asked for it in writing",
	 "find out who asked: if it was not you, your account is abused"},
	{'b', HOURS_24, "privilegeWithdrawn", true, true, false, "the original request was not authorised",
	 "a person to look into it, and a new key"},
	{'c', HOURS_24, "keyCompromise", true, false, true, "the private key is compromised", "a new key"},
	{'d', HOURS_24, "keyCompromise", true, false, true, "the private key can be computed from the public key",
	 "a new key from a sound generator"},
	{'e', HOURS_24, "superseded", false, false, true,
	 "the validation of a name, or its CAA check, can't be relied on", "a new validation; the same key may stay"},
	{'f', DAYS_5, "superseded", true, false, true, "the key does not meet the rules for size or parameters",
	 "a new key of an allowed kind"},
	{'g', DAYS_5, "privilegeWithdrawn", false, true, false, "the certificate was misused",
	 "a person, perhaps another CA"},
	{'h', DAYS_5, "privilegeWithdrawn", false, true, false, "a subscriber's obligation was violated",
	 "a person, perhaps another CA"},
	{'i', DAYS_5, "cessationOfOperation", false, false, false, "a name may no longer be used",
	 "a certificate without that name"},
	{'j', DAYS_5, "privilegeWithdrawn", false, true, false, "a wildcard was used for a misleading name",
	 "a certificate without that wildcard"},
	{'k', DAYS_5, "privilegeWithdrawn", false, true, false, "information in the certificate has changed",
	 "corrected data, a new CSR"},
	{'l', DAYS_5, "superseded", false, false, true, "it was not issued by the rules",
	 "a plain reissue; the same key may stay"},
	{'m', DAYS_5, "privilegeWithdrawn", false, true, false, "information in the certificate is not accurate",
	 "corrected data, a new CSR"},
	{'n', DAYS_5, "unspecified", false, false, false, "the CA's right to issue ends", "another CA"},
	{'o', DAYS_5, "unspecified", false, false, true, "the CA's own policy requires it",
	 "a reissue, after reading the notice"},
	{'p', DAYS_5, "keyCompromise", true, false, true,
	 "a method is known that exposes the key, or its generation was flawed", "a new key from a sound generator"},
};
static const struct revocation_case unknown = {
	0,     HOURS_24, "unspecified",           false,
	false, true,     "the case is not known", "to be safe: a reissue with a new key within 24 h"};

const struct revocation_case *policy_case(char letter)
{
	if (letter == 0)
		return &unknown;
	return letter >= 'a' && letter <= 'p' ? &cases[letter - 'a'] : NULL;
}

static const char *const reasons[] = {
	[0] = "unspecified",        [1] = "keyCompromise",        [2] = "cACompromise",    [3] = "affiliationChanged",
	[4] = "superseded",         [5] = "cessationOfOperation", [6] = "certificateHold", [8] = "removeFromCRL",
	[9] = "privilegeWithdrawn", [10] = "aACompromise",
};

const char *policy_reason_name(int code)
{
	return code >= 0 && (size_t)code < ARRAY_SIZE(reasons) ? reasons[code] : NULL;
}

int policy_reason(const char *text, int *ret_code)
{
	char *end;
	long number = strtol(text, &end, 10);
	if (end != text && !*end && number >= 0 && number < (long)ARRAY_SIZE(reasons) && reasons[number]) {
		*ret_code = (int)number;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i] && strcasecmp(reasons[i], text) == 0) {
			*ret_code = (int)i;
			return 0;
		}
	}
	return -ENOENT;
}
