/* certswap-worker ROLE [--user=UID:GID] [--sandbox=POLICY]: one job, one request in, one reply out, gone
 * (worker/role.h). "check" reads the trust store from descriptor 4 before its request comes, so that a spare one waits
 * warm and closed; "probe" looks up host names of its request before the door closes. "fetch" becomes certswap-fetch.
 * "tryout" closes the door and ends: is a part of it missing on this machine?
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/memory.h"
#include "pki/pki.h"
#include "worker/check.h"
#include "worker/identify.h"
#include "worker/keygen.h"
#include "worker/probe.h"
#include "worker/role.h"
#include "worker/selftest.h"
#include "worker/sources.h"

#define KEYGEN_NICE 10

/* Is there a request already? Else it is a spare one, and makes what it can beforehand. */
static bool request_waits(void)
{
	struct pollfd p = {.fd = WORKER_SOCKET_FD, .events = POLLIN};
	return poll(&p, 1, 0) != 0;
}

static _Noreturn void run_probe(const struct role_options *o)
{
	/* built-in algorithms only: no configuration file, no policy that hides a weak server from the prober */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	setenv("RES_OPTIONS", "timeout:1 attempts:2", 1);
	struct fault fault = {0};
	if (!request_waits()) {
		pki_warm();
		probe_warm();
		(void)syscalls_prepare(SANDBOX_PROBE, role_other_calls(o), &fault);
	}
	struct message m;
	role_receive(&m);
	struct probe_request request;
	if (m.kind != MESSAGE_PROBE || m.nfds || probe_request_unpack(&m.body, &request))
		role_leave(1, "what came is not a request to probe");
	struct probe_job job;
	probe_prepare(&job, &request);
	uint16_t ports[PROBE_PLACES_MAX];
	size_t nports = probe_ports(&job, ports);
	if (sandbox_close_descriptors(false, &fault)) /* what the resolver left open */
		role_leave(1, fault.text);
	role_close_door(o, ports, nports);
	struct probe_reply reply;
	probe_run(&job, &reply);
	struct packer packed = {0};
	probe_reply_pack(&packed, &reply);
	role_answer(MESSAGE_PROBE, &packed);
}

static _Noreturn void run_check(const struct role_options *o, bool trust)
{
	struct fault fault = {0};
	pki_init();
	if (trust && worker_trust_load(WORKER_TRUST_FD, &fault))
		role_leave(1, fault.text);
	if (trust)
		close(WORKER_TRUST_FD);
	role_close_door(o, NULL, 0);
	if (!request_waits())
		pki_warm();
	struct message m;
	role_receive(&m);
	struct packer reply = {0};
	int r = -EBADMSG;
	if (m.kind == MESSAGE_IDENTIFY)
		r = worker_identify(&m, &reply);
	else if (m.kind == MESSAGE_CHECK)
		r = worker_check(&m, &reply);
	else if (m.kind == MESSAGE_SOURCES)
		r = worker_sources(&m, &reply);
	if (r)
		role_leave(1, "what came is not a request to check");
	role_answer(m.kind, &reply);
}

/* Keys are made beforehand: nobody waits for one so much that a web server should. */
static _Noreturn void run_keygen(const struct role_options *o)
{
	(void)setpriority(PRIO_PROCESS, 0, KEYGEN_NICE);
	pki_init();
	role_close_door(o, NULL, 0);
	struct message m;
	role_receive(&m);
	struct packer reply = {0};
	if (m.kind != MESSAGE_KEYGEN || worker_keygen(&m, &reply))
		role_leave(1, "what came is not a request for a key");
	role_answer(m.kind, &reply);
}

/* Speaking HTTP takes libcurl and the many libraries behind it: a program of its own, so that they are never in a
 * process that holds a key, nor in the way of a swap. */
static _Noreturn void become_fetch(char **argv)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');
	if (!slash) /* never a program from elsewhere: this may still be root */
		role_leave(1, "/proc/self/exe can't be read");
	AUTO_FREE char *path = xasprintf("%.*s/certswap-fetch", (int)(slash - self), self);
	execv(path, argv);
	role_leave(1, "certswap-fetch, which belongs beside it, can't be started; is certswap installed whole?");
}

int main(int argc, char **argv)
{
	struct role_options o;
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("certswap-worker " CERTSWAP_VERSION);
		return 0;
	}
	if (!role_parse(argc, argv, &o)) {
		fputs("usage: certswap-worker check|probe|keygen|fetch|tryout [--user=UID:GID]\n"
		      "                       [--sandbox=auto|partial|require|strict]\n"
		      "       certswap-worker selftest [--user=UID:GID] [--calls]\n"
		      "certswapd and certswapctl start it; only selftest is for people.\n",
		      stderr);
		return ROLE_EXIT_USAGE;
	}
	if (o.selftest)
		return o.calls ? !selftest_calls(o.uid, o.gid, true) : selftest_run(o.uid, o.gid);
	if (o.role == SANDBOX_FETCH)
		become_fetch(argv);
	bool trust = role_begin(&o);
	if (o.tryout) {
		role_close_door(&o, NULL, 0);
		role_leave(0, NULL);
	}
	if (o.role == SANDBOX_PROBE)
		run_probe(&o);
	if (o.role == SANDBOX_KEYGEN)
		run_keygen(&o);
	run_check(&o, trust);
}
