/* The states of a swap and what is known about it: the facts on which plan.h decides and which the journal keeps. A
 * transaction holds all certificates that are ready for the same servers (one reload). No I/O, no libuv, no OpenSSL.
 * Runs in certswapd and in tests/sim. */
#ifndef SWAP_STATE_H
#define SWAP_STATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum txn_state {
	TXN_STAGED,       /* proved generations exist; nothing was touched */
	TXN_PREFLIGHT,    /* alive? what does every place show now (the baseline)? Apache: the rehearsal */
	TXN_INSTALLING,   /* exchange the link(s), look at what came out */
	TXN_INSTALLED,    /* which servers run? */
	TXN_RELOADING,    /* hook reload on the servers that run */
	TXN_VERIFYING,    /* fresh handshakes until each place that showed the old pair shows the new one alone */
	TXN_STARTING,     /* start a server that died, with the new pair: only where the old one is refused */
	TXN_AWAITING,     /* live is new, a server was down; holds no queue */
	TXN_ROLLING_BACK, /* exchange back */
	TXN_RB_VERIFYING, /* does every place show again what it showed at the baseline? */
	TXN_RB_RELOADING,
	TXN_RB_STARTING, /* start a server that served when the transaction began and died in it */
	/* final */
	TXN_COMMITTED,   /* the wire showed the new pair, and it alone, at every place that showed the old one */
	TXN_UNSERVED,    /* installed, but no place showed the old pair before: nothing that could be proved */
	TXN_ROLLED_BACK, /* the wire showed the old pair again */
	TXN_DISCARDED,   /* given up before anything was touched */
	TXN_HELD,        /* the host must be mended first (TXN_EVENT_BLOCKED); nothing was touched */
	TXN_FOREIGN,     /* a stranger's pair was found in the place of ours, and left there; of the other certificates
			    those with TXN_DISK_NEW were proved on the wire, those with TXN_DISK_OLD undone */
	TXN_STUCK,       /* could be neither finished nor undone: a person is needed */
	TXN_STATES
};
const char *txn_state_name(enum txn_state state);           /* "STAGED" */
int txn_state_parse(const char *name, enum txn_state *ret); /* 0 or -ENOENT */
bool txn_state_is_final(enum txn_state state);

enum txn_disk { TXN_DISK_OLD, TXN_DISK_NEW, TXN_DISK_FOREIGN, TXN_DISKS }; /* what `live` points to */

/* What the last look at a server's places and its parent process showed. */
enum txn_wire {
	TXN_WIRE_UNKNOWN, /* not looked since the last act */
	TXN_WIRE_WANTED,  /* every place that must turn shows the wanted pair alone, all others what they showed at the
			     baseline */
	TXN_WIRE_OTHER,   /* it serves, but not (only) what is wanted */
	TXN_WIRE_BROKEN,  /* the parent lives, but a place that served gives no handshake */
	TXN_WIRE_DEAD,    /* the parent process is gone */
	TXN_WIRES
};

struct txn_server {
	bool ran;    /* its parent lived at PREFLIGHT or at a later look: if it dies now, it is started again */
	bool served; /* at the baseline a place of it showed the old pair of a certificate of this transaction; or it
			was down then and a later look found the new one */
	bool runs;   /* its parent lived at the last look */
	enum txn_wire wire;
};

struct txn_certificate {
	enum txn_disk disk; /* at the last look */
	bool first;         /* there was no live generation before: nothing to go back to */
	bool old_refused;   /* the old pair is noticed or denied, or its files were written over */
	bool new_refused;   /* the new pair was noticed or denied after it was staged */
};

struct txn {
	enum txn_state state;
	struct txn_server *servers;
	size_t nservers;
	struct txn_certificate *certificates;
	size_t ncertificates;
	uint8_t tries_left; /* reloads that may still be tried in this direction */
};
#define TXN_RELOAD_TRIES 3
#endif
