/* A screen that is drawn again whenever it changes. */
#ifndef CTL_WATCH_H
#define CTL_WATCH_H
#include "ctl/ctl.h"

#define WATCH_EVERY_MS 1000

/* Asks `render` for the screen (a string for free()) each second and draws it when it differs from the last one, until
 * q, Ctrl-C or Ctrl-D on the terminal, or a signal. Leaves the terminal as it was. CTL_DONE. */
int watch_run(struct ctl *ctl, char *(*render)(void *data));
#endif
