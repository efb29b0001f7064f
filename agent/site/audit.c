#include "site/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#define LINE_MAX_BYTES 65536

struct audit {
	int fd;
	struct digest previous; /* SHA-256 of the last line without its newline; zero: there is none */
};

/* Reads the last line: at most LINE_MAX_BYTES from the end of the file. */
static int read_last_line(struct audit *audit, off_t size, struct fault *fault)
{
	size_t want = size < LINE_MAX_BYTES ? (size_t)size : LINE_MAX_BYTES;
	AUTO_FREE char *tail = xmalloc(want + 1);
	ssize_t n = pread(audit->fd, tail, want, size - (off_t)want);
	if (n < 0)
		return fault_errno(fault, errno, "can't read audit.jsonl");
	if (n == 0)
		return 0;
	size_t len = (size_t)n;
	if (tail[len - 1] != '\n') { /* cut off by a crash: it stays as it is, and is chained like any line */
		int r = files_append(audit->fd, "\n", 1, fault);
		if (r < 0)
			return r;
	} else {
		len--;
	}
	const char *newline = len ? memrchr(tail, '\n', len) : NULL;
	const char *start = newline ? newline + 1 : tail;
	audit->previous = hash_bytes(start, len - (size_t)(start - tail));
	return 0;
}

struct audit *audit_open(int state, struct fault *fault)
{
	struct stat st;
	struct audit *audit = xcalloc(1, sizeof *audit);
	audit->fd = openat(state, "audit.jsonl", O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = audit->fd < 0 || fstat(audit->fd, &st) < 0 ? fault_errno(fault, errno, "can't open audit.jsonl")
							   : read_last_line(audit, st.st_size, fault);
	if (r == 0)
		return audit;
	audit_close(audit);
	return NULL;
}

void audit_close(struct audit *audit)
{
	if (!audit)
		return;
	if (audit->fd >= 0)
		close(audit->fd);
	free(audit);
}

void audit_write(struct audit *audit, const char *event, const char *certificate, json_t *more, const char *format, ...)
{
	char now[32], hex[DIGEST_HEX];
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = text_printable(xvasprintf(format, args));
	va_end(args);
	log_info(event, "%s%s%s", certificate ? certificate : "", certificate ? ": " : "", text);
	json_t *line = json_pack("{ss, ss, ss*, ss}", "time", text_from_time_ms(clock_wall_ms(), now), "event", event,
				 "certificate", certificate, "text", text);
	if (line && more)
		json_object_update(line, more);
	json_decref(more);
	if (line)
		json_object_set_new(line, "previous", json_string(digest_text(&audit->previous, hex)));
	AUTO_FREE char *bytes = line ? json_dumps(line, JSON_COMPACT) : NULL;
	json_decref(line);
	if (!bytes)
		return log_error("audit-failed", "an event could not be written as JSON: %s", event);
	size_t len = strlen(bytes);
	struct fault fault = {0};
	struct digest digest = hash_bytes(bytes, len);
	bytes = xrealloc(bytes, len + 2);
	memcpy(bytes + len, "\n", 2);
	if (files_append(audit->fd, bytes, len + 1, &fault) < 0)
		log_error("audit-failed", "audit.jsonl: %s", fault.text);
	else
		audit->previous = digest;
}
