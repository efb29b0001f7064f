/* The roots that this host trusts: the public ones as its distribution ships them, and those that its administrator
 * added (update-ca-certificates(8), update-ca-trust(8)), which stand in the same bundle although no public rule binds
 * who issues under them. Runs in certswapd and certswapctl. */
#ifndef SETTINGS_SYSTEMROOTS_H
#define SETTINGS_SYSTEMROOTS_H
#include <stdbool.h>
#include <stddef.h>

#define LOCALROOTS_MAX 40
const char *systemroots_path(void); /* of the bundle that is there, else of Debian's; static */
/* Is the file a distribution's bundle, by whatever path? A chain that ends there is publicly trusted, unless its root
 * is one of this host alone. */
bool systemroots_is(const char *path);
/* Opens the files of what was added; returns how many. The descriptors are the caller's. */
size_t systemroots_open_local(int ret[LOCALROOTS_MAX]);
#endif
