/* Lists of a throwaway CA, sound or with one thing wrong. */
#ifndef TEST_PKI_CRL_HELP_H
#define TEST_PKI_CRL_HELP_H
#include "pki/crl.h"
#include "test_pki_help.h"

struct listed {
	const X509 *x509;
	int reason;          /* -1: no reasonCode */
	const char *more[2]; /* another extension: name, value; NULL: none */
	int64_t at;          /* revocationDate; 0: NOW - DAY */
};
struct crl_wish {
	struct listed entries[4];
	size_t n, fill;       /* fill: so many further entries, of others */
	int64_t from, until;  /* 0: an hour ago, in 7 days; until -1: no nextUpdate */
	const char *number;   /* decimal; NULL: "7"; "": no CRLNumber */
	const char *idp;      /* issuingDistributionPoint; NULL: none */
	const char *more[2];  /* another extension */
	const EVP_MD *digest; /* NULL: SHA-256 */
	bool v1, pss, no_key_id;
	EVP_PKEY *signer; /* another key than the issuer's; NULL: its own */
};
struct bytes {
	uint8_t *b;
	size_t n;
};
struct bytes make_crl(const struct crl_wish *w, const struct made *issuer);
char *crl_pem(const struct bytes *der); /* the caller frees */

/* One scan from beginning to end for one certificate, fed in pieces of `piece` bytes (0: at once). */
struct scanned {
	struct crl_list list;
	struct crl_answer answer;
	struct fault fault;
};
struct scanned scan_list(const void *bytes, size_t n, X509 *leaf, X509 *issuer, size_t piece);
struct scanned scan_with(const struct crl_options *o, const void *bytes, size_t n, X509 *leaf, size_t piece);
#endif
