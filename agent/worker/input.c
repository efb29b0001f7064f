#include "worker/input.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

void input_read(int fd, size_t max, struct input *ret)
{
	struct stat st;
	*ret = (struct input){0};
	if (fstat(fd, &st) < 0)
		ret->error = -errno;
	else if (!S_ISREG(st.st_mode))
		ret->error = -EINVAL; /* a FIFO or a device would keep us for ever */
	else if ((size_t)st.st_size > max)
		ret->error = -EFBIG;
	if (ret->error)
		return;
	ret->cap = (size_t)st.st_size + 1; /* one more, to see it grow */
	ret->bytes = xmalloc(ret->cap);
	while (ret->len < ret->cap) {
		ssize_t n = pread(fd, ret->bytes + ret->len, ret->cap - ret->len, (off_t)ret->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			ret->error = -errno;
		if (n <= 0)
			break;
		ret->len += (size_t)n;
	}
	if (!ret->error && ret->len == ret->cap)
		ret->error = -EAGAIN; /* it is still being written */
	if (ret->error) {
		int error = ret->error;
		input_done(ret);
		ret->error = error;
	}
}

void input_done(struct input *in)
{
	free_secret(in->bytes, in->cap);
	memset(in, 0, sizeof *in);
}

int output_write(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}
