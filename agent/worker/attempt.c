#include "worker/attempt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pki/cert.h"

/* Whatever is served must be seen, weak or old as it may be; only what proves no key at all is left out. */
#define CIPHERS_NEVER "!aNULL:!eNULL:!PSK:!SRP:@SECLEVEL=0"

/* TLS 1.3 picks the certificate by signature algorithm (RFC 8446 4.4.2.2), TLS 1.2 by cipher suite as well. */
static const struct {
	const char *ciphers, *signatures;
} restricted[] = {
	[PROBE_KEY_ANY] = {"ALL:" CIPHERS_NEVER, NULL},
	[PROBE_KEY_RSA] = {"aRSA:" CIPHERS_NEVER,
			   "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:rsa_pss_pss_sha256:"
			   "rsa_pss_pss_sha384:rsa_pss_pss_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512:"
			   "RSA+SHA1"},
	[PROBE_KEY_ECDSA] = {"aECDSA:" CIPHERS_NEVER,
			     "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ECDSA+SHA1"},
};
_Static_assert(ARRAY_SIZE(restricted) == PROBE_KEYS, "a row for each kind of key");

static void write_serial(const ASN1_INTEGER *serial, char *buf, size_t size)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
	char *hex = number ? BN_bn2hex(number) : NULL;
	const char *digits = hex ? hex + strspn(hex, "0") : "";
	snprintf(buf, size, "%s", hex && !*digits ? "0" : digits);
	for (char *c = buf; *c; c++)
		if (*c >= 'A' && *c <= 'F')
			*c = (char)(*c - 'A' + 'a');
	OPENSSL_free(hex);
	BN_free(number);
}

/* Called by OpenSSL with the Certificate message, in the place of a verification. Notes what the leaf is. */
static int take_certificate(X509_STORE_CTX *store, void *unused)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct attempt *a = SSL_get_app_data(ssl);
	X509 *leaf = X509_STORE_CTX_get0_cert(store);
	uint8_t *der = NULL, *spki = NULL;
	int der_len = i2d_X509(leaf, &der);
	int spki_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &spki);
	if (der_len > 0 && spki_len > 0) {
		a->outcome.sha256 = hash_bytes(der, (size_t)der_len);
		a->outcome.spki = hash_bytes(spki, (size_t)spki_len);
		write_serial(X509_get0_serialNumber(leaf), a->outcome.serial, sizeof a->outcome.serial);
		a->outcome.demands_staple = cert_must_staple(leaf);
		a->certificate = true;
	}
	OPENSSL_free(der);
	OPENSSL_free(spki);
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

/* Called by OpenSSL for each message. One that arrives shows that the ones before it were good: the server's Finished
 * of TLS 1.3 follows its CertificateVerify; ServerHelloDone of TLS 1.2 follows the signed ServerKeyExchange. So the key
 * is proved even if the server then ends the handshake because we have no client certificate. */
static void note_message(int sent, int version, int content, const void *bytes, size_t len, SSL *ssl, void *arg)
{
	struct attempt *a = arg;
	if (sent || content != SSL3_RT_HANDSHAKE || !len || !a->certificate)
		return;
	uint8_t type = *(const uint8_t *)bytes;
	if (type == SSL3_MT_SERVER_KEY_EXCHANGE)
		a->key_exchange = true;
	if (type == SSL3_MT_SERVER_DONE && a->key_exchange)
		a->proved = true;
	if (type == SSL3_MT_FINISHED && SSL_version(ssl) >= TLS1_3_VERSION)
		a->proved = true;
}

SSL_CTX *attempt_context(enum probe_key key)
{
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());
	if (!c)
		return NULL;
	AUTO_FREE char *signatures = xstrdup(restricted[key].signatures); /* OpenSSL's macro drops const */
	SSL_CTX_set_security_level(c, 0);
	SSL_CTX_set_min_proto_version(c, TLS1_VERSION);
	SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_LEGACY_SERVER_CONNECT);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_cert_verify_callback(c, take_certificate, NULL);
	if (SSL_CTX_set_cipher_list(c, restricted[key].ciphers) != 1 ||
	    (signatures && SSL_CTX_set1_sigalgs_list(c, signatures) != 1)) {
		SSL_CTX_free(c);
		return NULL;
	}
	return c;
}

static bool end(struct attempt *a, enum outcome_kind kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static bool end(struct attempt *a, enum outcome_kind kind, const char *format, ...)
{
	a->outcome.kind = kind;
	a->outcome.ended_us = clock_monotonic_us();
	va_list args;
	va_start(args, format);
	vsnprintf(a->outcome.text, sizeof a->outcome.text, format, args);
	va_end(args);
	SSL_free(a->ssl);
	a->ssl = NULL;
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	return true;
}

/* Is there a stapled OCSP response, and is it about other certificates only? Then `ret` is one of their serials. A file
 * that the server staples belongs to one certificate and must change with it; browsers end a handshake that shows
 * another's (RFC 6066 8, RFC 6961). What can't be read is no response. */
static bool staples_for_another(const struct attempt *a, char *ret, size_t size)
{
	const unsigned char *der = NULL;
	long len = SSL_get_tlsext_status_ocsp_resp(a->ssl, &der);
	OCSP_RESPONSE *response = len > 0 && der ? d2i_OCSP_RESPONSE(NULL, &der, len) : NULL;
	OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response) : NULL;
	int n = basic ? OCSP_resp_count(basic) : 0;
	bool ours = n < 1;
	for (int i = 0; i < n && !ours; i++) {
		ASN1_INTEGER *serial = NULL;
		OCSP_CERTID *id = (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(OCSP_resp_get0(basic, i));
		OCSP_id_get0_info(NULL, NULL, NULL, &serial, id);
		write_serial(serial, ret, size);
		ours = strcmp(ret, a->outcome.serial) == 0;
	}
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(response);
	ERR_clear_error();
	return !ours;
}

/* The certificate was shown and its key proved. */
static bool end_shown(struct attempt *a)
{
	char other[48];
	const unsigned char *der = NULL;
	a->outcome.stapled = SSL_get_tlsext_status_ocsp_resp(a->ssl, &der) > 0;
	bool expected = digest_equal(&a->outcome.sha256, &a->place->expect);
	a->outcome.hopeless = expected && staples_for_another(a, other, sizeof other);
	if (a->outcome.hopeless)
		return end(
			a, OUTCOME_TLS_FAILED,
			"it shows the expected certificate with a stapled OCSP response for another one (serial %s): "
			"put a response for serial %s where ssl_stapling_file points, or let certswap do it (option "
			"staple), "
			"or take that line out",
			other, a->outcome.serial);
	return end(a, OUTCOME_SHOWN, "%s", "");
}

static bool end_errno(struct attempt *a, int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ENOENT:
		return end(a, OUTCOME_REFUSED, "nothing listens there: %s", strerror(error));
	case EACCES:
	case EPERM:
		return end(a, OUTCOME_REFUSED, "the prober may not connect there: %s", strerror(error));
	case ECONNRESET:
	case EPIPE:
	case ECONNABORTED:
	case EAGAIN: /* a unix socket whose queue is full */
		return end(a, OUTCOME_DROPPED, "the connection was closed before the certificate was seen: %s",
			   strerror(error));
	default:
		return end(a, OUTCOME_NO_ANSWER, "%s", strerror(error));
	}
}

/* PROXY protocol, version 1 (haproxy.org, proxy-protocol.txt, section 2.1). */
static void write_proxy_header(struct attempt *a)
{
	struct sockaddr_storage from = {0}, to = {0};
	socklen_t from_len = sizeof from, to_len = sizeof to;
	char from_text[INET6_ADDRSTRLEN] = "", to_text[INET6_ADDRSTRLEN] = "";
	bool known = getsockname(a->fd, (struct sockaddr *)&from, &from_len) == 0 &&
		     getpeername(a->fd, (struct sockaddr *)&to, &to_len) == 0;
	int n;
	if (known && from.ss_family == AF_INET) {
		const struct sockaddr_in *f = (struct sockaddr_in *)&from, *t = (struct sockaddr_in *)&to;
		n = snprintf(a->out, sizeof a->out, "PROXY TCP4 %s %s %u %u\r\n",
			     inet_ntop(AF_INET, &f->sin_addr, from_text, sizeof from_text),
			     inet_ntop(AF_INET, &t->sin_addr, to_text, sizeof to_text), ntohs(f->sin_port),
			     ntohs(t->sin_port));
	} else if (known && from.ss_family == AF_INET6) {
		const struct sockaddr_in6 *f = (struct sockaddr_in6 *)&from, *t = (struct sockaddr_in6 *)&to;
		n = snprintf(a->out, sizeof a->out, "PROXY TCP6 %s %s %u %u\r\n",
			     inet_ntop(AF_INET6, &f->sin6_addr, from_text, sizeof from_text),
			     inet_ntop(AF_INET6, &t->sin6_addr, to_text, sizeof to_text), ntohs(f->sin6_port),
			     ntohs(t->sin6_port));
	} else {
		n = snprintf(a->out, sizeof a->out, "PROXY UNKNOWN\r\n");
	}
	a->out_len = (size_t)n;
}

static bool begin_tls(struct attempt *a)
{
	a->stage = ATTEMPT_TLS;
	a->ssl = SSL_new(a->context);
	if (!a->ssl || SSL_set_fd(a->ssl, a->fd) != 1 || SSL_set_app_data(a->ssl, a) != 1)
		return end(a, OUTCOME_NO_ANSWER, "OpenSSL gives no connection");
	if ((a->place->version == PROBE_TLS_1_3 && SSL_set_min_proto_version(a->ssl, TLS1_3_VERSION) != 1) ||
	    (a->place->version == PROBE_TLS_1_2 && SSL_set_max_proto_version(a->ssl, TLS1_2_VERSION) != 1))
		return end(a, OUTCOME_NO_ANSWER, "OpenSSL does not speak this version of TLS");
	/* asked for: a server that fetches its responses itself has one before the first visitor comes */
	if (!a->unasked && SSL_set_tlsext_status_type(a->ssl, TLSEXT_STATUSTYPE_ocsp) != 1)
		return end(a, OUTCOME_NO_ANSWER, "OpenSSL gives no connection");
	SSL_set_msg_callback(a->ssl, note_message);
	SSL_set_msg_callback_arg(a->ssl, a);
	if (a->place->server_name[0] && SSL_set_tlsext_host_name(a->ssl, a->place->server_name) != 1)
		return end(a, OUTCOME_TLS_FAILED, "not a server name that TLS can ask for");
	return false;
}

static bool step_connect(struct attempt *a)
{
	int error = 0;
	socklen_t len = sizeof error;
	if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)
		return end_errno(a, error ? error : errno);
	if (a->place->proxy_protocol)
		write_proxy_header(a);
	a->stage = ATTEMPT_HEADER;
	return false;
}

static bool flush(struct attempt *a)
{
	ssize_t n = send(a->fd, a->out, a->out_len, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return end_errno(a, errno);
	if (n > 0) {
		a->out_len -= (size_t)n;
		memmove(a->out, a->out + n, a->out_len);
	}
	a->events = a->out_len ? POLLOUT : POLLIN;
	return false;
}

static bool step_talk(struct attempt *a, bool *ret_again)
{
	char byte;
	ssize_t n = recv(a->fd, &byte, 1, 0);
	if (n < 0) {
		*ret_again = errno == EINTR;
		a->events = POLLIN;
		return errno != EAGAIN && errno != EINTR && end_errno(a, errno);
	}
	if (n == 0)
		return end_errno(a, ECONNRESET);
	const char *send_next = NULL;
	*ret_again = true;
	switch (starttls_feed(&a->starttls, byte, &send_next)) {
	case STARTTLS_MORE:
		return false;
	case STARTTLS_SEND:
		a->out_len = strlen(send_next);
		memcpy(a->out, send_next, a->out_len);
		return false;
	case STARTTLS_READY:
		return begin_tls(a);
	case STARTTLS_BAD:
		break;
	}
	return end(a, OUTCOME_TLS_FAILED, "STARTTLS was not accepted: \"%s\"", starttls_last_line(&a->starttls));
}

static bool end_tls(struct attempt *a, int why)
{
	unsigned long e = ERR_peek_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;
	int error = errno;
	if (why == SSL_ERROR_ZERO_RETURN || (why == SSL_ERROR_SYSCALL && !error) ||
	    ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return end_errno(a, ECONNRESET);
	if (why == SSL_ERROR_SYSCALL)
		return end_errno(a, error);
	return end(a, OUTCOME_TLS_FAILED, "the TLS handshake failed: %s", reason ? reason : "no reason is known");
}

static bool step_tls(struct attempt *a)
{
	ERR_clear_error();
	errno = 0;
	int done = SSL_connect(a->ssl);
	if (done != 1) {
		int why = SSL_get_error(a->ssl, done);
		if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
			a->events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
			return false;
		}
		if (!a->proved)
			return end_tls(a, why);
	} else {
		if (!a->certificate)
			return end(a, OUTCOME_TLS_FAILED, "the handshake showed no certificate");
		SSL_shutdown(a->ssl); /* says goodbye once; whether it arrives does not matter */
	}
	return end_shown(a);
}

bool attempt_step(struct attempt *a)
{
	for (;;) {
		bool ended = false, again = true;
		if (a->out_len) {
			ended = flush(a);
			again = !a->out_len;
		} else if (a->stage == ATTEMPT_CONNECT) {
			ended = step_connect(a);
		} else if (a->stage == ATTEMPT_HEADER && a->place->starttls == PROBE_TLS) {
			ended = begin_tls(a);
		} else if (a->stage == ATTEMPT_HEADER) {
			starttls_begin(&a->starttls, a->place->starttls);
			a->stage = ATTEMPT_TALK;
		} else if (a->stage == ATTEMPT_TALK) {
			again = false;
			ended = step_talk(a, &again);
		} else {
			return step_tls(a);
		}
		if (ended || !again)
			return ended;
	}
}

bool attempt_start(struct attempt *a, SSL_CTX *context, const struct probe_place *place, const struct sockaddr *address,
		   socklen_t len, int64_t now_us, int64_t deadline_us)
{
	*a = (struct attempt){.fd = -1,
			      .events = POLLOUT,
			      .place = place,
			      .context = context,
			      .deadline_us = deadline_us,
			      .unasked = a->unasked,
			      .outcome = {.began_us = now_us, .unasked = a->unasked}};
	a->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0)
		return end(a, OUTCOME_NO_ANSWER, "no socket: %s", strerror(errno));
	if (connect(a->fd, address, len) == 0)
		return attempt_step(a);
	return errno != EINPROGRESS && end_errno(a, errno);
}

void attempt_expire(struct attempt *a)
{
	static const char *const doing[] = {
		[ATTEMPT_CONNECT] = "to the connection",
		[ATTEMPT_HEADER] = "to the PROXY header",
		[ATTEMPT_TALK] = "in the dialogue before STARTTLS",
		[ATTEMPT_TLS] = "in the TLS handshake",
	};
	if (a->proved)
		end_shown(a);
	else
		end(a, OUTCOME_NO_ANSWER, "no answer %s within %lld ms", doing[a->stage],
		    (long long)(a->deadline_us - a->outcome.began_us) / 1000);
}
