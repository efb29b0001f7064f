/* For the files of this room only: what the others must not see, because it is libuv or for tests. */
#ifndef LOOP_INSIDE_H
#define LOOP_INSIDE_H
#include <uv.h>

#include "loop/loop.h"

uv_loop_t *loop_uv(struct loop *loop);

/* How long a client of the control socket may take for its request, or not read its answer; 60 s unless told. */
struct control;
void control_set_patience(struct control *control, int64_t ms);
#endif
