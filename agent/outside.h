/* Commands of the operator and hooks, run outside the sandbox of certswapd.service: certswap-exec in there asks a
 * certswap-exec in certswap-commands.service, by a socket that root alone can connect to, and stands for the program
 * until it ends. One connection a program; if it is cut, the program's group is killed. */
#ifndef OUTSIDE_H
#define OUTSIDE_H
#include <signal.h>

#define OUTSIDE_UNREACHED (-1)

/* Has the program of `argv` (absolute path) run at the other end of `socket_path`, with our environment, working folder
 * and standard descriptors. Its exit status; does not return where a signal ended it, but ends by the same signal;
 * OUTSIDE_UNREACHED: nobody took it, nothing was started. */
int outside_run(const char *socket_path, const char *folder, char *const *argv);

/* Serves on a listening SOCK_SEQPACKET socket until SIGTERM, then until the last program has ended. `prepare` is called
 * in the process that becomes the program. Returns an exit status. */
int outside_serve(int listener, void (*prepare)(void));
#endif
