#include "server/hold.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* A hold enters the queues of all its servers in one step, so that any two holds stand in the same order wherever they
 * meet: there can be no deadlock, and a waiting hold can't be overtaken. It has its servers when it is first in all. */
struct server_hold {
	struct loop *loop;
	struct hold_queue **queues;
	size_t n;
	server_held_cb cb;
	void *data;
	bool granted;
	struct timer *timer; /* between granted and the callback */
};

static void tell(void *data)
{
	struct server_hold *hold = data;
	timer_close(hold->timer);
	hold->timer = NULL;
	hold->cb(hold->data);
}

static void grant_if_first(struct server_hold *hold)
{
	if (hold->granted)
		return;
	for (size_t i = 0; i < hold->n; i++)
		if (hold->queues[i]->v[0] != hold)
			return;
	hold->granted = true;
	hold->timer = timer_start(hold->loop, 0, tell, hold);
}

static void leave(struct hold_queue *queue, const struct server_hold *hold)
{
	size_t at = 0;
	while (queue->v[at] != hold)
		at++;
	queue->n--;
	memmove(queue->v + at, queue->v + at + 1, (queue->n - at) * sizeof(struct server_hold *));
}

static void enter(struct hold_queue *queue, struct server_hold *hold)
{
	for (size_t i = 0; i < hold->n; i++)
		if (hold->queues[i] == queue)
			return; /* the same server twice */
	queue->v = xrealloc(queue->v, (queue->n + 1) * sizeof(struct server_hold *));
	queue->v[queue->n++] = hold;
	hold->queues[hold->n++] = queue;
}

struct server_hold *server_take_all(struct loop *loop, struct server *const *servers, size_t n, server_held_cb cb,
				    void *data)
{
	struct server_hold *hold = xcalloc(1, sizeof *hold);
	hold->loop = loop;
	hold->cb = cb;
	hold->data = data;
	hold->queues = xcalloc(n, sizeof(struct hold_queue *));
	for (size_t i = 0; i < n; i++)
		enter(server_holds(servers[i]), hold);
	grant_if_first(hold);
	return hold;
}

void server_release_all(struct server_hold *hold)
{
	if (!hold)
		return;
	for (size_t i = 0; i < hold->n; i++)
		leave(hold->queues[i], hold);
	for (size_t i = 0; i < hold->n; i++)
		if (hold->queues[i]->n)
			grant_if_first(hold->queues[i]->v[0]);
	timer_close(hold->timer);
	free(hold->queues);
	free(hold);
}

void hold_queue_done(struct hold_queue *queue)
{
	for (size_t i = 0; i < queue->n; i++) {
		struct server_hold *hold = queue->v[i];
		size_t at = 0;
		while (hold->queues[at] != queue)
			at++;
		hold->queues[at] = hold->queues[--hold->n];
		grant_if_first(hold);
	}
	free(queue->v);
	*queue = (struct hold_queue){0};
}
