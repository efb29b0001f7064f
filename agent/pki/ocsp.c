#include "pki/ocsp.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/text.h"
#include "pki/cert.h"

static const char *const states[] = {
	[OCSP_GOOD] = "good",
	[OCSP_REVOKED] = "revoked",
	[OCSP_UNKNOWN] = "unknown",
	[OCSP_TRY_LATER] = "try-later",
	[OCSP_UNAUTHORIZED] = "unauthorized",
	[OCSP_MALFORMED_REQUEST] = "malformed-request",
	[OCSP_INTERNAL_ERROR] = "internal-error",
	[OCSP_SIG_REQUIRED] = "sig-required",
	[OCSP_UNREADABLE] = "unreadable",
	[OCSP_OTHER_SERIAL] = "other-certificate",
	[OCSP_NOT_AUTHORISED] = "not-authorised",
	[OCSP_BAD_SIGNATURE] = "bad-signature",
	[OCSP_BAD_ALGORITHM] = "bad-algorithm",
	[OCSP_NOT_YET_VALID] = "not-yet-valid",
	[OCSP_STALE] = "stale",
	[OCSP_OTHER_NONCE] = "other-nonce",
	[OCSP_CRITICAL] = "critical-extension",
};
_Static_assert(ARRAY_SIZE(states) == OCSP_STATES, "a name for each");

const char *ocsp_state_name(enum ocsp_state state)
{
	return states[state];
}

bool ocsp_state_is_signed(enum ocsp_state state)
{
	return state == OCSP_GOOD || state == OCSP_REVOKED || state == OCSP_UNKNOWN;
}

/* ---- the question ---- */

static ASN1_INTEGER *integer(const struct serial *serial)
{
	uint8_t der[SERIAL_MAX + 2] = {0x02, serial->len};
	const unsigned char *at = der;
	memcpy(der + 2, serial->b, serial->len);
	return serial->len ? d2i_ASN1_INTEGER(NULL, &at, serial->len + 2L) : NULL;
}

static OCSP_CERTID *cert_id(const struct ocsp_question *q, const EVP_MD *md)
{
	ASN1_INTEGER *serial = integer(&q->serial);
	OCSP_CERTID *id = serial ? OCSP_cert_id_new(md, X509_get_subject_name(q->issuer),
						    X509_get0_pubkey_bitstr(q->issuer), serial)
				 : NULL;
	ASN1_INTEGER_free(serial);
	return id;
}

int ocsp_request(const struct ocsp_question *q, uint8_t **ret, size_t *ret_len)
{
	OCSP_REQUEST *request = OCSP_REQUEST_new();
	OCSP_CERTID *id = cert_id(q, EVP_sha1());
	unsigned char *der = NULL;
	int n = -1;
	if (request && id && OCSP_request_add0_id(request, id)) {
		unsigned char nonce[OCSP_NONCE];
		if (q->nonce)
			memcpy(nonce, q->nonce, sizeof nonce);
		if (!q->nonce || OCSP_request_add1_nonce(request, nonce, sizeof nonce) == 1)
			n = i2d_OCSP_REQUEST(request, &der);
	} else {
		OCSP_CERTID_free(id);
	}
	OCSP_REQUEST_free(request);
	ERR_clear_error();
	if (n <= 0)
		return -EINVAL;
	*ret = xmemdup(der, (size_t)n);
	*ret_len = (size_t)n;
	OPENSSL_free(der);
	return 0;
}

static bool has_nonce(const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	OCSP_REQUEST *r = d2i_OCSP_REQUEST(NULL, &at, (long)len);
	bool has = !r || OCSP_REQUEST_get_ext_count(r) > 0;
	OCSP_REQUEST_free(r);
	ERR_clear_error();
	return has;
}

char *ocsp_get_url(const char *responder, const uint8_t *request, size_t len)
{
	unsigned char base64[OCSP_GET_MAX * 2];
	if (len > OCSP_GET_MAX || has_nonce(request, len) || strpbrk(responder, "?#"))
		return NULL;
	EVP_EncodeBlock(base64, request, (int)len);
	struct text url = {0};
	size_t n = strlen(responder);
	text_add(&url, "%s%s", responder, n && responder[n - 1] == '/' ? "" : "/");
	for (const unsigned char *c = base64; *c; c++)
		text_add(&url, *c == '+' ? "%%2B" : *c == '/' ? "%%2F" : *c == '=' ? "%%3D" : "%c", *c);
	if (url.len <= OCSP_GET_MAX)
		return url.s;
	text_done(&url);
	return NULL;
}

/* ---- who signed the answer ---- */

/* OpenSSL reads more than DER and checks the signature over what it would have written itself. What is believed must
 * stand in the answer as it was signed. */
static bool is_der(OCSP_BASICRESP *basic, const void *bytes, size_t len)
{
	unsigned char *der = NULL;
	int n = ASN1_item_i2d((const ASN1_VALUE *)OCSP_resp_get0_respdata(basic), &der, ASN1_ITEM_rptr(OCSP_RESPDATA));
	bool good = n > 0 && memmem(bytes, len, der, (size_t)n);
	OPENSSL_free(der);
	return good;
}

static bool is_broken(int digest)
{
	return digest == NID_undef || digest == NID_md5 || digest == NID_md4 || digest == NID_md2 ||
	       digest == NID_sha1 || digest == NID_md5_sha1;
}

/* Ed25519 has no digest of its own. */
static bool is_sound(const X509_ALGOR *algorithm)
{
	const ASN1_OBJECT *name;
	int digest = NID_undef, key, type;
	const void *value;
	X509_ALGOR_get0(&name, &type, &value, algorithm);
	int nid = OBJ_obj2nid(name);
	if (nid == NID_ED25519)
		return true;
	if (nid != NID_rsassaPss)
		return OBJ_find_sigid_algs(nid, &digest, &key) == 1 && !is_broken(digest);
	RSA_PSS_PARAMS *p = type == V_ASN1_SEQUENCE
				    ? ASN1_item_unpack((const ASN1_STRING *)value, ASN1_ITEM_rptr(RSA_PSS_PARAMS))
				    : NULL;
	if (p && p->hashAlgorithm) {
		X509_ALGOR_get0(&name, NULL, NULL, p->hashAlgorithm);
		digest = OBJ_obj2nid(name);
	}
	RSA_PSS_PARAMS_free(p);
	return !is_broken(digest);
}

static bool signs(OCSP_BASICRESP *basic, X509 *signer)
{
	EVP_PKEY *key = X509_get0_pubkey(signer);
	bool good = key && ASN1_item_verify(ASN1_ITEM_rptr(OCSP_RESPDATA), OCSP_resp_get0_tbs_sigalg(basic),
					    OCSP_resp_get0_signature(basic), OCSP_resp_get0_respdata(basic), key) == 1;
	ERR_clear_error();
	return good;
}

/* Is the answer's responderID this certificate's (RFC 6960 4.2.1)? */
static bool is_responder(const OCSP_BASICRESP *basic, X509 *x)
{
	const ASN1_OCTET_STRING *hash = NULL;
	const X509_NAME *name = NULL;
	unsigned char own[EVP_MAX_MD_SIZE];
	unsigned int n = sizeof own;
	if (OCSP_resp_get0_id(basic, &hash, &name) != 1)
		return false;
	if (name)
		return X509_NAME_cmp(name, X509_get_subject_name(x)) == 0;
	return hash && X509_pubkey_digest(x, EVP_sha1(), own, &n) == 1 && ASN1_STRING_length(hash) == (int)n &&
	       memcmp(ASN1_STRING_get0_data(hash), own, n) == 0;
}

/* A delegate: OCSPSigning said in so many words, issued with the very key that signed the certificate in question,
 * valid now, no CA's, and its keyUsage lets it sign (RFC 6960 4.2.2.2). */
static bool is_delegate(const struct ocsp_question *q, X509 *x, int64_t tolerance)
{
	EVP_PKEY *key = X509_get0_pubkey(q->issuer);
	bool good =
		(X509_get_extension_flags(x) & (EXFLAG_XKUSAGE | EXFLAG_INVALID | EXFLAG_CRITICAL)) == EXFLAG_XKUSAGE &&
		(X509_get_extended_key_usage(x) & XKU_OCSP_SIGN) && (X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE) &&
		!cert_weak_digest(x) && key && X509_check_issued(q->issuer, x) == X509_V_OK &&
		X509_verify(x, key) == 1 && cert_not_before(x) <= q->now + tolerance &&
		cert_not_after(x) + tolerance >= q->now;
	ERR_clear_error();
	return good;
}

/* OCSP_GOOD: signed by one who may. */
static enum ocsp_state check_signer(const struct ocsp_question *q, OCSP_BASICRESP *basic, int64_t tolerance,
				    bool *ret_delegated)
{
	if (!is_sound(OCSP_resp_get0_tbs_sigalg(basic)))
		return OCSP_BAD_ALGORITHM;
	if (is_responder(basic, q->issuer))
		return signs(basic, q->issuer) ? OCSP_GOOD : OCSP_BAD_SIGNATURE;
	const STACK_OF(X509) *certs = OCSP_resp_get0_certs(basic);
	enum ocsp_state state = OCSP_NOT_AUTHORISED;
	for (int i = 0; i < sk_X509_num(certs) && i < 10; i++) {
		X509 *x = sk_X509_value(certs, i);
		if (!is_responder(basic, x) || !is_delegate(q, x, tolerance))
			continue;
		if (signs(basic, x)) {
			*ret_delegated = true;
			return OCSP_GOOD;
		}
		state = OCSP_BAD_SIGNATURE;
	}
	return state;
}

/* ---- what the answer says ---- */

static bool seconds(const ASN1_GENERALIZEDTIME *t, int64_t *ret)
{
	struct tm tm;
	*ret = 0;
	if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*ret = timegm(&tm);
	return true;
}

/* Whatever hash the responder took for its CertID, it must be that of our issuer and serial. */
static OCSP_SINGLERESP *find_single(const struct ocsp_question *q, OCSP_BASICRESP *basic)
{
	for (int i = 0; i < OCSP_resp_count(basic) && i < 1000; i++) {
		OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
		const OCSP_CERTID *theirs = OCSP_SINGLERESP_get0_id(single);
		ASN1_OBJECT *name = NULL;
		OCSP_id_get0_info(NULL, &name, NULL, NULL, (OCSP_CERTID *)(uintptr_t)theirs);
		int nid = OBJ_obj2nid(name);
		const EVP_MD *md = nid == NID_sha1 || nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512
					   ? EVP_get_digestbynid(nid)
					   : NULL;
		OCSP_CERTID *ours = md ? cert_id(q, md) : NULL;
		bool same = ours && OCSP_id_cmp(ours, theirs) == 0;
		OCSP_CERTID_free(ours);
		if (same)
			return single;
	}
	return NULL;
}

static bool has_critical(OCSP_BASICRESP *basic, OCSP_SINGLERESP *single)
{
	for (int i = 0; i < OCSP_BASICRESP_get_ext_count(basic); i++) {
		X509_EXTENSION *e = OCSP_BASICRESP_get_ext(basic, i);
		if (X509_EXTENSION_get_critical(e) &&
		    OBJ_obj2nid(X509_EXTENSION_get_object(e)) != NID_id_pkix_OCSP_Nonce)
			return true;
	}
	return OCSP_SINGLERESP_get_ext_by_critical(single, 1, -1) >= 0;
}

/* The octets are looked for where RFC 9654 puts them, in an OCTET STRING of their own, and bare as older responders
 * send them. */
static bool is_other_nonce(const struct ocsp_question *q, OCSP_BASICRESP *basic)
{
	int at = OCSP_BASICRESP_get_ext_by_NID(basic, NID_id_pkix_OCSP_Nonce, -1);
	if (!q->nonce || at < 0)
		return false;
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(OCSP_BASICRESP_get_ext(basic, at));
	const unsigned char *b = ASN1_STRING_get0_data(value);
	int n = ASN1_STRING_length(value);
	if (n == OCSP_NONCE + 2 && b[0] == V_ASN1_OCTET_STRING && b[1] == OCSP_NONCE) {
		b += 2;
		n -= 2;
	}
	return n != OCSP_NONCE || memcmp(b, q->nonce, OCSP_NONCE) != 0;
}

static enum ocsp_state check_times(const struct ocsp_question *q, int64_t tolerance, const struct ocsp_answer *a,
				   struct fault *fault)
{
	char text[32];
	if (a->this_update > q->now + tolerance || a->produced_at > q->now + tolerance) {
		fault_set(fault, -EBADMSG, "it is of %s, which is in the future; is this host's clock right?",
			  text_from_time(a->this_update, text));
		return OCSP_NOT_YET_VALID;
	}
	if (!a->next_update)
		fault_set(fault, -EBADMSG, "it does not say until when it holds (nextUpdate)");
	else if (a->next_update + tolerance < q->now)
		fault_set(fault, -EBADMSG, "it held until %s", text_from_time(a->next_update, text));
	else if (!q->ca && a->this_update + OCSP_AGE_MAX + tolerance < q->now)
		fault_set(fault, -EBADMSG, "it is of %s, which is more than ten days ago",
			  text_from_time(a->this_update, text));
	else
		return OCSP_GOOD;
	return OCSP_STALE;
}

static enum ocsp_state read_single(const struct ocsp_question *q, int64_t tolerance, OCSP_BASICRESP *basic,
				   struct ocsp_answer *a, struct fault *fault)
{
	OCSP_SINGLERESP *single = find_single(q, basic);
	if (!single) {
		fault_set(fault, -EBADMSG, "it says nothing about this certificate");
		return OCSP_OTHER_SERIAL;
	}
	if (has_critical(basic, single)) {
		fault_set(fault, -EBADMSG, "it has a critical extension that is not known here");
		return OCSP_CRITICAL;
	}
	if (is_other_nonce(q, basic)) {
		fault_set(fault, -EBADMSG, "it answers another question (nonce)");
		return OCSP_OTHER_NONCE;
	}
	ASN1_GENERALIZEDTIME *revoked, *from, *until;
	int reason = -1, status = OCSP_single_get0_status(single, &reason, &revoked, &from, &until);
	if (!seconds(from, &a->this_update) || !seconds(OCSP_resp_get0_produced_at(basic), &a->produced_at) ||
	    (until && !seconds(until, &a->next_update))) {
		fault_set(fault, -EBADMSG, "its dates are damaged");
		return OCSP_UNREADABLE;
	}
	enum ocsp_state state = check_times(q, tolerance, a, fault);
	if (state != OCSP_GOOD || status == V_OCSP_CERTSTATUS_GOOD)
		return state;
	if (status != V_OCSP_CERTSTATUS_REVOKED)
		return OCSP_UNKNOWN;
	seconds(revoked, &a->revoked_at);
	a->reason = reason < 0                                        ? CRL_CODE_UNSPECIFIED
		    : reason <= CRL_CODE_AA_COMPROMISE && reason != 7 ? (enum crl_reason)reason
								      : CRL_CODE_OTHER;
	return OCSP_REVOKED;
}

static enum ocsp_state judge_basic(const struct ocsp_question *q, OCSP_BASICRESP *basic, struct ocsp_answer *a,
				   struct fault *fault)
{
	int64_t tolerance = q->tolerance ? q->tolerance : OCSP_TOLERANCE;
	enum ocsp_state state = check_signer(q, basic, tolerance, &a->delegated);
	switch ((int)state) {
	case OCSP_GOOD:
		return read_single(q, tolerance, basic, a, fault);
	case OCSP_BAD_ALGORITHM:
		fault_set(fault, -EBADMSG, "its signature algorithm is not known or is broken");
		break;
	case OCSP_BAD_SIGNATURE:
		fault_set(fault, -EBADMSG, "its signature is false: forged or damaged");
		break;
	default:
		fault_set(fault, -EBADMSG,
			  "who signed it is neither the issuer nor its delegate (OCSPSigning, RFC 6960)");
		break;
	}
	return state;
}

/* Unsigned words (RFC 6960 4.2.1). */
static enum ocsp_state unsigned_state(int status, struct fault *fault)
{
	static const enum ocsp_state by_status[] = {
		[OCSP_RESPONSE_STATUS_MALFORMEDREQUEST] = OCSP_MALFORMED_REQUEST,
		[OCSP_RESPONSE_STATUS_INTERNALERROR] = OCSP_INTERNAL_ERROR,
		[OCSP_RESPONSE_STATUS_TRYLATER] = OCSP_TRY_LATER,
		[OCSP_RESPONSE_STATUS_SIGREQUIRED] = OCSP_SIG_REQUIRED,
		[OCSP_RESPONSE_STATUS_UNAUTHORIZED] = OCSP_UNAUTHORIZED,
	};
	enum ocsp_state state = status > 0 && (size_t)status < ARRAY_SIZE(by_status) && by_status[status]
					? by_status[status]
					: OCSP_UNREADABLE;
	fault_set(fault, -EBADMSG, "the responder gave no status: %s", states[state]);
	return state;
}

enum ocsp_state ocsp_judge(const struct ocsp_question *q, const void *bytes, size_t len, struct ocsp_answer *ret,
			   struct fault *fault)
{
	const unsigned char *at = bytes;
	*ret = (struct ocsp_answer){.state = OCSP_UNREADABLE};
	OCSP_RESPONSE *response = len > 0 && len <= OCSP_ANSWER_MAX ? d2i_OCSP_RESPONSE(NULL, &at, (long)len) : NULL;
	bool whole = response && at == (const unsigned char *)bytes + len;
	int status = whole ? OCSP_response_status(response) : 0;
	if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
		ret->state = unsigned_state(status, fault);
	} else {
		OCSP_BASICRESP *basic = whole ? OCSP_response_get1_basic(response) : NULL;
		if (basic && is_der(basic, bytes, len))
			ret->state = judge_basic(q, basic, ret, fault);
		else
			fault_set(fault, -EBADMSG, "it is no OCSP response, or cut off");
		OCSP_BASICRESP_free(basic);
	}
	OCSP_RESPONSE_free(response);
	ERR_clear_error();
	return ret->state;
}
