/* Passwords: asked for on the terminal without echo, and handed on in a memfd: never in argv, the environment or a
 * file. */
#ifndef CTL_PROMPT_H
#define CTL_PROMPT_H
#include "ctl/ctl.h"

#define PROMPT_PASSWORDS_MAX 65536 /* bytes of a password file */

/* Asks on the controlling terminal. A memfd with the password as its only line, at its start; negative errno with a
 * text: no terminal, or Ctrl-C (-ECANCELED). */
int prompt_password(const char *question, struct fault *fault);
/* --password-file: a regular file, or "-": the terminal, else what standard input holds, as a memfd. A descriptor or
 * negative errno. */
int prompt_open_passwords(struct ctl *ctl, const char *path, struct fault *fault);
#endif
