/* certswap-worker ROLE [--user=UID:GID] [--require-sandbox]: one job, one request in, one reply out, gone.
 * Its socket is descriptor 3 (wire/message.h). "check" reads the trust store from descriptor 4 before its request
 * comes, so that a spare one waits warm and closed; "probe" and "fetch" look up host names of their request before the
 * door
 * closes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/memory.h"
#include "pki/pki.h"
#include "wire/message.h"
#include "worker/check.h"
#include "worker/fetch.h"
#include "worker/identify.h"
#include "worker/keygen.h"
#include "worker/probe.h"
#include "worker/sandbox.h"
#include "worker/selftest.h"
#include "worker/sources.h"

#define NOBODY          65534
#define EXIT_USAGE      2
#define EXIT_NO_SANDBOX 77
#define KEYGEN_NICE     10

struct options {
	enum sandbox_role role;
	bool selftest, require_sandbox;
	uid_t uid;
	gid_t gid;
};

/* No handler of exit(3) runs: nothing is to happen after the answer. */
static _Noreturn void leave(int status, const char *text)
{
	if (text)
		dprintf(STDERR_FILENO, "certswap-worker: %s\n", text);
	_exit(status);
}

static bool parse_user(const char *s, struct options *o)
{
	char *end;
	errno = 0;
	unsigned long uid = strtoul(s, &end, 10);
	if (errno || end == s || *end != ':' || !uid || uid >= UINT32_MAX)
		return false;
	s = end + 1;
	unsigned long gid = strtoul(s, &end, 10);
	if (errno || end == s || *end || !gid || gid >= UINT32_MAX)
		return false;
	o->uid = (uid_t)uid;
	o->gid = (gid_t)gid;
	return true;
}

/* SANDBOX_ROLES: no such role. */
static enum sandbox_role role_of(const char *name)
{
	enum sandbox_role role = 0;
	while (role < SANDBOX_ROLES && strcmp(name, sandbox_role_name[role]) != 0)
		role++;
	return role;
}

static bool parse(int argc, char **argv, struct options *o)
{
	*o = (struct options){.role = SANDBOX_ROLES, .uid = NOBODY, .gid = NOBODY};
	for (int i = 1; i < argc; i++) {
		if (i == 1 && strcmp(argv[i], "selftest") == 0)
			o->selftest = true;
		else if (i == 1 && role_of(argv[i]) != SANDBOX_ROLES)
			o->role = role_of(argv[i]);
		else if (strcmp(argv[i], "--require-sandbox") == 0)
			o->require_sandbox = true;
		else if (strncmp(argv[i], "--user=", 7) != 0 || !parse_user(argv[i] + 7, o))
			return false;
	}
	return o->selftest || o->role != SANDBOX_ROLES;
}

static void close_door(const struct options *o, const uint16_t *ports, size_t nports)
{
	struct fault fault = {0};
	if (sandbox_enter(o->role, ports, nports, &fault) == 0)
		return;
	if (o->require_sandbox)
		leave(EXIT_NO_SANDBOX, fault.text);
	dprintf(STDERR_FILENO, "certswap-worker: a part of the sandbox is missing: %s\n", fault.text);
}

static void receive(struct message *m)
{
	int r = message_receive(WORKER_SOCKET_FD, m);
	if (r == -EPIPE) /* a spare one that was not needed */
		leave(0, NULL);
	if (r)
		leave(1, "what came is not a request");
}

static _Noreturn void answer(uint8_t kind, struct packer *reply)
{
	int r = message_send(WORKER_SOCKET_FD, kind | MESSAGE_REPLY, reply, NULL, 0);
	leave(r == 0 || r == -EPIPE ? 0 : 1, r == -EMSGSIZE ? "the answer does not fit in a message" : NULL);
}

static _Noreturn void run_probe(const struct options *o)
{
	/* built-in algorithms only: no configuration file, no policy that hides a weak server from the prober */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	setenv("RES_OPTIONS", "timeout:1 attempts:2", 1);
	struct message m;
	receive(&m);
	struct probe_request request;
	if (m.kind != MESSAGE_PROBE || m.nfds || probe_request_unpack(&m.body, &request))
		leave(1, "what came is not a request to probe");
	struct probe_job job;
	probe_prepare(&job, &request);
	uint16_t ports[PROBE_PLACES_MAX];
	size_t nports = probe_ports(&job, ports);
	struct fault fault = {0};
	if (sandbox_close_descriptors(false, &fault)) /* what the resolver left open */
		leave(1, fault.text);
	close_door(o, ports, nports);
	struct probe_reply reply;
	probe_run(&job, &reply);
	struct packer packed = {0};
	probe_reply_pack(&packed, &reply);
	answer(MESSAGE_PROBE, &packed);
}

static _Noreturn void run_fetch(const struct options *o, bool trust)
{
	pki_init();
	setenv("RES_OPTIONS", "timeout:2 attempts:2", 1);
	struct message m;
	receive(&m);
	struct fetch_job job;
	if (m.kind != MESSAGE_FETCH || fetch_prepare(&job, &m, trust ? WORKER_TRUST_FD : -1))
		leave(1, "what came is not a request to fetch");
	if (trust)
		close(WORKER_TRUST_FD);
	uint16_t ports[DOWNLOAD_PORTS];
	size_t nports = downloads_ports(job.downloads, ports);
	close_door(o, ports, nports);
	struct fetch_reply reply;
	fetch_run(&job, &reply);
	struct packer packed = {0};
	fetch_reply_pack(&packed, &reply);
	answer(MESSAGE_FETCH, &packed);
}

static _Noreturn void run_check(const struct options *o, bool trust)
{
	struct fault fault = {0};
	pki_init();
	if (trust && worker_trust_load(WORKER_TRUST_FD, &fault))
		leave(1, fault.text);
	if (trust)
		close(WORKER_TRUST_FD);
	close_door(o, NULL, 0);
	struct message m;
	receive(&m);
	struct packer reply = {0};
	int r = -EBADMSG;
	if (m.kind == MESSAGE_IDENTIFY)
		r = worker_identify(&m, &reply);
	else if (m.kind == MESSAGE_CHECK)
		r = worker_check(&m, &reply);
	else if (m.kind == MESSAGE_SOURCES)
		r = worker_sources(&m, &reply);
	if (r)
		leave(1, "what came is not a request to check");
	answer(m.kind, &reply);
}

/* Keys are made beforehand: nobody waits for one so much that a web server should. */
static _Noreturn void run_keygen(const struct options *o)
{
	(void)setpriority(PRIO_PROCESS, 0, KEYGEN_NICE);
	pki_init();
	close_door(o, NULL, 0);
	struct message m;
	receive(&m);
	struct packer reply = {0};
	if (m.kind != MESSAGE_KEYGEN || worker_keygen(&m, &reply))
		leave(1, "what came is not a request for a key");
	answer(m.kind, &reply);
}

int main(int argc, char **argv)
{
	struct options o;
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("certswap-worker " CERTSWAP_VERSION);
		return 0;
	}
	if (!parse(argc, argv, &o)) {
		fputs("usage: certswap-worker check|probe|keygen|fetch [--user=UID:GID] [--require-sandbox]\n"
		      "       certswap-worker selftest [--user=UID:GID]\n"
		      "certswapd and certswapctl start it; only selftest is for people.\n",
		      stderr);
		return EXIT_USAGE;
	}
	if (o.selftest)
		return selftest_run(o.uid, o.gid);
	struct fault fault = {0};
	bool trust = o.role != SANDBOX_PROBE && fcntl(WORKER_TRUST_FD, F_GETFD) >= 0;
	if (sandbox_drop(o.role, o.uid, o.gid, &fault) || sandbox_close_descriptors(trust, &fault))
		leave(EXIT_NO_SANDBOX, fault.text);
	if (o.role == SANDBOX_PROBE)
		run_probe(&o);
	if (o.role == SANDBOX_KEYGEN)
		run_keygen(&o);
	if (o.role == SANDBOX_FETCH)
		run_fetch(&o, trust);
	run_check(&o, trust);
}
