#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/journal.h"

Test(base_journal, an_entry_has_its_fields)
{
	char folder[] = "/tmp/certswap-journal-XXXXXX", got[256];
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	cr_assert(mkdtemp(folder));
	snprintf(at.sun_path, sizeof at.sun_path, "%s/socket", folder);
	cr_assert(journal_open(at.sun_path) < 0);
	int theirs = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(theirs, (struct sockaddr *)&at, sizeof at) == 0);
	int journal = journal_open(at.sun_path);
	cr_assert(journal >= 0);
	static const char *const fields[] = {
		"MESSAGE", "swapped: shop: done", "CERTSWAP_CERTIFICATE", NULL, "PRIORITY", "6", NULL};
	cr_assert(journal_send(journal, fields) == 0);
	ssize_t n = recv(theirs, got, sizeof got - 1, 0);
	cr_assert(n > 0);
	got[n] = '\0';
	cr_expect_str_eq(got, "MESSAGE=swapped: shop: done\nPRIORITY=6\n");
	close(theirs);
	cr_expect(journal_send(journal, fields) < 0); /* gone: the caller writes a plain line */
	close(journal);
	unlink(at.sun_path);
	rmdir(folder);
}

Test(base_journal, the_stream_is_told_by_device_and_inode)
{
	char stream[64];
	struct stat st;
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	cr_assert(fstat(fd, &st) == 0);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	cr_expect(journal_is_stream(fd, stream));
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + 1);
	cr_expect(!journal_is_stream(fd, stream));
	cr_expect(!journal_is_stream(fd, NULL));
	cr_expect(!journal_is_stream(fd, "nonsense"));
	close(fd);
}
