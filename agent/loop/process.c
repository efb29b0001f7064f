#include "loop/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

struct process {
	pid_t pid;
	int pidfd;
	struct poller *poller; /* of its end */
	process_end_cb cb;     /* NULL: nobody waits for it any more */
	void *data;
	bool group;
};

static bool has_name(const char *const *environment, const char *name)
{
	size_t len = strlen(name);
	for (; environment && *environment; environment++)
		if (strncmp(*environment, name, len) == 0)
			return true;
	return false;
}

/* posix_spawn wants lists that it could write to. */
static char **copy_list(const char *const *list, size_t room)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	char **copy = xcalloc(n + room + 1, sizeof *copy);
	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

static void free_list(char **list)
{
	for (size_t i = 0; list[i]; i++)
		free(list[i]);
	free(list);
}

static char **complete_environment(const char *const *environment)
{
	char **all = copy_list(environment, 2);
	size_t n = 0;
	while (all[n])
		n++;
	if (!has_name(environment, "PATH="))
		all[n++] = xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (!has_name(environment, "LC_ALL="))
		all[n++] = xstrdup("LC_ALL=C.UTF-8");
	return all;
}

static void ended(void *data)
{
	struct process *p = data;
	siginfo_t how = {0};
	if (waitid(P_PID, (id_t)p->pid, &how, WEXITED | WNOHANG) != 0 || how.si_pid != p->pid)
		return;
	bool exited = how.si_code == CLD_EXITED;
	poller_close(p->poller);
	close(p->pidfd);
	if (p->cb)
		p->cb(exited ? how.si_status : -1, exited ? 0 : how.si_status, p->data);
	free(p);
}

/* What becomes 0, 1, 2 ... in the child. `own` are copies above these numbers, so that none is overwritten before it is
 * used. */
static int add_descriptors(posix_spawn_file_actions_t *actions, const struct process_spec *spec, int own[PROCESS_FDS])
{
	for (size_t i = 0; i < spec->nfds; i++) {
		int fd = spec->fds[i];
		if (fd >= 0 && fd < PROCESS_FDS) {
			fd = own[i] = fcntl(fd, F_DUPFD_CLOEXEC, PROCESS_FDS);
			if (fd < 0)
				return errno;
		}
		int r = fd >= 0 ? posix_spawn_file_actions_adddup2(actions, fd, (int)i)
			: i <= STDERR_FILENO
				? posix_spawn_file_actions_addopen(actions, (int)i, "/dev/null",
								   i == STDIN_FILENO ? O_RDONLY : O_RDWR, 0)
				: 0;
		if (r)
			return r;
	}
	return posix_spawn_file_actions_addchdir_np(actions, spec->folder ? spec->folder : "/");
}

/* No signal is ignored or blocked in the child. */
static int set_signals(posix_spawnattr_t *attributes)
{
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_setsigdefault(attributes, &all);
	posix_spawnattr_setsigmask(attributes, &none);
	return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

/* fork(2) would copy the daemon's page tables and let each side copy pages afterwards; posix_spawn(3) shares the memory
 * until the exec, which takes a fifth of the time. 0 or an errno. */
static int spawn(const struct process_spec *spec, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int own[PROCESS_FDS] = {-1, -1, -1, -1, -1};
	char **argv = copy_list(spec->argv, 0), **environment = complete_environment(spec->environment);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	int r = add_descriptors(&actions, spec, own);
	if (r == 0)
		r = set_signals(&attributes);
	if (r == 0)
		r = posix_spawn(ret_pid, argv[0], &actions, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	free_list(argv);
	free_list(environment);
	for (size_t i = 0; i < PROCESS_FDS; i++)
		auto_close_(&own[i]);
	return r;
}

struct process *process_start(struct loop *loop, const struct process_spec *spec, process_end_cb cb, void *data,
			      struct fault *fault)
{
	struct process *p = xcalloc(1, sizeof *p);
	*p = (struct process){.cb = cb, .data = data, .group = spec->group};
	int r = spawn(spec, &p->pid);
	if (r == 0 && (p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0)) < 0) { /* its end would not be seen */
		r = errno;
		kill(p->pid, SIGKILL);
		(void)waitpid(p->pid, NULL, 0);
	}
	if (r) {
		fault_errno(fault, r, "%s can't be started", spec->argv[0]);
		free(p);
		return NULL;
	}
	p->poller = poller_start(loop, p->pidfd, ended, p);
	return p;
}

pid_t process_pid(const struct process *process)
{
	return process->pid;
}

void process_kill(struct process *process)
{
	/* the group is made by the program itself, and may not be there yet */
	if (!process->group || kill(-process->pid, SIGKILL) != 0)
		kill(process->pid, SIGKILL);
}

void process_close(struct process *process)
{
	if (!process)
		return;
	process->cb = NULL;
	process_kill(process);
}
