/* MESSAGE_FETCH, answered by a "fetch" worker: what does a CA publish about certificates that have one issuer? One job
 * asks one source: the CRL of an issuer serves all items of the job, an OCSP responder and a server of renewal
 * information are asked for each. Descriptors beside the request: a PEM file that holds the certificate `child` and
 * those above it; then, where `from_file`, the CRL itself, or, where `keep`, a pipe. Descriptor 4 is the trust store:
 * issuers that no server sends stand there, and https is verified with it. All of it is public; no key ever reaches
 * this worker. */
#ifndef WIRE_FETCH_H
#define WIRE_FETCH_H
#include "base/text.h"
#include "wire/pack.h"

enum fetch_kind {
	FETCH_CRL,    /* RFC 5280 5; items: serials */
	FETCH_OCSP,   /* RFC 6960; items: serials */
	FETCH_ARI,    /* RFC 9773; urls: the ACME directory; items: certIDs */
	FETCH_ISSUER, /* RFC 5280 4.2.2.1 caIssuers: the certificate that signed `child`; no items */
	FETCH_KINDS
};
extern const char *const fetch_kind_name[FETCH_KINDS];

#define FETCH_ITEMS_MAX 1000  /* of one CRL job: request and reply always fit */
#define FETCH_ASKED_MAX 80    /* of one OCSP or ARI job: each is a request of its own */
#define FETCH_URLS_MAX  8     /* taken of one certificate */
#define FETCH_URL_MAX   1000  /* bytes; a longer one is not asked */
#define FETCH_KEEP_MAX  16384 /* bytes of an OCSP answer that is kept: a pipe takes it whole */
#define FETCH_TEXT_MAX  200   /* bytes of a text in a reply */
#define FETCH_REDIRECTS 5     /* of one question, over all jobs */

struct fetch_item {
	char *id; /* serial, hexadecimal; ARI: certID */
	bool ca;
};
struct fetch_request {
	enum fetch_kind kind;
	struct words urls; /* tried in this order until one answers */
	struct words deny; /* ranges of addresses that are never connected to */
	char *proxy;       /* URL or "" */
	uint32_t deadline_ms;
	uint8_t redirects; /* followed already, by jobs before this one */
	bool from_file;
	bool keep;           /* OCSP, one item: a good answer itself goes into the descriptor behind the PEM file */
	bool renewal_info;   /* ARI: urls name the renewalInfo of the directory itself: a redirect led there */
	struct digest child; /* SHA-256 of a certificate in the PEM file: who signed it is the issuer, and all
				items have its issuer and its distribution points */
	char *etag, *last_modified; /* of the CRL that was read last; "": none */
	char *number;               /* its CRLNumber, hexadecimal; "": none */
	int64_t this_update;        /* its thisUpdate; 0: none. Neither goes back */
	struct fetch_item *v;
	size_t n;
};

enum fetch_result {
	FETCH_ANSWERED,  /* read and verified; the items say what it says */
	FETCH_UNCHANGED, /* the CRL is still the one of etag or last_modified */
	FETCH_ELSEWHERE, /* a redirect to another host: `url` */
	FETCH_FAILED,    /* `text` says how */
	FETCH_RESULTS
};
enum fetch_status { FETCH_UNKNOWN, FETCH_GOOD, FETCH_REVOKED, FETCH_STATUSES };

struct fetch_seen {
	enum fetch_status status;
	int8_t reason;                    /* CRLReason; -1: none was given */
	int64_t revoked_at;               /* as published: it may be dated back */
	int64_t this_update, next_update; /* of the answer; ARI: start and end of the window */
	int64_t retry_after;              /* ARI: seconds; 0: none was given */
	char *text;                       /* why it is unknown; ARI: explanationURL */
};
struct fetch_reply {
	enum fetch_result result;
	bool temporary; /* FETCH_FAILED: no answer in time, or 5xx */
	char *text;     /* for people */
	char *url;      /* that answered; FETCH_ELSEWHERE: to be asked next */
	char *etag, *last_modified, *number;
	int64_t this_update, next_update;
	int64_t bytes;     /* that came over the network */
	uint32_t requests; /* HTTP requests that were made */
	struct words pem;  /* FETCH_ISSUER: the certificate, cut in pieces */
	struct fetch_seen *v;
	size_t n; /* as in the request, or none */
};

void fetch_request_pack(struct packer *p, const struct fetch_request *r);
int fetch_request_unpack(struct unpacker *u, struct fetch_request *ret); /* 0 or -EBADMSG */
void fetch_request_done(struct fetch_request *r);
void fetch_reply_pack(struct packer *p, const struct fetch_reply *r);
int fetch_reply_unpack(struct unpacker *u, struct fetch_reply *ret);
void fetch_reply_done(struct fetch_reply *r);
#endif
