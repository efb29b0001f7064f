/* The control socket. The first byte says in which pieces the rest is sent, the second how many descriptors go with the
 * first piece and whether the client hangs up early. What is handed over must be the first line, whole, with these
 * descriptors, and once; whatever comes, the client gets an answer or is let go, and nothing stays open. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "fuzz.h"
#include "loop/control.h"

#define ROUNDS  6
#define FDS_MAX 80

static char path[] = "/dev/shm/certswap-fuzz-XXXXXX";
static struct loop *loop;
static struct control *control;
static const uint8_t *line;
static size_t line_len, files, asked;

static void clean(void)
{
	control_close(control);
	loop_run(loop); /* a closed control socket leaves nothing to wait for */
	loop_free(loop);
}

static void on_request(struct client *client, char *text, size_t len, int *fds, size_t nfds, void *data)
{
	asked++;
	MUST(line && len == line_len && memcmp(text, line, len) == 0 && text[len] == '\0');
	MUST(nfds == files);
	for (size_t i = 0; i < nfds; i++)
		MUST(close(fds[i]) == 0);
	client_send(client, text, len < 3000 ? len : 3000);
	client_finish(client);
}

static void on_gone(struct client *client, void *data)
{
	abort(); /* each request is answered at once */
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct fault fault;
	int fd = mkstemp(path);
	MUST(fd >= 0 && close(fd) == 0 && unlink(path) == 0);
	loop = loop_new();
	control = control_new(loop, path, on_request, on_gone, NULL, &fault);
	MUST(control);
	atexit(clean);
	return 0;
}

static int connect_to(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	MUST(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
	return fd;
}

static ssize_t send_piece(int to, const uint8_t *bytes, size_t len, size_t fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} space = {0};
	int all[FDS_MAX];
	struct iovec part = {(void *)(uintptr_t)bytes, len};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
	for (size_t i = 0; i < fds; i++)
		all[i] = STDERR_FILENO;
	if (fds) {
		m.msg_control = space.space;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * fds)};
		memcpy(CMSG_DATA(c), all, sizeof(int) * fds);
	}
	return sendmsg(to, &m, MSG_NOSIGNAL);
}

static void stop(void *data)
{
	loop_stop(loop);
}

/* What is ready in the loop now, and what comes of it: a connection is taken, read and answered in three rounds. Each
 * round looks at the descriptors once, however slow the machine is (a timer that is over ends it after that). */
static void turn(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct timer *t = timer_start(loop, 0, stop, NULL);
		loop_run(loop);
		timer_close(t);
	}
}

static size_t descriptors(void)
{
	size_t n = 0;
	DIR *d = opendir("/proc/self/fd");
	MUST(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static size_t open_before;
	if (len < 3)
		return 0;
	const uint8_t *end = memchr(bytes + 2, '\n', len - 2);
	size_t piece = bytes[0] ? bytes[0] * 16U : 1, fds = bytes[1] % FDS_MAX, answer = 0;
	char from[4096];
	line = end ? bytes + 2 : NULL;
	line_len = end ? (size_t)(end - line) : 0;
	files = fds;
	asked = 0;
	if (!open_before)
		open_before = descriptors();
	int fd = connect_to();
	for (size_t at = 2; at < len; at += piece) {
		ssize_t n = send_piece(fd, bytes + at, len - at < piece ? len - at : piece, at == 2 ? fds : 0);
		if (n < 0 && errno != EAGAIN)
			break; /* refused already */
		if (at % 7 == 0)
			turn();
	}
	if (bytes[1] & 0x80)
		shutdown(fd, SHUT_WR);
	turn();
	for (ssize_t n; (n = recv(fd, from, sizeof from, 0)) > 0;)
		answer += (size_t)n;
	MUST(asked == (end && fds <= CONTROL_FDS_MAX && len < CONTROL_REQUEST_MAX));
	MUST((answer > 0) == (asked || fds > CONTROL_FDS_MAX));
	close(fd);
	turn();
	turn();
	MUST(descriptors() == open_before);
	return 0;
}
