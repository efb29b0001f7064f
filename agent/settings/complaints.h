/* Gathering complaints. Inside settings/ only. */
#ifndef SETTINGS_COMPLAINTS_H
#define SETTINGS_COMPLAINTS_H
#include "settings/settings.h"

/* line 0: the file as a whole; source (may be NULL) is copied. */
void complaint_add(struct complaints *c, const char *file, unsigned int line, const char *source, const char *format,
		   ...) __attribute__((format(printf, 5, 6)));
/* By file, in the order of `files`, then by line; complaints of one line stay in order. */
void complaints_sort(struct complaints *c, const struct words *files);
#endif
