#include "worker/starttls.h"

#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* One line of a dialogue: what is awaited, what shows that more lines follow, what is sent next (NULL: TLS begins). */
struct step {
	const char *good;
	const char *more;
	const char *send;
};
#define STEPS 3
static const struct step dialogue[][STEPS] = {
	[PROBE_TLS] = {{NULL, NULL, NULL}},
	[PROBE_SMTP] = {{"220", "220-", "EHLO localhost\r\n"}, {"250", "250-", "STARTTLS\r\n"}, {"220", "220-", NULL}},
	[PROBE_IMAP] = {{"* OK", NULL, "a STARTTLS\r\n"}, {"a OK", "* ", NULL}, {NULL, NULL, NULL}},
	[PROBE_POP3] = {{"+OK", NULL, "STLS\r\n"}, {"+OK", NULL, NULL}, {NULL, NULL, NULL}},
};
_Static_assert(ARRAY_SIZE(dialogue) == PROBE_STARTTLS_KINDS, "a dialogue for each kind");

void starttls_begin(struct starttls *s, enum probe_starttls kind)
{
	*s = (struct starttls){.kind = kind};
}

static bool begins(const char *line, const char *with)
{
	return with && strncmp(line, with, strlen(with)) == 0;
}

static enum starttls_answer take_line(struct starttls *s, const char **ret_send)
{
	const struct step *step = &dialogue[s->kind][s->step];
	if (begins(s->line, step->more)) {
		s->len = 0;
		return STARTTLS_MORE;
	}
	if (!begins(s->line, step->good))
		return STARTTLS_BAD;
	s->len = 0;
	if (!step->send)
		return STARTTLS_READY;
	s->step++;
	*ret_send = step->send;
	return STARTTLS_SEND;
}

enum starttls_answer starttls_feed(struct starttls *s, char byte, const char **ret_send)
{
	if (byte == '\n') {
		s->line[s->len] = '\0';
		return take_line(s, ret_send);
	}
	if (s->len + 1 >= sizeof s->line)
		return STARTTLS_BAD;
	s->line[s->len++] = byte;
	return STARTTLS_MORE;
}

const char *starttls_last_line(struct starttls *s)
{
	size_t end = s->len < 120 ? s->len : 120;
	while (end && s->line[end - 1] == '\r')
		end--;
	s->line[end] = '\0';
	return text_printable(s->line);
}
