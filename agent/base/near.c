#include "base/near.h"

#include <string.h>
#include <strings.h>

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;
	return ab < c ? ab : c;
}

#define LONGEST 64
/* How many letters were added, lost, changed, or exchanged with their neighbour (Damerau's distance, restricted). */
static size_t distance(const char *a, size_t na, const char *b, size_t nb)
{
	size_t rows[3][LONGEST + 1];
	for (size_t j = 0; j <= nb; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			bool same = strncasecmp(&a[i - 1], &b[j - 1], 1) == 0;
			row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + !same);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
	}
	return rows[na % 3][nb];
}

static size_t nearness(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	return na > LONGEST || nb > LONGEST ? LONGEST : distance(a, na, b, nb);
}

bool near_is(const char *a, const char *b)
{
	size_t shorter = strlen(a) < strlen(b) ? strlen(a) : strlen(b);
	return nearness(a, b) <= (shorter <= 3 ? 1 : shorter <= 8 ? 2 : 3);
}

const char *near_choose(const char *word, const char *candidate, const char *best)
{
	if (!near_is(word, candidate))
		return best;
	return !best || nearness(word, candidate) < nearness(word, best) ? candidate : best;
}
