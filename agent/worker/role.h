/* What certswap-worker and certswap-fetch have in common: their arguments, the way into the sandbox, one request in and
 * one reply out. Their socket is descriptor 3 (wire/message.h). For the two programs alone. */
#ifndef WORKER_ROLE_H
#define WORKER_ROLE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/message.h"
#include "worker/sandbox.h"
#include "worker/syscalls.h"

#define ROLE_EXIT_USAGE      2
#define ROLE_EXIT_NO_SANDBOX 77

/* What is done where a part of the sandbox is missing. */
enum role_policy {
	ROLE_AUTO,    /* goes on and says so */
	ROLE_PARTIAL, /* goes on; it was said already */
	ROLE_REQUIRE, /* goes */
	ROLE_STRICT   /* goes, and each system call that no list names ends the worker */
};

struct role_options {
	enum sandbox_role role;
	bool selftest, calls, tryout;
	enum role_policy policy;
	uid_t uid;
	gid_t gid;
};

/* false: not the arguments of a worker. */
bool role_parse(int argc, char **argv, struct role_options *ret);
/* Gives up root and every descriptor that it has no use for, or ends. Returns whether a trust file came along
 * (WORKER_TRUST_FD). */
bool role_begin(const struct role_options *o);
enum sandbox_other role_other_calls(const struct role_options *o);
/* From here on nothing but what the role needs. ports: where it may connect to. */
void role_close_door(const struct role_options *o, const uint16_t *ports, size_t nports);
/* The request; where none comes, a spare worker that was not needed ends. */
void role_receive(struct message *m);
_Noreturn void role_answer(uint8_t kind, struct packer *reply);
/* Ends without running any handler of exit(3): nothing is to happen after the answer. text may be NULL. */
_Noreturn void role_leave(int status, const char *text);
#endif
