#include "loop/process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "loop/inside.h"

struct process {
	uv_process_t uv;
	process_end_cb cb; /* NULL: nobody waits for it any more */
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

/* libuv wants lists that it could write to. */
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

static void free_process(uv_handle_t *handle)
{
	free(handle->data);
}

static void ended(uv_process_t *uv, int64_t exit_status, int term_signal)
{
	struct process *p = uv->data;
	if (p->cb)
		p->cb(term_signal ? -1 : (int)exit_status, term_signal, p->data);
	uv_close((uv_handle_t *)uv, free_process);
}

struct process *process_start(struct loop *loop, const struct process_spec *spec, process_end_cb cb, void *data,
			      struct fault *fault)
{
	struct process *p = xcalloc(1, sizeof *p);
	p->cb = cb;
	p->data = data;
	p->group = spec->group;
	uv_stdio_container_t stdio[PROCESS_FDS];
	for (size_t i = 0; i < spec->nfds; i++) {
		stdio[i].flags = spec->fds[i] < 0 ? UV_IGNORE : UV_INHERIT_FD;
		stdio[i].data.fd = spec->fds[i];
	}
	uv_process_options_t options = {.exit_cb = ended,
					.file = spec->argv[0],
					.args = copy_list(spec->argv, 0),
					.env = complete_environment(spec->environment),
					.cwd = spec->folder ? spec->folder : "/",
					.stdio_count = (int)spec->nfds,
					.stdio = stdio};
	p->uv.data = p;
	int r = uv_spawn(loop_uv(loop), &p->uv, &options);
	p->uv.data = p;
	free_list(options.args);
	free_list(options.env);
	if (r == 0)
		return p;
	fault_errno(fault, r, "%s can't be started", spec->argv[0]);
	uv_close((uv_handle_t *)&p->uv, free_process);
	return NULL;
}

pid_t process_pid(const struct process *process)
{
	return process->uv.pid;
}

void process_kill(struct process *process)
{
	/* the group is made by the program itself, and may not be there yet */
	if (!process->group || kill(-process->uv.pid, SIGKILL) != 0)
		kill(process->uv.pid, SIGKILL);
}

void process_close(struct process *process)
{
	if (!process)
		return;
	process->cb = NULL;
	process_kill(process);
}
