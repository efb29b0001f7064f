#include "site/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"

pid_t parent_pid(const struct server_settings *server)
{
	char *bytes;
	if (!server->pidfile || files_read(AT_FDCWD, server->pidfile, 64, &bytes, NULL, NULL) < 0)
		return 0;
	long pid = strtol(bytes, NULL, 10);
	free(bytes);
	return pid > 1 && pid < 0x7fffffff ? (pid_t)pid : 0;
}

int parent_open(const struct server_settings *server)
{
	pid_t pid = parent_pid(server);
	if (!pid)
		return -ESRCH;
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? -errno : fd; /* close-on-exec by itself */
}
