/* What a program of this host prints, for questions that change nothing ("nginx -V"). */
#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H
#include "base/fault.h"
#include "base/text.h"

#define OUTPUT_MAX         (4 * 1024 * 1024)
#define OUTPUT_PATIENCE_MS 10000

/* argv and environment end with NULL; standard output and error together come into *ret (printable), which text_done
 * frees. Its exit status, or negative errno: it could not be started, took too long or said too much. */
int output_of(char *const *argv, char *const *environment, struct text *ret, struct fault *fault);
/* May this file be run by who we are? A binary that others may write is not: they would be us. */
bool output_may_run(const char *binary);
#endif
