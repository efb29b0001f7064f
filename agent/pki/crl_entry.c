/* The entries of a list: nearly all of its bytes, so here each nanosecond counts. Nothing is allocated for an entry. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "pki/crl_parts.h"

#define TAG_BOOLEAN    0x01
#define TAG_INTEGER    0x02
#define TAG_OCTETS     0x04
#define TAG_OID        0x06
#define TAG_ENUMERATED 0x0a
#define TAG_UTC        0x17
#define TAG_GENERAL    0x18
#define TAG_SEQUENCE   0x30

/* ---- DER ---- */

int crl_header(const uint8_t *p, size_t n, size_t *ret_header, uint64_t *ret_len)
{
	if (n < 2)
		return 0;
	if ((p[0] & 0x1f) == 0x1f)
		return -1;
	*ret_header = 2;
	*ret_len = p[1];
	if (p[1] < 0x80)
		return 1;
	size_t bytes = p[1] & 0x7f;
	if (bytes == 0 || bytes > 6)
		return -1;
	if (n < 2 + bytes)
		return 0;
	uint64_t len = 0;
	for (size_t i = 0; i < bytes; i++)
		len = len << 8 | p[2 + i];
	if (len < 0x80 || p[2] == 0)
		return -1;
	*ret_header = 2 + bytes;
	*ret_len = len;
	return 1;
}

static bool two_digits(const uint8_t *p, int *ret)
{
	if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
		return false;
	*ret = (p[0] - '0') * 10 + (p[1] - '0');
	return true;
}

bool crl_time(const uint8_t *p, size_t n, int64_t *ret)
{
	int v[7] = {0}; /* century, year, month, day, hour, minute, second */
	bool utc = n == 15 && p[0] == TAG_UTC && p[1] == 13, general = n == 17 && p[0] == TAG_GENERAL && p[1] == 15;
	if ((!utc && !general) || p[n - 1] != 'Z')
		return false;
	const uint8_t *digits = p + 2;
	for (size_t i = utc; i < 7; i++, digits += 2)
		if (!two_digits(digits, &v[i]))
			return false;
	if (utc)
		v[0] = v[1] >= 50 ? 19 : 20; /* RFC 5280 4.1.2.5.1 */
	if (v[2] < 1 || v[2] > 12 || v[3] < 1 || v[3] > 31 || v[4] > 23 || v[5] > 59 || v[6] > 59)
		return false;
	struct tm tm = {.tm_year = v[0] * 100 + v[1] - 1900,
			.tm_mon = v[2] - 1,
			.tm_mday = v[3],
			.tm_hour = v[4],
			.tm_min = v[5],
			.tm_sec = v[6]};
	*ret = timegm(&tm);
	return tm.tm_mday == v[3];
}

/* A piece of DER that is read from its front. */
struct der {
	const uint8_t *p;
	size_t n;
};

/* Takes the next TLV from the front: its content in *ret. False: it is not there, or has another tag. */
static bool der_take(struct der *from, uint8_t tag, struct der *ret)
{
	size_t header;
	uint64_t len;
	if (!from->n || from->p[0] != tag || crl_header(from->p, from->n, &header, &len) != 1 || len > from->n - header)
		return false;
	*ret = (struct der){from->p + header, (size_t)len};
	from->p += header + len;
	from->n -= header + (size_t)len;
	return true;
}

/* ---- certificates asked for ---- */

/* The last octets of a serial are random (BR 7.1); short ones have zeros before. */
static inline uint64_t hash(const uint8_t *end, size_t len)
{
	uint64_t w = 0;
	if (len >= 8)
		memcpy(&w, end - 8, 8);
	else
		memcpy((uint8_t *)&w + 8 - len, end - len, len);
	return w * 0x9e3779b97f4a7c15U;
}

static inline bool is_set(const struct crl_lookup *l, uint64_t h)
{
	return l->filter[h / 64] >> h % 64 & 1;
}

/* Two bits of the filter (Bloom): one entry in some thousands that nobody asks for goes further. */
static inline bool may_be_wanted(const struct crl_lookup *l, const uint8_t *serial, size_t len)
{
	uint64_t h = hash(serial + len, len);
	return is_set(l, h >> l->shift) && is_set(l, h << 22 >> l->shift);
}

static void set(struct crl_lookup *l, uint64_t h)
{
	l->filter[h / 64] |= (uint64_t)1 << h % 64;
}

int crl_lookup_add(struct crl_lookup *l, const struct crl_want *want)
{
	if (l->n >= CRL_WANT_MAX)
		return -E2BIG;
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->v = xrealloc(l->v, l->cap * sizeof *l->v);
	}
	l->v[l->n] = (struct crl_wanted){.serial = want->serial, .ca = want->ca, .points = want->points};
	return (int)l->n++;
}

static int compare(const void *a, const void *b, void *lookup)
{
	const struct crl_wanted *v = ((const struct crl_lookup *)lookup)->v;
	return serial_compare(&v[*(const uint32_t *)a].serial, &v[*(const uint32_t *)b].serial);
}

void crl_lookup_ready(struct crl_lookup *l)
{
	unsigned int bits = 12;
	while (bits < 22 && (size_t)1 << bits < 64 * l->n)
		bits++;
	l->shift = 64 - bits;
	l->filter = xcalloc((size_t)1 << (bits - 6), sizeof *l->filter);
	l->sorted = xcalloc(l->n, sizeof *l->sorted);
	for (size_t i = 0; i < l->n; i++) {
		uint64_t h = hash(l->v[i].serial.b + l->v[i].serial.len, l->v[i].serial.len);
		set(l, h >> l->shift);
		set(l, h << 22 >> l->shift);
		l->sorted[i] = (uint32_t)i;
	}
	qsort_r(l->sorted, l->n, sizeof *l->sorted, compare, l);
}

void crl_lookup_done(struct crl_lookup *l)
{
	free(l->v);
	free(l->sorted);
	free(l->filter);
	*l = (struct crl_lookup){0};
}

/* The first in sorted order with this serial; n: none. */
static size_t find(const struct crl_lookup *l, const struct serial *serial)
{
	size_t from = 0, to = l->n;
	while (from < to) {
		size_t mid = (from + to) / 2;
		if (serial_compare(&l->v[l->sorted[mid]].serial, serial) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

/* ---- an entry, slowly ---- */

struct entry {
	struct der serial;
	enum crl_reason reason;
	int64_t revoked_at, invalid_since;
};

static bool read_reason(struct der value, struct entry *e)
{
	struct der code;
	if (!der_take(&value, TAG_ENUMERATED, &code) || value.n || code.n != 1)
		return false;
	e->reason = code.p[0] <= CRL_CODE_AA_COMPROMISE && code.p[0] != 7 ? (enum crl_reason)code.p[0] : CRL_CODE_OTHER;
	return true;
}

static int read_extension(struct crl_scan *s, struct der in, struct entry *e)
{
	static const uint8_t reason[] = {0x55, 0x1d, 0x15}, invalidity[] = {0x55, 0x1d, 0x18},
			     issuer[] = {0x55, 0x1d, 0x1d}; /* id-ce 21, 24, 29 */
	struct der oid, critical = {0}, value;
	if (!der_take(&in, TAG_OID, &oid))
		return crl_refuse(s, CRL_MALFORMED, "an entry's extension has no name");
	bool has = in.n && in.p[0] == TAG_BOOLEAN;
	if ((has && (!der_take(&in, TAG_BOOLEAN, &critical) || critical.n != 1)) ||
	    !der_take(&in, TAG_OCTETS, &value) || in.n)
		return crl_refuse(s, CRL_MALFORMED, "an entry's extension is damaged");
	if (oid.n == 3 && memcmp(oid.p, issuer, 3) == 0)
		return crl_refuse(s, CRL_INDIRECT, "an entry names another issuer: indirect lists are not used");
	if (oid.n == 3 && memcmp(oid.p, reason, 3) == 0)
		return read_reason(value, e) ? 0 : crl_refuse(s, CRL_MALFORMED, "an entry's reason is damaged");
	if (oid.n == 3 && memcmp(oid.p, invalidity, 3) == 0)
		return crl_time(value.p, value.n, &e->invalid_since)
			       ? 0
			       : crl_refuse(s, CRL_MALFORMED, "an entry's invalidityDate is damaged");
	if (has && critical.p[0])
		return crl_refuse(s, CRL_CRITICAL, "an entry has a critical extension that is not known here");
	return 0;
}

/* `in`: the content of the entry. */
static int read_entry(struct crl_scan *s, struct der in, struct entry *e)
{
	*e = (struct entry){0};
	struct der all, one;
	if (!der_take(&in, TAG_INTEGER, &e->serial) || !e->serial.n)
		return crl_refuse(s, CRL_MALFORMED, "an entry has no serial number");
	size_t time = in.n && in.p[0] == TAG_GENERAL ? 17 : 15;
	if (in.n < time || !crl_time(in.p, time, &e->revoked_at))
		return crl_refuse(s, CRL_MALFORMED, "an entry has no revocation date");
	in.p += time;
	in.n -= time;
	if (!in.n)
		return 0;
	if (!s->v2 || !der_take(&in, TAG_SEQUENCE, &all) || in.n || !all.n)
		return crl_refuse(s, CRL_MALFORMED, "an entry is damaged");
	while (all.n) {
		if (!der_take(&all, TAG_SEQUENCE, &one))
			return crl_refuse(s, CRL_MALFORMED, "an entry's extensions are damaged");
		int r = read_extension(s, one, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A serial that is listed twice: an entry that revokes stands before one that takes it back. */
static void note(struct crl_wanted *w, const struct entry *e)
{
	if (w->listed && (w->reason != CRL_CODE_REMOVE || e->reason == CRL_CODE_REMOVE))
		return;
	w->listed = true;
	w->reason = e->reason;
	w->revoked_at = e->revoked_at;
	w->invalid_since = e->invalid_since;
}

static int take_entry(struct crl_scan *s, struct der content)
{
	struct entry e;
	struct serial serial;
	int r = read_entry(s, content, &e);
	if (r < 0)
		return r;
	if (!may_be_wanted(&s->lookup, e.serial.p, e.serial.n) ||
	    serial_from_bytes(e.serial.p, e.serial.n, &serial) < 0)
		return 0;
	struct crl_lookup *l = &s->lookup;
	for (size_t i = find(l, &serial); i < l->n && serial_compare(&l->v[l->sorted[i]].serial, &serial) == 0; i++)
		note(&l->v[l->sorted[i]], &e);
	return 0;
}

/* ---- many entries, fast ---- */

/* Is the entry at p (header of 2 bytes, content of `len`) of the shape that nearly all have, a UTCTime and at most a
 * reasonCode, and nobody's who is asked for? Then there is nothing to be read in it. */
static inline bool is_plain(const struct crl_lookup *l, const uint8_t *p, size_t len, bool v2)
{
	static const uint8_t with_reason[] = {0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55,
					      0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01};
	size_t serial = p[3];
	if (p[2] != TAG_INTEGER || serial == 0 || serial + 17 > len)
		return false;
	const uint8_t *time = p + 4 + serial;
	size_t rest = len - serial - 17;
	if (time[0] != TAG_UTC || time[1] != 13 || time[14] != 'Z')
		return false;
	if (rest && (rest != 14 || !v2 || memcmp(time + 15, with_reason, sizeof with_reason) != 0))
		return false;
	return !may_be_wanted(l, p + 4, serial);
}

int64_t crl_entries(struct crl_scan *s, const uint8_t *p, size_t n)
{
	const uint8_t *start = p, *end = p + n;
	uint64_t count = 0;
	while (end - p >= 4) {
		size_t header = 2;
		uint64_t len = p[1];
		if (p[0] == TAG_SEQUENCE && len < 0x80) {
			if (len + 2 > (size_t)(end - p))
				break;
			if (is_plain(&s->lookup, p, (size_t)len, s->v2)) {
				p += 2 + len;
				count++;
				continue;
			}
		} else {
			int r = p[0] == TAG_SEQUENCE ? crl_header(p, (size_t)(end - p), &header, &len) : -1;
			if (r < 0)
				return crl_refuse(s, CRL_MALFORMED, "entry %llu is no entry",
						  (unsigned long long)s->list.entries + count + 1);
			if (len > CRL_ENTRY_MAX)
				return crl_refuse(s, CRL_TOO_LARGE, "an entry is larger than %d bytes", CRL_ENTRY_MAX);
			if (r == 0 || header + len > (size_t)(end - p))
				break;
		}
		if (take_entry(s, (struct der){p + header, (size_t)len}) < 0)
			return -EBADMSG;
		p += header + len;
		count++;
	}
	s->list.entries += count;
	return p - start;
}
