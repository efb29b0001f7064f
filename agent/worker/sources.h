/* MESSAGE_SOURCES: who issued a certificate and where its status can be had. Runs in a "check" worker. */
#ifndef WORKER_SOURCES_H
#define WORKER_SOURCES_H
#include "wire/message.h"
#include "wire/sources.h"

/* What stands in the certificates of a PEM file, in its order. */
void worker_sources_of(const void *pem, size_t len, struct source_file *ret);
/* Answers a request: 0; -EBADMSG: not a request. */
int worker_sources(struct message *request, struct packer *reply);
#endif
