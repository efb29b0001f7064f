/* Asking an OCSP responder about one certificate and judging what it says (RFC 6960, RFC 9654, BR 4.9.9). Bytes in,
 * values out, no I/O. Used by the fetch worker. Only a signed answer of an authorised responder about just this
 * certificate says anything. */
#ifndef PKI_OCSP_H
#define PKI_OCSP_H
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "pki/crl.h"
#include "pki/serial.h"

#define OCSP_TOLERANCE  300                   /* seconds that clocks may differ */
#define OCSP_AGE_MAX    ((int64_t)10 * 86400) /* thisUpdate of a subscriber's certificate (BR 4.9.10) */
#define OCSP_ANSWER_MAX ((size_t)64 << 10)    /* bytes of an answer; more is refused */
#define OCSP_NONCE      32                    /* octets (RFC 9654 2.1) */
#define OCSP_GET_MAX    255                   /* bytes of a URL that is asked by GET (RFC 5019 5) */
/* So long after notBefore "unknown" and "unauthorized" are no alarm: the responder has not heard of it yet. */
#define OCSP_YOUNG ((int64_t)20 * 60)

struct ocsp_question {
	X509 *issuer;         /* the CA that signed the certificate; its chain is verified by the caller */
	struct serial serial; /* serial_of() the certificate */
	const uint8_t *nonce; /* OCSP_NONCE random octets; NULL: none, which is right for public CAs */
	bool ca;              /* the certificate is a CA's: OCSP_AGE_MAX does not hold */
	int64_t now;          /* seconds */
	int64_t tolerance;    /* seconds; 0: OCSP_TOLERANCE */
};

/* The DER of a request: one CertID, SHA-1 (still the common denominator), for Content-Type application/ocsp-request. 0,
 * or -EINVAL: the issuer or the serial can't be used. The caller frees *ret. */
int ocsp_request(const struct ocsp_question *q, uint8_t **ret, size_t *ret_len);
/* The address for a GET of that request (RFC 6960 A.1), or NULL where it gets longer than OCSP_GET_MAX or the request
 * has a nonce: then POST it. The caller frees. */
char *ocsp_get_url(const char *responder, const uint8_t *request, size_t len);

enum ocsp_state {
	/* Signed by who may, about this certificate, in time. */
	OCSP_GOOD,
	OCSP_REVOKED,
	OCSP_UNKNOWN, /* the responder does not know the certificate */
	/* Unsigned words of whoever answered (RFC 6960 2.3): evidence of nothing. */
	OCSP_TRY_LATER,
	OCSP_UNAUTHORIZED, /* also: no record of this certificate */
	OCSP_MALFORMED_REQUEST,
	OCSP_INTERNAL_ERROR,
	OCSP_SIG_REQUIRED,
	/* Refused here. */
	OCSP_UNREADABLE,     /* no OCSP response, cut off, or more than OCSP_ANSWER_MAX */
	OCSP_OTHER_SERIAL,   /* says nothing about the certificate asked for: serial, or the issuer's hashes, differ */
	OCSP_NOT_AUTHORISED, /* the signer is neither the issuer nor its delegate with OCSPSigning (4.2.2.2) */
	OCSP_BAD_SIGNATURE,
	OCSP_BAD_ALGORITHM,
	OCSP_NOT_YET_VALID, /* thisUpdate or producedAt in the future */
	OCSP_STALE,         /* nextUpdate has passed or is missing (RFC 5019 4), or older than OCSP_AGE_MAX */
	OCSP_OTHER_NONCE,   /* a nonce that is not ours. A missing one is fine */
	OCSP_CRITICAL,      /* a critical extension that is not known here */
	OCSP_STATES,
};
const char *ocsp_state_name(enum ocsp_state state); /* "good" "try-later" "not-authorised" ...; stable */
bool ocsp_state_is_signed(enum ocsp_state state);   /* good, revoked, unknown */

struct ocsp_answer {
	enum ocsp_state state;
	int64_t this_update, next_update, produced_at; /* seconds; 0: not said */
	enum crl_reason reason;                        /* of OCSP_REVOKED */
	int64_t revoked_at;                            /* the same; may be back-dated */
	bool delegated;                                /* signed by a delegate, not by the issuer itself */
};
/* Judges an answer. ret->state is also returned; `fault` says in words what is wrong where it is not signed. */
enum ocsp_state ocsp_judge(const struct ocsp_question *q, const void *bytes, size_t len, struct ocsp_answer *ret,
			   struct fault *fault);
#endif
