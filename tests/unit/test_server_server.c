/* server/server.c and hold.c: hooks, their order, and who may have which servers. */
#include "server/server.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_loop_help.h"

static struct server *server;
static char *hooks;
static enum rehearsal wanted; /* of the next server */

static struct server *new_server(const char *name, const char *kind, int64_t timeout_ms)
{
	char *words[] = {(char[]){"-g"}, (char[]){"daemon on;"}};
	char empty[] = "", config[] = "/etc/x.conf", binary[] = "/usr/sbin/x", pidfile[] = "/run/x.pid";
	AUTO_FREE char *own_name = xstrdup(name);
	AUTO_FREE char *own_kind = xstrdup(kind);
	struct server_settings settings = {.name = own_name,
					   .kind = own_kind,
					   .config = config,
					   .binary = binary,
					   .pidfile = pidfile,
					   .environment_file = empty,
					   .arguments = {words, 2},
					   .reload = RELOAD_SYSTEMD,
					   .rehearsal = wanted,
					   .timeout_ms = timeout_ms};
	return server_new(help_loop, &settings, hooks);
}

static void write_hook(const char *verb, const char *body, mode_t mode)
{
	AUTO_FREE char *name = xasprintf("hooks/web/%s", verb);
	AUTO_FREE char *script = xasprintf("#!/bin/sh\n%s\n", body);
	help_write(name, script, mode);
}

static void begin(void)
{
	help_begin();
	hooks = help_path("hooks");
	AUTO_FREE char *kind = help_path("hooks/web");
	mkdir(hooks, 0755);
	mkdir(kind, 0755);
	server = new_server("front", "web", 10000);
}

static void end(void)
{
	server_free(server);
	free(hooks);
	help_end();
}

#define SERVER_TEST(name) HELP_TEST(server, name, begin, end)

#define ANSWERS 8
static struct {
	enum server_answer answer;
	char *output;
} answers[ANSWERS];
static size_t nanswers, awaited = 1;

static void answered(enum server_answer answer, const char *output, void *data)
{
	cr_assert_lt(nanswers, ANSWERS);
	answers[nanswers].answer = answer;
	answers[nanswers++].output = xstrdup(output);
	if (nanswers == awaited)
		loop_stop(help_loop);
}

static void forget(void)
{
	while (nanswers)
		free(answers[--nanswers].output);
}

static void ask(enum server_verb verb)
{
	forget();
	awaited = 1;
	server_ask(server, verb, NULL, NULL, answered, NULL);
	cr_assert_eq(nanswers, 0, "called back from inside");
	help_run();
}

SERVER_TEST(it_knows_its_name_and_kind)
{
	cr_expect_str_eq(server_name(server), "front");
	cr_expect_str_eq(server_kind(server), "web");
}

SERVER_TEST(each_verb_runs_its_hook)
{
	static const char *const names[] = {"dump", "configtest", "rehearse", "reload", "start", "alive"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		write_hook(names[i], "echo this is ${0##*/}", 0755);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO_FREE char *expected = xasprintf("this is %s\n", names[i]);
		ask((enum server_verb)i);
		cr_expect_eq(answers[0].answer, SERVER_DONE);
		cr_expect_str_eq(answers[0].output, expected);
	}
	forget();
}

SERVER_TEST(exit_statuses)
{
	static const struct {
		const char *body;
		enum server_answer answer;
		const char *output;
	} rows[] = {
		{"echo fine; exit 0", SERVER_DONE, "fine\n"},
		{"echo no; exit 1", SERVER_REFUSED, "no\n"},
		{"exit 75", SERVER_CANT_TELL, ""},
		{"exit 78", SERVER_BROKEN, "the hook web/reload ended with exit status 78, which means nothing"},
		{"echo odd; exit 2", SERVER_BROKEN,
		 "odd\nthe hook web/reload ended with exit status 2, which means nothing"},
		{"printf half; exit 255", SERVER_BROKEN,
		 "half\nthe hook web/reload ended with exit status 255, which means nothing"},
		{"kill -SEGV $$", SERVER_BROKEN, "the hook web/reload was killed by signal 11"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		write_hook("reload", rows[i].body, 0755);
		ask(SERVER_RELOAD);
		cr_expect_eq(answers[0].answer, rows[i].answer, "%s", rows[i].body);
		cr_expect_str_eq(answers[0].output, rows[i].output);
	}
	write_hook("rehearse", "exit 78", 0755); /* a word of its own */
	ask(SERVER_REHEARSE);
	cr_expect_eq(answers[0].answer, SERVER_BROKEN_BEFORE);
	forget();
}

static void let_descriptors_be(rlim_t most)
{
	struct rlimit limit;
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = most;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

SERVER_TEST(without_descriptors_for_a_moment_the_hook_is_tried_again)
{
	int next = dup(STDERR_FILENO);
	close(next);
	write_hook("reload", "echo done", 0755);
	awaited = 1;
	let_descriptors_be((rlim_t)next);
	server_ask(server, SERVER_RELOAD, NULL, NULL, answered, NULL); /* starts it, or fails to, at once */
	let_descriptors_be(256);
	help_run();
	cr_expect_eq(answers[0].answer, SERVER_DONE, "%s", answers[0].output);
	cr_expect_str_eq(answers[0].output, "done\n");
	forget();
}

SERVER_TEST(without_descriptors_the_hook_is_given_up_in_the_end)
{
	server_free(server);
	server = new_server("front", "web", 600);
	int next = dup(STDERR_FILENO);
	close(next);
	write_hook("reload", "echo done", 0755);
	awaited = 1;
	let_descriptors_be((rlim_t)next);
	server_ask(server, SERVER_RELOAD, NULL, NULL, answered, NULL);
	help_run();
	let_descriptors_be(256);
	cr_expect_eq(answers[0].answer, SERVER_BROKEN);
	cr_expect_not_null(strstr(answers[0].output, "Too many open files"), "%s", answers[0].output);
	forget();
}

SERVER_TEST(who_wants_no_rehearsal_gets_none)
{
	server_free(server);
	wanted = REHEARSAL_OWN_PROOF;
	server = new_server("front", "web", 10000);
	write_hook("rehearse", "exit 0", 0755);
	ask(SERVER_REHEARSE);
	cr_expect_eq(answers[0].answer, SERVER_CANT_TELL); /* so that its configuration is tested */
	forget();
}

SERVER_TEST(a_hook_is_stopped_at_its_time_limit)
{
	server_free(server);
	server = new_server("front", "web", 300);
	write_hook("reload", "echo begun; sleep 1000", 0755);
	ask(SERVER_RELOAD);
	cr_expect_eq(answers[0].answer, SERVER_BROKEN);
	cr_expect_str_eq(answers[0].output, "begun\nthe hook web/reload did not end within 300ms and was killed");
	forget();
}

SERVER_TEST(the_environment_of_a_hook)
{
	write_hook("rehearse", "env | sort | grep -A1 CERTSWAP_", 0755);
	server_ask(server, SERVER_REHEARSE, "/state/gen/000008", "/state/gen/000007", answered, NULL);
	help_run();
	cr_expect_eq(answers[0].answer, SERVER_DONE);
	static const char *const lines[] = {
		"CERTSWAP_SERVER=front\n",          "CERTSWAP_CONFIG=/etc/x.conf\n",
		"CERTSWAP_BINARY=/usr/sbin/x\n",    "CERTSWAP_PIDFILE=/run/x.pid\n",
		"CERTSWAP_ARGUMENTS=-g\n",          "CERTSWAP_ENVIRONMENT_FILE=\n",
		"CERTSWAP_RELOAD=systemd\n",        "CERTSWAP_CANDIDATE=/state/gen/000008\n",
		"CERTSWAP_LIVE=/state/gen/000007\n"};
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		cr_expect_not_null(strstr(answers[0].output, lines[i]), "%s is missing in %s", lines[i],
				   answers[0].output);
	write_hook("rehearse", "printf %s \"$CERTSWAP_ARGUMENTS\"; echo \"${CERTSWAP_CANDIDATE-none}\"", 0755);
	ask(SERVER_REHEARSE);
	cr_expect_str_eq(answers[0].output, "-g\ndaemon on;none\n");
	forget();
}

SERVER_TEST(a_missing_hook_is_no_hook)
{
	ask(SERVER_REHEARSE);
	cr_expect_eq(answers[0].answer, SERVER_NO_HOOK);
	server_free(server);
	server = new_server("front", "unknown", 1000);
	ask(SERVER_RELOAD);
	cr_expect_eq(answers[0].answer, SERVER_NO_HOOK);
	cr_expect_not_null(strstr(answers[0].output, "hooks/unknown/reload"));
	forget();
}

static void expect_refused(const char *part)
{
	ask(SERVER_RELOAD);
	cr_expect_eq(answers[0].answer, SERVER_BROKEN);
	cr_expect_not_null(strstr(answers[0].output, part), "%s", answers[0].output);
	forget();
}

SERVER_TEST(a_hook_that_others_can_write_is_not_run)
{
	AUTO_FREE char *marker = help_path("ran");
	AUTO_FREE char *body = xasprintf("touch %s", marker);
	AUTO_FREE char *path = help_path("hooks/web/reload");
	write_hook("reload", body, 0775);
	expect_refused("can be written by others than its owner: chmod go-w");
	write_hook("reload", body, 0757);
	expect_refused("can be written by others than its owner");
	write_hook("reload", body, 0644);
	expect_refused("is not an executable file");
	write_hook("reload", body, 0755);
	if (geteuid() == 0) {
		cr_assert_eq(chown(path, 12345, 0), 0);
		expect_refused("belongs to user 12345: it must belong to root");
	}
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(mkdir(path, 0755), 0);
	expect_refused("is not an executable file");
	cr_expect_neq(access(marker, F_OK), 0, "it was run");
}

SERVER_TEST(a_kind_is_a_name_not_a_path)
{
	write_hook("reload", "true", 0755);
	server_free(server);
	server = new_server("front", "../hooks/web", 1000);
	expect_refused("can't be the kind of a server");
}

SERVER_TEST(half_a_configuration_is_no_configuration)
{
	write_hook("dump", "head -c 70000 /dev/zero | tr '\\0' x", 0755);
	write_hook("alive", "head -c 70000 /dev/zero | tr '\\0' x", 0755);
	ask(SERVER_DUMP);
	cr_expect_eq(answers[0].answer, SERVER_DONE);
	cr_expect_eq(strlen(answers[0].output), 70000);
	write_hook("dump", "head -c 17000000 /dev/zero | tr '\\0' x", 0755);
	ask(SERVER_DUMP);
	cr_expect_eq(answers[0].answer, SERVER_BROKEN);
	ask(SERVER_ALIVE);
	cr_expect_eq(answers[0].answer, SERVER_DONE);
	cr_expect_eq(strlen(answers[0].output), CHILD_OUTPUT_MAX);
	forget();
}

SERVER_TEST(hooks_of_one_server_run_one_after_the_other)
{
	AUTO_FREE char *lock = help_path("lock");
	AUTO_FREE char *body = xasprintf("mkdir %s || exit 1; ls / >/dev/null; rmdir %s; echo ${0##*/}", lock, lock);
	write_hook("configtest", body, 0755);
	write_hook("reload", body, 0755);
	write_hook("alive", body, 0755);
	server_ask(server, SERVER_CONFIGTEST, NULL, NULL, answered, NULL);
	server_ask(server, SERVER_RELOAD, NULL, NULL, answered, NULL);
	server_ask(server, SERVER_REHEARSE, NULL, NULL, answered, NULL); /* there is none */
	server_ask(server, SERVER_ALIVE, NULL, NULL, answered, NULL);
	awaited = 4;
	help_run();
	cr_expect_str_eq(answers[0].output, "configtest\n");
	cr_expect_str_eq(answers[1].output, "reload\n");
	cr_expect_eq(answers[2].answer, SERVER_NO_HOOK);
	cr_expect_str_eq(answers[3].output, "alive\n");
	forget();
}

SERVER_TEST(freeing_kills_without_a_call)
{
	write_hook("reload", "sleep 1000", 0755);
	server_ask(server, SERVER_RELOAD, NULL, NULL, answered, NULL);
	server_ask(server, SERVER_RELOAD, NULL, NULL, answered, NULL);
	help_turns(3);
	server_free(server);
	server = NULL;
	help_turns(10);
	cr_expect_eq(nanswers, 0);
}

SERVER_TEST(a_parent_is_known_until_it_ends)
{
	pid_t child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	server_keep_parent(server, child, (int)syscall(SYS_pidfd_open, child, 0));
	cr_expect_geq(server_parent(server, child), 0);
	cr_expect_eq(server_parent(server, child + 1), -1, "the pid file names another one");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	cr_expect_eq(server_parent(server, child), -1, "it has ended");
}

SERVER_TEST(who_forgot_is_not_called_back)
{
	int one, other;
	write_hook("reload", "echo x", 0755);
	server_ask(server, SERVER_RELOAD, NULL, NULL, answered, &one);
	server_ask(server, SERVER_RELOAD, NULL, NULL, answered, &one);
	server_ask(server, SERVER_RELOAD, NULL, NULL, answered, &other);
	server_forget(server, &one);
	help_run();
	cr_expect_eq(nanswers, 1);
	cr_expect_eq(answers[0].answer, SERVER_DONE);
}

static void free_in_callback(enum server_answer answer, const char *output, void *data)
{
	nanswers++;
	server_free(server);
	server = NULL;
	cr_expect_gt(strlen(output), 0); /* still there */
	loop_stop(help_loop);
}

SERVER_TEST(freeing_from_a_callback)
{
	write_hook("reload", "echo x", 0755);
	server_ask(server, SERVER_RELOAD, NULL, NULL, free_in_callback, NULL);
	server_ask(server, SERVER_RELOAD, NULL, NULL, answered, NULL);
	help_run();
	server = new_server("front", "web", 10000);
	server_ask(server, SERVER_REHEARSE, NULL, NULL, free_in_callback, NULL);
	server_ask(server, SERVER_REHEARSE, NULL, NULL, answered, NULL);
	help_run();
	help_turns(5);
	cr_expect_eq(nanswers, 2);
	nanswers = 0;
}

/* ---- holds ---- */

static char held[32]; /* the letters of the holds in the order in which they got their servers */

static void got_it(void *data)
{
	strcat(held, data);
}

static struct server_hold *take(const char *letter, struct server *const *servers, size_t n)
{
	size_t before = strlen(held);
	struct server_hold *hold = server_take_all(help_loop, servers, n, got_it, (char *)(uintptr_t)letter);
	cr_assert_eq(strlen(held), before, "called back from inside");
	return hold;
}

static void expect_held(const char *letters)
{
	help_turns(3);
	cr_expect_str_eq(held, letters);
}

SERVER_TEST(holds_are_all_or_none_and_fair)
{
	struct server *x = server, *y = new_server("y", "web", 1000), *z = new_server("z", "web", 1000);
	struct server_hold *a = take("a", (struct server *[]){x}, 1);
	struct server_hold *b = take("b", (struct server *[]){y, x}, 2); /* waits for x, and so keeps y */
	struct server_hold *c = take("c", (struct server *[]){z, y}, 2); /* behind b at y, and so keeps z */
	struct server_hold *d = take("d", (struct server *[]){z}, 1);
	struct server_hold *e = take("e", (struct server *[]){x}, 1);
	expect_held("a");
	server_release_all(a);
	expect_held("ab");
	server_release_all(b);
	help_turns(3);
	cr_expect_eq(strlen(held), 4);
	cr_expect_not_null(strchr(held + 2, 'c'));
	cr_expect_not_null(strchr(held + 2, 'e'));
	server_release_all(c);
	help_turns(3);
	cr_expect_eq(held[4], 'd');
	server_release_all(d);
	server_release_all(e);
	server_release_all(NULL);
	server_free(y);
	server_free(z);
}

SERVER_TEST(a_hold_may_be_given_up_while_it_waits)
{
	struct server *y = new_server("y", "web", 1000);
	struct server_hold *a = take("a", (struct server *[]){server}, 1);
	struct server_hold *b = take("b", (struct server *[]){server, y}, 2);
	struct server_hold *c = take("c", (struct server *[]){y}, 1);
	expect_held("a");
	server_release_all(b);
	expect_held("ac");
	server_release_all(a);
	struct server_hold *d = take("d", (struct server *[]){server}, 1);
	server_release_all(d); /* granted, but not told yet */
	expect_held("ac");
	server_release_all(c);
	server_free(y);
}

SERVER_TEST(a_hold_of_none_or_of_one_twice)
{
	struct server_hold *none = take("n", NULL, 0);
	struct server_hold *twice = take("t", (struct server *[]){server, server}, 2);
	expect_held("nt");
	server_release_all(none);
	server_release_all(twice);
}

SERVER_TEST(a_server_that_goes_frees_its_holds)
{
	struct server *y = new_server("y", "web", 1000);
	struct server_hold *a = take("a", (struct server *[]){server}, 1);
	struct server_hold *b = take("b", (struct server *[]){server, y}, 2);
	expect_held("a");
	server_free(server);
	server = NULL;
	expect_held("ab");
	server_release_all(a);
	server_release_all(b);
	server_free(y);
}
