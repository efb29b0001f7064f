/* MESSAGE_KEYGEN, answered by a "keygen" worker: a new private key, and a certification request (PKCS#10, RFC 2986)
 * for it. Descriptors beside the request, in order: one for writing the key (PKCS#8 PEM) to, one for writing the
 * request to, both empty files, and, where `subject` is set, a certificate (PEM) whose subject the request takes over.
 * Nothing secret is in the reply. */
#ifndef WIRE_KEYGEN_H
#define WIRE_KEYGEN_H
#include "base/text.h"
#include "wire/pack.h"

enum keygen_output { KEYGEN_OUT_KEY, KEYGEN_OUT_REQUEST, KEYGEN_OUTPUTS };

struct keygen_request {
	char *key_type;     /* "ecdsa-p256" "ecdsa-p384" "rsa-2048" "rsa-3072" "rsa-4096" */
	struct words names; /* host names, wildcards and addresses for the SAN; at least one */
	bool subject;       /* a certificate is beside the message */
};
struct keygen_reply {
	struct digest spki; /* SHA-256 of the new key's SubjectPublicKeyInfo; zero: none was made */
	char *problem;      /* why not, for a person; "" */
};

void keygen_request_pack(struct packer *p, const struct keygen_request *r);
int keygen_request_unpack(struct unpacker *u, struct keygen_request *ret); /* 0 or -EBADMSG */
void keygen_request_done(struct keygen_request *r);
void keygen_reply_pack(struct packer *p, const struct keygen_reply *r);
int keygen_reply_unpack(struct unpacker *u, struct keygen_reply *ret);
void keygen_reply_done(struct keygen_reply *r);
#endif
