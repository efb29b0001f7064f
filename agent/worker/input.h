/* Files that come as descriptors beside a request: read whole, within a limit, without moving their offset. Used by
 * the check worker behind its sandbox. */
#ifndef WORKER_INPUT_H
#define WORKER_INPUT_H
#include <stddef.h>

#define INPUT_MAX (1024 * 1024) /* bytes of one file */

struct input {
	char *bytes; /* NULL: it was not read */
	size_t len, cap;
	int error; /* 0; -EFBIG: larger than the limit; -EINVAL: no regular file; other negative errno */
};
/* Reads a regular file of at most `max` bytes. */
void input_read(int fd, size_t max, struct input *ret);
void input_done(struct input *in); /* wipes */
#endif
