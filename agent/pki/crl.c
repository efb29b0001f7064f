#include "pki/crl.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/crl_parts.h"

#define PIECE 16384 /* bytes that are digested and read while they are in the processor's nearest cache */

static const char *const states[] = {
	[CRL_SOUND] = "sound",
	[CRL_MALFORMED] = "malformed",
	[CRL_TRUNCATED] = "truncated",
	[CRL_TOO_LARGE] = "too-large",
	[CRL_WRONG_ISSUER] = "wrong-issuer",
	[CRL_NOT_ALLOWED] = "not-allowed",
	[CRL_BAD_ALGORITHM] = "bad-algorithm",
	[CRL_BAD_SIGNATURE] = "bad-signature",
	[CRL_CRITICAL] = "critical-extension",
	[CRL_DELTA] = "delta",
	[CRL_INDIRECT] = "indirect",
	[CRL_ATTRIBUTES] = "attribute-certificates",
	[CRL_NOT_YET_VALID] = "not-yet-valid",
	[CRL_STALE] = "stale",
	[CRL_WENT_BACK] = "went-back",
};
_Static_assert(ARRAY_SIZE(states) == CRL_STATES, "a name for each");

const char *crl_state_name(enum crl_state state)
{
	return states[state];
}

const char *crl_reason_name(enum crl_reason reason)
{
	switch (reason) {
	case CRL_CODE_UNSPECIFIED:
		return "unspecified";
	case CRL_CODE_KEY_COMPROMISE:
		return "keyCompromise";
	case CRL_CODE_CA_COMPROMISE:
		return "cACompromise";
	case CRL_CODE_AFFILIATION_CHANGED:
		return "affiliationChanged";
	case CRL_CODE_SUPERSEDED:
		return "superseded";
	case CRL_CODE_CESSATION:
		return "cessationOfOperation";
	case CRL_CODE_HOLD:
		return "certificateHold";
	case CRL_CODE_REMOVE:
		return "removeFromCRL";
	case CRL_CODE_PRIVILEGE_WITHDRAWN:
		return "privilegeWithdrawn";
	case CRL_CODE_AA_COMPROMISE:
		return "aACompromise";
	case CRL_CODE_OTHER:
		return "other";
	}
	return "other";
}

int crl_number_compare(const struct crl_number *a, const struct crl_number *b)
{
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->b, b->b, a->len);
}

const char *crl_number_text(const struct crl_number *n, char *buf)
{
	text_hex(n->b, n->len, buf);
	return buf;
}

int crl_number_parse(const char *s, struct crl_number *ret)
{
	size_t n = strlen(s);
	*ret = (struct crl_number){0};
	if (n % 2 || n / 2 > sizeof ret->b || text_unhex(s, ret->b, n / 2) < 0 || (n && !ret->b[0]))
		return -EINVAL;
	ret->len = (uint8_t)(n / 2);
	return 0;
}

int crl_refuse(struct crl_scan *s, enum crl_state state, const char *format, ...)
{
	if (s->list.state != CRL_SOUND)
		return -EBADMSG;
	va_list args;
	va_start(args, format);
	char *text = xvasprintf(format, args);
	va_end(args);
	s->list.state = state;
	fault_set(&s->fault, -EBADMSG, "%s", text);
	free(text);
	return -EBADMSG;
}

struct crl_scan *crl_scan_new(const struct crl_options *o)
{
	struct crl_scan *s = xcalloc(1, sizeof *s);
	X509_up_ref(o->issuer);
	s->issuer = o->issuer;
	s->now = o->now;
	s->tolerance = o->tolerance ? o->tolerance : CRL_TOLERANCE;
	s->known_number = o->known_number;
	s->known_this_update = o->known_this_update;
	if (!(X509_get_key_usage(o->issuer) & KU_CRL_SIGN)) /* all bits where there is no keyUsage */
		crl_refuse(s, CRL_NOT_ALLOWED, "the issuer's certificate has no cRLSign: it may sign no list");
	return s;
}

void crl_scan_free(struct crl_scan *s)
{
	if (!s)
		return;
	X509_free(s->issuer);
	EVP_MD_CTX_free(s->md);
	crl_lookup_done(&s->lookup);
	words_done(&s->points);
	text_done(&s->kept);
	free(s->carry);
	free(s->algorithm);
	free(s->signature);
	free(s);
}

int crl_scan_want(struct crl_scan *s, const struct crl_want *want)
{
	return crl_lookup_add(&s->lookup, want);
}

/* ---- the parts, in their order ---- */

static const struct {
	uint32_t max; /* bytes of the part, with its header; 0: only its header is taken */
	uint8_t tag;
	bool optional;
	const char *name;
} parts[] = {
	[STEP_OUTER] = {0, 0x30, false, "CertificateList"},
	[STEP_TBS] = {0, 0x30, false, "tbsCertList"},
	[STEP_VERSION] = {3, 0x02, true, "version"},
	[STEP_ALGORITHM] = {1024, 0x30, false, "signature algorithm"},
	[STEP_ISSUER] = {65536, 0x30, false, "issuer"},
	[STEP_THIS] = {17, 0, false, "thisUpdate"},
	[STEP_NEXT] = {17, 0, true, "nextUpdate"},
	[STEP_LIST] = {0, 0x30, true, "revokedCertificates"},
	[STEP_ENTRIES] = {CRL_ENTRY_MAX, 0x30, false, "entry"},
	[STEP_EXTENSIONS] = {65536, 0xa0, true, "crlExtensions"},
	[STEP_OUTER_ALGORITHM] = {1024, 0x30, false, "signature algorithm"},
	[STEP_SIGNATURE] = {16384, 0x03, false, "signature"},
	[STEP_END] = {0, 0, false, "end"},
};
_Static_assert(ARRAY_SIZE(parts) == STEP_END + 1, "a row for each step");

static bool is_tag(enum crl_step step, uint8_t tag)
{
	return parts[step].tag ? tag == parts[step].tag : tag == 0x17 || tag == 0x18;
}

/* Where the thing ends that this part lies in. */
static uint64_t limit_of(const struct crl_scan *s)
{
	if (s->step == STEP_OUTER)
		return UINT64_MAX;
	if (s->step == STEP_ENTRIES)
		return s->entries_end;
	return s->step == STEP_TBS || s->step > STEP_EXTENSIONS ? s->whole_end : s->tbs_end;
}

/* Passes over what may be missing and is: by the next tag (-1: not known yet), or because its surroundings end here. */
static void settle(struct crl_scan *s, int tag)
{
	for (;;) {
		bool over = s->at == limit_of(s);
		bool missing = parts[s->step].optional && (over || (tag >= 0 && !is_tag(s->step, (uint8_t)tag)));
		if (s->step == STEP_LIST && missing)
			s->step = STEP_EXTENSIONS;
		else if (missing || (s->step == STEP_ENTRIES && over))
			s->step++;
		else
			return;
	}
}

/* How many bytes the next step takes, the first n of which are at p; -EBADMSG. */
static int64_t needed(struct crl_scan *s, const uint8_t *p, size_t n)
{
	size_t header = 0;
	uint64_t len = 0, limit;
	settle(s, n ? *p : -1);
	if (s->step == STEP_END)
		return crl_refuse(s, CRL_MALFORMED, "there are bytes behind its end");
	if (s->step == STEP_OUTER_ALGORITHM && s->at != s->tbs_end)
		return crl_refuse(s, CRL_MALFORMED, "tbsCertList holds more than it may");
	limit = limit_of(s) - s->at;
	if (n && !is_tag(s->step, *p))
		return crl_refuse(s, CRL_MALFORMED, "%s is not where it should be", parts[s->step].name);
	int r = crl_header(p, n, &header, &len);
	if (r < 0)
		return crl_refuse(s, CRL_MALFORMED, "%s is not DER", parts[s->step].name);
	uint64_t part = r == 0 ? (n < 2 ? 2 : 2 + (uint64_t)(p[1] & 0x7f)) : header + len;
	if (part > limit)
		return crl_refuse(s, CRL_MALFORMED, "%s is longer than what it lies in", parts[s->step].name);
	if (r && !parts[s->step].max)
		return (int64_t)header;
	if (r && part > parts[s->step].max)
		return crl_refuse(s, CRL_TOO_LARGE, "%s is larger than %u bytes", parts[s->step].name,
				  parts[s->step].max);
	return (int64_t)part;
}

static int take_time(struct crl_scan *s, const uint8_t *p, size_t n, int64_t *ret)
{
	return crl_time(p, n, ret) ? 0 : crl_refuse(s, CRL_MALFORMED, "%s is no time", parts[s->step].name);
}

static int take_header(struct crl_scan *s, const uint8_t *p, size_t n, uint64_t *ret_end)
{
	size_t header = 0;
	uint64_t len = 0;
	crl_header(p, n, &header, &len);
	*ret_end = s->at + header + len;
	if (s->step != STEP_OUTER && *ret_end > limit_of(s))
		return crl_refuse(s, CRL_MALFORMED, "%s is longer than what it lies in", parts[s->step].name);
	return 0;
}

/* One whole part, or the header of one. */
static int take(struct crl_scan *s, const uint8_t *p, size_t n)
{
	switch (s->step) {
	case STEP_OUTER:
		return take_header(s, p, n, &s->whole_end);
	case STEP_TBS:
		return take_header(s, p, n, &s->tbs_end);
	case STEP_VERSION:
		s->v2 = n == 3 && p[2] == 1;
		return s->v2 ? 0 : crl_refuse(s, CRL_MALFORMED, "its version is not 2");
	case STEP_ALGORITHM:
		return crl_take_algorithm(s, p, n);
	case STEP_ISSUER:
		return crl_take_issuer(s, p, n);
	case STEP_THIS:
		return take_time(s, p, n, &s->list.this_update);
	case STEP_NEXT:
		return take_time(s, p, n, &s->list.next_update);
	case STEP_LIST:
		return take_header(s, p, n, &s->entries_end);
	case STEP_ENTRIES:
		return crl_entries(s, p, n) == (int64_t)n ? 0 : crl_refuse(s, CRL_MALFORMED, "an entry is empty");
	case STEP_EXTENSIONS:
		return crl_take_extensions(s, p, n);
	case STEP_OUTER_ALGORITHM:
		return n == s->algorithm_len && memcmp(p, s->algorithm, n) == 0
			       ? 0
			       : crl_refuse(s, CRL_BAD_ALGORITHM, "it names two signature algorithms");
	case STEP_SIGNATURE:
		return crl_take_signature(s, p, n);
	case STEP_END:
		break;
	}
	return crl_refuse(s, CRL_MALFORMED, "there are bytes behind its end");
}

static bool is_inside_tbs(enum crl_step step)
{
	return step >= STEP_TBS && step <= STEP_EXTENSIONS;
}

/* Takes one step of exactly n bytes. Digested before the algorithm is known: kept, and handed on by crl_take_algorithm.
 */
static int step(struct crl_scan *s, const uint8_t *p, size_t n)
{
	if ((is_inside_tbs(s->step) && crl_digest(s, p, n) < 0) || take(s, p, n) < 0)
		return -EBADMSG;
	s->at += n;
	s->list.bytes = s->at;
	if (s->step != STEP_ENTRIES)
		s->step++;
	settle(s, -1);
	return 0;
}

/* Takes what is whole of the n bytes at p; returns how many, or -EBADMSG. */
static int64_t take_all(struct crl_scan *s, const uint8_t *p, size_t n)
{
	const uint8_t *start = p, *end = p + n;
	while (p < end) {
		if (s->step == STEP_ENTRIES && s->at < s->entries_end) {
			uint64_t left = s->entries_end - s->at;
			int64_t many = crl_entries(s, p, left < (uint64_t)(end - p) ? (size_t)left : (size_t)(end - p));
			if (many < 0 || (many > 0 && crl_digest(s, p, (size_t)many) < 0))
				return -EBADMSG;
			p += many;
			s->at += (uint64_t)many;
			s->list.bytes = s->at;
			settle(s, -1);
			if (p == end)
				break;
		}
		int64_t need = needed(s, p, (size_t)(end - p));
		if (need < 0)
			return need;
		if (need > end - p)
			break;
		if (step(s, p, (size_t)need) < 0)
			return -EBADMSG;
		p += need;
	}
	return p - start;
}

static void keep(struct crl_scan *s, const uint8_t *p, size_t n)
{
	if (s->ncarry + n > s->carry_cap) {
		s->carry_cap = s->ncarry + n + 512;
		s->carry = xrealloc(s->carry, s->carry_cap);
	}
	memcpy(s->carry + s->ncarry, p, n);
	s->ncarry += n;
}

static int feed_der(struct crl_scan *s, const uint8_t *p, size_t n)
{
	for (;;) {
		if (!s->ncarry) {
			size_t piece = n < PIECE ? n : PIECE;
			if (!n)
				return 0;
			int64_t taken = take_all(s, p, piece);
			if (taken < 0)
				return -EBADMSG;
			if (taken < (int64_t)piece) /* only the end of a piece may be the beginning of a part */
				keep(s, p + taken, piece - (size_t)taken);
			p += piece;
			n -= piece;
			continue;
		}
		int64_t need = needed(s, s->carry, s->ncarry);
		if (need < 0)
			return -EBADMSG;
		if (need <= (int64_t)s->ncarry) {
			if (step(s, s->carry, (size_t)need) < 0)
				return -EBADMSG;
			s->ncarry = 0;
			continue;
		}
		if (!n)
			return 0;
		size_t more = (size_t)need - s->ncarry;
		if (more > n)
			more = n;
		keep(s, p, more);
		p += more;
		n -= more;
	}
}

/* ---- DER or PEM ---- */

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\v' || c == '\f';
}

/* The bytes of the last group that has fewer than four digits. */
static int last_group(struct crl_scan *s)
{
	uint8_t out[2] = {(uint8_t)(s->group >> (s->digits == 2 ? 4 : 10)), (uint8_t)(s->group >> 2)};
	size_t n = s->digits ? s->digits - 1 : 0;
	if (s->digits == 1)
		return crl_refuse(s, CRL_MALFORMED, "its base64 is damaged");
	s->digits = 0;
	return feed_der(s, out, n);
}

/* Looks for the line that begins the block. */
static void feed_line(struct crl_scan *s, uint8_t c)
{
	static const char begin[] = "-----BEGIN X509 CRL-----";
	if (c != '\n' && c != '\r') {
		if (c < 0x80 && s->nline < sizeof s->line)
			s->line[s->nline++] = (char)c;
		return;
	}
	while (s->nline && is_space((uint8_t)s->line[s->nline - 1]))
		s->nline--;
	if (s->nline == sizeof begin - 1 && memcmp(s->line, begin, s->nline) == 0)
		s->form = CRL_FORM_BASE64;
	s->nline = 0;
}

static int feed_digit(struct crl_scan *s, uint8_t c, uint8_t *out, size_t *n)
{
	int v = base64_value(c);
	if (is_space(c))
		return 0;
	if (c == '=' && s->digits >= 2) {
		s->form = CRL_FORM_PADDING;
		return 0;
	}
	if (v < 0)
		return crl_refuse(s, CRL_MALFORMED, "its base64 is damaged");
	s->group = s->group << 6 | (uint32_t)v;
	if (++s->digits < 4)
		return 0;
	out[(*n)++] = (uint8_t)(s->group >> 16);
	out[(*n)++] = (uint8_t)(s->group >> 8);
	out[(*n)++] = (uint8_t)s->group;
	s->digits = 0;
	return 0;
}

static int feed_padding(struct crl_scan *s, uint8_t c)
{
	if (is_space(c) || c == '=')
		return 0;
	if (c != '-')
		return crl_refuse(s, CRL_MALFORMED, "its base64 is damaged");
	s->form = CRL_FORM_BEHIND;
	return last_group(s);
}

static int feed_text(struct crl_scan *s, const uint8_t *p, size_t n)
{
	uint8_t out[3072];
	size_t nout = 0;
	for (size_t i = 0; i < n && s->form != CRL_FORM_BEHIND; i++) {
		int r = 0;
		if (s->form == CRL_FORM_TEXT) {
			feed_line(s, p[i]);
		} else if (s->form == CRL_FORM_PADDING || (p[i] == '-' && s->form == CRL_FORM_BASE64)) {
			r = feed_der(s, out, nout);
			nout = 0;
			s->form = CRL_FORM_PADDING;
			if (r == 0)
				r = feed_padding(s, p[i]);
		} else {
			r = feed_digit(s, p[i], out, &nout);
		}
		if (r == 0 && nout > sizeof out - 3) {
			r = feed_der(s, out, nout);
			nout = 0;
		}
		if (r < 0)
			return r;
	}
	return feed_der(s, out, nout);
}

int crl_scan_feed(struct crl_scan *s, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	if (s->list.state != CRL_SOUND)
		return -EBADMSG;
	if (!s->lookup.filter)
		crl_lookup_ready(&s->lookup);
	if (s->form == CRL_FORM_UNKNOWN && len)
		s->form = *p == 0x30 ? CRL_FORM_DER : CRL_FORM_TEXT;
	return s->form == CRL_FORM_DER ? feed_der(s, p, len) : feed_text(s, p, len);
}

/* ---- the end ---- */

/* What a sound list may still be wrong for. Only now, as before the signature nobody knows whose words they are. */
static int check_times(struct crl_scan *s)
{
	const struct crl_list *l = &s->list;
	char a[32], b[32];
	if (l->this_update > s->now + s->tolerance)
		return crl_refuse(s, CRL_NOT_YET_VALID, "it is not valid before %s; is this host's clock right?",
				  text_from_time(l->this_update, a));
	if (!l->next_update)
		return crl_refuse(s, CRL_STALE, "it does not say when the next one comes (nextUpdate)");
	if (l->next_update + s->tolerance < s->now)
		return crl_refuse(s, CRL_STALE, "its successor was due at %s", text_from_time(l->next_update, a));
	if (l->this_update < s->known_this_update)
		return crl_refuse(s, CRL_WENT_BACK, "it is of %s, and one of %s was seen before",
				  text_from_time(l->this_update, a), text_from_time(s->known_this_update, b));
	if (s->known_number.len && crl_number_compare(&l->number, &s->known_number) < 0)
		return crl_refuse(s, CRL_WENT_BACK, "its number is lower than that of one seen before");
	return 0;
}

enum crl_state crl_scan_finish(struct crl_scan *s, struct crl_list *ret, struct fault *fault)
{
	if (!s->lookup.filter)
		crl_lookup_ready(&s->lookup);
	if (s->form == CRL_FORM_TEXT)
		crl_refuse(s, CRL_MALFORMED, "it is neither DER nor PEM of a certificate revocation list");
	if (s->list.state == CRL_SOUND && (s->step != STEP_END || s->at != s->whole_end))
		crl_refuse(s, CRL_TRUNCATED, "it is cut off at byte %llu", (unsigned long long)s->at + s->ncarry);
	if (s->list.state == CRL_SOUND && crl_check_signature(s) == 0)
		check_times(s);
	if (ret)
		*ret = s->list;
	if (fault && s->list.state != CRL_SOUND)
		*fault = s->fault;
	return s->list.state;
}

static enum crl_why why_not(const struct crl_scan *s, const struct crl_wanted *w)
{
	if (s->list.state != CRL_SOUND)
		return CRL_WHY_LIST;
	if (s->users_only && w->ca)
		return CRL_WHY_USERS_ONLY;
	if (s->cas_only && !w->ca)
		return CRL_WHY_CAS_ONLY;
	bool same = !s->list.scoped;
	for (size_t i = 0; !same && w->points && i < w->points->n; i++)
		same = words_has(&s->points, w->points->v[i]);
	if (!same)
		return CRL_WHY_SHARD;
	return s->list.partial && !w->listed ? CRL_WHY_REASONS : CRL_WHY_NOTHING;
}

void crl_scan_answer(const struct crl_scan *s, size_t index, struct crl_answer *ret)
{
	const struct crl_wanted *w = &s->lookup.v[index];
	*ret = (struct crl_answer){.why = why_not(s, w),
				   .listed = w->listed,
				   .reason = w->reason,
				   .revoked_at = w->revoked_at,
				   .invalid_since = w->invalid_since};
	if (ret->why == CRL_WHY_NOTHING)
		ret->verdict = w->listed && w->reason != CRL_CODE_REMOVE ? CRL_REVOKED : CRL_GOOD;
}
