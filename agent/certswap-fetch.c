/* certswap-fetch: the role "fetch" of certswap-worker, which starts it. It asks CAs over HTTP for what they publish; it
 * looks up host names of its request before the door closes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fetch/fetch.h"
#include "pki/pki.h"
#include "worker/role.h"

static _Noreturn void run_fetch(const struct role_options *o, bool trust)
{
	pki_init();
	setenv("RES_OPTIONS", "timeout:2 attempts:2", 1);
	struct message m;
	role_receive(&m);
	struct fetch_job job;
	if (m.kind != MESSAGE_FETCH || fetch_prepare(&job, &m, trust ? WORKER_TRUST_FD : -1))
		role_leave(1, "what came is not a request to fetch");
	if (trust)
		close(WORKER_TRUST_FD);
	uint16_t ports[DOWNLOAD_PORTS];
	size_t nports = downloads_ports(job.downloads, ports);
	role_close_door(o, ports, nports);
	struct fetch_reply reply;
	fetch_run(&job, &reply);
	struct packer packed = {0};
	fetch_reply_pack(&packed, &reply);
	role_answer(MESSAGE_FETCH, &packed);
}

int main(int argc, char **argv)
{
	struct role_options o;
	if (!role_parse(argc, argv, &o) || o.role != SANDBOX_FETCH) {
		fputs("certswap-fetch is started by certswap-worker; see certswapd(8).\n", stderr);
		return ROLE_EXIT_USAGE;
	}
	run_fetch(&o, role_begin(&o));
}
