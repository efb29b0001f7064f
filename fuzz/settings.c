/* A configuration file. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "fuzz.h"
#include "settings/settings.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	AUTO_CLOSE int fd = memfd_create("certswap.conf", MFD_CLOEXEC);
	MUST(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", fd);
	struct complaints complaints = {0};
	struct settings *s = settings_load(path, &complaints);
	MUST(s || complaints.n);
	settings_free(s);
	complaints_done(&complaints);
	return 0;
}
