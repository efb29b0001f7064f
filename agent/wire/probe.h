/* MESSAGE_PROBE, answered by a "probe" worker: fresh TLS handshakes (no resumption) with each place. A handshake counts
 * once Certificate and CertificateVerify are seen, whatever follows (a demanded client certificate, an alert). A place
 * with `expect` set is probed again and again until it shows the expected certificate alone, or the deadline passes:
 * "alone" = `settle_ms` after the first expected one, three handshakes in a row showed nothing else. nginx serves old
 * and new side by side for about 100 ms after a HUP. Where others were seen after the first expected one, eight in a
 * row are asked for; where one was seen after the settling, a whole settle_ms without any. No descriptors. */
#ifndef WIRE_PROBE_H
#define WIRE_PROBE_H
#include "base/text.h"
#include "wire/pack.h"

#define PROBE_PLACES_MAX 360 /* places of one job: the reply to so many always fits in one message */

enum probe_key { PROBE_KEY_ANY, PROBE_KEY_RSA, PROBE_KEY_ECDSA, PROBE_KEYS }; /* by restricted signature algorithms */
enum probe_starttls { PROBE_TLS, PROBE_SMTP, PROBE_IMAP, PROBE_POP3, PROBE_STARTTLS_KINDS };

/* A server may hold a pair for one version only, or turn for one only: each is asked for by itself. */
enum probe_version { PROBE_VERSION_ANY, PROBE_TLS_1_2, PROBE_TLS_1_3, PROBE_VERSIONS }; /* 1_2: and older */

struct probe_place {
	char *endpoint;    /* "127.0.0.1:443", "[::1]:443", "name:443", "unix:/path" */
	char *server_name; /* SNI; "": none is sent */
	enum probe_key key;
	enum probe_starttls starttls;
	bool proxy_protocol; /* a PROXY header goes first */
	enum probe_version version;
	struct digest expect; /* SHA-256 of the leaf's DER; zero: one look, whatever it shows */
};
struct probe_request {
	struct probe_place *v;
	size_t n;
	uint32_t timeout_ms;  /* of one handshake */
	uint32_t deadline_ms; /* of the whole job */
	uint32_t settle_ms;
};

enum probe_result {
	PROBE_SHOWN,        /* a handshake showed a certificate: `sha256` */
	PROBE_REFUSED,      /* connection refused or socket missing */
	PROBE_NO_ANSWER,    /* time ran out */
	PROBE_TLS_FAILED,   /* connected, but no handshake */
	PROBE_NOT_ALONE,    /* the expected one was seen, and others after it */
	PROBE_NOT_EXPECTED, /* another certificate was served until the deadline: `sha256` */
	PROBE_RESULTS
};
const char *probe_result_text(enum probe_result result);

struct probe_seen {
	enum probe_result result;
	struct digest sha256, spki; /* of what was shown last */
	char *serial;               /* of the leaf shown last */
	uint32_t handshakes;
	int64_t first_expected_us; /* CLOCK_MONOTONIC when the first expected handshake ended; 0: never */
	int64_t last_other_us;     /* when the last handshake that showed another began; 0: none */
	char *text;                /* for people, where it is not PROBE_SHOWN */
};
struct probe_reply {
	struct probe_seen *v; /* one for each place, in order */
	size_t n;
};

void probe_request_pack(struct packer *p, const struct probe_request *r);
int probe_request_unpack(struct unpacker *u, struct probe_request *ret); /* 0 or -EBADMSG */
void probe_request_done(struct probe_request *r);
void probe_reply_pack(struct packer *p, const struct probe_reply *r);
int probe_reply_unpack(struct unpacker *u, struct probe_reply *ret);
void probe_reply_done(struct probe_reply *r);
#endif
