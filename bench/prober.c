/* Full TLS handshakes with one server, one after the other, without a pause, until its standard input ends. On standard
 * output a line whenever the server shows another certificate than in the handshake before: shown BEGAN ENDED SHA256
 * SHA-256 of the leaf; times of CLOCK_MONOTONIC in nanoseconds failed BEGAN ENDED TEXT         a handshake that failed
 *     end HANDSHAKES FAILED WORST     when the input has ended; the longest handshake in nanoseconds
 * No session is resumed: a resumed one shows no certificate. Connections end by a reset, so that thousands of them in
 * TIME_WAIT do not slow down what is measured. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define HANDSHAKE_S 5

struct prober {
	struct sockaddr_in server;
	const char *name;
	SSL_CTX *context;
	unsigned char last[32];
	uint64_t handshakes, failed;
	int64_t worst;
};

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int connect_to(const struct prober *p)
{
	const struct timeval limit = {.tv_sec = HANDSHAKE_S};
	const struct linger reset = {.l_onoff = 1};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(fd, (const struct sockaddr *)&p->server, sizeof p->server) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* True with the leaf's digest, or false with a reason. */
static bool handshake(const struct prober *p, unsigned char digest[32], const char **ret_why)
{
	bool good = false;
	int fd = connect_to(p);
	if (fd < 0) {
		*ret_why = strerror(errno);
		return false;
	}
	SSL *ssl = SSL_new(p->context);
	*ret_why = "no TLS handshake";
	if (ssl && SSL_set_fd(ssl, fd) == 1 && SSL_set_tlsext_host_name(ssl, p->name) == 1 && SSL_connect(ssl) == 1) {
		X509 *leaf = SSL_get0_peer_certificate(ssl);
		good = leaf && X509_digest(leaf, EVP_sha256(), digest, NULL) == 1;
	}
	ERR_clear_error();
	SSL_free(ssl);
	close(fd);
	return good;
}

static void probe(struct prober *p)
{
	unsigned char digest[32] = {0};
	const char *why;
	int64_t began = now_ns();
	bool good = handshake(p, digest, &why);
	int64_t ended = now_ns();
	p->handshakes++;
	if (ended - began > p->worst)
		p->worst = ended - began;
	if (!good) {
		p->failed++;
		printf("failed %lld %lld %s\n", (long long)began, (long long)ended, why);
		return;
	}
	if (memcmp(digest, p->last, sizeof digest) == 0)
		return;
	memcpy(p->last, digest, sizeof digest);
	printf("shown %lld %lld ", (long long)began, (long long)ended);
	for (size_t i = 0; i < sizeof digest; i++)
		printf("%02x", digest[i]);
	putchar('\n');
}

static bool input_ended(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	return poll(&p, 1, 0) != 0;
}

static bool setup(struct prober *p, char **argv)
{
	p->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
	p->name = argv[3];
	p->context = SSL_CTX_new(TLS_client_method());
	if (!p->context || inet_pton(AF_INET, argv[1], &p->server.sin_addr) != 1)
		return false;
	SSL_CTX_set_verify(p->context, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(p->context, SSL_SESS_CACHE_OFF);
	return true;
}

int main(int argc, char **argv)
{
	struct prober p = {0};
	if (argc != 4 || !setup(&p, argv)) {
		fprintf(stderr, "usage: certswap-bench-prober IPV4-ADDRESS PORT SERVER-NAME\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (!input_ended())
		probe(&p);
	printf("end %llu %llu %lld\n", (unsigned long long)p.handshakes, (unsigned long long)p.failed,
	       (long long)p.worst);
	SSL_CTX_free(p.context);
	return 0;
}
