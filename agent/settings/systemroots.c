#include "settings/systemroots.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "base/text.h"

#define DEPTH_MAX 3 /* folders within each other; some sites sort them */

static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
};

const char *systemroots_path(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(bundles); i++)
		if (access(bundles[i], R_OK) == 0)
			return bundles[i];
	return bundles[0];
}

bool systemroots_is(const char *path)
{
	struct stat ours, theirs;
	if (stat(path, &ours) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(bundles); i++)
		if (stat(bundles[i], &theirs) == 0 && ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
			return true;
	return false;
}

static void open_folder(int folder, int depth, int ret[LOCALROOTS_MAX], size_t *n)
{
	struct words names = {0};
	if (folder < 0 || files_list(folder, false, &names, NULL) < 0)
		return;
	for (size_t i = 0; i < names.n && *n < LOCALROOTS_MAX; i++) {
		struct stat st;
		int fd = openat(folder, names.v[i], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
			ret[(*n)++] = fd;
			continue;
		}
		if (fd >= 0 && depth < DEPTH_MAX && S_ISDIR(st.st_mode))
			open_folder(fd, depth + 1, ret, n);
		auto_close_(&fd);
	}
	words_done(&names);
}

size_t systemroots_open_local(int ret[LOCALROOTS_MAX])
{
	static const char *const folders[] = {
		"/usr/local/share/ca-certificates",         /* Debian */
		"/etc/pki/ca-trust/source/anchors",         /* Enterprise Linux, Fedora */
		"/usr/share/pki/ca-trust-source/anchors",   /* the same, by packages */
		"/etc/ca-certificates/trust-source/anchors" /* p11-kit elsewhere */
	};
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		AUTO_CLOSE int folder = open(folders[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		open_folder(folder, 1, ret, &n);
	}
	return n;
}
