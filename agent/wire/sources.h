/* MESSAGE_SOURCES, answered by a "check" worker: who issued the certificates in these files, and where can their status
 * be had? Descriptors: PEM files of certificates. The answer to MESSAGE_CHECK holds the same of what it proved. */
#ifndef WIRE_SOURCES_H
#define WIRE_SOURCES_H
#include "base/text.h"
#include "wire/pack.h"

#define SOURCES_FILES_MAX 16 /* of one request */
#define SOURCES_CERTS_MAX 6  /* of one file that are looked at */

struct source_cert {
	struct digest sha256;
	struct digest issuer; /* SHA-256 of the issuer's name and the authority key identifier: who signs its status */
	struct digest points; /* of all names in its distribution points (RFC 5280 6.3.3 b2i) */
	char *serial;         /* lower-case hex without leading zeros */
	char *subject;        /* for people */
	char *cert_id;        /* ARI (RFC 9773 4.1); "": none */
	bool ca, self_signed;
	int64_t not_before, not_after;
	struct words crls, ocsp, issuers; /* URLs of http and https, bounded (wire/fetch.h) */
};
struct source_file {
	struct source_cert v[SOURCES_CERTS_MAX];
	size_t n;
};
/* As many files as fit in a message, at least the first: the rest is asked for again. */
struct sources_reply {
	struct source_file v[SOURCES_FILES_MAX];
	size_t n;
};
void pack_source_file(struct packer *p, const struct source_file *f);
void unpack_source_file(struct unpacker *u, struct source_file *ret);
void source_file_done(struct source_file *f);
void source_cert_copy(struct source_cert *to, const struct source_cert *from); /* `to` must be empty */
void source_cert_done(struct source_cert *c);
void sources_reply_pack(struct packer *p, const struct sources_reply *r);
int sources_reply_unpack(struct unpacker *u, struct sources_reply *ret); /* 0 or -EBADMSG */
void sources_reply_done(struct sources_reply *r);
#endif
