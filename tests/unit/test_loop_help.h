/* For the tests of loop/ and server/: a folder, scripts, a loop that fails the test when nothing happens for too long,
 * and a count of open descriptors. */
#ifndef TEST_LOOP_HELP_H
#define TEST_LOOP_HELP_H
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1 /* as gcc does */
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "base/clock.h"
#include "base/files.h"
#include "base/memory.h"
#include "loop/child.h"
#include "loop/loop.h"

#define HELP_DEADLINE_MS 20000

static char help_folder[64];
static struct loop *help_loop;
static int help_fds_before;
static bool help_late;

static inline int help_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline char *help_path(const char *name)
{
	return xasprintf("%s/%s", help_folder, name);
}

static inline void help_write(const char *name, const char *bytes, mode_t mode)
{
	AUTO_FREE char *path = help_path(name);
	FILE *f = fopen(path, "we");
	cr_assert_not_null(f);
	fputs(bytes, f);
	fclose(f);
	chmod(path, mode);
}

/* certswap-exec of this build; before it exists, what it does with the process group. */
static inline void help_use_exec(void)
{
	if (access(BUILD_DIR "/agent/certswap-exec", X_OK) == 0) {
		child_set_exec_path(BUILD_DIR "/agent/certswap-exec");
		return;
	}
	help_write("exec", "#!/bin/sh\nshift\nexec setsid \"$@\"\n", 0755);
	AUTO_FREE char *path = help_path("exec");
	child_set_exec_path(path);
}

static inline void help_begin(void)
{
	strcpy(help_folder, "/tmp/certswap-test-XXXXXX");
	cr_assert_not_null(mkdtemp(help_folder));
	loop_free(loop_new()); /* libuv keeps two descriptors for the process from its first loop on */
	help_fds_before = help_count_fds();
	help_loop = loop_new();
	help_use_exec();
}

static inline void help_too_late(void *data)
{
	help_late = true;
	loop_stop(help_loop);
}

/* Runs until something calls loop_stop. */
static inline void help_run(void)
{
	struct timer *deadline = timer_start(help_loop, HELP_DEADLINE_MS, help_too_late, NULL);
	loop_run(help_loop);
	timer_close(deadline);
	cr_assert_not(help_late, "nothing happened in time");
}

static inline void help_stop(void *data)
{
	loop_stop(help_loop);
}

/* So many turns of the loop with nothing but what is ready: for what must not happen. */
static inline void help_turns(int n)
{
	for (int i = 0; i < n; i++) {
		struct timer *t = timer_start(help_loop, 1, help_stop, NULL);
		help_run();
		timer_close(t);
	}
}

static inline void help_end(void)
{
	loop_free(help_loop);
	child_set_exec_path(NULL);
	cr_assert_eq(help_count_fds(), help_fds_before, "descriptors were left open");
	cr_assert(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "a child was left");
	int root = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	files_remove_tree(root, help_folder + strlen("/tmp/"), NULL);
	close(root);
#ifdef __SANITIZE_ADDRESS__
	cr_assert_eq(__lsan_do_recoverable_leak_check(), 0, "memory was left");
#endif
}

/* A test with its begin and end inside: Criterion does not count what fails, crashes or leaks in .fini or at exit. */
#define HELP_TEST(suite, name, begin, end)                                                                             \
	static void suite##_##name##_body(void);                                                                       \
	Test(suite, name, .timeout = 60)                                                                               \
	{                                                                                                              \
		begin();                                                                                               \
		suite##_##name##_body();                                                                               \
		end();                                                                                                 \
	}                                                                                                              \
	static void suite##_##name##_body(void)

/* Ended, or waiting to be collected by an init that is in no hurry. */
static inline bool help_is_dead(pid_t pid)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	char state = 'X';
	if (!f)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	fclose(f);
	return state == 'Z' || state == 'X';
}

static inline void help_assert_dies(pid_t pid)
{
	int64_t deadline = clock_monotonic_us() + 5000000;
	cr_assert_gt(pid, 1);
	while (!help_is_dead(pid) && clock_monotonic_us() < deadline)
		sched_yield();
	cr_assert(help_is_dead(pid), "process %d is still alive", (int)pid);
}
#endif
