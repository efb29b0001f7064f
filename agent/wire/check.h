/* MESSAGE_CHECK, answered by a "check" worker: prove one pair for one certificate, and write it out in order.
 * Descriptors beside the request: one for each file, in order, for reading; then, where `write_out`, OUT_FILES writable
 * empty files in the order of enum check_output. The worker writes them only when no finding blocks. */
#ifndef WIRE_CHECK_H
#define WIRE_CHECK_H
#include "base/text.h"
#include "wire/finding.h"
#include "wire/pack.h"
#include "wire/sources.h"

enum check_role {
	CHECK_SUBMITTED,    /* came with the pair: leaf, chain, key, in any format */
	CHECK_KEY,          /* a key of pending/: used if it fits */
	CHECK_INTERMEDIATE, /* certificates that may complete the chain, never the leaf */
	CHECK_LIVE, /* combined.pem of the live generation: its other blocks go on; what is no worse than this does not
		       block */
	CHECK_PASSWORD,   /* lines of passwords to try */
	CHECK_WEAK_KEYS,  /* a part of Debian's list of weak keys (pki/weak.h) */
	CHECK_LOCAL_ROOT, /* of the system's trust store, but not public (settings/systemroots.h) */
	CHECK_ROLES
};
enum check_profile { CHECK_PROFILE_AUTO, CHECK_PROFILE_PUBLIC, CHECK_PROFILE_PRIVATE, CHECK_PROFILES };
enum check_output {
	CHECK_OUT_CERT,      /* cert.pem: the leaf */
	CHECK_OUT_CHAIN,     /* chain.pem: the intermediates in order, no root */
	CHECK_OUT_FULLCHAIN, /* fullchain.pem: both */
	CHECK_OUT_KEY,       /* privkey.pem: PKCS#8, not encrypted */
	CHECK_OUT_COMBINED,  /* combined.pem: key, leaf, chain, other blocks (DH, ECDH parameters) of the file it
				replaces */
	CHECK_OUTPUTS
};
extern const char *const check_output_name[CHECK_OUTPUTS]; /* the file names above */

struct check_request {
	uint8_t *roles; /* enum check_role, one for each file */
	size_t files;
	struct digest leaf; /* SHA-256 of the leaf to prove; zero: the only leaf, or the one whose key is there */
	struct words names; /* must be covered; empty: the live certificate's names, where there is one */
	enum check_profile profile;
	bool older_blocks;     /* OLDER_THAN_LIVE blocks (automatic sources) or is information */
	bool write_out;        /* outputs are beside the message */
	bool system_trust;     /* the trust store is the system's: a chain that ends there is publicly trusted unless
				  profile says */
	struct words accepted; /* codes that a person lets pass */
	struct words pins;     /* "sha256/base64" of SubjectPublicKeyInfo */
	struct digest *denied; /* SHA-256 of refused keys' SPKI and of refused certificates */
	size_t ndenied;
	int64_t now; /* seconds; 0: the worker's clock */
};

struct check_reply {
	struct findings findings;
	struct digest sha256, spki; /* of the leaf; zero where none was found */
	char *serial;               /* lower-case hex without leading zeros */
	char *issuer, *subject;     /* RFC 4514, for people */
	char *key_type;             /* "ecdsa-p256", "rsa-2048" ... */
	struct words names;
	int64_t not_before, not_after;
	bool publicly_trusted;
	bool written;              /* the outputs hold the pair */
	struct digest issuer_spki; /* SPKI of the certificate that signed the leaf */
	char *issuer_ski;         /* the leaf's authority key identifier (RFC 5280 4.2.1.1), lower-case hex; "": none */
	struct source_file chain; /* where the status of the leaf and its intermediates can be had */
	struct words orphan;      /* CHAIN_INCOMPLETE: PEM of the certificate whose issuer is missing, in pieces */
};

void check_request_pack(struct packer *p, const struct check_request *r);
int check_request_unpack(struct unpacker *u, struct check_request *ret); /* 0 or -EBADMSG */
void check_request_done(struct check_request *r);
void check_reply_pack(struct packer *p, const struct check_reply *r);
int check_reply_unpack(struct unpacker *u, struct check_reply *ret);
void check_reply_done(struct check_reply *r);
#endif
