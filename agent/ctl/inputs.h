/* The files that an operator hands in: opened, looked at, never read blindly; the bytes are for a worker. */
#ifndef CTL_INPUTS_H
#define CTL_INPUTS_H
#include <stddef.h>

#include "ctl/options.h"
#include "wire/identify.h"

#define INPUTS_MAX      64
#define INPUT_BYTES_MAX (1024 * 1024)

struct inputs {
	int fds[INPUTS_MAX + 1]; /* the password file, where there is one, is the last */
	char *labels[INPUTS_MAX];
	size_t n;
	int passwords; /* -1: none */
};
/* Opens them: regular files of at most 1 MiB. CTL_DONE, CTL_NOT_PERMITTED or CTL_FAILED, the reason said; then
 * `ret` is still to be released by inputs_done. */
int inputs_open(struct ctl *ctl, const struct words *paths, struct inputs *ret);
/* --password-file. */
int inputs_open_passwords(struct ctl *ctl, const struct args *a, struct inputs *in);
/* Asks for a password as long as a file is locked and a person is there; up to three times. *ret is what is in the
 * files, for identify_reply_done. CTL_DONE whether they could be unlocked or not. Where ret is NULL, somebody else will
 * look at the files anyway, and a worker that can't be started is no failure. */
int inputs_unlock(struct ctl *ctl, struct inputs *in, struct identify_reply *ret);
void inputs_done(struct inputs *in);
#endif
