/* The queue of holds that each server keeps; for the files of this room. */
#ifndef SERVER_HOLD_H
#define SERVER_HOLD_H
#include "server/server.h"

struct hold_queue {
	struct server_hold **v; /* in order of arrival; the first one may have the server */
	size_t n;
};
struct hold_queue *server_holds(struct server *server);

/* The server goes away: its holds go on without it. */
void hold_queue_done(struct hold_queue *queue);
#endif
