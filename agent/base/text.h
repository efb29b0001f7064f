/* Text: growing buffers, lists of words, numbers with units, times, hexadecimal. Used by every process. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A buffer that grows. Zeroed is empty. `s` is NULL or ends with a NUL that `len` does not count. */
struct text {
	char *s;
	size_t len, cap;
};
void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *t, const void *bytes, size_t len);
void text_done(struct text *t); /* frees and empties */

/* A list of words; zeroed is empty; owns its strings. */
struct words {
	char **v;
	size_t n;
};
void words_add(struct words *w, const char *s); /* a copy of s */
void words_add_n(struct words *w, const char *s, size_t len);
bool words_has(const struct words *w, const char *s);         /* exact */
void words_copy(struct words *to, const struct words *from);  /* `to` must be empty */
char *words_join(const struct words *w, const char *between); /* caller frees */
void words_done(struct words *w);

/* "250ms" "30s" "15m" "24h" "5d" -> milliseconds; 0 or -EINVAL (no unit, junk, negative, more than 10 years). */
int text_to_ms(const char *s, int64_t *ret_ms);
/* The shortest exact form of a duration: "15m", "250ms". buf holds at least 24 bytes; returns buf. */
const char *text_from_ms(int64_t ms, char *buf);
/* For people: "23 h 41 min", "3 d 4 h", "12 s"; negative: "overdue by ...". buf >= 48 bytes; returns buf. */
const char *text_time_left(int64_t seconds, char *buf);

/* RFC 3339: "2026-11-23T17:50:00Z" (offset and fraction accepted) <-> seconds since 1970 (negative before; the years 0
 * to 9999 come back as they went). 0 or -EINVAL. */
int text_to_time(const char *s, int64_t *ret_seconds);
const char *text_from_time(int64_t seconds, char *buf); /* buf >= 32 bytes */
const char *text_from_time_ms(int64_t ms, char *buf);   /* with milliseconds; buf >= 32 bytes */

/* Lower-case hexadecimal; out holds 2*len+1. */
void text_hex(const void *bytes, size_t len, char *out);
/* Exactly len bytes from 2*len hexadecimal digits of any case; 0 or -EINVAL. */
int text_unhex(const char *s, void *ret_bytes, size_t len);

/* In place: every byte that a terminal or a log could take for a command, or that is no UTF-8 (JSON would refuse it),
 * becomes '?'. Returns s. */
char *text_printable(char *s);

/* A managed certificate's or a server's name: letters, digits, . _ - ; does not begin with '.' or '-'; 1..64 bytes. */
bool text_is_name(const char *s);

/* RFC 6125 6.4: does `pattern` of a certificate (host name, "*.x", or IP address) cover `name`? Case is ignored, a
 * final dot too. A wildcard stands for the whole leftmost label only. */
bool text_name_covers(const char *pattern, const char *name);
/* Every name of `required` is covered by one of `patterns`; the first that is not in *ret_missing (may be NULL). */
bool text_names_cover(const struct words *patterns, const struct words *required, const char **ret_missing);
#endif
