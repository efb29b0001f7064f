/* MESSAGE_KEYGEN: a new key and its request (CSR). Runs in a "keygen" worker, behind the sandbox. */
#ifndef WORKER_KEYGEN_H
#define WORKER_KEYGEN_H
#include "wire/message.h"

/* Answers a request: the reply is added to `reply`, the descriptors stay the message's. 0; -EBADMSG: not a request. */
int worker_keygen(struct message *request, struct packer *reply);
#endif
