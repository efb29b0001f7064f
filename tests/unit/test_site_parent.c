#include "test_files_help.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "site/parent.h"

static char pidfile[128];
static const struct server_settings server = {.pidfile = pidfile};

static pid_t pid_of(const char *content)
{
	snprintf(pidfile, sizeof pidfile, "%s/pid", files_path);
	files_put(files_folder, "pid", content);
	return parent_pid(&server);
}

FILES_TEST(parent, by_its_pid_file)
{
	cr_expect_eq(pid_of("1234\n"), 1234);
	cr_expect_eq(pid_of("1234"), 1234);
	static const char *const none[] = {"",
					   "\n",
					   "0",
					   "1\n",
					   "-7\n",
					   "pid",
					   "99999999999",
					   "2147483647",
					   "1111111111111111111111111111111111111111111111111111111111111111111"};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		cr_expect_eq(pid_of(none[i]), 0, "%s", none[i]);
	unlink(pidfile);
	cr_expect_eq(parent_pid(&server), 0);
	cr_assert_eq(mkfifo(pidfile, 0600), 0);
	cr_expect_eq(parent_pid(&server), 0, "a pipe hangs nobody");
	cr_expect_eq(parent_open(&server), -ESRCH);
	const struct server_settings without = {0};
	cr_expect_eq(parent_pid(&without), 0);
}

FILES_TEST(parent, its_death_is_seen)
{
	int in[2];
	cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
	pid_t child = fork();
	if (child == 0) {
		char c;
		close(in[1]);
		_exit(read(in[0], &c, 1) < 0);
	}
	AUTO_FREE char *content = xasprintf("%d\n", (int)child);
	cr_expect_eq(pid_of(content), child);
	AUTO_CLOSE int fd = parent_open(&server);
	cr_assert_geq(fd, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	cr_expect_eq(poll(&p, 1, 0), 0, "it lives");
	close(in[1]);
	close(in[0]);
	cr_expect_eq(poll(&p, 1, 10000), 1);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	cr_expect_eq(parent_open(&server), -ESRCH);
}

/* A listening socket on a free port; 0: this host has no such address. */
static uint16_t listen_on(int family, const char *address, int *ret_fd)
{
	struct sockaddr_storage any = {.ss_family = (sa_family_t)family};
	struct sockaddr_in *four = (struct sockaddr_in *)&any;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&any;
	socklen_t size = family == AF_INET ? sizeof *four : sizeof *six;
	cr_assert_eq(inet_pton(family, address, family == AF_INET ? (void *)&four->sin_addr : (void *)&six->sin6_addr),
		     1);
	*ret_fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*ret_fd < 0 || bind(*ret_fd, (struct sockaddr *)&any, size) < 0 || listen(*ret_fd, 1) < 0)
		return 0;
	cr_assert_eq(getsockname(*ret_fd, (struct sockaddr *)&any, &size), 0);
	return ntohs(family == AF_INET ? four->sin_port : six->sin6_port);
}

static bool have(const struct listeners *l, const char *host, unsigned int port)
{
	AUTO_FREE char *endpoint = xasprintf("%s:%u", host, port);
	return listeners_have(l, endpoint);
}

FILES_TEST(parent, where_it_listens)
{
	int fds[4];
	struct listeners l;
	uint16_t loopback = listen_on(AF_INET, "127.0.0.1", &fds[0]), every = listen_on(AF_INET, "0.0.0.0", &fds[1]),
		 six = listen_on(AF_INET6, "::1", &fds[2]), every6 = listen_on(AF_INET6, "::", &fds[3]);
	cr_assert(loopback && every);
	AUTO_FREE char *content = xasprintf("%d", (int)getpid());
	cr_assert_eq(pid_of(content), getpid());
	parent_listeners(&server, &l);
	cr_expect_eq(l.n, 2u + (six > 0) + (every6 > 0));
	cr_expect(have(&l, "127.0.0.1", loopback));
	cr_expect_not(have(&l, "127.0.0.2", loopback));
	cr_expect_not(have(&l, "127.0.0.1", loopback ^ 1u));
	cr_expect(have(&l, "127.0.0.1", every) && have(&l, "192.0.2.7", every));
	cr_expect_not(have(&l, "[::1]", every), "0.0.0.0 takes no IPv6");
	if (six) {
		cr_expect(have(&l, "[::1]", six) && have(&l, "[0:0::1]", six));
		cr_expect_not(have(&l, "127.0.0.1", six));
	}
	if (every6)
		cr_expect(have(&l, "[::1]", every6) && have(&l, "[2001:db8::1]", every6) &&
			  have(&l, "127.0.0.1", every6));
	free(l.v);
	for (int i = 0; i < 4; i++)
		auto_close_(&fds[i]);
	parent_listeners(&server, &l);
	cr_expect_eq(l.n, 0);
	free(l.v);
	unlink(pidfile);
	parent_listeners(&server, &l);
	cr_expect(!l.n && !l.v);
}

static struct listener listener(int family, const char *address, uint16_t port)
{
	struct listener l = {.family = family, .port = port};
	cr_assert_eq(inet_pton(family, address, l.address), 1);
	return l;
}

Test(listeners, become_endpoints_none_twice)
{
	struct listener v[] = {listener(AF_INET, "0.0.0.0", 443), listener(AF_INET6, "::", 443),
			       listener(AF_INET, "127.0.0.1", 443), listener(AF_INET, "192.0.2.7", 8443),
			       listener(AF_INET6, "2001:db8::7", 443)};
	const struct listeners l = {.v = v, .n = ARRAY_SIZE(v)};
	struct words endpoints = {0};
	listeners_endpoints(&l, NULL, &endpoints);
	AUTO_FREE char *joined = words_join(&endpoints, " ");
	cr_expect_str_eq(joined, "127.0.0.1:443 [::1]:443 192.0.2.7:8443 [2001:db8::7]:443");
	for (size_t i = 0; i < endpoints.n; i++)
		cr_expect(listeners_have(&l, endpoints.v[i]), "%s", endpoints.v[i]);
	words_done(&endpoints);
	/* with the addresses of this host: those of IPv6 only for who listens there */
	struct words more = {0};
	words_add(&more, "192.0.2.1");
	words_add(&more, "2001:db8::1");
	listeners_endpoints(&(struct listeners){.v = v, .n = 1}, &more, &endpoints);
	AUTO_FREE char *four = words_join(&endpoints, " ");
	cr_expect_str_eq(four, "127.0.0.1:443 192.0.2.1:443");
	listeners_endpoints(&(struct listeners){.v = v + 1, .n = 1}, &more, &endpoints);
	AUTO_FREE char *both = words_join(&endpoints, " ");
	cr_expect_str_eq(both, "127.0.0.1:443 192.0.2.1:443 [::1]:443 [2001:db8::1]:443");
	for (size_t i = 0; i < endpoints.n; i++)
		cr_expect(listeners_have(&l, endpoints.v[i]), "%s", endpoints.v[i]);
	words_done(&endpoints);
	words_done(&more);
}

Test(listeners, what_is_no_endpoint_is_had_by_none)
{
	struct listener v[] = {listener(AF_INET, "0.0.0.0", 443), listener(AF_INET6, "::", 443),
			       listener(AF_INET, "0.0.0.0", 0)};
	const struct listeners l = {.v = v, .n = ARRAY_SIZE(v)}, none = {0};
	static const char *const bad[] = {"",
					  ":443",
					  "443",
					  "localhost:443",
					  "127.0.0.1",
					  "[::1]",
					  "::1:443x",
					  "[::1:443",
					  "::1]:443",
					  "[]:443",
					  "[127.0.0.1]:443",
					  "127.0.0:443",
					  "1.2.3.4.5:443",
					  "[1111:2222:3333:4444:5555:6666:7777:8888:9999:0000]:443"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_not(listeners_have(&l, bad[i]), "%s", bad[i]);
	cr_expect(listeners_have(&l, "127.0.0.1:443"));
	cr_expect_not(listeners_have(&none, "127.0.0.1:443"));
}
