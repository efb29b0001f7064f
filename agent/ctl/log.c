/* log: STATE/audit.jsonl, read directly */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/memory.h"
#include "ctl/chain.h"
#include "ctl/commands.h"
#include "ctl/print.h"

static void print_line(struct ctl *ctl, const struct args *a, char *line)
{
	json_t *object = args_has(a, OPTION_JSON) ? NULL : json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(object)) {
		fprintf(ctl->out, "%s\n", text_printable(line));
	} else {
		AUTO_FREE char *time = print_member(object, "time", "?");
		AUTO_FREE char *event = print_member(object, "event", "?");
		AUTO_FREE char *name = print_member(object, "certificate", "");
		AUTO_FREE char *text = print_member(object, "text", "");
		fprintf(ctl->out, "%s  %s%-14s%s %s%s%s\n", time, colour_on(COLOUR_DIM, ctl->colour), event,
			colour_off(COLOUR_DIM, ctl->colour), name, *name ? ": " : "", text);
	}
	json_decref(object);
}

/* Whole lines up to the end of what is there; an incomplete one is left for later, or printed where nothing more is
 * waited for. */
static int print_lines(struct ctl *ctl, const struct args *a, FILE *in, bool to_the_end)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	clearerr(in);
	while ((n = getline(&line, &size, in)) > 0) {
		if (line[n - 1] != '\n' && !to_the_end) {
			fseeko(in, -(off_t)n, SEEK_CUR);
			break;
		}
		line[strcspn(line, "\n")] = '\0';
		print_line(ctl, a, line);
	}
	free(line);
	return fflush(ctl->out) == 0 ? CTL_DONE : CTL_FAILED;
}

/* Waits until the file has changed or the reader of our output is gone. false: the end. */
static bool await_change(struct ctl *ctl, int watch)
{
	char events[4096];
	struct pollfd p[2] = {{.fd = watch, .events = POLLIN}, {.fd = fileno(ctl->out)}};
	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return false;
	if (p[1].revents & (POLLERR | POLLHUP | POLLNVAL))
		return false;
	return read(watch, events, sizeof events) > 0;
}

static int follow(struct ctl *ctl, const struct args *a, FILE *in, const char *path)
{
	AUTO_CLOSE int watch = inotify_init1(IN_CLOEXEC);
	/* the watch stands before the first look, so that no line falls between */
	if (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF) < 0) {
		ctl_say(ctl, "can't watch %s: %s", path, strerror(errno));
		return CTL_FAILED;
	}
	do {
		if (print_lines(ctl, a, in, false) != CTL_DONE)
			return CTL_FAILED;
	} while (await_change(ctl, watch));
	return CTL_DONE;
}

static int verify(struct ctl *ctl, const struct args *a, FILE *in, const char *path)
{
	struct chain chain;
	struct fault fault = {0};
	char hex[DIGEST_HEX];
	int r = chain_verify(in, &chain, &fault);
	digest_text(&chain.last, hex);
	if (args_has(a, OPTION_JSON)) {
		json_t *result = json_pack("{sb, sI, ss, ss*, sI}", "good", r == 0, "lines", (json_int_t)chain.lines,
					   "last_sha256", hex, "problem", r < 0 ? fault.text : NULL, "incomplete",
					   (json_int_t)chain.cuts);
		print_json(ctl->out, result);
		json_decref(result);
	}
	if (r < 0) {
		ctl_say(ctl, "%s: %s", path, fault.text);
		return CTL_FAILED;
	}
	if (args_has(a, OPTION_JSON))
		return CTL_DONE;
	fprintf(ctl->out, "%zu lines, each follows the one before. Hash of the last: %s\n", chain.lines, hex);
	if (chain.cuts)
		fprintf(ctl->out,
			"Line %zu%s incomplete, as a power cut leaves one; what stands before it is vouched for by "
			"its hash alone.\n",
			chain.cut, chain.cuts > 1 ? " and others are" : " is");
	return CTL_DONE;
}

static FILE *open_log(const char *path, int *ret_error)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	*ret_error = fd < 0 ? errno : fstat(fd, &st) < 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
	FILE *in = *ret_error ? NULL : fdopen(fd, "r");
	if (!in && fd >= 0)
		close(fd);
	return in;
}

int command_log(struct ctl *ctl, const struct args *a)
{
	int status, error = 0;
	if (args_has(a, OPTION_VERIFY) && args_has(a, OPTION_FOLLOW))
		return ctl_usage(ctl, "--verify and --follow exclude each other");
	AUTO_FREE char *path = ctl_state_path(ctl, "audit.jsonl", &status);
	if (!path)
		return status;
	FILE *in = open_log(path, &error);
	if (!in) {
		ctl_say(ctl, "can't read the audit log %s: %s", path, strerror(error));
		return error == EACCES || error == EPERM ? CTL_NOT_PERMITTED : CTL_FAILED;
	}
	if (args_has(a, OPTION_VERIFY))
		status = verify(ctl, a, in, path);
	else if (args_has(a, OPTION_FOLLOW))
		status = follow(ctl, a, in, path);
	else
		status = print_lines(ctl, a, in, true);
	fclose(in);
	return status;
}
