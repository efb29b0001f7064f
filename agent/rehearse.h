/* certswap-exec --rehearse: starts a second copy of a server that would not survive a bad pair (Apache at a graceful),
 * in private mount, network, process and IPC namespaces, with the candidate in the place of the live generation, and
 * makes a handshake with it. Everything is read-only to it but private copies (overlays in memory) of a few folders;
 * all of it is gone when this process ends. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN. With --to-the-end it runs any
 * program in there, and says how that ended. */
#ifndef REHEARSE_H
#define REHEARSE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"
#include "base/text.h"

#define REHEARSE_GOOD      0
#define REHEARSE_REFUSED   1  /* the server ended by itself; its error log is on standard error. Or it failed */
#define REHEARSE_CANT_TELL 75 /* no rights, an old kernel, it was killed, or it started and never showed the pair */

struct rehearsal {
	struct words candidates; /* folders; none: with the pairs that are live */
	struct words live;       /* folders: each candidate stands in the place of that with its index */
	struct words folders;    /* to be copied privately, beside those that every system has */
	struct words logs;     /* files whose folders are copied too, or folders; such files over 64 KiB are left out */
	const char *pidfile;   /* taken away in the copy: it names the running server */
	const char *error_log; /* taken away in the copy, and shown where the server refuses */
	const char *server_name; /* SNI of the handshake; NULL: none */
	struct digest expect;    /* SHA-256 of the leaf that it must show; zero: any */
	pid_t server;            /* the running one, whose view of the files is taken; 0: ours */
	const char *worker;      /* path of certswap-worker */
	int64_t timeout_ms;
	bool to_the_end; /* no handshake: the program ends by itself, as a configuration test does */
	char **argv;     /* the server, to stay in the foreground */
};
/* Returns the exit status for the hook; what is wrong is said on standard error. */
int rehearse_run(const struct rehearsal *r);
#endif
