#include "loop/loop.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "loop/inside.h"

#define DRAIN_MS 2000 /* how long loop_free waits for killed children to be gone */

struct signal_watch {
	uv_signal_t uv;
	loop_signal_cb cb;
	void *data;
	struct signal_watch *next;
};

struct loop {
	uv_loop_t uv;
	struct signal_watch *signals;
};

struct timer {
	uv_timer_t uv;
	loop_later_cb cb;
	void *data;
};

struct poller {
	uv_poll_t uv;
	poller_cb cb;
	void *data;
};

/* libuv fails here only for want of descriptors or memory, or by a mistake of ours: like malloc, no way on. */
static void must(int result, const char *what)
{
	if (result == 0)
		return;
	log_error("loop", "%s: %s", what, uv_strerror(result));
	abort();
}

static void free_handle(uv_handle_t *handle)
{
	free(handle->data);
}

struct loop *loop_new(void)
{
	struct loop *loop = xcalloc(1, sizeof *loop);
	must(uv_loop_init(&loop->uv), "the event loop could not be made");
	return loop;
}

uv_loop_t *loop_uv(struct loop *loop)
{
	return &loop->uv;
}

static void close_signals(struct loop *loop)
{
	while (loop->signals) {
		struct signal_watch *s = loop->signals;
		loop->signals = s->next;
		uv_close((uv_handle_t *)&s->uv, free_handle);
	}
}

void loop_run(struct loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	close_signals(loop);
	uv_run(&loop->uv, UV_RUN_NOWAIT); /* the close callbacks */
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

static void drain_over(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	close_signals(loop);
	uv_timer_t limit;
	must(uv_timer_init(&loop->uv, &limit), "timer");
	uv_update_time(&loop->uv);
	uv_timer_start(&limit, drain_over, DRAIN_MS, 0);
	uv_unref((uv_handle_t *)&limit);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&limit, NULL);
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	if (uv_loop_close(&loop->uv) != 0)
		/* what is left still points into the loop: its memory stays */
		log_error("loop-left-open", "something was still open when the event loop ended");
	else
		free(loop);
}

static void signal_came(uv_signal_t *uv, int number)
{
	struct signal_watch *s = uv->data;
	s->cb(number, s->data);
}

void loop_on_signal(struct loop *loop, int number, loop_signal_cb cb, void *data)
{
	struct signal_watch *s = xcalloc(1, sizeof *s);
	s->cb = cb;
	s->data = data;
	must(uv_signal_init(&loop->uv, &s->uv), "signal");
	s->uv.data = s;
	must(uv_signal_start(&s->uv, signal_came, number), "signal");
	s->next = loop->signals;
	loop->signals = s;
}

static void timer_came(uv_timer_t *uv)
{
	struct timer *t = uv->data;
	t->cb(t->data);
}

struct timer *timer_repeat(struct loop *loop, int64_t first_ms, int64_t every_ms, loop_later_cb cb, void *data)
{
	struct timer *t = xcalloc(1, sizeof *t);
	t->cb = cb;
	t->data = data;
	must(uv_timer_init(&loop->uv, &t->uv), "timer");
	t->uv.data = t;
	/* libuv counts from its last look at the clock: after a long callback the timer would come too early */
	uv_update_time(&loop->uv);
	must(uv_timer_start(&t->uv, timer_came, first_ms > 0 ? (uint64_t)first_ms : 0,
			    every_ms > 0 ? (uint64_t)every_ms : 0),
	     "timer");
	return t;
}

struct timer *timer_start(struct loop *loop, int64_t after_ms, loop_later_cb cb, void *data)
{
	return timer_repeat(loop, after_ms, 0, cb, data);
}

void timer_close(struct timer *timer)
{
	if (timer)
		uv_close((uv_handle_t *)&timer->uv, free_handle);
}

static void poller_came(uv_poll_t *uv, int status, int events)
{
	struct poller *p = uv->data;
	/* libuv stops a poll that has seen POLLERR; the reader learns the error from its read and closes the poller */
	if (status < 0)
		must(uv_poll_start(uv, UV_READABLE, poller_came), "poll");
	p->cb(p->data);
}

struct poller *poller_start(struct loop *loop, int fd, poller_cb cb, void *data)
{
	struct poller *p = xcalloc(1, sizeof *p);
	p->cb = cb;
	p->data = data;
	must(uv_poll_init(&loop->uv, &p->uv, fd), "poll");
	p->uv.data = p;
	must(uv_poll_start(&p->uv, UV_READABLE, poller_came), "poll");
	return p;
}

void poller_close(struct poller *poller)
{
	if (poller)
		uv_close((uv_handle_t *)&poller->uv, free_handle);
}
