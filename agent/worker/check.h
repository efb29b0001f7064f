/* MESSAGE_CHECK: proves a pair and writes it out. Runs in a "check" worker, behind the sandbox. */
#ifndef WORKER_CHECK_H
#define WORKER_CHECK_H
#include "base/fault.h"
#include "wire/message.h"

/* Loads the trust store (PEM) of this process from a descriptor, which stays the caller's. Once, before the sandbox or
 * behind it. Without it nothing is trusted. 0 or negative errno. */
int worker_trust_load(int fd, struct fault *fault);

/* Answers a request: the reply is added to `reply`, the descriptors stay the message's. 0; -EBADMSG: not a request. */
int worker_check(struct message *request, struct packer *reply);
#endif
