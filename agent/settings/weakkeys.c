#include "settings/weakkeys.h"

#include <fcntl.h>

#include "base/memory.h"

size_t weakkeys_open(int ret[WEAKKEYS_MAX])
{
	static const char *const paths[] = {
		"/usr/share/openssl-blacklist/blacklist.RSA-1024",
		"/usr/share/openssl-blacklist/blacklist.RSA-2048",
		"/usr/share/openssl-blacklist/blacklist.RSA-3072",
		"/usr/share/openssl-blacklist/blacklist.RSA-4096",
	};
	size_t n = 0;
	_Static_assert(ARRAY_SIZE(paths) == WEAKKEYS_MAX, "room for each list");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		int fd = open(paths[i], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0)
			ret[n++] = fd;
	}
	return n;
}
