/* A certificate revocation list (RFC 5280 5), read as it arrives: one pass in constant memory whatever its size. The
 * digest of tbsCertList is computed on the way, the signature checked once at the end; until then nothing counts. One
 * scan answers for any number of certificates of the issuer. No I/O. Used by the fetch worker.
 *
 *     struct crl_scan *scan = crl_scan_new(&options);
 *     crl_scan_want(scan, &want) ...            for each certificate that this issuer signed; returns 0, 1, 2 ...
 *     crl_scan_feed(scan, bytes, n) ...         as it arrives, pieces of any size
 *     state = crl_scan_finish(scan, &list, &fault);
 *     crl_scan_answer(scan, i, &answer) ...
 *     crl_scan_free(scan);
 *
 * DER, or PEM with any text around it (the first block "X509 CRL" counts). Refused, as no public CA has them (BR 7.2):
 * delta lists, indirect lists. Signatures: RSA (PKCS #1 1.5, PSS), ECDSA, Ed25519; SHA-224 and longer (BR 7.1.3.2).
 * Ed25519 can't be computed on the way: such a list is kept, up to CRL_KEPT_MAX. */
#ifndef PKI_CRL_H
#define PKI_CRL_H
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/text.h"
#include "pki/serial.h"

#define CRL_TOLERANCE 300                  /* seconds that clocks may differ */
#define CRL_KEPT_MAX  ((size_t)4 << 20)    /* bytes of a list that is signed with Ed25519 */
#define CRL_WANT_MAX  ((size_t)100 * 1000) /* certificates of one scan */
#define CRL_NAMES_MAX 64                   /* names in a distribution point that are read */

/* What is to be said of the list as a whole. Everything but CRL_SOUND means: it was not used. */
enum crl_state {
	CRL_SOUND,         /* every rule held: the answers stand */
	CRL_MALFORMED,     /* not DER, or not a CertificateList; or bytes behind it */
	CRL_TRUNCATED,     /* good so far, but the end is missing (or nothing came at all) */
	CRL_TOO_LARGE,     /* a part that has to be kept is larger than anything sensible */
	CRL_WRONG_ISSUER,  /* issuer name, byte for byte, or key identifier is not the issuer's (RFC 5280 6.3.3
			      (b), 5.2.1) */
	CRL_NOT_ALLOWED,   /* the issuer's keyUsage has no cRLSign (6.3.3 (f)) */
	CRL_BAD_ALGORITHM, /* unknown or broken signature algorithm, or not the issuer's kind of key, or inner != outer
			    */
	CRL_BAD_SIGNATURE, /* (6.3.3 (g)) */
	CRL_CRITICAL,      /* a critical extension of the list or of an entry that is not known here (5.2, 5.3) */
	CRL_DELTA,         /* (5.2.4) */
	CRL_INDIRECT,      /* indirectCRL, or an entry with certificateIssuer (5.2.5, 5.3.3) */
	CRL_ATTRIBUTES,    /* onlyContainsAttributeCerts */
	CRL_NOT_YET_VALID, /* thisUpdate lies in the future */
	CRL_STALE,         /* nextUpdate has passed, or is missing (5.1.2.5 demands it) */
	CRL_WENT_BACK,     /* older than what was seen before: CRLNumber, or thisUpdate (5.2.3) */
	CRL_STATES,
};
const char *crl_state_name(enum crl_state state); /* "sound" "wrong-issuer" ...; stable */

/* CRLNumber (RFC 5280 5.2.3): content octets without leading zeros. */
struct crl_number {
	uint8_t len; /* 0: the list has none (or the number is zero) */
	uint8_t b[20];
};
int crl_number_compare(const struct crl_number *a, const struct crl_number *b); /* < 0: a is the lower one */
#define CRL_NUMBER_TEXT 41
const char *crl_number_text(const struct crl_number *n, char *buf); /* hex, "" for none; returns buf */
int crl_number_parse(const char *s, struct crl_number *ret);        /* 0 or -EINVAL */

struct crl_options {
	X509 *issuer;      /* whose chain the caller has verified; kept until crl_scan_free, a reference is taken */
	int64_t now;       /* seconds */
	int64_t tolerance; /* seconds; 0: CRL_TOLERANCE */
	/* What was last seen sound at this address: a list that is older than it is refused. Never going back is held
	 * by the caller, who stores these. 0 and empty: nothing yet. */
	struct crl_number known_number;
	int64_t known_this_update;
	/* The list comes from a file or mirror that the operator named, not from an address in the certificate. Changes
	 * nothing in the rules: a list with a distribution point still answers only for certificates that name it. */
};

/* A certificate that is asked for. */
struct crl_want {
	struct serial serial;
	bool ca;                    /* cert_is_ca() */
	const struct words *points; /* its distribution points as sources_points() gives them; NULL or empty: it has
				       none; only looked at in crl_scan_finish: must live until then */
};

/* What the list says of itself. Set as far as it was read, whatever the state. */
struct crl_list {
	enum crl_state state;
	int64_t this_update, next_update; /* seconds; 0: none */
	struct crl_number number;
	uint64_t entries, bytes; /* seen; bytes of DER */
	bool partial;            /* onlySomeReasons: what it does not list it does not call good (6.3.3 (d)) */
	bool scoped;             /* it has a distribution point: one shard (5.2.5) */
};

enum crl_verdict {
	CRL_UNDETERMINED, /* the list was not used, or says nothing about this certificate: `why` */
	CRL_GOOD,         /* not listed */
	CRL_REVOKED,
};
enum crl_why {
	CRL_WHY_NOTHING,    /* determined */
	CRL_WHY_LIST,       /* state is not CRL_SOUND */
	CRL_WHY_SHARD,      /* its distribution point is none of this certificate's, byte for byte (6.3.3 (b)(2)(i)) */
	CRL_WHY_USERS_ONLY, /* onlyContainsUserCerts, and this is a CA's */
	CRL_WHY_CAS_ONLY,   /* onlyContainsCACerts, and this is none */
	CRL_WHY_REASONS,    /* onlySomeReasons, and it is not listed */
};
/* RFC 5280 5.3.1. 7 is not used. */
enum crl_reason {
	CRL_CODE_UNSPECIFIED,
	CRL_CODE_KEY_COMPROMISE,
	CRL_CODE_CA_COMPROMISE,
	CRL_CODE_AFFILIATION_CHANGED,
	CRL_CODE_SUPERSEDED,
	CRL_CODE_CESSATION,
	CRL_CODE_HOLD,
	CRL_CODE_REMOVE = 8, /* removeFromCRL: the entry says "no longer revoked" */
	CRL_CODE_PRIVILEGE_WITHDRAWN,
	CRL_CODE_AA_COMPROMISE,
	CRL_CODE_OTHER = 255, /* a code that RFC 5280 does not have: revoked all the same */
};
const char *crl_reason_name(enum crl_reason reason); /* "keyCompromise", as RFC 5280 spells it; "unspecified" */

struct crl_answer {
	enum crl_verdict verdict;
	enum crl_why why;
	/* Set where the serial stands in the list, even where that does not count (`verdict` alone decides). */
	bool listed;
	enum crl_reason reason;
	int64_t revoked_at; /* revocationDate; a CA may back-date it (BR 7.2.2): it is not when we could have known */
	int64_t invalid_since; /* invalidityDate (5.3.2); 0: none */
};

struct crl_scan;
struct crl_scan *crl_scan_new(const struct crl_options *options); /* never NULL */
void crl_scan_free(struct crl_scan *scan);                        /* NULL is fine */
/* Before the first feed. Returns its index; the same serial twice gives two. -E2BIG beyond CRL_WANT_MAX. */
int crl_scan_want(struct crl_scan *scan, const struct crl_want *want);
/* 0; -EBADMSG: it can't become a sound list any more, the rest need not be fetched. len 0 is fine. */
int crl_scan_feed(struct crl_scan *scan, const void *bytes, size_t len);
/* No more comes. Checks the signature, then everything else, fills *ret (may be NULL), says in words what was wrong. */
enum crl_state crl_scan_finish(struct crl_scan *scan, struct crl_list *ret, struct fault *fault);
/* Only after crl_scan_finish. */
void crl_scan_answer(const struct crl_scan *scan, size_t index, struct crl_answer *ret);
#endif
