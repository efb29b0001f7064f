/* loop/control.c with clients in processes of their own, polite and not. */
#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "loop/control.h"
#include "loop/inside.h"
#include "test_loop_help.h"

static struct control *control;
static char *path;
static int requests, gone, exit_status;
static char last_line[256];
static int last_fds[CONTROL_FDS_MAX];
static size_t last_len, last_nfds;
static uid_t asker; /* who asks, where it is not this process's user: also its group, and the next is another of its
		       groups */

/* What to do with the next request. */
static enum { ANSWER, ANSWER_HUGE, ANSWER_LATER, FLOOD, CLOSE_ALL } policy;
static struct timer *later;

static void answer_later(void *data)
{
	timer_close(later);
	later = NULL;
	client_send(data, "{\"exit\":0}", 10);
	client_finish(data);
}

static void send_huge(struct client *client, size_t len)
{
	char *line = xmalloc(len);
	memset(line, 'h', len);
	client_send(client, line, len);
	free(line);
}

static void request_came(struct client *client, char *line, size_t len, int *fds, size_t nfds, void *data)
{
	requests++;
	cr_assert_eq(line[len], '\0');
	snprintf(last_line, sizeof last_line, "%s", line);
	last_len = len;
	last_nfds = nfds;
	memcpy(last_fds, fds, nfds * sizeof *fds);
	cr_expect_eq(client_uid(client), asker ? asker : geteuid());
	cr_expect_eq(client_gid(client), asker ? asker : getegid());
	cr_expect(client_in_group(client, asker ? asker + 1 : getegid()));
	cr_expect_not(client_in_group(client, 65000));
	cr_expect_gt(client_pid(client), 1);
	client_set_data(client, &policy);
	switch (policy) {
	case ANSWER:
		client_send(client, "{\"progress\":\"half\"}", 19);
		client_send(client, "{\"exit\":0}", 10);
		client_finish(client);
		break;
	case ANSWER_HUGE:
		send_huge(client, 5000000);
		client_finish(client);
		break;
	case ANSWER_LATER:
		later = timer_start(help_loop, 20, answer_later, client);
		break;
	case FLOOD:
		for (int i = 0; i < 4; i++)
			send_huge(client, CONTROL_UNSENT_MAX / 4 + 1);
		break;
	case CLOSE_ALL:
		control_close(control);
		control = NULL;
		break;
	}
}

static void client_gone(struct client *client, void *data)
{
	gone++;
	cr_expect_eq(client_data(client), &policy);
	loop_stop(help_loop);
}

static void begin(void)
{
	help_begin();
	chmod(help_folder, 0755);
	path = help_path("control.sock");
	struct fault fault = {0};
	control = control_new(help_loop, path, request_came, client_gone, NULL, &fault);
	cr_assert_not_null(control, "%s", fault.text);
}

static void end(void)
{
	for (size_t i = 0; i < last_nfds; i++)
		close(last_fds[i]);
	control_close(control);
	cr_assert(access(path, F_OK) != 0, "the socket was left");
	free(path);
	help_end();
}

#define CONTROL_TEST(name) HELP_TEST(control, name, begin, end)

/* ---- clients: blocking, in a process of their own; their exit status is the verdict, 0 for well ---- */

#define NEED(x)                                                                                                        \
	do {                                                                                                           \
		if (!(x))                                                                                              \
			_exit(__LINE__ % 250 + 1);                                                                     \
	} while (0)

static void child_ended(int number, void *data)
{
	int status;
	if (waitpid(*(pid_t *)data, &status, WNOHANG) <= 0)
		return;
	exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
	loop_stop(help_loop);
}

static void with_client(void (*client)(void))
{
	static pid_t pid;
	exit_status = -1;
	loop_on_signal(help_loop, SIGCHLD, child_ended, &pid);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		client();
		_exit(0);
	}
	help_run();
	if (exit_status < 0) { /* the loop was stopped by another event */
		int status;
		waitpid(pid, &status, 0);
		exit_status = WEXITSTATUS(status);
	}
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		return -1;
	return fd;
}

static void put(int fd, const char *text)
{
	NEED(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

static void put_fds(int fd, const char *text, const int *fds, size_t nfds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * 253)];
	} space = {0};
	struct iovec part = {(char *)(uintptr_t)text, strlen(text)};
	struct msghdr m = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = space.space,
			   .msg_controllen = CMSG_SPACE(sizeof(int) * nfds)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	NEED(sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* All until the other side closes; NUL-terminated. */
static const char *get_all(int fd)
{
	static char buf[6000000];
	size_t len = 0;
	ssize_t n;
	while ((n = read(fd, buf + len, sizeof buf - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	return buf;
}

static const char good_answer[] = "{\"progress\":\"half\"}\n{\"exit\":0}\n";

static void polite(void)
{
	int fd = dial();
	put(fd, "{\"command\":\"ping\"}\n");
	NEED(strcmp(get_all(fd), good_answer) == 0);
}

CONTROL_TEST(a_request_and_its_answer)
{
	with_client(polite);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 1);
	cr_expect_eq(gone, 0);
	cr_expect_str_eq(last_line, "{\"command\":\"ping\"}");
	cr_expect_eq(last_len, 18);
}

static void in_pieces(void)
{
	int fd = dial();
	static const char request[] = "{\"command\":\"status\",\"name\":\"shop\"}\n";
	for (const char *p = request; *p; p++)
		NEED(send(fd, p, 1, MSG_NOSIGNAL) == 1);
	NEED(strcmp(get_all(fd), good_answer) == 0);
}

CONTROL_TEST(a_request_in_single_bytes)
{
	with_client(in_pieces);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 1);
	cr_expect_str_eq(last_line, "{\"command\":\"status\",\"name\":\"shop\"}");
}

static void with_files(void)
{
	int fd = dial(), ends[2];
	NEED(pipe(ends) == 0);
	NEED(write(ends[1], "file", 4) == 4);
	put_fds(fd, "{\"comm", (const int[]){ends[0], ends[1]}, 2);
	put_fds(fd, "and\":1}\n", (const int[]){ends[0]}, 1);
	NEED(strcmp(get_all(fd), good_answer) == 0);
}

CONTROL_TEST(files_come_with_the_request)
{
	with_client(with_files);
	cr_expect_eq(exit_status, 0);
	cr_expect_str_eq(last_line, "{\"command\":1}");
	cr_assert_eq(last_nfds, 3);
	char text[8] = "";
	cr_expect_eq(read(last_fds[2], text, sizeof text), 4);
	cr_expect_str_eq(text, "file");
	for (size_t i = 0; i < last_nfds; i++)
		cr_expect(fcntl(last_fds[i], F_GETFD) & FD_CLOEXEC);
}

static void too_many_files(void)
{
	int fd = dial(), fds[CONTROL_FDS_MAX + 1];
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		NEED((fds[i] = open("/dev/null", O_RDONLY)) >= 0);
	put_fds(fd, "{}\n", fds, ARRAY_SIZE(fds));
	NEED(strncmp(get_all(fd), "{\"exit\":2,\"message\":\"too many files", 34) == 0);
}

CONTROL_TEST(too_many_files_are_refused)
{
	with_client(too_many_files);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 0);
}

static void files_of_a_stranger(void)
{
	NEED(setgid(65534) == 0 && setuid(65534) == 0);
	int fd = dial();
	put_fds(fd, "{}\n", (const int[]){0, 1}, 2);
	NEED(strncmp(get_all(fd), "{\"exit\":4,", 10) == 0);
}

CONTROL_TEST(files_of_strangers_are_not_even_received)
{
	if (geteuid() != 0)
		cr_skip("only root can play another user");
	with_client(files_of_a_stranger);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 0);
}

static void too_long(void)
{
	int fd = dial();
	char piece[4096];
	memset(piece, ' ', sizeof piece);
	for (size_t sent = 0; sent <= CONTROL_REQUEST_MAX;) { /* a byte more than allowed, and no newline */
		ssize_t n = send(fd, piece, sizeof piece, MSG_NOSIGNAL);
		if (n < 0)
			break;
		sent += (size_t)n;
	}
	NEED(strcmp(get_all(fd), "{\"exit\":2,\"message\":\"the request is longer than 1 MiB\"}\n") == 0);
}

CONTROL_TEST(too_long_a_request_is_refused)
{
	with_client(too_long);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 0);
	with_client(polite);
	cr_expect_eq(exit_status, 0);
}

static void become(uid_t id)
{
	NEED(setgroups(1, &(gid_t){id + 1}) == 0 && setgid(id) == 0 && setuid(id) == 0);
}

static void too_long_for_a_stranger(void)
{
	become(65532);
	int fd = dial();
	char piece[4096] = "";
	for (int i = 0; i < CONTROL_STRANGER_MAX / (int)sizeof piece + 1; i++) /* the last one may meet a closed door */
		(void)send(fd, piece, sizeof piece, MSG_NOSIGNAL);
	NEED(strncmp(get_all(fd), "{\"exit\":4,", 10) == 0);
}

CONTROL_TEST(strangers_may_not_send_much)
{
	if (geteuid() != 0)
		cr_skip("only root can play another user");
	with_client(too_long_for_a_stranger);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 0);
}

static void just_short_enough(void)
{
	int fd = dial();
	char *request = malloc(CONTROL_REQUEST_MAX + 2);
	memset(request, ' ', CONTROL_REQUEST_MAX);
	memcpy(request + CONTROL_REQUEST_MAX, "\n", 2);
	for (size_t sent = 0; sent < CONTROL_REQUEST_MAX + 1;) {
		ssize_t n = send(fd, request + sent, CONTROL_REQUEST_MAX + 1 - sent, MSG_NOSIGNAL);
		NEED(n > 0);
		sent += (size_t)n;
	}
	NEED(strcmp(get_all(fd), good_answer) == 0);
}

CONTROL_TEST(the_longest_request_is_taken)
{
	with_client(just_short_enough);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(last_len, CONTROL_REQUEST_MAX);
}

static void read_huge(void)
{
	int fd = dial();
	put(fd, "{}\n");
	const char *all = get_all(fd);
	NEED(strlen(all) == 5000001 && all[0] == 'h' && all[4999999] == 'h' && all[5000000] == '\n');
}

CONTROL_TEST(a_long_answer_arrives_whole)
{
	policy = ANSWER_HUGE;
	with_client(read_huge);
	cr_expect_eq(exit_status, 0);
}

static void half_closed(void)
{
	int fd = dial();
	put(fd, "{}\n");
	NEED(shutdown(fd, SHUT_WR) == 0);
	NEED(strcmp(get_all(fd), "{\"exit\":0}\n") == 0);
}

CONTROL_TEST(who_only_closed_the_sending_side_gets_the_answer)
{
	policy = ANSWER_LATER;
	with_client(half_closed);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(gone, 0);
}

static void leave_at_once(void)
{
	put(dial(), "{}\n");
}

CONTROL_TEST(who_leaves_is_told_once)
{
	policy = ANSWER_LATER; /* never: the timer is closed below */
	with_client(leave_at_once);
	timer_close(later);
	if (!gone)
		help_run();
	cr_expect_eq(requests, 1);
	cr_expect_eq(gone, 1);
}

static void leave_in_the_middle(void)
{
	put(dial(), "{\"comm");
}

CONTROL_TEST(who_never_asked_is_nobody)
{
	with_client(leave_in_the_middle);
	with_client(polite);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 1);
	cr_expect_eq(gone, 0);
}

static void never_read(void)
{
	int fd = dial();
	put(fd, "{}\n");
	struct pollfd closed = {.fd = fd, .events = 0};
	NEED(poll(&closed, 1, -1) == 1 && (closed.revents & POLLHUP));
}

CONTROL_TEST(unsent_output_is_bounded)
{
	policy = FLOOD;
	with_client(never_read);
	cr_expect_eq(gone, 1);
}

static int silent_fd;

static void silence_ended(void *data)
{
	char c;
	cr_expect_eq(recv(silent_fd, &c, 1, MSG_DONTWAIT), 0);
	poller_close(*(struct poller **)data);
	loop_stop(help_loop);
}

CONTROL_TEST(who_sends_nothing_is_dropped)
{
	control_set_patience(control, 50);
	silent_fd = dial();
	struct poller *poller = poller_start(help_loop, silent_fd, silence_ended, &poller);
	help_run();
	close(silent_fd);
	cr_expect_eq(gone, 0);
}

CONTROL_TEST(who_does_not_read_is_dropped)
{
	control_set_patience(control, 50);
	policy = ANSWER_HUGE;
	silent_fd = dial();
	cr_assert_eq(send(silent_fd, "{}\n", 3, 0), 3);
	help_turns(200);
	size_t got = 0;
	char buf[65536];
	ssize_t n;
	while ((n = recv(silent_fd, buf, sizeof buf, MSG_DONTWAIT)) > 0)
		got += (size_t)n;
	cr_expect_eq(n, 0, "the connection should have been closed");
	cr_expect_lt(got, 5000000);
	cr_expect_eq(gone, 0, "after client_finish nobody is told");
	close(silent_fd);
}

CONTROL_TEST(closing_all_from_a_request)
{
	policy = CLOSE_ALL;
	int other = dial();
	int fd = dial();
	cr_assert_eq(send(fd, "{}\n", 3, 0), 3);
	help_turns(10);
	cr_expect_null(control);
	cr_expect_eq(gone, 0);
	close(fd);
	close(other);
}

/* ---- many ---- */

static void crowd(void)
{
	int busy = 0;
	struct rlimit limit = {3000, 3000};
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	static int fds[1000];
	for (int i = 0; i < 1000; i++)
		NEED((fds[i] = dial()) >= 0);
	for (int i = 0; i < 1000; i++) {
		char buf[256] = "";
		struct timeval wait = {.tv_sec = i < CONTROL_CLIENTS_MAX ? 0 : 10, .tv_usec = 1};
		setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
		if (recv(fds[i], buf, sizeof buf - 1, 0) > 0) {
			NEED(strncmp(buf, "{\"exit\":3,", 10) == 0);
			busy++;
		}
	}
	NEED(busy == 1000 - CONTROL_CLIENTS_MAX);
}

CONTROL_TEST(a_crowd_is_sent_away_and_does_no_harm)
{
	with_client(crowd);
	cr_expect_eq(exit_status, 0);
	with_client(polite);
	cr_expect_eq(exit_status, 0);
}

/* All places that one stranger gets and one more; then another comes. */
static void one_and_then_another(void)
{
	int held[CONTROL_USER_MAX + 1];
	NEED(seteuid(65532) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		NEED((held[i] = dial()) >= 0);
	NEED(strncmp(get_all(held[CONTROL_USER_MAX]), "{\"exit\":3,", 10) == 0);
	NEED(seteuid(0) == 0);
	become(65530);
	polite();
}

CONTROL_TEST(one_stranger_leaves_room_for_others)
{
	if (geteuid() != 0)
		cr_skip("only root can play another user");
	asker = 65530;
	with_client(one_and_then_another);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 1);
}

#define UNREAD 30 /* times 5 MB is more than all may leave unread */

static void many_who_do_not_read(void)
{
	int fds[UNREAD], refused = 0;
	for (int i = 0; i < UNREAD; i++) {
		NEED((fds[i] = dial()) >= 0);
		put(fds[i], "{}\n");
		struct pollfd there = {.fd = fds[i], .events = POLLIN};
		NEED(poll(&there, 1, -1) == 1);
	}
	for (int i = 0; i < UNREAD; i++) {
		const char *all = get_all(fds[i]);
		refused += strncmp(all, "{\"exit\":3,", 10) == 0;
		NEED(all[strlen(all) - 1] == '\n');
	}
	NEED(refused > 0 && refused < UNREAD / 2);
	for (int i = 0; i < 2 * UNREAD; i++) /* what was read no longer counts */
		read_huge();
}

CONTROL_TEST(unsent_output_of_all_is_bounded)
{
	policy = ANSWER_HUGE;
	with_client(many_who_do_not_read);
	cr_expect_eq(exit_status, 0);
}

static void hurry(void)
{
	for (int i = 0; i < 10000; i++) {
		int fd = dial();
		NEED(fd >= 0);
		close(fd);
	}
	polite();
}

CONTROL_TEST(ten_thousand_who_ring_and_run)
{
	with_client(hurry);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 1);
}

static void use_up_descriptors(void)
{
	int fds[100];
	struct rlimit enough = {4096, 4096}; /* the daemon's limit was inherited */
	NEED(setrlimit(RLIMIT_NOFILE, &enough) == 0);
	for (int i = 0; i < 100; i++)
		NEED((fds[i] = dial()) >= 0);
	put(fds[0], "{}\n");
	NEED(strcmp(get_all(fds[0]), good_answer) == 0); /* the first ones are served */
	for (int i = 0; i < 100; i++)
		close(fds[i]);
	polite();
}

CONTROL_TEST(without_descriptors_it_waits)
{
	struct rlimit limit = {(rlim_t)help_count_fds() + 20, 4096};
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	with_client(use_up_descriptors);
	cr_expect_eq(exit_status, 0);
	cr_expect_eq(requests, 2);
}

/* ---- the socket file ---- */

CONTROL_TEST(anybody_may_connect)
{
	struct stat st;
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0666);
	AUTO_FREE char *temporary = help_path("control.sock~");
	cr_expect_neq(access(temporary, F_OK), 0);
}

CONTROL_TEST(a_stale_socket_is_replaced_and_a_successor_stays)
{
	struct control *next = control_new(help_loop, path, request_came, client_gone, NULL, NULL);
	cr_assert_not_null(next);
	control_close(control); /* must not remove what is not its own */
	control = next;
	cr_expect_eq(access(path, F_OK), 0);
	with_client(polite);
	cr_expect_eq(exit_status, 0);
}

CONTROL_TEST(a_file_in_the_way_is_not_touched)
{
	struct fault fault = {0};
	help_write("file", "precious", 0600);
	AUTO_FREE char *file = help_path("file");
	cr_expect_null(control_new(help_loop, file, request_came, client_gone, NULL, &fault));
	cr_expect_eq(fault.code, -EEXIST);
	cr_expect_eq(access(file, F_OK), 0);
}

CONTROL_TEST(too_long_a_path_is_told)
{
	struct fault fault = {0};
	char longish[200];
	memset(longish, 'x', sizeof longish - 1);
	longish[0] = '/';
	longish[sizeof longish - 1] = '\0';
	cr_expect_null(control_new(help_loop, longish, request_came, client_gone, NULL, &fault));
	cr_expect_eq(fault.code, -ENAMETOOLONG);
	cr_expect_null(control_new(help_loop, "/nonexistent/sock", request_came, client_gone, NULL, &fault));
	cr_expect_eq(fault.code, -ENOENT);
}
