/* The network namespace of a rehearsal: loopback alone, with the addresses that this host has outside. Used by
 * certswap-exec --rehearse, inside of it. */
#ifndef HIDDEN_H
#define HIDDEN_H
#include "base/text.h"

#define HIDDEN_ENDPOINTS_MAX 32

/* addresses: of this host (base/address.h). Others may be bound as well. 0, or -1 and errno. */
int hidden_network(const struct words *addresses);
/* Where the server in here can be asked, "127.0.0.1:443": each listening socket; one for every address at loopback and
 * at each of `addresses`, since a site may answer on one of them alone. Adds to ret. */
void hidden_endpoints(const struct words *addresses, struct words *ret);
/* Writes `value` into a file of /proc; what is wrong is said on standard error. */
void hidden_write(const char *path, const char *value);
#endif
