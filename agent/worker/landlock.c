#include "worker/landlock.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"

/* The kernel's interface (linux/landlock.h) as of ABI 6; written out here because the headers of Debian 12 and EL9 stop
 * at ABI 2. The size passed tells an older kernel how much of it to read. */
struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net; /* ABI 4 */
	uint64_t scoped;             /* ABI 6 */
};
struct net_port_attr {
	uint64_t allowed_access;
	uint64_t port;
};
#define CREATE_VERSION  1U
#define RULE_NET_PORT   2
#define NET_BIND_TCP    (1ULL << 0)
#define NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT  (1ULL << 0)
#define SCOPE_SIGNAL    (1ULL << 1)

/* all file rights of an ABI: execute ... make_sym, then refer (2), truncate (3), ioctl_dev (5) */
static uint64_t file_rights(long abi)
{
	unsigned bits = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
	return (1ULL << bits) - 1;
}

long landlock_abi(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
}

static int allow_ports(int ruleset, const struct landlock_net *net, struct fault *fault)
{
	for (size_t i = 0; net->connect && i < net->nports; i++) {
		struct net_port_attr rule = {.allowed_access = NET_CONNECT_TCP, .port = net->ports[i]};
		if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0))
			return fault_errno(fault, errno, "Landlock rule for port %u", net->ports[i]);
	}
	return 0;
}

int landlock_enter(const struct landlock_net *net, struct fault *fault)
{
	long abi = landlock_abi();
	if (abi < 1) {
		fault_errno(fault, errno, "the kernel gives no Landlock");
		return -ENOSYS;
	}
	struct ruleset_attr attr = {.handled_access_fs = file_rights(abi)};
	size_t size = sizeof attr.handled_access_fs;
	if (abi >= 4) {
		attr.handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP;
		size = offsetof(struct ruleset_attr, scoped);
	}
	if (abi >= 6) {
		attr.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
		size = sizeof attr;
	}
	AUTO_CLOSE int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0) {
		fault_errno(fault, errno, "Landlock makes no rules");
		return -ENOSYS;
	}
	if (abi >= 4 && allow_ports(ruleset, net, fault))
		return -ENOSYS;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0)) {
		fault_errno(fault, errno, "Landlock can't be put in force");
		return -ENOSYS;
	}
	return 0;
}
