#include "worker/role.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

#define NOBODY 65534

static const char *const policy_name[] = {
	[ROLE_AUTO] = "auto", [ROLE_PARTIAL] = "partial", [ROLE_REQUIRE] = "require", [ROLE_STRICT] = "strict"};

_Noreturn void role_leave(int status, const char *text)
{
	if (text)
		dprintf(STDERR_FILENO, "certswap-worker: %s\n", text);
	_exit(status);
}

static bool parse_user(const char *s, struct role_options *o)
{
	char *end;
	errno = 0;
	unsigned long uid = strtoul(s, &end, 10);
	if (errno || end == s || *end != ':' || !uid || uid >= UINT32_MAX)
		return false;
	s = end + 1;
	unsigned long gid = strtoul(s, &end, 10);
	if (errno || end == s || *end || !gid || gid >= UINT32_MAX)
		return false;
	o->uid = (uid_t)uid;
	o->gid = (gid_t)gid;
	return true;
}

/* SANDBOX_ROLES: no such role. */
static enum sandbox_role role_of(const char *name)
{
	enum sandbox_role role = 0;
	while (role < SANDBOX_ROLES && strcmp(name, sandbox_role_name[role]) != 0)
		role++;
	return role;
}

static bool parse_policy(const char *s, struct role_options *o)
{
	size_t policy = 0;
	while (policy < ARRAY_SIZE(policy_name) && strcmp(s, policy_name[policy]) != 0)
		policy++;
	o->policy = (enum role_policy)policy;
	return policy < ARRAY_SIZE(policy_name);
}

bool role_parse(int argc, char **argv, struct role_options *o)
{
	*o = (struct role_options){.role = SANDBOX_ROLES, .uid = NOBODY, .gid = NOBODY};
	for (int i = 1; i < argc; i++) {
		if (i == 1 && strcmp(argv[i], "selftest") == 0)
			o->selftest = true;
		else if (i == 1 && strcmp(argv[i], "tryout") == 0)
			o->tryout = true;
		else if (i == 1 && role_of(argv[i]) != SANDBOX_ROLES)
			o->role = role_of(argv[i]);
		else if (o->selftest && strcmp(argv[i], "--calls") == 0)
			o->calls = true;
		else if (strncmp(argv[i], "--sandbox=", 10) == 0 && parse_policy(argv[i] + 10, o))
			continue;
		else if (strncmp(argv[i], "--user=", 7) != 0 || !parse_user(argv[i] + 7, o))
			return false;
	}
	if (o->tryout)
		o->role = SANDBOX_CHECK;
	return o->selftest || o->role != SANDBOX_ROLES;
}

enum sandbox_other role_other_calls(const struct role_options *o)
{
	return o->policy == ROLE_STRICT ? SANDBOX_KILL : SANDBOX_REFUSE;
}

void role_close_door(const struct role_options *o, const uint16_t *ports, size_t nports)
{
	struct fault fault = {0};
	if (sandbox_enter(o->role, role_other_calls(o), ports, nports, &fault) == 0)
		return;
	if (o->policy >= ROLE_REQUIRE)
		role_leave(ROLE_EXIT_NO_SANDBOX, fault.text);
	if (o->policy == ROLE_AUTO)
		dprintf(STDERR_FILENO, "certswap-worker: a part of the sandbox is missing: %s\n", fault.text);
}

void role_receive(struct message *m)
{
	int r = message_receive(WORKER_SOCKET_FD, m);
	if (r == -EPIPE) /* a spare one that was not needed */
		role_leave(0, NULL);
	if (r)
		role_leave(1, "what came is not a request");
}

_Noreturn void role_answer(uint8_t kind, struct packer *reply)
{
	int r = message_send(WORKER_SOCKET_FD, kind | MESSAGE_REPLY, reply, NULL, 0);
	role_leave(r == 0 || r == -EPIPE ? 0 : 1, r == -EMSGSIZE ? "the answer does not fit in a message" : NULL);
}

bool role_begin(const struct role_options *o)
{
	struct fault fault = {0};
	bool trust = o->role != SANDBOX_PROBE && fcntl(WORKER_TRUST_FD, F_GETFD) >= 0;
	if (sandbox_drop(o->role, o->uid, o->gid, &fault) || sandbox_close_descriptors(trust, &fault))
		role_leave(ROLE_EXIT_NO_SANDBOX, fault.text);
	return trust;
}
