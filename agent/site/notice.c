#include "site/notice.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/dropbox.h"
#include "site/pending.h"
#include "site/transaction.h"

#define NOTICE_FILE_MAX 65536
#define AT_ONCE         16 /* notice files taken in one turn of the loop */

static const char *const fields[] = {"certificate", "serial", "issuer", "sha256",      "spki_sha256", "fingerprint",
				     "case",        "reason", "scope",  "received_at", "revoke_at",   "reference"};

static bool is_field(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (strcmp(fields[i], key) == 0)
			return true;
	return false;
}

/* "" where the field is missing or null; NULL where it is no string. */
static const char *string_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	return !v || json_is_null(v) ? "" : json_string_value(v);
}

/* ---- serial numbers, as people write them ---- */

/* Decimal digits to hexadecimal without leading zeros: base 256 by hand, a serial has at most 20 octets (RFC
 * 5280 4.1.2.2). */
static int decimal_to_hex(const char *s, char *out, size_t size)
{
	uint8_t bytes[24] = {0};
	for (; *s; s++) {
		unsigned int carry = (unsigned int)(*s - '0');
		if (!isdigit((unsigned char)*s))
			return -EINVAL;
		for (size_t i = sizeof bytes; i-- > 0;) {
			carry += bytes[i] * 10u;
			bytes[i] = (uint8_t)carry;
			carry >>= 8;
		}
		if (carry)
			return -EINVAL;
	}
	char hex[2 * sizeof bytes + 1];
	text_hex(bytes, sizeof bytes, hex);
	const char *p = hex + strspn(hex, "0");
	if (strlen(p) >= size)
		return -EINVAL;
	strcpy(out, *p ? p : "0");
	return 0;
}

/* Hexadecimal with colons, spaces, capitals, 0x and leading zeros as they come, or dec:N -> lower case without leading
 * zeros. */
static int normal_serial(const char *s, char *out, size_t size)
{
	size_t n = 0;
	if (strncmp(s, "dec:", 4) == 0)
		return s[4] ? decimal_to_hex(s + 4, out, size) : -EINVAL;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	for (; *s; s++) {
		if (*s == ':' || *s == ' ' || (*s == '0' && !n))
			continue;
		if (!isxdigit((unsigned char)*s) || n + 1 >= size)
			return -EINVAL;
		out[n++] = (char)tolower((unsigned char)*s);
	}
	strcpy(out + n, n ? "" : "0");
	return 0;
}

/* Same distinguished name, whatever the spaces and capitals; a part of it is enough. */
static bool issuer_fits(const char *asked, const char *issuer)
{
	char a[512], b[512];
	const char *from[2] = {asked, issuer};
	char *to[2] = {a, b};
	for (int i = 0; i < 2; i++) {
		size_t n = 0;
		for (const char *p = from[i]; *p && n < sizeof a - 1; p++)
			if (*p != ' ' && *p != '"')
				to[i][n++] = (char)tolower((unsigned char)*p);
		to[i][n] = '\0';
	}
	return strstr(b, a) != NULL;
}

/* A key identifier (RFC 5280 4.2.1.2) as people copy it, with or without colons and spaces: so long that it is no DN.
 */
static bool ski_fits(const char *asked, const char *ski)
{
	char hex[2 * 64 + 1];
	size_t n = 0;
	for (const char *p = asked; *p; p++) {
		if (*p == ':' || *p == ' ')
			continue;
		if (!isxdigit((unsigned char)*p) || n == sizeof hex - 1)
			return false;
		hex[n++] = (char)tolower((unsigned char)*p);
	}
	hex[n] = '\0';
	return n >= 16 && ski && strcmp(hex, ski) == 0;
}

/* ---- what is hit ---- */

static void add_hit(struct notice_hits *hits, struct certificate *c, const struct meta *meta)
{
	for (size_t i = 0; i < hits->n; i++)
		if (hits->v[i].meta == meta)
			return;
	hits->v = xrealloc(hits->v, (hits->n + 1) * sizeof *hits->v);
	hits->v[hits->n++] = (struct notice_hit){.certificate = c, .meta = meta};
}

struct selector {
	const char *name, *issuer;
	char serial[64];
	struct digest any; /* SHA-256 of a certificate or of a key */
	bool by_name, by_serial, by_digest;
};

static bool selects(const struct selector *s, const struct certificate *c, const struct meta *meta)
{
	if (!meta->number)
		return false;
	if (s->by_name &&
	    (strcmp(c->settings->name, s->name) != 0 || (meta != &c->live && !s->by_serial && !s->by_digest)))
		return false;
	if (s->by_serial &&
	    (strcmp(meta->serial, s->serial) != 0 ||
	     (*s->issuer && !issuer_fits(s->issuer, meta->issuer) && !ski_fits(s->issuer, meta->issuer_ski))))
		return false;
	return !s->by_digest || digest_equal(&meta->sha256, &s->any) || digest_equal(&meta->spki, &s->any);
}

static void find_hits(struct site *site, const struct selector *s, struct notice_hits *hits)
{
	for (size_t i = 0; i < site->ncertificates; i++) {
		struct certificate *c = site->certificates[i];
		transaction_look(c);
		const struct meta *const pairs[] = {&c->live, &c->standby, c->coming, c->going};
		for (size_t k = 0; k < ARRAY_SIZE(pairs); k++)
			if (pairs[k] && selects(s, c, pairs[k]))
				add_hit(hits, c, pairs[k]);
	}
}

/* A compromised key hits every certificate that has it; a break-in every one whose key lies on this disk. */
static void add_more(struct site *site, bool all, struct notice_hits *hits)
{
	for (size_t i = 0; all && i < site->ncertificates; i++)
		if (site->certificates[i]->live.number)
			add_hit(hits, site->certificates[i], &site->certificates[i]->live);
	for (size_t h = 0; h < hits->n; h++) {
		const struct digest spki = hits->v[h].meta->spki;
		for (size_t i = 0; i < site->ncertificates; i++) {
			struct certificate *c = site->certificates[i];
			const struct meta *const pairs[] = {&c->live, &c->standby, c->coming, c->going};
			for (size_t k = 0; k < ARRAY_SIZE(pairs); k++)
				if (pairs[k] && pairs[k]->number && digest_equal(&pairs[k]->spki, &spki))
					add_hit(hits, c, pairs[k]);
		}
	}
}

static int several_issuers(const struct selector *s, const struct notice_hits *hits, struct fault *fault)
{
	struct text list = {0};
	bool differ = false;
	for (size_t i = 0; i < hits->n; i++) {
		differ |= strcmp(hits->v[i].meta->issuer, hits->v[0].meta->issuer) != 0;
		text_add(&list, "\n  %s: %s", hits->v[i].certificate->settings->name, hits->v[i].meta->issuer);
	}
	if (differ && s->by_serial && !s->by_name && !s->by_digest) /* a part of an issuer may fit several */
		fault_set(fault, -EEXIST,
			  "serial %s fits certificates of several issuers; say which with --issuer:%.700s", s->serial,
			  list.s);
	text_done(&list);
	return fault->code;
}

/* ---- reading ---- */

static int read_selector(const json_t *o, struct selector *s, struct fault *fault)
{
	const char *serial = string_of(o, "serial"), *digest = string_of(o, "sha256");
	s->name = string_of(o, "certificate");
	s->issuer = string_of(o, "issuer");
	if (digest && !*digest)
		digest = string_of(o, "spki_sha256");
	if (digest && !*digest)
		digest = string_of(o, "fingerprint");
	if (!serial || !digest || !s->name || !s->issuer)
		return fault_set(fault, -EINVAL, "certificate, serial, issuer and fingerprints must be strings");
	s->by_name = *s->name;
	s->by_serial = *serial;
	s->by_digest = *digest;
	if (s->by_serial && normal_serial(serial, s->serial, sizeof s->serial) < 0)
		return fault_set(fault, -EINVAL, "serial \"%.80s\" is not hexadecimal; a decimal one is written dec:N",
				 serial);
	if (s->by_digest && digest_parse(digest, &s->any) < 0)
		return fault_set(fault, -EINVAL, "\"%.80s\" is not a SHA-256 fingerprint (64 hexadecimal digits)",
				 digest);
	if (!s->by_name && !s->by_serial && !s->by_digest)
		return fault_set(fault, -EINVAL, "it names nothing: certificate, serial or a fingerprint is needed");
	return 0;
}

static int read_time(const json_t *o, const char *key, int64_t *ret, struct fault *fault)
{
	const char *s = string_of(o, key);
	*ret = 0;
	if (!s || (*s && text_to_time(s, ret) < 0))
		return fault_set(fault, -EINVAL, "%s: \"%.60s\" is not a time like 2026-11-23T17:50:00Z", key,
				 s ? s : "?");
	return 0;
}

static int read_notice(const json_t *o, struct notice *n, struct fault *fault)
{
	const char *letter = string_of(o, "case"), *reason = string_of(o, "reason"), *scope = string_of(o, "scope");
	*n = (struct notice){
		.kind = INCIDENT_NOTICE, .source = "operator", .reason = -1, .reference = string_of(o, "reference")};
	if (!letter || (*letter && (letter[1] || !policy_case(letter[0]))))
		return fault_set(fault, -EINVAL, "case: \"%.20s\" is not one of a to p (BR 4.9.1.1 items 1 to 16)",
				 letter ? letter : "?");
	n->case_letter = *letter;
	if (!reason || (*reason && policy_reason(reason, &n->reason) < 0))
		return fault_set(fault, -EINVAL, "reason: \"%.40s\" is not a CRLReason of RFC 5280 5.3.1",
				 reason ? reason : "?");
	if (!scope || (*scope && strcmp(scope, "key") != 0 && strcmp(scope, "host") != 0))
		return fault_set(fault, -EINVAL, "scope: \"%.20s\" is neither key nor host", scope ? scope : "?");
	n->host_scope = strcmp(scope, "host") == 0;
	if (!n->reference)
		return fault_set(fault, -EINVAL, "reference must be a string");
	int r = read_time(o, "received_at", &n->received_at, fault);
	return r < 0 ? r : read_time(o, "revoke_at", &n->revoke_at, fault);
}

static int check_fields(const json_t *o, struct fault *fault)
{
	void *it = json_object_iter((json_t *)(uintptr_t)o);
	for (; it; it = json_object_iter_next((json_t *)(uintptr_t)o, it))
		if (!is_field(json_object_iter_key(it)))
			return fault_set(fault, -EINVAL, "unknown field \"%.60s\"", json_object_iter_key(it));
	return 0;
}

int notice_read(struct site *site, const json_t *object, bool file, struct notice *ret_notice,
		struct notice_hits *ret_hits, struct fault *fault)
{
	struct selector s = {0};
	*ret_hits = (struct notice_hits){0};
	fault->code = 0;
	int r = file ? check_fields(object, fault) : 0;
	if (r == 0)
		r = read_selector(object, &s, fault);
	if (r == 0)
		r = read_notice(object, ret_notice, fault);
	if (r < 0)
		return r;
	find_hits(site, &s, ret_hits);
	if (!ret_hits->n && s.by_name && site_certificate(site, s.name))
		return fault_set(fault, -ENOENT, "%s has no certificate yet: there is nothing to be revoked", s.name);
	if (!ret_hits->n && s.by_name) {
		AUTO_FREE char *text = site_no_certificate(site, s.name);
		return fault_set(fault, -ENOENT, "%s (certswapctl status lists them)", text);
	}
	if (!ret_hits->n)
		return fault_set(
			fault, -ENOENT,
			"nothing here is meant: no live or standby certificate fits (certswapctl status lists them)");
	r = several_issuers(&s, ret_hits, fault);
	if (r < 0) {
		free(ret_hits->v);
		*ret_hits = (struct notice_hits){0};
		return r;
	}
	if (policy_case(ret_notice->case_letter)->new_key || ret_notice->reason == POLICY_KEY_COMPROMISE ||
	    ret_notice->host_scope)
		add_more(site, ret_notice->host_scope, ret_hits);
	return 0;
}

/* ---- files ---- */

/* Takes one notice file; text says why not. */
static int take_file(struct site *site, int fd, struct fault *fault)
{
	struct notice notice;
	struct notice_hits hits;
	json_error_t error;
	json_t *o = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(o)) {
		json_decref(o);
		return fault_set(fault, -EINVAL, "not a JSON object: %s (line %d)", error.text, error.line);
	}
	int r = notice_read(site, o, true, &notice, &hits, fault);
	for (size_t i = 0; r == 0 && i < hits.n; i++) {
		struct incident *incident = incident_open(hits.v[i].certificate, hits.v[i].meta, &notice, fault);
		r = incident ? 0 : fault->code;
		if (incident && notice.host_scope)
			pending_renew(hits.v[i].certificate, NULL, NULL);
	}
	if (r == 0 || hits.n)
		free(hits.v);
	json_decref(o);
	return r;
}

static void look(void *data)
{
	struct site *site = data;
	struct words entries = {0};
	size_t taken = 0;
	timer_close(site->notices_timer);
	site->notices_timer = NULL;
	if (files_list(site->folders.notices, false, &entries, NULL) < 0)
		return;
	for (size_t i = 0; i < entries.n && taken < AT_ONCE; i++) {
		struct fault fault = {0};
		const char *entry = entries.v[i];
		int fd = dropbox_look(site->folders.notices, entry, NOTICE_FILE_MAX, &fault);
		if (fd == -EBUSY || fd == -ENOENT)
			continue;
		int r = fd < 0 ? fd : take_file(site, fd, &fault);
		auto_close_(&fd);
		taken++;
		if (r < 0)
			dropbox_reject(site, site->folders.notices, entry, entry, fault.text);
		else if (unlinkat(site->folders.notices, entry, 0) <
			 0) /* its incident is recorded: a second reading would join it */
			log_warning("record-failed", "notices/%s can't be removed", entry);
	}
	words_done(&entries);
	if (taken == AT_ONCE) /* a millisecond: a timer of none would come before everybody else's turn */
		site->notices_timer = timer_start(site->loop, 1, look, site);
}

static void look_soon(void *data)
{
	struct site *site = data;
	if (!site->notices_timer)
		site->notices_timer = timer_start(site->loop, 0, look, site);
}

int notices_watch(struct site *site, struct fault *fault)
{
	AUTO_FREE char *path = xasprintf("%s/notices", site->settings->state_dir);
	site->notices = watch_start(site->watcher, path, look_soon, site, fault);
	if (!site->notices)
		return fault->code ? fault->code : -EIO;
	look_soon(site);
	return 0;
}

void notices_close(struct site *site)
{
	if (site->notices)
		watch_close(site->notices);
	timer_close(site->notices_timer);
	site->notices = NULL;
	site->notices_timer = NULL;
}
