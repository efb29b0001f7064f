/* Entries with fields for systemd's journal, in its native protocol (systemd's "Native Journal Protocol": a datagram to
 * /run/systemd/journal/socket, NAME=value a line). Used by base/log. */
#ifndef BASE_JOURNAL_H
#define BASE_JOURNAL_H
#include <stdbool.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Whether descriptor `fd` is the stream that JOURNAL_STREAM (systemd.exec(5)) tells of. */
bool journal_is_stream(int fd, const char *journal_stream);

/* A connected socket, or a negative errno. */
int journal_open(const char *socket_path);

/* Sends an entry of `fields`, pairs of name and value, the last name NULL; a pair whose value is NULL is left out.
 * Values hold no line end. 0 or negative errno: then nothing was written. Never waits. */
int journal_send(int journal, const char *const *fields);
#endif
