/* Files that come as descriptors beside a request: read whole, within a limit, without moving their offset. Used by
 * the check and keygen workers behind their sandbox. */
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

/* Writes all of it. 0 or negative errno. */
int output_write(int fd, const char *bytes, size_t len);
#endif
