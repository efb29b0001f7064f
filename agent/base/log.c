#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/journal.h"
#include "base/memory.h"
#include "base/text.h"

static const char *ident = "certswap";
static enum log_level verbosity = LOG_LEVEL_INFO;
static bool for_journal;
static int journal = -1; /* for the life of the process */

void log_open(const char *program, enum log_level most_verbose)
{
	ident = program;
	verbosity = most_verbose;
	for_journal = journal_is_stream(STDERR_FILENO, getenv("JOURNAL_STREAM"));
	if (for_journal)
		journal = journal_open(JOURNAL_SOCKET);
}

/* Whether the journal took it, with fields to search for: journalctl CERTSWAP_CERTIFICATE=shop */
static bool put_entry(char priority, const char *event, const char *certificate, const char *text)
{
	const char level[] = {priority, '\0'};
	if (journal < 0)
		return false;
	AUTO_FREE char *message =
		xasprintf("%s: %s%s%s", event, certificate ? certificate : "", certificate ? ": " : "", text);
	const char *const fields[] = {"MESSAGE",
				      message,
				      "PRIORITY",
				      level,
				      "SYSLOG_IDENTIFIER",
				      ident,
				      "CERTSWAP_EVENT",
				      event,
				      "CERTSWAP_CERTIFICATE",
				      certificate,
				      NULL};
	return journal_send(journal, fields) == 0;
}

__attribute__((format(printf, 4, 0))) static void put(enum log_level level, const char *event, const char *certificate,
						      const char *format, va_list args)
{
	static const char priority[] = {'3', '4', '6', '7'};
	static const char *const word[] = {"error: ", "warning: ", "", "debug: "};
	if (level > verbosity)
		return;
	AUTO_FREE char *plain = text_printable(xvasprintf(format, args));
	char now[32];
	if (put_entry(priority[level], event, certificate, plain))
		return;
	AUTO_FREE char *text = xasprintf("%s%s%s", certificate ? certificate : "", certificate ? ": " : "", plain);
	AUTO_FREE char *line = for_journal ? xasprintf("<%c>%s: %s\n", priority[level], event, text)
					   : xasprintf("%s %s %s%s: %s\n", text_from_time_ms(clock_wall_ms(), now),
						       ident, word[level], event, text);
	for (const char *p = line; *p;) { /* one write a line, so that lines of several processes do not mix */
		ssize_t n = write(STDERR_FILENO, p, __builtin_strlen(p));
		if (n <= 0)
			break;
		p += n;
	}
}

#define DEFINE_LOG(name, level)                                                                                        \
	void name(const char *event, const char *format, ...)                                                          \
	{                                                                                                              \
		va_list args;                                                                                          \
		va_start(args, format);                                                                                \
		put(level, event, NULL, format, args);                                                                 \
		va_end(args);                                                                                          \
	}
DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warning, LOG_LEVEL_WARNING)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)

void log_about(const char *event, const char *certificate, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	put(LOG_LEVEL_INFO, event, certificate, format, args);
	va_end(args);
}
