#include "control/confine.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "loop/launch.h"
#include "loop/tryout.h"

static const char *const policy_name[] = {
	[SANDBOX_AUTO] = "auto", [SANDBOX_REQUIRE] = "require", [SANDBOX_STRICT] = "strict"};
_Static_assert(ARRAY_SIZE(policy_name) == SANDBOX_STRICT + 1, "a name for each");

static bool has_user(const struct settings *s, const char *policy, struct fault *fault)
{
	if (geteuid() != 0 || launch_user_exists(s->worker_user))
		return true;
	if (s->sandbox == SANDBOX_AUTO) {
		log_warning("worker-user",
			    "there is no user \"%s\" without rights (option `worker_user`): uid 65534 is used",
			    s->worker_user);
		return true;
	}
	fault_set(
		fault, -ENOENT,
		"sandbox = \"%s\", and there is no user \"%s\" without rights (option `worker_user`): make it, or name "
		"another",
		policy, s->worker_user);
	return false;
}

const char *confine_policy(const struct settings *s, const char *worker_path, struct fault *fault)
{
	const char *policy = policy_name[s->sandbox];
	struct fault missing = {0};
	if (!has_user(s, policy, fault))
		return NULL;
	AUTO_FREE char *user = launch_user(s->worker_user);
	int r = tryout_sandbox(worker_path, user, &missing);
	if (r == 0)
		return policy;
	if (s->sandbox != SANDBOX_AUTO) {
		fault_set(fault, r,
			  "sandbox = \"%s\", and a part of the workers' sandbox is missing on this machine: %s", policy,
			  missing.text);
		return NULL;
	}
	if (r != -ENOSYS) /* each worker that is wanted will say so */
		return policy;
	log_warning("sandbox-partial", "a part of the workers' sandbox is missing on this machine: %s", missing.text);
	return "partial";
}
