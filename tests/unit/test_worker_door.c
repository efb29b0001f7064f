/* The real certswap-worker: what it answers behind its sandbox, and what ends it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "pki/key.h"
#include "test_worker_help.h"
#include "wire/check.h"
#include "wire/identify.h"
#include "wire/keygen.h"

/* A file in memory with certificate, key, or both. */
static int pem_file(const struct pair *pair, bool cert, bool key)
{
	int fd = memfd_create("pem", MFD_CLOEXEC);
	cr_assert(fd >= 0);
	FILE *f = fdopen(dup(fd), "w");
	if (cert)
		PEM_write_X509(f, pair->cert);
	if (key)
		PEM_write_PKCS8PrivateKey(f, pair->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

Test(worker_door, identify_is_answered, .timeout = 20)
{
	struct pair pair = help_pair("EC", 90 * 86400);
	int fd = pem_file(&pair, true, true);
	struct packer p = {0};
	identify_request_pack(&p, &(struct identify_request){.files = 1});
	struct message m;
	cr_assert(help_job("check", -1, MESSAGE_IDENTIFY, &p, &fd, 1, &m) == 0);
	cr_assert(m.kind == (MESSAGE_IDENTIFY | MESSAGE_REPLY));
	struct identify_reply reply;
	cr_assert(identify_reply_unpack(&m.body, &reply) == 0);
	cr_assert(reply.n == 2, "%zu", reply.n);
	identify_reply_done(&reply);
	message_done(&m);
	packer_done(&p);
	close(fd);
}

/* A self-signed pair that is its own root, written out in all forms. */
static void check_and_write(const char *key_type)
{
	struct pair pair = help_pair(key_type, 90 * 86400);
	int trust = pem_file(&pair, true, false);
	int fds[1 + CHECK_OUTPUTS];
	fds[0] = pem_file(&pair, true, true);
	for (size_t i = 0; i < CHECK_OUTPUTS; i++)
		fds[1 + i] = memfd_create("out", MFD_CLOEXEC);
	uint8_t role = CHECK_SUBMITTED;
	struct check_request request = {
		.roles = &role, .files = 1, .profile = CHECK_PROFILE_PRIVATE, .write_out = true};
	words_add(&request.names, "localhost");
	for (int code = 0; code < FINDING_CODES; code++)
		words_add(&request.accepted, finding_name((enum finding_code)code));
	struct packer p = {0};
	check_request_pack(&p, &request);
	struct message m;
	cr_assert(help_job("check", trust, MESSAGE_CHECK, &p, fds, ARRAY_SIZE(fds), &m) == 0);
	cr_assert(m.kind == (MESSAGE_CHECK | MESSAGE_REPLY));
	struct check_reply reply;
	cr_assert(check_reply_unpack(&m.body, &reply) == 0);
	cr_assert(digest_equal(&reply.sha256, &pair.sha256));
	for (size_t i = 0; i < reply.findings.n; i++)
		cr_assert(reply.findings.v[i].code != FINDING_HANDSHAKE_FAILED, "%s", reply.findings.v[i].text);
	cr_assert(reply.written, "%s", reply.findings.n ? reply.findings.v[0].text : "no finding");
	cr_assert(lseek(fds[1 + CHECK_OUT_KEY], 0, SEEK_END) > 100);
	check_reply_done(&reply);
	message_done(&m);
	packer_done(&p);
	words_done(&request.names);
	words_done(&request.accepted);
}

Test(worker_door, check_is_answered_and_written_out, .timeout = 20)
{
	check_and_write("EC");
	check_and_write("RSA");
}

/* A key and its request come out; the names, addresses and the subject of the certificate are in the request. */
static void make_key(const char *type, int bits)
{
	int fds[KEYGEN_OUTPUTS] = {memfd_create("key", MFD_CLOEXEC), memfd_create("csr", MFD_CLOEXEC)};
	struct keygen_request request = {.key_type = (char *)(uintptr_t)type};
	words_add(&request.names, "*.example.test");
	words_add(&request.names, "192.0.2.1");
	struct packer p = {0};
	keygen_request_pack(&p, &request);
	struct message m;
	cr_assert(help_job("keygen", -1, MESSAGE_KEYGEN, &p, fds, KEYGEN_OUTPUTS, &m) == 0);
	struct keygen_reply reply;
	cr_assert(keygen_reply_unpack(&m.body, &reply) == 0);
	cr_assert_str_empty(reply.problem);
	FILE *key_file = fdopen(fds[KEYGEN_OUT_KEY], "r"), *csr_file = fdopen(fds[KEYGEN_OUT_REQUEST], "r");
	rewind(key_file);
	rewind(csr_file);
	EVP_PKEY *key = PEM_read_PrivateKey(key_file, NULL, NULL, NULL);
	X509_REQ *csr = PEM_read_X509_REQ(csr_file, NULL, NULL, NULL);
	cr_assert(key && csr);
	cr_assert(EVP_PKEY_get_bits(key) == bits);
	cr_assert(X509_REQ_verify(csr, key) == 1);
	struct digest spki = key_spki(key);
	cr_assert(digest_equal(&spki, &reply.spki));
	STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(csr);
	GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
	cr_assert(sk_GENERAL_NAME_num(names) == 2);
	cr_assert(sk_GENERAL_NAME_value(names, 0)->type == GEN_DNS);
	cr_assert(sk_GENERAL_NAME_value(names, 1)->type == GEN_IPADD);
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_free(csr);
	EVP_PKEY_free(key);
	fclose(key_file);
	fclose(csr_file);
	keygen_reply_done(&reply);
	message_done(&m);
	packer_done(&p);
	words_done(&request.names);
}

Test(worker_door, keygen_makes_a_key_and_its_request, .timeout = 60)
{
	make_key("ecdsa-p256", 256);
	make_key("ecdsa-p384", 384);
	make_key("rsa-2048", 2048);
}

Test(worker_door, keygen_says_what_it_can_not_make, .timeout = 20)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), fds[KEYGEN_OUTPUTS] = {full, full};
	for (int round = 0; round < 2; round++) {
		struct keygen_request request = {.key_type = (char *)(uintptr_t)(round ? "ecdsa-p256" : "dsa-1024")};
		words_add(&request.names, "example.test");
		struct packer p = {0};
		keygen_request_pack(&p, &request);
		struct message m;
		struct keygen_reply reply;
		cr_assert(help_job("keygen", -1, MESSAGE_KEYGEN, &p, fds, KEYGEN_OUTPUTS, &m) == 0);
		cr_assert(keygen_reply_unpack(&m.body, &reply) == 0);
		cr_assert(digest_is_zero(&reply.spki));
		cr_assert(strstr(reply.problem, round ? "disk" : "dsa-1024"), "%s", reply.problem);
		keygen_reply_done(&reply);
		message_done(&m);
		packer_done(&p);
		words_done(&request.names);
	}
	close(full);
}

Test(worker_door, a_spare_one_that_is_not_needed_leaves, .timeout = 20)
{
	struct message m;
	cr_assert(help_job("check", -1, 0, NULL, NULL, 0, &m) == 0);
	cr_assert(help_job("probe", -1, 0, NULL, NULL, 0, &m) == 0);
}

Test(worker_door, what_is_no_request_ends_it, .timeout = 20)
{
	static const struct {
		const char *role;
		uint8_t kind;
	} wrong[] = {{"check", MESSAGE_PROBE},    {"probe", MESSAGE_CHECK},   {"probe", MESSAGE_PROBE},
		     {"check", MESSAGE_IDENTIFY}, {"check", MESSAGE_CHECK},   {"check", 99},
		     {"keygen", MESSAGE_CHECK},   {"keygen", MESSAGE_KEYGEN}, {"check", MESSAGE_KEYGEN}};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct packer p = {0};
		pack_string(&p, "nonsense");
		struct message m;
		cr_assert(help_job(wrong[i].role, -1, wrong[i].kind, &p, NULL, 0, &m) == 1, "row %zu", i);
		cr_assert(m.kind == 0, "an answer to nonsense");
		packer_done(&p);
	}
	struct message m;
	cr_assert(help_job("nobody", -1, 0, NULL, NULL, 0, &m) == 2);
}

/* On a kernel without Landlock (played by a filter that says so): the exit status of a spare worker. */
static int without_landlock(const char *option)
{
	int two[2];
	cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, two) == 0);
	pid_t child = fork();
	cr_assert(child >= 0);
	if (child == 0) {
		scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
		if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0) ||
		    seccomp_load(filter))
			_exit(126);
		int high = fcntl(two[1], F_DUPFD_CLOEXEC, 10);
		dup2(high, WORKER_SOCKET_FD);
		close(WORKER_TRUST_FD);
		execl(BUILD_DIR "/agent/certswap-worker", "certswap-worker", "check", option, (char *)NULL);
		_exit(127);
	}
	close(two[0]);
	close(two[1]);
	int status;
	cr_assert(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

Test(worker_door, a_missing_part_of_the_sandbox, .timeout = 20)
{
	cr_assert(without_landlock(NULL) == 0, "it goes on where that is allowed");
	cr_assert(without_landlock("--sandbox=require") == 77);
}
