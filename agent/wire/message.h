/* One message between certswapd (or certswapctl) and a certswap-worker: a SOCK_SEQPACKET packet with a header, a body
 * made by pack.h and descriptors beside it. Each job is one request and one reply. Anything unexpected is an error,
 * never skipped. */
#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "wire/pack.h"

/* What a worker can be asked. The process role that answers is named in argv[1] of certswap-worker: "check" answers
 * IDENTIFY, CHECK and SOURCES, "probe" answers PROBE, "keygen" KEYGEN, "fetch" FETCH; each role has its own sandbox. */
enum message_kind {
	MESSAGE_IDENTIFY = 1, /* what is in these files?           wire/identify.h */
	MESSAGE_CHECK,        /* prove a pair and write it out      wire/check.h */
	MESSAGE_PROBE,        /* what do these endpoints serve?     wire/probe.h */
	MESSAGE_KEYGEN,       /* a new key and its request          wire/keygen.h */
	MESSAGE_FETCH,        /* what does a CA publish?            wire/fetch.h */
	MESSAGE_SOURCES,      /* where does a CA publish it?        wire/sources.h */
	MESSAGE_KINDS
};
#define MESSAGE_REPLY  0x80 /* or-ed to the kind in an answer */
#define MESSAGE_FDS    250  /* descriptors beside one message, at most */
#define MESSAGE_HEADER 8    /* bytes */

/* Descriptor on which a worker finds its socket. Descriptor 4, where it is open, is the trust store (PEM). */
#define WORKER_SOCKET_FD 3
#define WORKER_TRUST_FD  4

/* Sends a request or reply. Blocking. 0 or negative errno. The descriptors stay the caller's. */
int message_send(int socket, uint8_t kind, const struct packer *body, const int *fds, size_t nfds);

struct message {
	uint8_t kind;
	uint8_t *bytes; /* the whole packet */
	struct unpacker body;
	int fds[MESSAGE_FDS]; /* close-on-exec; the receiver's */
	size_t nfds;
};
/* Receives one. 0; -EPIPE: the other side closed; -EAGAIN; -EBADMSG: not a message of ours (then nothing is kept). */
int message_receive(int socket, struct message *ret);
void message_done(struct message *m); /* closes what is left in fds (set one to -1 to keep it), wipes and frees */
#endif
