#include "loop/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "loop/process.h"

#define AFTER_END_MS   1000 /* how long output may still come after the program has ended */
#define READS_PER_TURN 16   /* of 64 KiB each, so that one talkative child does not stop the daemon */

struct child {
	struct loop *loop;
	child_done_cb cb;
	void *data;
	struct process *process; /* NULL once it has ended */
	pid_t pid;
	int output_fd;
	int go_fd; /* the other end of the input of one that waits; -1: none */
	struct poller *poller;
	struct timer *timer; /* first its time limit, then the end of its output */
	struct text output;
	size_t output_max;
	struct child_result result;
	struct fault fault;
	bool finished;
};

/* A singleton: where certswap-exec is does not change while we run. */
static char *exec_path, *outside_path;

void child_set_exec_path(const char *certswap_exec)
{
	free(exec_path);
	exec_path = xstrdup(certswap_exec);
}

void child_set_outside(const char *socket_path)
{
	free(outside_path);
	outside_path = xstrdup(socket_path);
}

/* Length of the well-formed UTF-8 sequence at s (RFC 3629), 0 where there is none. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
	if (s[0] < 0x80)
		return 1;
	size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
	bool surrogate = s[0] == 0xed && s[1] > 0x9f;
	bool too_big = s[0] == 0xf4 && s[1] > 0x8f;
	return overlong || surrogate || too_big ? 0 : n;
}

/* What a terminal could take for a command, or JSON can't hold, becomes '?'; line ends and tabs stay. */
static void make_printable(struct text *t)
{
	unsigned char *s = (unsigned char *)t->s;
	for (size_t i = 0; i < t->len;) {
		size_t n = utf8_length(s + i, t->len - i);
		bool control = s[i] < 0x20 || s[i] == 0x7f || (n == 2 && s[i] == 0xc2 && s[i + 1] < 0xa0);
		if (s[i] == '\r')
			s[i] = ' ';
		else if (n == 0 || (control && s[i] != '\n' && s[i] != '\t'))
			memset(s + i, '?', n ? n : 1);
		i += n ? n : 1;
	}
}

/* Everything but the memory. */
static void release(struct child *child)
{
	timer_close(child->timer);
	poller_close(child->poller);
	if (child->output_fd >= 0)
		close(child->output_fd);
	process_close(child->process);
	child->timer = NULL;
	child->poller = NULL;
	auto_close_(&child->go_fd);
	child->output_fd = -1;
	child->go_fd = -1;
	child->process = NULL;
}

static void free_child(struct child *child)
{
	text_done(&child->output);
	free(child);
}

static void finish(struct child *child)
{
	release(child);
	text_add_bytes(&child->output, "", 0); /* at least a NUL */
	make_printable(&child->output);
	child->result.output = child->output.s;
	child->result.output_len = child->output.len;
	child->finished = true;
	child->cb(&child->result, child->data);
	free_child(child);
}

static void keep(struct child *child, const char *bytes, size_t len)
{
	size_t room = child->output_max - child->output.len;
	if (len > room)
		child->result.truncated = 1;
	text_add_bytes(&child->output, bytes, len < room ? len : room);
}

/* Reads what is there; true at the end of the output. */
static bool read_output(struct child *child)
{
	char buf[65536];
	for (int i = 0; i < READS_PER_TURN; i++) {
		ssize_t n = read(child->output_fd, buf, sizeof buf);
		if (n > 0)
			keep(child, buf, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return true;
		else if (errno == EAGAIN)
			return false;
	}
	return false;
}

static void output_came(void *data)
{
	struct child *child = data;
	if (!read_output(child))
		return;
	poller_close(child->poller);
	child->poller = NULL;
	if (!child->process)
		finish(child);
}

/* The program has ended, but something still holds its output. */
static void output_stays_open(void *data)
{
	struct child *child = data;
	(void)read_output(child);
	kill(-child->pid, SIGKILL); /* no such group: whoever holds the output has left it */
	finish(child);
}

static void ended(int exit_status, int signal, void *data)
{
	struct child *child = data;
	child->process = NULL;
	child->result.exit_status = exit_status;
	child->result.signal = signal;
	timer_close(child->timer);
	child->timer = NULL;
	if (!child->poller)
		finish(child);
	else
		child->timer = timer_start(child->loop, AFTER_END_MS, output_stays_open, child);
}

static void time_is_up(void *data)
{
	struct child *child = data;
	child->result.timed_out = 1;
	process_kill(child->process);
}

static void tell_problem(void *data)
{
	struct child *child = data;
	child->result.problem = child->fault.text;
	child->result.problem_code = child->fault.code;
	finish(child);
}

/* A memory file: the child reads it when it likes, and we never wait for it. -1 or the descriptor. */
static int input_file(const struct child_spec *spec, struct fault *fault)
{
	int fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0)
		return fault_errno(fault, errno, "no memory file for the input of %s", spec->argv[0]);
	for (size_t at = 0; at < spec->input_len;) {
		ssize_t n = write(fd, spec->input + at, spec->input_len - at);
		if (n < 0) {
			fault_errno(fault, errno, "no memory file for the input of %s", spec->argv[0]);
			close(fd);
			return -1;
		}
		at += (size_t)n;
	}
	(void)lseek(fd, 0, SEEK_SET); /* can't fail on a memory file */
	return fd;
}

static const char **full_argv(const char *const *argv, bool wait)
{
	size_t n = 0;
	while (argv[n])
		n++;
	const char **full = xcalloc(n + 6, sizeof *full);
	size_t at = 0;
	full[at++] = exec_path;
	if (wait)
		full[at++] = "--wait";
	if (outside_path) {
		full[at++] = "--outside";
		full[at++] = outside_path;
	}
	full[at++] = "--";
	memcpy(full + at, argv, n * sizeof *full);
	return full;
}

static int spawn(struct child *child, const struct child_spec *spec)
{
	if (!exec_path)
		return fault_set(&child->fault, -ENOENT, "%s can't be started: certswap-exec was not found",
				 spec->argv[0]);
	AUTO_CLOSE int input = -1;
	int ends[2];
	if (spec->input && (input = input_file(spec, &child->fault)) < 0)
		return child->fault.code;
	if (spec->wait) {
		if (pipe2(ends, O_CLOEXEC) != 0)
			return fault_errno(&child->fault, errno, "no pipe for the start of %s", spec->argv[0]);
		input = ends[0];
		child->go_fd = ends[1];
	}
	if (pipe2(ends, O_CLOEXEC) != 0)
		return fault_errno(&child->fault, errno, "no pipe for the output of %s", spec->argv[0]);
	child->output_fd = ends[0];
	AUTO_CLOSE int write_end = ends[1];
	AUTO_FREE const char **argv = full_argv(spec->argv, spec->wait);
	const struct process_spec process = {.argv = argv,
					     .environment = spec->environment,
					     .folder = spec->folder,
					     .fds = {input, write_end, write_end},
					     .nfds = 3,
					     .group = true};
	child->process = process_start(child->loop, &process, ended, child, &child->fault);
	if (!child->process)
		return child->fault.code;
	child->pid = process_pid(child->process);
	child->poller = poller_start(child->loop, child->output_fd, output_came, child);
	child->timer = timer_start(child->loop, spec->timeout_ms, time_is_up, child);
	return 0;
}

struct child *child_start(struct loop *loop, const struct child_spec *spec, child_done_cb cb, void *data)
{
	struct child *child = xcalloc(1, sizeof *child);
	child->loop = loop;
	child->cb = cb;
	child->output_max = spec->output_max ? spec->output_max : CHILD_OUTPUT_MAX;
	child->data = data;
	child->output_fd = child->go_fd = -1;
	child->result.exit_status = -1;
	if (spawn(child, spec) < 0)
		child->timer = timer_start(loop, 0, tell_problem, child);
	return child;
}

void child_go(struct child *child)
{
	if (child->go_fd >= 0 && write(child->go_fd, "", 1) == 1) {
		close(child->go_fd);
		child->go_fd = -1;
	}
}

void child_close(struct child *child)
{
	if (!child || child->finished) /* inside its own callback */
		return;
	if (!child->process && child->pid)
		kill(-child->pid, SIGKILL);
	release(child);
	free_child(child);
}
