#include "wire/finding.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* Bytes of one finding's text; more would not fit beside the others into a message. */
#define FINDING_TEXT_MAX 1000

static const struct {
	const char *name, *what_to_do;
	bool never_accepted;
} codes[] = {
	[FINDING_PAIR_MISMATCH] =
		{"PAIR_MISMATCH",
		 "Hand in the key whose CSR the CA signed, or have the certificate issued for this key.", true},
	[FINDING_KEY_MISSING] =
		{"KEY_MISSING",
		 "Add the private key to the files; without it have the certificate reissued with a CSR "
		 "of `certswapctl csr`.",
		 true},
	[FINDING_KEY_ENCRYPTED] = {"KEY_ENCRYPTED", "Give the password with --password-file, or decrypt the key first.",
				   false},
	[FINDING_KEY_DENIED] = {"KEY_DENIED",
				"Make a new key (`certswapctl csr NAME --new-key`) and have the certificate reissued; "
				"`certswapctl deny remove` only if the refusal was a mistake.",
				true},
	[FINDING_KEY_SIZE] = {"KEY_SIZE", "Make a new key (RSA of 2048 bits or more, or ECDSA P-256) and reissue.",
			      false},
	[FINDING_KEY_WEAK_DEBIAN] = {"KEY_WEAK_DEBIAN", "Make a new key on another machine and reissue at once.",
				     false},
	[FINDING_KEY_WEAK_ROCA] =
		{"KEY_WEAK_ROCA", "Make a new key outside the chip or library that made this one, and reissue at once.",
		 false},
	[FINDING_KEY_WEAK_CLOSE_PRIMES] = {"KEY_WEAK_CLOSE_PRIMES",
					   "Make a new key with another program and reissue at once.", false},
	[FINDING_KEY_TYPE] = {"KEY_TYPE", "Use RSA or ECDSA on P-256 or P-384 for certificates of public CAs.", false},
	[FINDING_CHAIN_INCOMPLETE] =
		{"CHAIN_INCOMPLETE",
		 "Add the CA's intermediate certificates to the files or to the intermediates folder.", false},
	[FINDING_CHAIN_UNTRUSTED] = {"CHAIN_UNTRUSTED",
				     "Ask the CA for the right chain; for a private CA name its root with `trust`.",
				     false},
	[FINDING_SIGNATURE_WEAK] = {"SIGNATURE_WEAK", "Ask the CA for a certificate signed with SHA-256 or better.",
				    false},
	[FINDING_NAME_MISSING] = {"NAME_MISSING",
				  "Have it reissued with all names, or take the name out of `dns` if it is not used.",
				  false},
	[FINDING_NAME_NONE] = {"NAME_NONE", "Have it reissued with a subject alternative name.", false},
	[FINDING_EXPIRED] = {"EXPIRED", "Get a new certificate; look whether the old file was sent by mistake.", false},
	[FINDING_NOT_YET_VALID] = {"NOT_YET_VALID", "Wait until then, or check this host's clock.", false},
	[FINDING_VALIDITY_TOO_LONG] = {"VALIDITY_TOO_LONG",
				       "Have it reissued with a shorter life; browsers refuse it. For a private CA set "
				       "profile = \"private\".",
				       false},
	[FINDING_IS_CA] = {"IS_CA", "Hand in the server's certificate, not the CA's.", false},
	[FINDING_USAGE_SERVER_AUTH] = {"USAGE_SERVER_AUTH", "Have it reissued for use by a TLS server (serverAuth).",
				       false},
	[FINDING_USAGE_SIGNATURE] = {"USAGE_SIGNATURE", "Have it reissued with the key usage digitalSignature.", false},
	[FINDING_USAGE_CLIENT_AUTH_LOST] = {"USAGE_CLIENT_AUTH_LOST",
					    "If this server is also a client (mutual TLS), get it another certificate "
					    "for that first.",
					    false},
	[FINDING_SCT_MISSING] = {"SCT_MISSING",
				 "Ask the CA for a certificate with embedded SCTs. For a private CA set profile = "
				 "\"private\".",
				 false},
	[FINDING_NO_STATUS_SOURCE] = {"NO_STATUS_SOURCE",
				      "Nobody can see whether it was revoked; ask the CA for a CRL address.", false},
	[FINDING_MUST_STAPLE] =
		{"MUST_STAPLE",
		 "Make sure that the server staples OCSP responses from its first handshake on: nginx with "
		 "ssl_stapling_file and staple = true in certswap.conf, Apache with SSLUseStapling.",
		 false},
	[FINDING_REVOKED] = {"REVOKED", "Have a new certificate issued, with a new key if the reason was the key.",
			     false},
	[FINDING_OLDER_THAN_LIVE] =
		{"OLDER_THAN_LIVE",
		 "Look where the old file came from; to go back on purpose use `certswapctl swap` or "
		 "`rollback`.",
		 false},
	[FINDING_SAME_AS_LIVE] = {"SAME_AS_LIVE", "Nothing is to be done.", false},
	[FINDING_HANDSHAKE_FAILED] =
		{"HANDSHAKE_FAILED",
		 "The pair can't serve: take the key again from where it was made, or make a new one.", true},
	[FINDING_PIN_NOT_COVERED] = {"PIN_NOT_COVERED",
				     "Use a pinned key, or accept it if the clients no longer hold the pins.", false},
	[FINDING_TLSA_NOT_COVERED] = {"TLSA_NOT_COVERED",
				      "Publish the TLSA record of the new key first and wait for its TTL.", false},
	[FINDING_UNREADABLE] = {"UNREADABLE", "Take the file again from what the CA sent, as PEM, PKCS#7 or PKCS#12.",
				true},
	[FINDING_TOO_LARGE] = {"TOO_LARGE", "Hand in only the certificate, its chain and its key.", false},
};
_Static_assert(ARRAY_SIZE(codes) == FINDING_CODES, "each finding has its row");

static const char *const severities[] = {
	[FINDING_INFO] = "info",
	[FINDING_WARN] = "warn",
	[FINDING_BLOCK] = "block",
};
_Static_assert(ARRAY_SIZE(severities) == FINDING_SEVERITIES, "each severity has its name");

const char *finding_name(enum finding_code code)
{
	return codes[code].name;
}

int finding_parse(const char *name, enum finding_code *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		if (strcmp(codes[i].name, name) == 0) {
			*ret = (enum finding_code)i;
			return 0;
		}
	}
	return -ENOENT;
}

const char *severity_name(enum finding_severity severity)
{
	return severities[severity];
}

const char *finding_what_to_do(enum finding_code code)
{
	return codes[code].what_to_do;
}

bool finding_can_be_accepted(enum finding_code code)
{
	return !codes[code].never_accepted;
}

static void add(struct findings *f, enum finding_code code, enum finding_severity severity, char *text)
{
	f->v = xrealloc(f->v, (f->n + 1) * sizeof *f->v);
	f->v[f->n++] = (struct finding){.code = code, .severity = severity, .text = text};
}

void findings_add(struct findings *f, enum finding_code code, enum finding_severity severity, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = xvasprintf(format, args);
	va_end(args);
	if (strlen(text) > FINDING_TEXT_MAX) {
		size_t end = FINDING_TEXT_MAX - 3;
		while (end && ((unsigned char)text[end] & 0xc0) == 0x80) /* not in the middle of a UTF-8 character */
			end--;
		memcpy(text + end, "...", 4);
	}
	add(f, code, severity, text_printable(text));
}

const struct finding *findings_worst(const struct findings *f)
{
	const struct finding *worst = NULL;
	for (size_t i = 0; i < f->n; i++)
		if (!worst || f->v[i].severity > worst->severity)
			worst = &f->v[i];
	return worst;
}

bool findings_block(const struct findings *f)
{
	const struct finding *worst = findings_worst(f);
	return worst && worst->severity == FINDING_BLOCK;
}

void findings_done(struct findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->v[i].text);
	free(f->v);
	*f = (struct findings){0};
}

void pack_findings(struct packer *p, const struct findings *f)
{
	if (f->n > WIRE_LIST_MAX)
		p->failed = true;
	pack_u16(p, (uint16_t)f->n);
	for (size_t i = 0; i < f->n && !p->failed; i++) {
		pack_u8(p, (uint8_t)f->v[i].code);
		pack_u8(p, (uint8_t)f->v[i].severity);
		pack_string(p, f->v[i].text);
	}
}

struct findings unpack_findings(struct unpacker *u)
{
	struct findings f = {0};
	size_t n = unpack_count(u);
	for (size_t i = 0; i < n && !u->failed; i++) {
		uint8_t code = unpack_u8(u), severity = unpack_u8(u);
		char *text = unpack_string(u);
		if (code >= FINDING_CODES || severity >= FINDING_SEVERITIES)
			u->failed = true;
		if (u->failed)
			free(text);
		else
			add(&f, (enum finding_code)code, (enum finding_severity)severity, text_printable(text));
	}
	return f;
}
