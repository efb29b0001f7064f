/* certswap-worker without the daemon: started, asked once, waited for, gone. The bytes of the files go nowhere but into
 * its sandbox. */
#ifndef CTL_WORKER_H
#define CTL_WORKER_H
#include "ctl/ctl.h"
#include "wire/check.h"
#include "wire/fetch.h"
#include "wire/identify.h"
#include "wire/message.h"

#define WORKER_PATIENCE_MS 30000

/* One job, of the role that answers this kind ("check" or "fetch"). trust: path of the PEM file that is handed over, or
 * NULL. 0 with *ret, or negative errno with a text for the person. The descriptors stay the caller's. */
int worker_ask(struct ctl *ctl, enum message_kind kind, const struct packer *body, const int *fds, size_t nfds,
	       const char *trust, struct message *ret, struct fault *fault);

/* What is in these files? The files are read from their start. passwords: -1: none. */
int worker_identify_files(struct ctl *ctl, const int *files, size_t n, int passwords, struct identify_reply *ret,
			  struct fault *fault);
int worker_check_pair(struct ctl *ctl, const struct check_request *request, const int *fds, const char *trust,
		      struct check_reply *ret, struct fault *fault);
/* certificates: a PEM file of certificates alone. */
int worker_fetch(struct ctl *ctl, const struct fetch_request *request, int certificates, const char *trust,
		 struct fetch_reply *ret, struct fault *fault);
#endif
