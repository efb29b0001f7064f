/* loop/child.c with real programs. */
#include <sys/resource.h>

#include "test_loop_help.h"

#define CHILD_TEST(name) HELP_TEST(child, name, help_begin, help_end)

static struct child_result got;
static char *output;
static int calls;

static void done(const struct child_result *r, void *data)
{
	calls++;
	got = *r;
	free(output);
	output = xmemdup(r->output, r->output_len + 1);
	got.output = output;
	got.problem = NULL;
	cr_assert_eq(strlen(r->output), r->output_len);
	if (data)
		child_close(*(struct child **)data);
	loop_stop(help_loop);
}

static struct child *start(const char *script, int64_t timeout_ms)
{
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	const struct child_spec spec = {.argv = argv, .timeout_ms = timeout_ms};
	return child_start(help_loop, &spec, done, NULL);
}

static void run(const char *script, int64_t timeout_ms)
{
	calls = 0;
	start(script, timeout_ms);
	cr_assert_eq(calls, 0, "called back from inside");
	help_run();
	cr_assert_eq(calls, 1);
}

CHILD_TEST(status_and_output_of_both_streams)
{
	run("echo one; echo two >&2; echo three; exit 7", 10000);
	cr_expect_eq(got.exit_status, 7);
	cr_expect_eq(got.signal, 0);
	cr_expect_not(got.timed_out);
	cr_expect_not(got.truncated);
	cr_expect_str_eq(output, "one\ntwo\nthree\n");
	free(output);
}

CHILD_TEST(no_output_is_an_empty_text)
{
	run("exit 0", 10000);
	cr_expect_eq(got.exit_status, 0);
	cr_expect_str_eq(output, "");
	free(output);
}

CHILD_TEST(what_a_terminal_could_obey_is_replaced)
{
	run("printf 'a\\033[31mb\\tc\\r\\nd\\302\\205e\\0f\\377g\\303\\251h\\355\\240\\200i\\n'", 10000);
	cr_expect_str_eq(output, "a?[31mb\tc \nd\?\?e?f?g\303\251h\?\?\?i\n");
	free(output);
}

CHILD_TEST(a_signal_is_told)
{
	run("kill -TERM $$", 10000);
	cr_expect_eq(got.exit_status, -1);
	cr_expect_eq(got.signal, SIGTERM);
	free(output);
}

CHILD_TEST(the_environment_is_what_was_given)
{
	setenv("CERTSWAP_LEAK", "1", 1);
	const char *const argv[] = {"/usr/bin/env", NULL};
	const char *const environment[] = {"CERTSWAP_NAME=with space\nand line", NULL};
	const struct child_spec spec = {.argv = argv, .environment = environment, .timeout_ms = 10000};
	child_start(help_loop, &spec, done, NULL);
	help_run();
	cr_expect_not_null(strstr(output, "CERTSWAP_NAME=with space\nand line\n"));
	cr_expect_not_null(strstr(output, "LC_ALL=C.UTF-8\n"));
	cr_expect_not_null(strstr(output, "PATH=/"));
	cr_expect_null(strstr(output, "CERTSWAP_LEAK"));
	cr_expect_null(strstr(output, "HOME="));
	free(output);
}

CHILD_TEST(input_arrives_whole_and_ends)
{
	size_t len = 300000; /* more than a pipe holds */
	AUTO_FREE char *input = xmalloc(len + 1);
	memset(input, 'x', len);
	const char *const argv[] = {"/usr/bin/wc", "-c", NULL};
	const struct child_spec spec = {.argv = argv, .input = input, .input_len = len, .timeout_ms = 10000};
	child_start(help_loop, &spec, done, NULL);
	help_run();
	cr_expect_eq(atoi(output), 300000);
	free(output);
}

CHILD_TEST(without_input_there_is_nothing_to_read_and_the_folder_is_the_root)
{
	run("cat; pwd", 10000);
	cr_expect_str_eq(output, "/\n");
	free(output);
}

CHILD_TEST(no_descriptor_of_ours_is_inherited)
{
	/* what the test's own runner left open without O_CLOEXEC is for the real certswap-exec to close */
	for (int fd = 3; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	int ours[2];
	cr_assert_eq(pipe2(ours, O_CLOEXEC), 0);
	run("ls /proc/self/fd | tr '\\n' ' '", 10000);
	cr_expect_str_eq(output, "0 1 2 3 ", "got %s", output); /* 3: the folder that ls reads */
	free(output);
	close(ours[0]);
	close(ours[1]);
}

CHILD_TEST(the_whole_group_dies_at_the_time_limit)
{
	int64_t begin = clock_monotonic_us();
	run("sleep 1000 & echo $!; trap '' TERM; wait", 300);
	cr_expect(got.timed_out);
	cr_expect_eq(got.signal, SIGKILL);
	cr_expect_lt(clock_monotonic_us() - begin, 3000000);
	help_assert_dies((pid_t)atoi(output));
	free(output);
}

CHILD_TEST(a_grandchild_that_keeps_the_output_open_is_not_waited_for)
{
	int64_t begin = clock_monotonic_us();
	run("sleep 1000 & echo $!; exit 3", 60000);
	cr_expect_eq(got.exit_status, 3);
	cr_expect_not(got.timed_out);
	cr_expect_lt(clock_monotonic_us() - begin, 3000000);
	help_assert_dies((pid_t)atoi(output));
	free(output);
}

CHILD_TEST(a_grandchild_with_a_group_of_its_own_is_not_waited_for_either)
{
	int64_t begin = clock_monotonic_us();
	run("setsid sleep 1000 & echo $!; exit 0", 60000);
	cr_expect_eq(got.exit_status, 0);
	cr_expect_lt(clock_monotonic_us() - begin, 3000000);
	pid_t pid = (pid_t)atoi(output);
	cr_assert_gt(pid, 1);
	cr_expect_not(help_is_dead(pid), "a server that a hook has started lives on");
	kill(pid, SIGKILL);
	free(output);
}

CHILD_TEST(a_gigabyte_of_output_is_read_and_dropped)
{
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	run("head -c 1000000000 /dev/zero; exit 5", 50000);
	getrusage(RUSAGE_SELF, &after);
	cr_expect_eq(got.exit_status, 5);
	cr_expect(got.truncated);
	cr_expect_eq(got.output_len, CHILD_OUTPUT_MAX);
	cr_expect_lt(after.ru_maxrss - before.ru_maxrss, 16 * 1024);
	free(output);
}

static char *problem;

static void note_problem(const struct child_result *r, void *data)
{
	calls++;
	cr_expect_eq(r->exit_status, -1);
	cr_expect_str_eq(r->output, "");
	cr_assert_not_null(r->problem);
	problem = xstrdup(r->problem);
	loop_stop(help_loop);
}

CHILD_TEST(what_can_not_be_started_is_told_later)
{
	child_set_exec_path("/nonexistent/certswap-exec");
	const char *const argv[] = {"/bin/true", NULL};
	const struct child_spec spec = {.argv = argv, .timeout_ms = 1000};
	child_start(help_loop, &spec, note_problem, NULL);
	cr_assert_eq(calls, 0);
	help_run();
	cr_expect_not_null(strstr(problem, "/nonexistent/certswap-exec can't be started: "));
	free(problem);
}

CHILD_TEST(a_program_that_is_not_there_does_not_end_well)
{
	const char *const argv[] = {"/nonexistent/hook", NULL};
	const struct child_spec spec = {.argv = argv, .timeout_ms = 10000};
	child_start(help_loop, &spec, done, NULL);
	help_run();
	cr_expect_gt(got.exit_status, 1);
	cr_expect_not_null(strstr(output, "/nonexistent/hook"));
	free(output);
}

CHILD_TEST(closing_kills_the_group_without_a_call)
{
	int report[2];
	char text[16] = "";
	cr_assert_eq(pipe2(report, O_CLOEXEC), 0);
	AUTO_FREE char *script = xasprintf("sleep 1000 & echo $! >/proc/%d/fd/%d; wait", (int)getpid(), report[1]);
	struct child *child = start(script, 60000);
	cr_assert_gt(read(report[0], text, sizeof text - 1), 0);
	child_close(child);
	child_close(NULL);
	help_assert_dies((pid_t)atoi(text));
	help_turns(20);
	cr_expect_eq(calls, 0);
	close(report[0]);
	close(report[1]);
}

CHILD_TEST(closing_at_once_is_fine)
{
	child_close(start("sleep 1000", 60000));
	child_set_exec_path("/nonexistent/certswap-exec");
	child_close(start("true", 60000));
	help_turns(20);
	cr_expect_eq(calls, 0);
}

CHILD_TEST(closing_in_its_own_callback_is_fine)
{
	struct child *child;
	const char *const argv[] = {"/bin/true", NULL};
	const struct child_spec spec = {.argv = argv, .timeout_ms = 10000};
	child = child_start(help_loop, &spec, done, &child);
	help_run();
	cr_expect_eq(calls, 1);
	free(output);
}
