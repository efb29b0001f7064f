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

#define TAIL_BYTES 65536 /* read at first to find the last line */

struct audit {
	int fd;
	struct digest previous; /* SHA-256 of the last line without its newline; zero: there is none */
	bool unsynced;
	bool unsure; /* a write failed: how the file ends must be looked at before the next */
};

/* A line that was cut off by a crash or a full disk stays as it is, and is chained like any line. Where not even its
 * newline can be written, that is for the next time: nothing waits for the record. */
static void end_line(struct audit *audit)
{
	struct fault fault = {0};
	audit->unsure = files_append(audit->fd, "\n", 1, &fault) < 0;
	if (audit->unsure)
		log_error("audit-failed", "audit.jsonl: %s", fault.text);
}

/* Finds where the chain stands: goes back from the end, twice as far each time, until the whole last line is seen. */
static int read_last_line(struct audit *audit, struct fault *fault)
{
	struct stat st;
	if (fstat(audit->fd, &st) < 0)
		return fault_errno(fault, errno, "can't read audit.jsonl");
	audit->unsure = false;
	for (size_t want = TAIL_BYTES; st.st_size > 0; want *= 2) {
		size_t len = st.st_size < (off_t)want ? (size_t)st.st_size : want;
		AUTO_FREE char *tail = xmalloc(len);
		ssize_t n = pread(audit->fd, tail, len, st.st_size - (off_t)len);
		if (n != (ssize_t)len)
			return fault_errno(fault, n < 0 ? errno : EIO, "can't read audit.jsonl");
		size_t end = tail[len - 1] == '\n' ? len - 1 : len;
		const char *newline = memrchr(tail, '\n', end);
		if (!newline && (off_t)len < st.st_size)
			continue;
		const char *start = newline ? newline + 1 : tail;
		audit->previous = hash_bytes(start, end - (size_t)(start - tail));
		if (end == len)
			end_line(audit);
		break;
	}
	return 0;
}

struct audit *audit_open(int state, struct fault *fault)
{
	struct audit *audit = xcalloc(1, sizeof *audit);
	audit->fd = openat(state, "audit.jsonl", O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = audit->fd < 0 ? fault_errno(fault, errno, "can't open audit.jsonl") : read_last_line(audit, fault);
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

/* Writes the line with the hash of the one before it. `line` is taken over. */
static int append(struct audit *audit, json_t *line, bool soon, struct fault *fault)
{
	char hex[DIGEST_HEX];
	int r = audit->unsure ? read_last_line(audit, fault) : 0;
	if (r == 0 && audit->unsure)
		r = fault_set(fault, -EIO, "an earlier line can't be ended");
	if (r == 0 && line)
		json_object_set_new(line, "previous", json_string(digest_text(&audit->previous, hex)));
	AUTO_FREE char *bytes = r == 0 && line ? json_dumps(line, JSON_COMPACT) : NULL;
	json_decref(line);
	if (!bytes)
		return r < 0 ? r : fault_set(fault, -EINVAL, "it can't be written as JSON");
	size_t len = strlen(bytes);
	struct digest digest = hash_bytes(bytes, len);
	bytes = xrealloc(bytes, len + 2);
	memcpy(bytes + len, "\n", 2);
	r = soon ? files_append_soon(audit->fd, bytes, len + 1, fault) : files_append(audit->fd, bytes, len + 1, fault);
	audit->unsure = r < 0;
	audit->unsynced = soon;
	audit->previous = digest;
	return r;
}

static void write_line(struct audit *audit, const char *event, const char *certificate, json_t *more, bool soon,
		       char *said)
{
	char now[32];
	struct fault fault = {0};
	AUTO_FREE char *text = text_printable(said);
	log_about(event, certificate, "%s", text);
	json_t *line = json_pack("{ss, ss, ss*, ss}", "time", text_from_time_ms(clock_wall_ms(), now), "event", event,
				 "certificate", certificate, "text", text);
	if (line && more)
		json_object_update(line, more);
	json_decref(more);
	if (append(audit, line, soon, &fault) < 0)
		log_error("audit-failed", "audit.jsonl: event %s: %s", event, fault.text);
}

void audit_write(struct audit *audit, const char *event, const char *certificate, json_t *more, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	write_line(audit, event, certificate, more, false, xvasprintf(format, args));
	va_end(args);
}

void audit_write_soon(struct audit *audit, const char *event, const char *certificate, json_t *more, const char *format,
		      ...)
{
	va_list args;
	va_start(args, format);
	write_line(audit, event, certificate, more, true, xvasprintf(format, args));
	va_end(args);
}

void audit_sync(struct audit *audit)
{
	if (audit->unsynced && fdatasync(audit->fd) < 0)
		log_error("audit-failed", "audit.jsonl: can't be synced: %s", strerror(errno));
	audit->unsynced = false;
}
