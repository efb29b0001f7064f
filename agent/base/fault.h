/* What went wrong, in words for the person who has to act. Functions that can fail for a reason worth reading take a
 * `struct fault *` last; NULL is allowed and drops the text. Used by every process. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H
#include <stdarg.h>
#include <stdbool.h>

struct fault {
	int code;        /* negative errno, 0 where nothing went wrong */
	char text[1024]; /* one line, no secret, ready for a person */
};

/* Sets text and code and returns code, so that `return fault_set(...)` is the whole error path. The text stays as the
 * caller wrote it; fault_errno adds ": " and the words for the error number (positive or negative). */
int fault_set(struct fault *fault, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int fault_errno(struct fault *fault, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "what: " before the text that is there already; returns code, which the caller has. */
int fault_prefix(struct fault *fault, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Is this negative errno trouble of the machine (no descriptors, memory, room; a call that a signal cut off), which
 * says nothing of the file that was asked for and may pass? */
bool fault_may_pass(int code);
#endif
