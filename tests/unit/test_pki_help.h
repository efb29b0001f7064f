/* A throwaway CA in memory, and a short way to run a proof. */
#ifndef TEST_PKI_HELP_H
#define TEST_PKI_HELP_H
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "pki/pool.h"
#include "pki/proof.h"

#define NOW 1795449600 /* 2026-11-23T16:00:00Z */
#define DAY 86400

struct made {
	EVP_PKEY *key;
	X509 *x509;
};
struct wish {
	const char *cn;         /* NULL: none */
	const char *san;        /* "DNS:a.test,IP:::1"; NULL: none */
	const char *usage;      /* keyUsage; NULL: none */
	const char *purpose;    /* extendedKeyUsage; NULL: none */
	const char *more[2][2]; /* other extensions: name, value */
	int64_t from, until;    /* 0: a day ago, in 90 days */
	bool ca;
	const EVP_MD *digest; /* NULL: SHA-256 */
	int scts;             /* embedded, of as many logs */
	EVP_PKEY *key;        /* NULL: a new P-256 */
};
EVP_PKEY *make_key(const char *type); /* "P-256" "P-384" "RSA:2048" "ED25519" */
struct made make(struct wish w, const struct made *issuer);
struct made make_leaf(const char *san, const struct made *issuer); /* a sound one, with a CRL address */
void made_done(struct made *m);

/* What many tests begin with: root, intermediate, and a sound leaf for a.test and www.a.test */
struct family {
	struct made root, sub, leaf;
};
struct family make_family(void);
void family_done(struct family *f);

/* Texts; the caller frees them. */
char *pem_cert(const X509 *x);
char *pem_key(const EVP_PKEY *key); /* PKCS#8 */
char *joined(char *first, ...);     /* up to NULL; frees its arguments */

struct trial {
	struct check_request request;
	struct proof_file files[16];
	uint8_t roles[16];
	char *bytes[16];
	struct bundle *trust;
	struct weak_list *weak;
	struct check_reply reply;
	struct proof_output out;
	bool whole;
};
void trial_add(struct trial *t, enum check_role role, char *bytes);                   /* takes it over */
void trial_add_bytes(struct trial *t, enum check_role role, char *bytes, size_t len); /* the same */
void trial_trust(struct trial *t, const X509 *x);
void trial_run(struct trial *t); /* may be run again after a change of its request */
void trial_done(struct trial *t);
/* A trial with the family's whole pair, its root trusted. */
struct trial trial_of(const struct family *f);
/* The same with this leaf in the place of the family's. */
struct trial trial_of_leaf(const struct family *f, const struct made *leaf);

const struct finding *found(const struct trial *t, enum finding_code code); /* NULL: not found */
bool blocks(const struct trial *t, enum finding_code code);
bool warns(const struct trial *t, enum finding_code code);
/* All findings on one line, for a failing test's message; lives until the next call. */
const char *told(const struct trial *t);
#endif
