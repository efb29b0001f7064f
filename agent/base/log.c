#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"

static const char *ident = "certswap";
static enum log_level verbosity = LOG_LEVEL_INFO;
static int for_journal;

void log_open(const char *program, enum log_level most_verbose)
{
	ident = program;
	verbosity = most_verbose;
	for_journal = getenv("JOURNAL_STREAM") != NULL;
}

__attribute__((format(printf, 3, 0))) static void put(enum log_level level, const char *event, const char *format,
						      va_list args)
{
	static const int priority[] = {3, 4, 6, 7};
	static const char *const word[] = {"error: ", "warning: ", "", "debug: "};
	if (level > verbosity)
		return;
	char *text = text_printable(xvasprintf(format, args)), now[32];
	char *line = for_journal ? xasprintf("<%d>%s: %s\n", priority[level], event, text)
				 : xasprintf("%s %s %s%s: %s\n", text_from_time_ms(clock_wall_ms(), now), ident,
					     word[level], event, text);
	for (char *p = line; *p;) { /* one write a line, so that lines of several processes do not mix */
		ssize_t n = write(STDERR_FILENO, p, __builtin_strlen(p));
		if (n <= 0)
			break;
		p += n;
	}
	free(line);
	free(text);
}

#define DEFINE_LOG(name, level)                                                                                        \
	void name(const char *event, const char *format, ...)                                                          \
	{                                                                                                              \
		va_list args;                                                                                          \
		va_start(args, format);                                                                                \
		put(level, event, format, args);                                                                       \
		va_end(args);                                                                                          \
	}
DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warning, LOG_LEVEL_WARNING)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
