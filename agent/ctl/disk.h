/* The files of a web server's configuration, read from this host as they are. Nothing is written. */
#ifndef CTL_DISK_H
#define CTL_DISK_H
#include "webconf/webconf.h"

#define DISK_FILE_MAX (16 * 1024 * 1024)

struct webconf_source disk_source(void);
/* A regular file of at most `max` bytes, links followed; *ret_bytes gets a NUL behind it. 0 or negative errno. */
int disk_read(const char *path, size_t max, char **ret_bytes, size_t *ret_len);
#endif
