/* Where Debian's lists of weak keys (CVE-2008-0166) lie on hosts that have its former package openssl-blacklist, or
 * files put there in its format. Runs in certswapd and certswapctl. */
#ifndef SETTINGS_WEAKKEYS_H
#define SETTINGS_WEAKKEYS_H
#include <stddef.h>

#define WEAKKEYS_MAX 4
/* Opens those that are there; returns how many. The descriptors are the caller's. */
size_t weakkeys_open(int ret[WEAKKEYS_MAX]);
#endif
