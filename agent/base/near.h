/* What somebody may have meant who mistyped a word: "did you mean ...?". Pure. Runs anywhere. */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H
#include <stdbool.h>

/* Do few enough letters differ? Capitals do not count. */
bool near_is(const char *a, const char *b);
/* The better guess at what `word` was to be: `candidate`, where it is near and nearer than `best` (NULL: no guess yet),
 * else `best`. */
const char *near_choose(const char *word, const char *candidate, const char *best);
#endif
