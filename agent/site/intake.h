/* Files that somebody hands over: what is in them, which certificate they are for, and the way of each pair. A closed
 * set (submit, standby) is paired only among its own files; the drop boxes (dropbox.h) wait for a missing half. Runs in
 * certswapd. */
#ifndef SITE_INTAKE_H
#define SITE_INTAKE_H
#include "site/pair.h"
#include "wire/identify.h"

#define INTAKE_FILE_MAX (1024 * 1024) /* bytes of one file */

/* Asks a worker what is in the files; at most 200. `passwords`: a descriptor, or -1. Calls back exactly once, never
 * from inside; reply NULL: fault says why. The descriptors stay the caller's. */
typedef void (*intake_identified_cb)(struct identify_reply *reply, const struct fault *fault, void *data);
#define INTAKE_FILES_AT_ONCE 200
void intake_identify(struct site *site, const int *fds, size_t n, int passwords, intake_identified_cb cb, void *data);

/* The one certificate here whose names (configured, else live) a leaf with these names covers. NULL: none, or more than
 * one; fault says which and what to do. */
struct certificate *intake_route(struct site *site, const struct words *names, struct fault *fault);

/* A closed set. Takes over the descriptors. */
struct intake_spec {
	struct certificate *certificate; /* NULL: by the names in the leaf */
	bool standby;
	bool served;        /* visitors see it already: a rule that it breaks is said and blocks nothing */
	const char *origin; /* "submit", "standby", "adopt" */
	int *fds;
	char **labels; /* for messages, beside fds; copied */
	size_t n;
	int passwords;         /* descriptor or -1 */
	struct words accepted; /* finding codes; taken over */
	char *why;             /* taken over */
};
/* exit: 0 done and good, 1 refused or not proved. Calls back exactly once, never from inside. */
typedef void (*intake_done_cb)(int exit, const char *text, const char *next, void *data);
void intake_submit(struct site *site, struct intake_spec *spec, intake_done_cb cb, void *data);
/* A leaf and its key are there, a CA certificate is not: how long the folder must bring nothing new before that is a
 * refusal. Copying a few files takes milliseconds, on a busy machine a second. */
#define INTAKE_PATIENCE_MS (10 * 1000)
/* Trouble of the machine is waited out: how long until the next try, after `before` ms (0: the first), in ms. */
int64_t intake_delay(int64_t before);
#endif
