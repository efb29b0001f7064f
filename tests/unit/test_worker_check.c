/* The two jobs of a check worker, without its process: descriptors in, a reply and written files out. */
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "pki/pki.h"
#include "wire/check.h"
#include "wire/identify.h"
#include "worker/check.h"
#include "worker/identify.h"
#include "worker/input.h"

TestSuite(worker_check, .init = pki_init, .fini = pki_exit);

static int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	cr_assert(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	return fd;
}

static void extend(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

/* A server's own self-signed pair: certificate and key in one PEM text. */
static char *pair_of(EVP_PKEY *key)
{
	X509 *x = X509_new();
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 0xab);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 5 * 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"self", -1, -1,
				   0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	extend(x, NID_subject_alt_name, "DNS:a.test");
	extend(x, NID_ext_key_usage, "serverAuth");
	X509_sign(x, key, EVP_sha256());
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(b, x);
	PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL);
	char *data;
	long n = BIO_get_mem_data(b, &data);
	char *s = xstrndup(data, (size_t)n);
	BIO_free(b);
	X509_free(x);
	EVP_PKEY_free(key);
	return s;
}

static char *self_signed(void)
{
	return pair_of(EVP_EC_gen("P-256"));
}

/* A message as it is received: `body` is taken over, the descriptors too. */
static struct message message_of(struct packer *body, const int *fds, size_t nfds)
{
	struct message m = {.body = {.bytes = body->bytes, .len = body->len}, .nfds = nfds};
	memcpy(m.fds, fds, nfds * sizeof *fds);
	return m;
}

static int check(const struct check_request *r, const int *fds, size_t nfds, struct check_reply *ret)
{
	struct packer body = {0}, answer = {0};
	check_request_pack(&body, r);
	struct message m = message_of(&body, fds, nfds);
	int e = worker_check(&m, &answer);
	if (!e)
		cr_assert_eq(check_reply_unpack(&(struct unpacker){.bytes = answer.bytes, .len = answer.len}, ret), 0);
	message_done(&m);
	packer_done(&body);
	packer_done(&answer);
	return e;
}

static struct identify_reply identify(const int *fds, uint16_t files, uint16_t passwords)
{
	struct packer body = {0}, answer = {0};
	identify_request_pack(&body, &(struct identify_request){.files = files, .passwords = passwords});
	struct message m = message_of(&body, fds, files + (passwords ? 1U : 0U));
	struct identify_reply r;
	cr_assert_eq(worker_identify(&m, &answer), 0);
	cr_assert_eq(identify_reply_unpack(&(struct unpacker){.bytes = answer.bytes, .len = answer.len}, &r), 0);
	message_done(&m);
	packer_done(&body);
	packer_done(&answer);
	return r;
}

/* As openssl-blacklist has it: the last 20 digits of the SHA-1 of "Modulus=HEX\n". */
static char *blacklist_line(const EVP_PKEY *key)
{
	BIGNUM *n = NULL;
	unsigned char sha1[20];
	char *line = xcalloc(1, 32);
	EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n);
	char *hex = BN_bn2hex(n), *text = xasprintf("Modulus=%s\n", hex);
	EVP_Digest(text, strlen(text), sha1, NULL, EVP_sha1(), NULL);
	for (size_t i = 0; i < 10; i++)
		snprintf(line + 2 * i, 3, "%02x", sha1[10 + i]);
	OPENSSL_free(hex);
	free(text);
	BN_free(n);
	return line;
}

Test(worker_check, a_list_of_weak_keys_is_looked_into)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	AUTO_FREE char *line = blacklist_line(key), *list = xasprintf("# comment\n0123456789abcdef0123\n%s\n", line);
	AUTO_FREE char *pem = pair_of(key);
	uint8_t roles[] = {CHECK_SUBMITTED, CHECK_WEAK_KEYS};
	for (size_t cut = 0; cut < 2; cut++) { /* whole; without the last line */
		struct check_request r = {.roles = roles, .files = 2};
		struct check_reply reply;
		int fds[] = {file_of(pem, strlen(pem)), file_of(list, strlen(list) - cut * 10)};
		cr_assert_eq(check(&r, fds, 2, &reply), 0);
		bool found = false;
		for (size_t i = 0; i < reply.findings.n; i++)
			found |= reply.findings.v[i].code == FINDING_KEY_WEAK_DEBIAN;
		cr_expect_eq(found, cut == 0);
		check_reply_done(&reply);
	}
}

Test(worker_check, proves_and_writes)
{
	char *pem = self_signed(), got[4096] = "";
	uint8_t role = CHECK_SUBMITTED;
	struct check_request r = {.roles = &role, .files = 1, .write_out = true};
	struct check_reply reply;
	int fds[1 + CHECK_OUTPUTS], kept[CHECK_OUTPUTS];
	for (int round = 0; round < 2; round++) { /* first without trust */
		fds[0] = file_of(pem, strlen(pem));
		for (int i = 0; i < CHECK_OUTPUTS; i++) {
			fds[1 + i] = file_of("", 0);
			kept[i] = dup(fds[1 + i]);
		}
		cr_assert_eq(check(&r, fds, 1 + CHECK_OUTPUTS, &reply), 0);
		cr_expect_eq(reply.written, round == 1);
		cr_expect_eq(findings_block(&reply.findings), round == 0);
		cr_expect_str_eq(reply.serial, "ab");
		check_reply_done(&reply);
		for (int i = 0; i < CHECK_OUTPUTS; i++) {
			memset(got, 0, sizeof got);
			ssize_t n = pread(kept[i], got, sizeof got - 1, 0);
			cr_expect_eq(n > 0, round == 1 && i != CHECK_OUT_CHAIN, "%s", check_output_name[i]);
			close(kept[i]);
		}
		int trust = file_of(pem, strlen(pem));
		struct fault fault = {0};
		cr_assert_eq(worker_trust_load(trust, &fault), 0, "%s", fault.text);
		close(trust);
	}
	free(pem);
}

Test(worker_check, descriptors_must_be_those_of_the_request)
{
	uint8_t roles[2] = {CHECK_SUBMITTED, CHECK_LIVE};
	struct check_request r = {.roles = roles, .files = 2};
	struct check_reply reply;
	int one[] = {file_of("", 0)}, three[] = {file_of("", 0), file_of("", 0), file_of("", 0)};
	cr_expect_eq(check(&r, one, 1, &reply), -EBADMSG);
	cr_expect_eq(check(&r, three, 3, &reply), -EBADMSG);
	struct message m = {0};
	struct packer answer = {0};
	cr_expect_eq(worker_check(&m, &answer), -EBADMSG);
	cr_expect_eq(worker_identify(&m, &answer), -EBADMSG);
	packer_done(&answer);
}

Test(worker_check, files_that_are_none, .timeout = 10)
{
	int pipes[2];
	cr_assert_eq(pipe(pipes), 0);
	int big = file_of("", 0), just = file_of("", 0);
	cr_assert(ftruncate(big, INPUT_MAX + 1) == 0 && ftruncate(just, INPUT_MAX) == 0);
	struct identify_reply r = identify((int[]){pipes[0], big, just, file_of("", 0)}, 4, 0);
	cr_assert_eq(r.n, 4);
	static const char *const want[] = {"not a regular file", "larger than 1 MiB", "binary data", "empty file"};
	for (size_t i = 0; i < 4; i++)
		cr_expect(r.v[i].kind == OBJECT_NOTHING && r.v[i].file == i && strstr(r.v[i].text, want[i]), "%s",
			  r.v[i].text);
	identify_reply_done(&r);
	close(pipes[1]);
}

Test(worker_check, too_large)
{
	int big = file_of("", 0);
	uint8_t role = CHECK_SUBMITTED;
	struct check_request r = {.roles = &role, .files = 1};
	struct check_reply reply;
	cr_assert_eq(ftruncate(big, (off_t)1 << 32), 0);
	cr_assert_eq(check(&r, &big, 1, &reply), 0);
	cr_expect_eq(reply.findings.v[0].code, FINDING_TOO_LARGE);
	check_reply_done(&reply);
}

Test(worker_check, identifies_a_pair)
{
	char *pem = self_signed();
	int fd = file_of(pem, strlen(pem)), kept = dup(fd);
	lseek(fd, 5, SEEK_SET); /* where the descriptor stands does not matter, and it stays there */
	struct identify_reply r = identify((int[]){fd, file_of("x\n", 2)}, 1, 1);
	cr_assert_eq(r.n, 2);
	cr_expect(r.v[0].kind == OBJECT_LEAF && r.v[1].kind == OBJECT_KEY && digest_equal(&r.v[0].spki, &r.v[1].spki));
	cr_expect(words_has(&r.v[0].names, "a.test") && !digest_is_zero(&r.v[0].sha256));
	cr_expect_str_eq(r.v[1].text, "ecdsa-p256 private key, PKCS#8");
	cr_expect_eq(lseek(kept, 0, SEEK_CUR), 5);
	close(kept);
	identify_reply_done(&r);
	free(pem);
}

/* Hundreds of certificates: the reply is cut to a message, and says so. */
Test(worker_check, more_than_a_message_holds)
{
	struct text t = {0};
	char *pem = self_signed();
	int fds[200];
	for (int i = 0; i < 200; i++)
		fds[i] = file_of(pem, strlen(pem));
	struct identify_reply r = identify(fds, 200, 0);
	cr_expect_eq(r.n, 400);
	identify_reply_done(&r);
	for (int i = 0; i < 200; i++)
		text_add(&t, "-----BEGIN JUNK-----\nAAAA\n-----END JUNK-----\n");
	for (int i = 0; i < 200; i++)
		fds[i] = file_of(t.s, t.len);
	r = identify(fds, 200, 0);
	cr_expect(r.n > 100 && strstr(r.v[r.n - 1].text, "left out"));
	identify_reply_done(&r);
	text_done(&t);
	free(pem);
}

Test(worker_check, trust_that_is_none)
{
	struct fault fault = {0};
	int fd = file_of("nothing", 7);
	cr_expect_eq(worker_trust_load(fd, &fault), -EINVAL);
	cr_expect(strstr(fault.text, "no certificate"));
	cr_expect(worker_trust_load(-1, &fault) < 0);
	close(fd);
}
