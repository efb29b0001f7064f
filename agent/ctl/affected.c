#include "ctl/affected.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define TITLE_MAX 24

/* What a byte is for a number. 1 to 16: a digit, its value plus one. */
enum kind {
	KIND_WORD = 0,    /* a letter or sign that no number has */
	KIND_INSIDE = 17, /* between the digits of one number: "0a:1b", "0a-1b" */
	KIND_SPACE,       /* perhaps the same, perhaps the end: "0a 1b" */
	KIND_COLUMN,      /* between columns */
	KIND_MARK,        /* between things: "serial=0a1b", "(0a1b)" */
	KIND_LINE,
	KIND_NOTHING, /* passed over: quotes, byte order marks, the zeros of UTF-16 */
};
/* clang-format off */
static const uint8_t kinds[256] = {
	['0'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
	['A'] = 11, 12, 13, 14, 15, 16,
	['a'] = 11, 12, 13, 14, 15, 16,
	[':'] = KIND_INSIDE, ['-'] = KIND_INSIDE, [' '] = KIND_SPACE,
	[','] = KIND_COLUMN, [';'] = KIND_COLUMN, ['\t'] = KIND_COLUMN, ['|'] = KIND_COLUMN,
	['='] = KIND_MARK, ['('] = KIND_MARK, [')'] = KIND_MARK, ['<'] = KIND_MARK, ['>'] = KIND_MARK,
	['['] = KIND_MARK, [']'] = KIND_MARK, ['{'] = KIND_MARK, ['}'] = KIND_MARK, ['/'] = KIND_MARK,
	['\n'] = KIND_LINE, ['\r'] = KIND_LINE,
	[0] = KIND_NOTHING, ['"'] = KIND_NOTHING, ['\''] = KIND_NOTHING, [0xef] = KIND_NOTHING,
	[0xbb] = KIND_NOTHING, [0xbf] = KIND_NOTHING, [0xfe] = KIND_NOTHING, [0xff] = KIND_NOTHING,
};
/* clang-format on */

struct wanted {
	uint64_t low; /* its last 16 digits */
	size_t index;
	char *hex;
};
struct affected {
	affected_found_fn *found;
	void *context;
	struct wanted *v;
	size_t n, cap;
	uint64_t *filter;
	unsigned int shift;

	uint64_t line, numbers;
	bool at_start; /* of a line: nothing but what counts for nothing */
	/* the field: what stands between two columns, or two words */
	uint8_t digit[AFFECTED_DIGITS];
	size_t n_digits, token; /* token: where the last run without a space begins */
	uint64_t low;
	uint8_t columns;     /* of this line so far */
	uint8_t serial;      /* number of the column that is titled so, from 1; 0: none */
	bool word, too_long; /* not a number */
	bool decimal;        /* nothing but 0 to 9 */
	bool said_decimal;   /* "dec:" */
	bool other;          /* something else stood on this line */
	char title[TITLE_MAX];
	size_t n_title;
};

struct affected *affected_new(affected_found_fn *found, void *context)
{
	struct affected *a = xcalloc(1, sizeof *a);
	a->found = found;
	a->context = context;
	a->decimal = a->at_start = true;
	return a;
}

void affected_free(struct affected *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->n; i++)
		free(a->v[i].hex);
	free(a->v);
	free(a->filter);
	free(a);
}

uint64_t affected_lines(const struct affected *a)
{
	return a->line;
}

uint64_t affected_numbers(const struct affected *a)
{
	return a->numbers;
}

/* ---- the numbers that are wanted ---- */

size_t affected_want(struct affected *a, const char *hex)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? 2 * a->cap : 64;
		a->v = xrealloc(a->v, a->cap * sizeof *a->v);
	}
	uint64_t low = 0;
	for (const char *c = hex; *c; c++)
		low = low << 4 | ((kinds[(uint8_t)*c] - 1U) & 15);
	a->v[a->n] = (struct wanted){.low = low, .index = a->n, .hex = xstrdup(hex)};
	return a->n++;
}

static int by_low(const void *p, const void *q)
{
	const struct wanted *a = p, *b = q;
	if (a->low != b->low)
		return a->low < b->low ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static uint64_t hash(uint64_t low)
{
	return low * 0x9e3779b97f4a7c15U;
}

static void ready(struct affected *a)
{
	unsigned int bits = 12;
	while (bits < 22 && (size_t)1 << bits < 32 * a->n)
		bits++;
	a->shift = 64 - bits;
	a->filter = xcalloc((size_t)1 << (bits - 6), sizeof *a->filter);
	for (size_t i = 0; i < a->n; i++) {
		uint64_t h = hash(a->v[i].low) >> a->shift;
		a->filter[h / 64] |= (uint64_t)1 << h % 64;
	}
	if (a->n)
		qsort(a->v, a->n, sizeof *a->v, by_low);
}

static inline bool may_be_wanted(const struct affected *a, uint64_t low)
{
	uint64_t h = hash(low) >> a->shift;
	return a->filter[h / 64] >> h % 64 & 1;
}

static bool same_digits(const char *hex, const uint8_t *digit, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!hex[i] || kinds[(uint8_t)hex[i]] != digit[i] + 1)
			return false;
	return !hex[n];
}

static void look_up(struct affected *a, uint64_t low, const uint8_t *digit, size_t n)
{
	if (!may_be_wanted(a, low))
		return;
	while (n > 1 && !*digit) {
		digit++;
		n--;
	}
	size_t from = 0, to = a->n;
	while (from < to) {
		size_t mid = (from + to) / 2;
		if (a->v[mid].low < low)
			from = mid + 1;
		else
			to = mid;
	}
	for (; from < a->n && a->v[from].low == low; from++)
		if (same_digits(a->v[from].hex, digit, n))
			a->found(a->context, a->v[from].index, a->line + 1);
}

/* The same digits as a decimal number: a serial's 20 octets take 49 of them; 256 bits hold 77. */
static void look_up_decimal(struct affected *a)
{
	uint64_t limb[4] = {0};
	uint8_t digit[64];
	for (size_t i = 0; i < a->n_digits; i++) {
		unsigned __int128 carry = a->digit[i];
		for (size_t k = 0; k < ARRAY_SIZE(limb); k++) {
			carry += (unsigned __int128)limb[k] * 10;
			limb[k] = (uint64_t)carry;
			carry >>= 64;
		}
		if (carry)
			return;
	}
	if (!may_be_wanted(a, limb[0]))
		return;
	for (size_t i = 0; i < sizeof digit; i++)
		digit[i] = limb[3 - i / 16] >> (60 - i % 16 * 4) & 15;
	look_up(a, limb[0], digit, sizeof digit);
}

/* ---- fields ---- */

static void begin_field(struct affected *a)
{
	a->n_digits = a->token = 0;
	a->low = 0;
	a->word = a->too_long = a->said_decimal = false;
	a->decimal = true;
}

/* What was read so far may be a whole number: all of it, or what stands since the last space. `alone`: it may be a
 * short one. */
static void try_number(struct affected *a, bool alone)
{
	size_t n = a->n_digits - a->token;
	if (a->word || a->too_long || !a->n_digits)
		return;
	if (a->said_decimal || (a->decimal && n >= AFFECTED_SURE + 3 && !a->token)) {
		a->numbers++;
		look_up_decimal(a);
	}
	if (a->said_decimal || (a->n_digits < AFFECTED_SURE && !alone))
		return;
	a->numbers += n >= AFFECTED_SURE;
	look_up(a, a->low, a->digit, a->n_digits);
	if (a->token && n >= AFFECTED_SURE)
		look_up(a, n < 16 ? a->low & (((uint64_t)1 << 4 * n) - 1) : a->low, a->digit + a->token, n);
}

static void end_field(struct affected *a, enum kind by)
{
	bool line = by == KIND_LINE;
	bool titled = a->serial && a->columns + 1 == a->serial;
	if (by != KIND_MARK && a->line == 0 && !a->serial && memmem(a->title, a->n_title, "serial", 6))
		a->serial = (uint8_t)(a->columns + 1);
	try_number(a, titled || (line && !a->columns && !a->other));
	a->other |= a->n_digits > 0 || a->word;
	a->n_title = 0;
	begin_field(a);
}

static void end_line(struct affected *a)
{
	end_field(a, KIND_LINE);
	if (!a->at_start)
		a->line++;
	a->columns = 0;
	a->other = false;
	a->at_start = true;
}

static void space(struct affected *a)
{
	if (a->word) { /* "serial 0a1b" */
		a->other = true;
		begin_field(a);
		return;
	}
	try_number(a, false);
	a->token = a->n_digits;
}

/* "dec:N"; "serial: 0a1b"; else as between two octets. */
static void inside(struct affected *a, uint8_t c)
{
	if (a->word && c == ':') {
		a->other = true;
		a->n_title = 0; /* a label of this line, not a title of a column */
		begin_field(a);
	} else if (c == ':' && a->n_digits - a->token == 3 && !a->said_decimal && a->digit[a->token] == 13 &&
		   a->digit[a->token + 1] == 14 && a->digit[a->token + 2] == 12) {
		begin_field(a);
		a->said_decimal = true;
	}
}

static void word(struct affected *a, uint8_t c)
{
	if ((c == 'x' || c == 'X') && a->n_digits - a->token == 1 && a->digit[a->token] == 0 && !a->word) {
		begin_field(a); /* "0x" */
		return;
	}
	a->word = true;
}

static inline void add_digit(struct affected *a, uint8_t value)
{
	if (a->n_digits >= AFFECTED_DIGITS) {
		a->too_long = true;
		return;
	}
	a->digit[a->n_digits++] = value;
	a->low = a->low << 4 | value;
	a->decimal &= value < 10;
}

void affected_feed(struct affected *a, const void *bytes, size_t len)
{
	const uint8_t *p = bytes, *end = p + len;
	if (!a->filter)
		ready(a);
	for (; p < end; p++) {
		uint8_t kind = kinds[*p];
		if (kind == KIND_NOTHING)
			continue;
		if (a->line == 0 && a->n_title < TITLE_MAX && kind < KIND_INSIDE)
			a->title[a->n_title++] = (char)(*p | 0x20);
		if (kind == KIND_WORD)
			word(a, *p);
		else if (kind < KIND_INSIDE)
			add_digit(a, (uint8_t)(kind - 1));
		else if (kind == KIND_INSIDE)
			inside(a, *p);
		else if (kind == KIND_SPACE)
			space(a);
		else if (kind == KIND_LINE)
			end_line(a);
		else
			end_field(a, kind);
		if (kind == KIND_COLUMN && a->columns < UINT8_MAX - 1)
			a->columns++;
		a->at_start &= kind == KIND_LINE;
	}
}

void affected_end(struct affected *a)
{
	if (!a->filter)
		ready(a);
	end_line(a);
}
