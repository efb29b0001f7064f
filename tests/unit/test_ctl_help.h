/* A certswapctl in this process: its output in memory, a folder of its own, and an agent that plays a script. */
#ifndef TEST_CTL_HELP_H
#define TEST_CTL_HELP_H
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/ctl.h"

struct run {
	struct ctl ctl;
	char *out, *err;
	size_t out_len, err_len;
	FILE *out_file, *err_file;
	char folder[64], config[96];
};

static inline void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

static inline void run_begin(struct run *r)
{
	memset(r, 0, sizeof *r);
	strcpy(r->folder, "/tmp/test_ctl_XXXXXX");
	cr_assert_not_null(mkdtemp(r->folder));
	snprintf(r->config, sizeof r->config, "%s/certswap.conf", r->folder);
	AUTO_FREE char *text = xasprintf("state_dir = \"%s\"; run_dir = \"%s\";\n", r->folder, r->folder);
	write_text(r->config, text);
	unsetenv("CERTSWAP_CONF");
	r->out_file = open_memstream(&r->out, &r->out_len);
	r->err_file = open_memstream(&r->err, &r->err_len);
	ctl_init(&r->ctl, r->out_file, r->err_file);
	r->ctl.config_file = r->config;
	r->ctl.config_named = true;
	r->ctl.interactive = false;
}

static inline void run_end(struct run *r)
{
	AUTO_FREE char *command = xasprintf("rm -rf %s", r->folder);
	cr_assert_eq(system(command), 0);
	ctl_done(&r->ctl);
	fclose(r->out_file);
	fclose(r->err_file);
	free(r->out);
	free(r->err);
}

/* run_words(&r, "status", "shop") */
#define run_words(r, ...) run_array(r, (const char *[]){"certswapctl", __VA_ARGS__, NULL})
static inline int run_array(struct run *r, const char *const *words)
{
	char *argv[32];
	int argc = 0;
	for (; words[argc]; argc++)
		argv[argc] = xstrdup(words[argc]);
	argv[argc] = NULL;
	rewind(r->out_file);
	rewind(r->err_file);
	int status = ctl_run(&r->ctl, argc, argv);
	fputc('\0', r->out_file);
	fputc('\0', r->err_file);
	fflush(r->out_file);
	fflush(r->err_file);
	r->ctl.config_file = r->config; /* -c may have pointed into argv */
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return status;
}

/* Answers `n` connections, each with its text, and keeps the last request and how many descriptors came with it. */
struct agent {
	int listener;
	const char *const *answers;
	size_t n, asked;
	char requests[4][8192];
	size_t nfds[4];
	char first[4][64]; /* what the first descriptor held */
	pthread_t thread;
};

static inline void agent_read(struct agent *a, int fd)
{
	char *request = a->requests[a->asked];
	size_t len = 0;
	while (!memchr(request, '\n', len)) {
		union {
			struct cmsghdr align;
			char space[CMSG_SPACE(sizeof(int) * 64)];
		} control;
		struct iovec part = {request + len, sizeof a->requests[0] - 1 - len};
		struct msghdr m = {.msg_iov = &part,
				   .msg_iovlen = 1,
				   .msg_control = control.space,
				   .msg_controllen = sizeof control};
		ssize_t n = recvmsg(fd, &m, 0);
		if (n <= 0)
			return;
		len += (size_t)n;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		for (size_t i = 0; c && i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int came;
			memcpy(&came, CMSG_DATA(c) + i * sizeof came, sizeof came);
			if (a->nfds[a->asked]++ == 0)
				(void)!pread(came, a->first[a->asked], sizeof a->first[0] - 1, 0);
			close(came);
		}
	}
}

static inline void *agent_play(void *data)
{
	struct agent *a = data;
	while (a->asked < a->n) {
		int fd = accept(a->listener, NULL, NULL);
		agent_read(a, fd);
		const char *answer = a->answers[a->asked++];
		(void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
		close(fd);
	}
	return NULL;
}

static inline void agent_start(struct agent *a, const struct run *r, const char *const *answers, size_t n)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memset(a, 0, sizeof *a);
	a->answers = answers;
	a->n = n;
	snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", r->folder);
	a->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(a->listener, (struct sockaddr *)&address, sizeof address), 0);
	cr_assert_eq(listen(a->listener, 4), 0);
	cr_assert_eq(pthread_create(&a->thread, NULL, agent_play, a), 0);
}

static inline void agent_end(struct agent *a)
{
	pthread_join(a->thread, NULL);
	close(a->listener);
}

/* One exchange: the exit status of the command when the agent answers `answer`. */
#define run_against(r, a, answer, ...)                                                                                 \
	({                                                                                                             \
		const char *const answers_[] = {answer};                                                               \
		agent_start(a, r, answers_, 1);                                                                        \
		int status_ = run_words(r, __VA_ARGS__);                                                               \
		agent_end(a);                                                                                          \
		AUTO_FREE char *path_ = xasprintf("%s/control.sock", (r)->folder);                                     \
		unlink(path_);                                                                                         \
		status_;                                                                                               \
	})
#endif
