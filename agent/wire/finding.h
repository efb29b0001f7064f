/* The findings of a proof: stable codes (CONTRACT "Findings of check"), severities, and what a person should do. */
#ifndef WIRE_FINDING_H
#define WIRE_FINDING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/pack.h"

enum finding_code {
	FINDING_PAIR_MISMATCH,
	FINDING_KEY_MISSING,
	FINDING_KEY_ENCRYPTED,
	FINDING_KEY_DENIED,
	FINDING_KEY_SIZE,
	FINDING_KEY_WEAK_DEBIAN,
	FINDING_KEY_WEAK_ROCA,
	FINDING_KEY_WEAK_CLOSE_PRIMES,
	FINDING_KEY_TYPE,
	FINDING_CHAIN_INCOMPLETE,
	FINDING_CHAIN_UNTRUSTED,
	FINDING_SIGNATURE_WEAK,
	FINDING_NAME_MISSING,
	FINDING_NAME_NONE,
	FINDING_EXPIRED,
	FINDING_NOT_YET_VALID,
	FINDING_VALIDITY_TOO_LONG,
	FINDING_IS_CA,
	FINDING_USAGE_SERVER_AUTH,
	FINDING_USAGE_SIGNATURE,
	FINDING_USAGE_CLIENT_AUTH_LOST,
	FINDING_SCT_MISSING,
	FINDING_NO_STATUS_SOURCE,
	FINDING_MUST_STAPLE,
	FINDING_REVOKED,
	FINDING_OLDER_THAN_LIVE,
	FINDING_SAME_AS_LIVE,
	FINDING_HANDSHAKE_FAILED,
	FINDING_PIN_NOT_COVERED,
	FINDING_TLSA_NOT_COVERED,
	FINDING_UNREADABLE,
	FINDING_TOO_LARGE,
	FINDING_CODES
};

enum finding_severity { FINDING_INFO, FINDING_WARN, FINDING_BLOCK, FINDING_SEVERITIES };

const char *finding_name(enum finding_code code);            /* "PAIR_MISMATCH" */
int finding_parse(const char *name, enum finding_code *ret); /* 0 or -ENOENT */
const char *severity_name(enum finding_severity severity);   /* "block" */
const char *finding_what_to_do(enum finding_code code);      /* one sentence for the operator */
/* May a person let it pass with --accept CODE --why TEXT? (not PAIR_MISMATCH KEY_MISSING HANDSHAKE_FAILED UNREADABLE
 * KEY_DENIED) */
bool finding_can_be_accepted(enum finding_code code);

struct finding {
	enum finding_code code;
	enum finding_severity severity;
	char *text; /* what was found, for a person, with the values */
};
struct findings {
	struct finding *v;
	size_t n;
};
void findings_add(struct findings *f, enum finding_code code, enum finding_severity severity, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
const struct finding *findings_worst(const struct findings *f); /* NULL: none */
bool findings_block(const struct findings *f);
void findings_done(struct findings *f);
void pack_findings(struct packer *p, const struct findings *f);
struct findings unpack_findings(struct unpacker *u);
#endif
