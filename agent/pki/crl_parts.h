/* The insides of a scan, shared by crl.c (bytes to parts), crl_entry.c (entries), crl_list.c (the list's own words and
 * signature). For these files only. */
#ifndef PKI_CRL_PARTS_H
#define PKI_CRL_PARTS_H
#include <openssl/evp.h>

#include "pki/crl.h"

/* The parts of a CertificateList in their order (RFC 5280 5.1). */
enum crl_step {
	STEP_OUTER, /* only the header of the whole */
	STEP_TBS,   /* only the header of tbsCertList */
	STEP_VERSION,
	STEP_ALGORITHM,
	STEP_ISSUER,
	STEP_THIS,
	STEP_NEXT,
	STEP_LIST, /* only the header of revokedCertificates */
	STEP_ENTRIES,
	STEP_EXTENSIONS,
	STEP_OUTER_ALGORITHM,
	STEP_SIGNATURE,
	STEP_END,
};

/* Certificates asked for, found by serial. */
struct crl_wanted {
	struct serial serial;
	bool ca;
	const struct words *points;
	bool listed;
	enum crl_reason reason;
	int64_t revoked_at, invalid_since;
};
struct crl_lookup {
	struct crl_wanted *v;
	uint32_t *sorted; /* indexes into v */
	size_t n, cap;
	uint64_t *filter; /* two bits for each serial that is wanted */
	unsigned int shift;
};

struct crl_scan {
	X509 *issuer;
	int64_t now, tolerance, known_this_update;
	struct crl_number known_number;
	struct crl_list list;
	struct fault fault; /* what list.state says in words */
	struct crl_lookup lookup;

	enum crl_step step;
	uint64_t at, whole_end, tbs_end, entries_end; /* offsets in the DER */
	uint8_t *carry;                               /* the beginning of a part whose rest has not come */
	size_t ncarry, carry_cap;

	EVP_MD_CTX *md;     /* NULL: the algorithm is not known yet, or needs the whole */
	struct text kept;   /* bytes of tbsCertList, as long as md is NULL */
	bool keep;          /* the algorithm needs the whole (Ed25519) */
	uint8_t *algorithm; /* DER of the inner AlgorithmIdentifier */
	size_t algorithm_len;
	uint8_t *signature;
	size_t signature_len;
	bool v2;

	bool users_only, cas_only;
	struct words points; /* names of the issuing distribution point */

	enum { CRL_FORM_UNKNOWN, CRL_FORM_DER, CRL_FORM_TEXT, CRL_FORM_BASE64, CRL_FORM_PADDING, CRL_FORM_BEHIND } form;
	char line[32]; /* the line of a PEM's text that is being read; longer ones can't be what is looked for */
	size_t nline;
	uint32_t group;
	unsigned int digits;
};

/* Sets the state, once; always -EBADMSG. */
int crl_refuse(struct crl_scan *s, enum crl_state state, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The header of the DER at p: 1: there, 0: more bytes are needed, -1: it is no DER. One-byte tags, definite and
 * shortest lengths. */
int crl_header(const uint8_t *p, size_t n, size_t *ret_header, uint64_t *ret_len);
/* UTCTime or GeneralizedTime with seconds and Z (RFC 5280 5.1.2.4), the whole TLV; false: it is none. */
bool crl_time(const uint8_t *p, size_t n, int64_t *ret);

/* Reads whole entries from p, at most n bytes; returns how many bytes they took, or -EBADMSG. */
int64_t crl_entries(struct crl_scan *s, const uint8_t *p, size_t n);
#define CRL_ENTRY_MAX 4096 /* bytes of one entry */

int crl_lookup_add(struct crl_lookup *l, const struct crl_want *want); /* its index, or negative errno */
void crl_lookup_ready(struct crl_lookup *l);
void crl_lookup_done(struct crl_lookup *l);

/* One whole part each; 0 or -EBADMSG. */
int crl_take_algorithm(struct crl_scan *s, const uint8_t *p, size_t n);
int crl_take_issuer(struct crl_scan *s, const uint8_t *p, size_t n);
int crl_take_extensions(struct crl_scan *s, const uint8_t *p, size_t n);
int crl_take_signature(struct crl_scan *s, const uint8_t *p, size_t n);
int crl_digest(struct crl_scan *s, const uint8_t *p, size_t n);
int crl_check_signature(struct crl_scan *s);
#endif
