#include "ctl/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/prompt.h"
#include "ctl/worker.h"

#define ASK_TIMES 3

static int open_input(const char *path, struct fault *fault)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return fault_errno(fault, errno, "can't open %s", path);
	int r = 0;
	if (fstat(fd, &st) < 0)
		r = fault_errno(fault, errno, "can't look at %s", path);
	else if (!S_ISREG(st.st_mode))
		r = fault_set(fault, -EINVAL, "%s is not a regular file", path);
	else if (st.st_size > INPUT_BYTES_MAX)
		r = fault_set(fault, -EFBIG,
			      "TOO_LARGE: %s is larger than 1 MiB; hand in only the certificate, its chain and its key",
			      path);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int inputs_open(struct ctl *ctl, const struct words *paths, struct inputs *ret)
{
	*ret = (struct inputs){.passwords = -1};
	if (paths->n > INPUTS_MAX)
		return ctl_usage(ctl, "%zu files are too many; at most %d belong to one pair", paths->n, INPUTS_MAX);
	for (size_t i = 0; i < paths->n; i++) {
		struct fault fault = {0};
		int fd = open_input(paths->v[i], &fault);
		if (fd < 0) {
			ctl_say(ctl, "%s", fault.text);
			return fd == -EACCES || fd == -EPERM ? CTL_NOT_PERMITTED : CTL_FAILED;
		}
		const char *slash = strrchr(paths->v[i], '/');
		ret->labels[ret->n] = xstrdup(slash && slash[1] ? slash + 1 : paths->v[i]);
		ret->fds[ret->n++] = fd;
	}
	return CTL_DONE;
}

int inputs_open_passwords(struct ctl *ctl, const struct args *a, struct inputs *in)
{
	struct fault fault = {0};
	const char *path = args_value(a, OPTION_PASSWORD_FILE);
	if (!path)
		return CTL_DONE;
	in->passwords = prompt_open_passwords(ctl, path, &fault);
	if (in->passwords >= 0)
		return CTL_DONE;
	ctl_say(ctl, "%s", fault.text);
	return fault.code == -EACCES ? CTL_NOT_PERMITTED : CTL_FAILED;
}

static const struct object *find_locked(const struct identify_reply *reply)
{
	for (size_t i = 0; i < reply->n; i++)
		if (reply->v[i].kind == OBJECT_LOCKED)
			return &reply->v[i];
	return NULL;
}

static int ask_again(struct ctl *ctl, struct inputs *in, const char *label, int round)
{
	struct fault fault = {0};
	AUTO_FREE char *question =
		text_printable(xasprintf("%sPassword of %s: ", round ? "That did not open it. " : "", label));
	int fd = prompt_password(question, &fault);
	if (fd < 0) {
		ctl_say(ctl, "%s", fault.text);
		return CTL_FAILED;
	}
	if (in->passwords >= 0)
		close(in->passwords);
	in->passwords = fd;
	return CTL_DONE;
}

int inputs_unlock(struct ctl *ctl, struct inputs *in, struct identify_reply *ret)
{
	for (int round = 0;; round++) {
		struct fault fault = {0};
		struct identify_reply reply = {0};
		if (worker_identify_files(ctl, in->fds, in->n, in->passwords, &reply, &fault) < 0) {
			if (ret || ctl->verbose)
				ctl_say(ctl, "%s", fault.text);
			return ret ? CTL_FAILED : CTL_DONE;
		}
		const struct object *locked = find_locked(&reply);
		if (!locked || !ctl->interactive || round == ASK_TIMES || locked->file >= in->n) {
			if (ret)
				*ret = reply;
			else
				identify_reply_done(&reply);
			return CTL_DONE;
		}
		int status = ask_again(ctl, in, in->labels[locked->file], round);
		identify_reply_done(&reply);
		if (status != CTL_DONE)
			return status;
	}
}

void inputs_done(struct inputs *in)
{
	for (size_t i = 0; i < in->n; i++) {
		close(in->fds[i]);
		free(in->labels[i]);
	}
	if (in->passwords >= 0)
		close(in->passwords);
	*in = (struct inputs){.passwords = -1};
}
