/* MESSAGE_IDENTIFY: says what is in files. Runs in a "check" worker, behind the sandbox. */
#ifndef WORKER_IDENTIFY_H
#define WORKER_IDENTIFY_H
#include "wire/message.h"

/* Answers a request: the reply is added to `reply`, the descriptors stay the message's. 0; -EBADMSG: not a request. */
int worker_identify(struct message *request, struct packer *reply);
#endif
