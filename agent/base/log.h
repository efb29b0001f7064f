/* Log lines on standard error: `<N>event key=value ...: words`, the `<N>` (sd-daemon(3)) only under journald; where the
 * journal's own socket answers, an entry with the fields CERTSWAP_EVENT and CERTSWAP_CERTIFICATE instead. Event names
 * are lower-case words with '-' and stay the same over versions. Only the top of a call chain logs. No secret is ever
 * logged. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_open(const char *program, enum log_level most_verbose);
void log_error(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warning(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_info(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same about a certificate, whose name is put before the text; NULL: about none. */
void log_about(const char *event, const char *certificate, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void log_debug(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
#endif
