/* loop/loop.c: timers, pollers and signals. */
#include "test_loop_help.h"

#define LOOP_TEST(name) HELP_TEST(loop, name, help_begin, help_end)

static int calls;
static struct timer *mine;

static void count(void *data)
{
	calls++;
}

LOOP_TEST(a_timer_never_calls_from_inside_and_calls_once)
{
	mine = timer_start(help_loop, 0, count, NULL);
	cr_assert_eq(calls, 0);
	help_turns(3);
	cr_assert_eq(calls, 1);
	timer_close(mine);
	timer_close(NULL);
}

static void close_at_third(void *data)
{
	if (++calls < 3)
		return;
	timer_close(mine);
	loop_stop(help_loop);
}

LOOP_TEST(a_repeating_timer_can_close_itself)
{
	mine = timer_repeat(help_loop, 0, 1, close_at_third, NULL);
	help_run();
	help_turns(5);
	cr_assert_eq(calls, 3);
}

static int64_t called_at;

static void note_time(void *data)
{
	called_at = clock_monotonic_us();
	loop_stop(help_loop);
}

static void long_callback(void *data)
{
	int64_t now, begin = clock_monotonic_us();
	while ((now = clock_monotonic_us()) < begin + 60000)
		;
	*(int64_t *)data = now;
	timer_close(mine);
	mine = timer_start(help_loop, 50, note_time, NULL);
}

LOOP_TEST(a_timer_counts_from_its_start_even_in_a_long_callback)
{
	int64_t started = 0;
	mine = timer_start(help_loop, 0, long_callback, &started);
	help_run();
	timer_close(mine);
	cr_assert_geq(called_at - started, 49000);
}

struct reader {
	int fd;
	struct poller *poller;
	char got[64];
};

static void read_some(void *data)
{
	struct reader *r = data;
	ssize_t n = read(r->fd, r->got, sizeof r->got - 1);
	r->got[n > 0 ? n : 0] = '\0';
	poller_close(r->poller); /* from inside */
	loop_stop(help_loop);
}

LOOP_TEST(a_poller_reads)
{
	int ends[2];
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	struct reader r = {.fd = ends[0]};
	r.poller = poller_start(help_loop, r.fd, read_some, &r);
	cr_assert_eq(write(ends[1], "here", 4), 4);
	help_run();
	cr_assert_str_eq(r.got, "here");
	close(ends[0]);
	close(ends[1]);
}

static int got_signal;

static void signal_came(int number, void *data)
{
	got_signal = number;
	loop_stop(help_loop);
}

LOOP_TEST(signals_arrive_as_callbacks)
{
	loop_on_signal(help_loop, SIGHUP, signal_came, NULL);
	loop_on_signal(help_loop, SIGTERM, signal_came, NULL);
	raise(SIGHUP);
	help_run();
	cr_assert_eq(got_signal, SIGHUP);
}
