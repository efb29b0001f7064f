/* MESSAGE_IDENTIFY, answered by a "check" worker: what is in these files? Recognised by content alone, never by name.
 * Descriptors beside the request: one for each file, in order, open for reading; then one more where `passwords` > 0:
 * lines of passwords to try on encrypted keys and PKCS#12. Nothing secret is in the reply. */
#ifndef WIRE_IDENTIFY_H
#define WIRE_IDENTIFY_H
#include "base/text.h"
#include "wire/pack.h"

struct identify_request {
	uint16_t files;
	uint16_t passwords; /* 0: no password file */
};

enum object_kind {
	OBJECT_LEAF,    /* a certificate that is not a CA's */
	OBJECT_CA,      /* a CA certificate */
	OBJECT_KEY,     /* a private key that can be used */
	OBJECT_LOCKED,  /* an encrypted key or PKCS#12 that no password opened */
	OBJECT_REQUEST, /* a CSR */
	OBJECT_NOTHING, /* the file holds nothing of use; `text` says what it seems to be */
	OBJECT_KINDS
};

struct object {
	enum object_kind kind;
	uint16_t file;        /* index in the request */
	struct digest sha256; /* of the DER of a certificate; zero otherwise */
	struct digest spki;   /* SHA-256 of the SubjectPublicKeyInfo; zero where there is none */
	struct words names; /* dNSName and iPAddress of the SAN (RFC 5280 4.2.1.6) of a leaf; its CN only where there is
			       no SAN */
	int64_t not_before, not_after;
	char *serial; /* lower-case hex without leading zeros */
	char *issuer; /* RFC 4514, for people */
	char *text;   /* for people: "RSA 2048 private key, PKCS#8", "empty file", ... */
};
struct identify_reply {
	struct object *v;
	size_t n;
};

void identify_request_pack(struct packer *p, const struct identify_request *r);
int identify_request_unpack(struct unpacker *u, struct identify_request *ret); /* 0 or -EBADMSG */
void identify_reply_pack(struct packer *p, const struct identify_reply *r);
int identify_reply_unpack(struct unpacker *u, struct identify_reply *ret);
void identify_reply_done(struct identify_reply *r);
#endif
