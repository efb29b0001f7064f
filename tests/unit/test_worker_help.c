#include "test_worker_help.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

/* Pairs live as long as the test's process. */
static struct pair made[16];
static size_t nmade;

struct pair help_pair(const char *key_type, int64_t valid_for_s)
{
	struct pair p = {.cert = X509_new()};
	p.key = strcmp(key_type, "RSA") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	X509_set_version(p.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(p.cert), 0x0a1b);
	X509_gmtime_adj(X509_getm_notBefore(p.cert), -86400);
	X509_gmtime_adj(X509_getm_notAfter(p.cert), valid_for_s);
	X509_set_pubkey(p.cert, p.key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(p.cert), "CN", MBSTRING_ASC, (const uint8_t *)"localhost", -1,
				   -1, 0);
	X509_set_issuer_name(p.cert, X509_get_subject_name(p.cert));
	cr_assert(X509_sign(p.cert, p.key, EVP_sha256()) > 0);
	uint8_t *der = NULL, *spki = NULL;
	int der_len = i2d_X509(p.cert, &der), spki_len = i2d_PUBKEY(p.key, &spki);
	p.sha256 = hash_bytes(der, (size_t)der_len);
	p.spki = hash_bytes(spki, (size_t)spki_len);
	OPENSSL_free(der);
	OPENSSL_free(spki);
	cr_assert(nmade < ARRAY_SIZE(made));
	made[nmade++] = p;
	return p;
}

static int take_any_client(int ok, X509_STORE_CTX *store)
{
	return 1;
}

static SSL_CTX *server_context(const struct server *s, bool next)
{
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());
	const struct pair *pairs[2] = {next ? s->next : s->pairs[0], next ? NULL : s->pairs[1]};
	for (int i = 0; i < 2 && pairs[i]; i++) {
		cr_assert(SSL_CTX_use_certificate(c, pairs[i]->cert) == 1);
		cr_assert(SSL_CTX_use_PrivateKey(c, pairs[i]->key) == 1);
	}
	if (s->max_version)
		SSL_CTX_set_max_proto_version(c, s->max_version);
	if (s->demand_client)
		SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, take_any_client);
	return c;
}

/* Reads up to the end of a line; false where there is none. */
static bool read_line(int fd, char *buf, size_t size)
{
	size_t n = 0;
	while (n + 1 < size && read(fd, buf + n, 1) == 1)
		if (buf[n++] == '\n')
			break;
	buf[n] = '\0';
	return n && buf[n - 1] == '\n';
}

static bool talk(int fd, const struct server *s)
{
	char line[256];
	if (s->proxy_protocol && (!read_line(fd, line, sizeof line) || strncmp(line, "PROXY TCP4 127.0.0.1 ", 21) != 0))
		return false;
	for (size_t i = 0; s->dialogue && s->dialogue[i]; i++) {
		if (i % 2 == 0)
			dprintf(fd, "%s", s->dialogue[i]);
		else if (!read_line(fd, line, sizeof line) || strcmp(line, s->dialogue[i]) != 0)
			return false;
	}
	return true;
}

static void serve_one(int fd, const struct server *s, SSL_CTX *context, unsigned number)
{
	char bytes[64];
	if (number < s->drop) {
		ssize_t n = read(fd, bytes, sizeof bytes);
		(void)n;
		return;
	}
	if (s->garbage) {
		dprintf(fd, "%s", s->garbage);
		while (read(fd, bytes, sizeof bytes) > 0)
			;
		return;
	}
	if (s->hang) {
		while (read(fd, bytes, sizeof bytes) > 0)
			;
		return;
	}
	if (!talk(fd, s))
		return;
	SSL *ssl = SSL_new(context);
	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1)
		SSL_read(ssl, bytes, sizeof bytes);
	SSL_free(ssl);
}

static _Noreturn void serve(int listener, const struct server *s)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	SSL_CTX *now = s->pairs[0] ? server_context(s, false) : NULL;
	SSL_CTX *next = s->next ? server_context(s, true) : NULL;
	for (unsigned number = 0;; number++) {
		int fd = accept(listener, NULL, NULL);
		bool new = next &&number >= s->switch_after && !(s->alternate && number % s->alternate == 0);
		serve_one(fd, s, new ? next : now, number);
		close(fd);
	}
}

/* A listener on a free port of the loopback; its endpoint in *ret, the caller's. */
static int listen_somewhere(const struct server *s, char **ret)
{
	int family = s->unix_path ? AF_UNIX : s->v6 ? AF_INET6 : AF_INET;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	if (s->unix_path) {
		strncpy(un.sun_path, s->unix_path, sizeof un.sun_path - 1);
		unlink(s->unix_path);
		cr_assert(bind(fd, (struct sockaddr *)&un, sizeof un) == 0);
		*ret = xasprintf("unix:%s", s->unix_path);
	} else if (s->v6) {
		socklen_t len = sizeof v6;
		cr_assert(bind(fd, (struct sockaddr *)&v6, len) == 0);
		getsockname(fd, (struct sockaddr *)&v6, &len);
		*ret = xasprintf("[::1]:%u", ntohs(v6.sin6_port));
	} else {
		socklen_t len = sizeof v4;
		cr_assert(bind(fd, (struct sockaddr *)&v4, len) == 0);
		getsockname(fd, (struct sockaddr *)&v4, &len);
		*ret = xasprintf("127.0.0.1:%u", ntohs(v4.sin_port));
	}
	return fd;
}

char *help_serve(const struct server *server)
{
	char *endpoint = NULL;
	int fd = listen_somewhere(server, &endpoint);
	cr_assert(listen(fd, 64) == 0);
	pid_t child = fork();
	cr_assert(child >= 0);
	if (child == 0)
		serve(fd, server);
	close(fd);
	return endpoint;
}

char *help_closed_endpoint(void)
{
	struct server none = {0};
	char *endpoint = NULL;
	close(listen_somewhere(&none, &endpoint));
	return endpoint;
}

static _Noreturn void become_worker(const char *role, int socket, int trust)
{
	/* out of the way of the numbers that they are to get; dup2 takes close-on-exec away */
	int high[2] = {fcntl(socket, F_DUPFD_CLOEXEC, 10), trust < 0 ? -1 : fcntl(trust, F_DUPFD_CLOEXEC, 10)};
	dup2(high[0], WORKER_SOCKET_FD);
	if (high[1] >= 0)
		dup2(high[1], WORKER_TRUST_FD);
	else
		close(WORKER_TRUST_FD);
	execl(BUILD_DIR "/agent/certswap-worker", "certswap-worker", role, (char *)NULL);
	_exit(127);
}

int help_job(const char *role, int trust, uint8_t kind, const struct packer *request, const int *fds, size_t nfds,
	     struct message *ret)
{
	int two[2];
	cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, two) == 0);
	pid_t child = fork();
	cr_assert(child >= 0);
	if (child == 0)
		become_worker(role, two[1], trust);
	close(two[1]);
	*ret = (struct message){0};
	if (request) {
		cr_assert(message_send(two[0], kind, request, fds, nfds) == 0);
		message_receive(two[0], ret); /* where it fails, kind stays 0 */
	}
	close(two[0]);
	int status;
	cr_assert(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct probe_reply help_probe(const struct probe_request *request)
{
	struct packer p = {0};
	probe_request_pack(&p, request);
	struct message m;
	int status = help_job("probe", -1, MESSAGE_PROBE, &p, NULL, 0, &m);
	cr_assert(status == 0, "worker's status %d", status);
	packer_done(&p);
	cr_assert(m.kind == (MESSAGE_PROBE | MESSAGE_REPLY));
	struct probe_reply reply;
	cr_assert(probe_reply_unpack(&m.body, &reply) == 0);
	message_done(&m);
	return reply;
}

struct probe_seen help_probe_one(const struct probe_place *place, uint32_t deadline_ms, uint32_t settle_ms)
{
	struct probe_place copy = *place;
	if (!copy.server_name)
		copy.server_name = xstrdup("localhost");
	struct probe_request request = {
		.v = &copy, .n = 1, .timeout_ms = 1000, .deadline_ms = deadline_ms, .settle_ms = settle_ms};
	struct probe_reply reply = help_probe(&request);
	cr_assert(reply.n == 1);
	struct probe_seen seen = reply.v[0];
	if (!place->server_name)
		free(copy.server_name);
	free(reply.v);
	return seen;
}
