/* The event loop of certswapd. Only this room includes <uv.h>. Everything runs in the one thread of the loop; callbacks
 * may close the object that called them. `_close` ends an object; its memory goes in libuv's close callback; no
 * callback of the object comes after `_close`. */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop *loop_new(void);
/* Runs until loop_stop, then closes the objects of the loop that were left (signals); the owners have closed theirs. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
void loop_free(struct loop *loop);

typedef void (*loop_signal_cb)(int signal, void *data);
void loop_on_signal(struct loop *loop, int signal, loop_signal_cb cb, void *data); /* until the loop ends */

/* Calls back once, after the current callbacks (never from inside this call). */
typedef void (*loop_later_cb)(void *data);
struct timer;
struct timer *timer_start(struct loop *loop, int64_t after_ms, loop_later_cb cb, void *data); /* once */
struct timer *timer_repeat(struct loop *loop, int64_t first_ms, int64_t every_ms, loop_later_cb cb, void *data);
void timer_close(struct timer *timer); /* also a one-shot that has fired; NULL is fine */

/* A descriptor that can be read. The descriptor stays the caller's, and open until after poller_close. */
struct poller;
typedef void (*poller_cb)(void *data);
struct poller *poller_start(struct loop *loop, int fd, poller_cb cb, void *data);
void poller_close(struct poller *poller);
#endif
