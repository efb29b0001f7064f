/* Reads a CA's list of certificates that it is going to revoke: serial numbers or SHA-256 fingerprints in whatever text
 * they stand in (one a line, CSV with any columns, a mail), as it streams by, and says which of the numbers that are
 * wanted stand in it. A line may be of any length, nothing of the list is kept. No I/O. */
#ifndef CTL_AFFECTED_H
#define CTL_AFFECTED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AFFECTED_DIGITS 128 /* hexadecimal digits of one number; longer ones are none */
/* A number of fewer digits than this is not taken for a serial anywhere in a text, only alone on its line or in a
 * column whose title has the word "serial": a list has line numbers, dates and sizes too. Public CAs have at least 16
 * (BR 7.1). */
#define AFFECTED_SURE 14

/* Called for each time that a wanted number is met. `index` as affected_want counts. */
typedef void affected_found_fn(void *context, size_t index, uint64_t line);

struct affected;
struct affected *affected_new(affected_found_fn *found, void *context);
void affected_free(struct affected *a); /* NULL is fine */
/* Lower-case hexadecimal without leading zeros; the same number may be wanted more than once. Returns its index: 0, 1
 * ... */
size_t affected_want(struct affected *a, const char *hex);
/* The next bytes, in pieces of any size. */
void affected_feed(struct affected *a, const void *bytes, size_t len);
void affected_end(struct affected *a); /* the last line may lack its end */
uint64_t affected_lines(const struct affected *a);
uint64_t affected_numbers(const struct affected *a); /* of 14 digits and more: 0 says that it is no such list */
#endif
