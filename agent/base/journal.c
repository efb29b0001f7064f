#include "base/journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"

bool journal_is_stream(int fd, const char *journal_stream)
{
	unsigned long long device, inode;
	struct stat st;
	return journal_stream && sscanf(journal_stream, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}

int journal_open(const char *socket_path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	if (strlen(socket_path) >= sizeof to.sun_path)
		return -ENAMETOOLONG;
	strcpy(to.sun_path, socket_path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
		return fd < 0 ? -errno : fd;
	int error = errno;
	close(fd);
	return -error;
}

int journal_send(int journal, const char *const *fields)
{
	struct text entry = {0};
	for (; fields[0]; fields += 2)
		if (fields[1])
			text_add(&entry, "%s=%s\n", fields[0], fields[1]);
	ssize_t n = send(journal, entry.s, entry.len, MSG_NOSIGNAL);
	int r = n < 0 ? -errno : 0;
	text_done(&entry);
	return r;
}
