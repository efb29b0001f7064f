/* loop/job.c with workers that behave, and workers that don't. */
#include "loop/job.h"
#include "test_loop_help.h"

/* Does what the request's one string says. */
static const char worker_script[] =
	"#!/usr/bin/python3 -IS\n"
	"import os, signal, socket, sys, time\n"
	"with open(os.path.dirname(sys.argv[0]) + '/started', 'a') as f: f.write('%d\\n' % os.getpid())\n"
	"s = socket.socket(fileno=3)\n"
	"if os.path.exists(os.path.dirname(sys.argv[0]) + '/die'): sys.exit(9)\n"
	"m, fds, flags, _ = socket.recv_fds(s, 65536, 253)\n"
	"if not m: sys.exit(0)\n"
	"kind, word = m[3], m[10:].decode()\n"
	"def say(text, k=kind | 0x80):\n"
	"    b = len(text).to_bytes(2, 'little') + text.encode()\n"
	"    s.send(b'cs\\x01' + bytes([k]) + len(b).to_bytes(4, 'little') + b)\n"
	"def forever():\n"
	"    while True: signal.pause()\n"
	"if word == 'echo': say('echo')\n"
	"elif word == 'pid': say(str(os.getpid()))\n"
	"elif word == 'argv': say(' '.join(sys.argv[1:]))\n"
	"elif word == 'environment': say(' '.join(sorted(os.environ)))\n"
	"elif word == 'fds': say(' '.join(os.read(fd, 100).decode() for fd in fds))\n"
	"elif word == 'trust':\n"
	"    try: say(os.read(4, 100).decode())\n"
	"    except OSError: say('none')\n"
	"elif word == 'open': say(' '.join(sorted(os.listdir('/proc/self/fd'))))\n"
	"elif word == 'silent': forever()\n"
	"elif word == 'stay': say('stay'); forever()\n"
	"elif word == 'exit': sys.exit(3)\n"
	"elif word == 'sigsys': os.kill(os.getpid(), signal.SIGSYS)\n"
	"elif word == 'abort': os.kill(os.getpid(), signal.SIGABRT)\n"
	"elif word == 'garbage': s.send(b'hello, this is no message'); forever()\n"
	"elif word == 'short': s.send(b'c'); forever()\n"
	"elif word == 'long': s.send(b'cs\\x01' + bytes([kind | 0x80]) + (65600).to_bytes(4, 'little') + b'x' * "
	"65600); "
	"forever()\n"
	"elif word == 'kind': say('kind', 0x82 if kind != 2 else 0x81); forever()\n"
	"elif word == 'request': say('request', kind); forever()\n"
	"elif word == 'close': s.close(); forever()\n"
	"elif word == 'twice': say('twice'); say('twice')\n";

static struct jobs *jobs;
static char *worker, *trust;

static void begin(void)
{
	help_begin();
	help_write("worker", worker_script, 0755);
	help_write("trust.pem", "the trust", 0644);
	worker = help_path("worker");
	trust = help_path("trust.pem");
}

static void end(void)
{
	jobs_close(jobs);
	help_end();
	free(worker);
	free(trust);
}

#define JOB_TEST(name) HELP_TEST(job, name, begin, end)

static void use(unsigned int at_once)
{
	const struct jobs_spec spec = {.worker_path = worker, .user = "nobody", .trust = trust, .at_once = at_once};
	jobs = jobs_new(help_loop, &spec);
}

#define ANSWERS 16
static char *answers[ANSWERS]; /* in the order in which they came: the word of the reply, or "!" and the fault */
static size_t nanswers, awaited = 1;

static void done(struct message *reply, const struct fault *fault, void *data)
{
	cr_assert_lt(nanswers, ANSWERS);
	cr_assert_neq(!reply, !fault);
	answers[nanswers++] = reply ? unpack_string(&reply->body) : xasprintf("!%s", fault->text);
	if (data)
		job_close(*(struct job **)data);
	if (nanswers == awaited)
		loop_stop(help_loop);
}

static void forget_answers(void)
{
	while (nanswers)
		free(answers[--nanswers]);
}

static struct job *start(const char *role, enum message_kind kind, const char *word, const char *other_trust,
			 int64_t timeout_ms)
{
	struct packer body = {0};
	pack_string(&body, word);
	struct job *job = job_start(jobs, role, kind, &body, NULL, 0, other_trust, timeout_ms, done, NULL);
	packer_done(&body);
	return job;
}

static const char *ask(const char *word)
{
	forget_answers();
	start("probe", MESSAGE_PROBE, word, NULL, 10000);
	cr_assert_eq(nanswers, 0, "called back from inside");
	help_run();
	return answers[0];
}

JOB_TEST(a_request_is_answered)
{
	use(4);
	cr_expect_str_eq(ask("echo"), "echo");
	cr_expect_str_eq(ask("twice"), "twice");
	forget_answers();
}

JOB_TEST(a_worker_that_fails_costs_its_own_job_and_says_why)
{
	use(4);
	static const struct {
		const char *word, *text;
	} rows[] = {
		{"exit", "!certswap-worker (probe) ended with exit status 3 without an answer"},
		{"sigsys", "!certswap-worker (probe) was killed by signal 31 (SIGSYS): its sandbox refused something"},
		{"abort", "!certswap-worker (probe) was killed by signal 6 (SIGABRT)"},
		{"garbage", "!certswap-worker (probe) sent something that is no answer"},
		{"short", "!certswap-worker (probe) sent something that is no answer"},
		{"long", "!certswap-worker (probe) sent something that is no answer"},
		{"kind", "!certswap-worker (probe) answered something that was not asked"},
		{"request", "!certswap-worker (probe) answered something that was not asked"},
		{"close", "!certswap-worker (probe) closed its socket without an answer"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_expect_str_eq(ask(rows[i].word), rows[i].text, "%s: %s", rows[i].word, answers[0]);
	cr_expect_str_eq(ask("echo"), "echo");
	forget_answers();
}

JOB_TEST(a_silent_worker_is_killed_at_its_limit)
{
	use(4);
	start("probe", MESSAGE_PROBE, "silent", NULL, 250);
	help_run();
	cr_expect_str_eq(answers[0], "!certswap-worker (probe) did not answer within 250ms and was killed");
	forget_answers();
}

JOB_TEST(one_that_stays_after_its_answer_is_killed)
{
	use(1);
	cr_expect_str_eq(ask("stay"), "stay");
	cr_expect_str_eq(ask("echo"), "echo"); /* has to wait for its place */
	forget_answers();
}

JOB_TEST(arguments_environment_and_descriptors)
{
	use(4);
	if (geteuid() == 0) {
		cr_expect_str_eq(ask("argv"), "probe --user=65534:65534");
	} else {
		cr_expect_str_eq(ask("argv"), "probe");
	}
	setenv("CERTSWAP_LEAK", "1", 1);
	cr_expect_null(strstr(ask("environment"), "CERTSWAP_LEAK"));
	for (int fd = 3; fd < 64; fd++) /* what the test's runner left open */
		if (fcntl(fd, F_GETFD) >= 0)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	cr_expect_str_eq(ask("open"), "0 1 2 3 4", "got %s", answers[0]); /* 4: the folder that it reads */
	forget_answers();
}

JOB_TEST(a_user_who_is_not_there_is_never_root)
{
	if (geteuid() != 0)
		cr_skip("only root changes users");
	static const char *const users[] = {"certswap-no-such-user", "root", "", NULL};
	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		const struct jobs_spec spec = {
			.worker_path = worker, .user = users[i], .trust = trust, .at_once = 1, .sandbox = "require"};
		jobs = jobs_new(help_loop, &spec);
		cr_expect_str_eq(ask("argv"), "probe --user=65534:65534 --sandbox=require");
		jobs_close(jobs);
		jobs = NULL;
	}
	forget_answers();
}

JOB_TEST(descriptors_arrive_though_the_caller_closes_its_own)
{
	use(1);
	int a[2], b[2];
	cr_assert_eq(pipe2(a, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(b, O_CLOEXEC), 0);
	cr_assert_eq(write(a[1], "first", 5), 5);
	cr_assert_eq(write(b[1], "second", 6), 6);
	start("probe", MESSAGE_PROBE, "echo", NULL, 10000); /* so that the next one has to wait */
	struct packer body = {0};
	pack_string(&body, "fds");
	job_start(jobs, "probe", MESSAGE_PROBE, &body, (const int[]){a[0], b[0]}, 2, NULL, 10000, done, NULL);
	packer_done(&body);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
	awaited = 2;
	help_run();
	cr_expect_str_eq(answers[1], "first second");
	forget_answers();
}

JOB_TEST(waiting_jobs_go_in_order)
{
	use(1);
	start("probe", MESSAGE_PROBE, "echo", NULL, 10000);
	struct job *dropped = start("probe", MESSAGE_PROBE, "exit", NULL, 10000);
	start("check", MESSAGE_IDENTIFY, "argv", NULL, 10000);
	start("probe", MESSAGE_PROBE, "fds", NULL, 10000);
	struct job *last = start("probe", MESSAGE_PROBE, "pid", NULL, 10000);
	job_close(dropped);
	job_close(last);
	start("probe", MESSAGE_PROBE, "twice", NULL, 10000);
	awaited = 4;
	help_run();
	cr_expect_str_eq(answers[0], "echo");
	cr_expect_eq(strncmp(answers[1], "check", 5), 0);
	cr_expect_str_eq(answers[2], "");
	cr_expect_str_eq(answers[3], "twice");
	forget_answers();
}

JOB_TEST(a_request_too_large_is_told_later)
{
	use(1);
	struct packer body = {0};
	for (int i = 0; i < 17; i++) {
		char text[WIRE_STRING_MAX] = "";
		memset(text, 'x', sizeof text - 1);
		pack_string(&body, text);
	}
	cr_assert(body.failed);
	job_start(jobs, "check", MESSAGE_CHECK, &body, NULL, 0, NULL, 10000, done, NULL);
	packer_done(&body);
	cr_assert_eq(nanswers, 0);
	help_run();
	cr_expect_str_eq(answers[0], "!a request to certswap-worker (check) is too large");
	forget_answers();
}

JOB_TEST(the_trust_file)
{
	use(1);
	start("check", MESSAGE_CHECK, "trust", NULL, 10000);
	help_run();
	cr_expect_str_eq(answers[0], "the trust");
	forget_answers();
	help_write("other.pem", "another", 0644);
	AUTO_FREE char *other = help_path("other.pem");
	start("check", MESSAGE_CHECK, "trust", other, 10000);
	help_run();
	cr_expect_str_eq(answers[0], "another");
	cr_expect_str_eq(ask("trust"), "none"); /* a probe has no use for it */
	forget_answers();
	unlink(other);
	start("check", MESSAGE_CHECK, "trust", other, 10000);
	help_run();
	cr_expect_not_null(strstr(answers[0], "!the trust file"));
	cr_expect_not_null(strstr(answers[0], "other.pem can't be opened"));
	forget_answers();
	start("check", MESSAGE_IDENTIFY, "trust", other, 10000); /* needs none */
	help_run();
	cr_expect_str_eq(answers[0], "none");
	forget_answers();
}

/* ---- the spare ---- */

static pid_t last_started(int wanted)
{
	AUTO_FREE char *path = help_path("started");
	int64_t deadline = clock_monotonic_us() + 10000000;
	for (;;) {
		char *text = NULL;
		size_t len;
		int lines = 0;
		pid_t last = 0;
		if (files_read(AT_FDCWD, path, 65536, &text, &len, NULL) == 0)
			for (char *line = text; *line; line = strchr(line, '\n') + 1) {
				if (!strchr(line, '\n'))
					break;
				last = (pid_t)atoi(line);
				lines++;
			}
		free(text);
		if (lines >= wanted)
			return lines == wanted ? last : -1;
		cr_assert_lt(clock_monotonic_us(), deadline, "no worker was started");
		sched_yield();
	}
}

static pid_t ask_pid(void)
{
	forget_answers();
	start("check", MESSAGE_CHECK, "pid", NULL, 10000);
	help_run();
	pid_t pid = (pid_t)atoi(answers[0]);
	cr_assert_gt(pid, 1, "%s", answers[0]);
	forget_answers();
	return pid;
}

JOB_TEST(a_spare_worker_waits_and_is_used)
{
	use(4);
	pid_t spare = last_started(1);
	cr_expect_eq(ask_pid(), spare);
	help_turns(200);
	pid_t next = last_started(2);
	cr_expect_neq(next, spare);
	cr_expect_eq(ask_pid(), next);
}

/* How many certswap-workers were started so far. */
static int started(void)
{
	AUTO_FREE char *path = help_path("started"), *text = NULL;
	int lines = 0;
	if (files_read(AT_FDCWD, path, 65536, &text, NULL, NULL) == 0)
		for (const char *line = text; (line = strchr(line, '\n')); line++)
			lines++;
	return lines;
}

JOB_TEST(all_that_a_swap_asks_for_finds_a_spare_and_they_come_back_only_after_it)
{
	const struct jobs_spec spec = {
		.worker_path = worker, .user = "nobody", .trust = trust, .at_once = 5, .spares = 5, .refill_ms = 60000};
	jobs = jobs_new(help_loop, &spec);
	(void)last_started(5);
	awaited = 5;
	start("check", MESSAGE_IDENTIFY, "echo", NULL, 10000);
	start("check", MESSAGE_IDENTIFY, "echo", NULL, 10000);
	start("check", MESSAGE_CHECK, "echo", NULL, 10000);
	start("probe", MESSAGE_PROBE, "echo", NULL, 10000);
	start("probe", MESSAGE_PROBE, "echo", NULL, 10000);
	help_run();
	cr_expect_eq(nanswers, 5);
	help_turns(200);
	cr_expect_eq(started(), 5, "none was started for these, and none yet in their place");
	forget_answers();
}

JOB_TEST(no_spare_is_started_while_somebody_holds_that_up)
{
	use(4);
	(void)last_started(1);
	jobs_hold_refill(jobs);
	jobs_hold_refill(jobs);
	(void)ask_pid();
	help_turns(200);
	jobs_release_refill(jobs);
	help_turns(200);
	cr_expect_eq(started(), 1, "one still holds it");
	jobs_release_refill(jobs);
	help_turns(200);
	(void)last_started(2);
}

JOB_TEST(the_spare_is_not_used_where_the_trust_has_changed)
{
	use(4);
	pid_t spare = last_started(1);
	help_write("trust.pem", "the TRUST", 0644);
	cr_expect_neq(ask_pid(), spare);
	help_assert_dies(spare);
}

JOB_TEST(the_spare_is_not_used_for_another_role)
{
	use(4);
	pid_t spare = last_started(1);
	cr_expect_neq(atoi(ask("pid")), spare);
	cr_expect_eq(ask_pid(), spare);
	forget_answers();
}

JOB_TEST(a_dead_spare_is_replaced_by_a_fresh_worker)
{
	use(4);
	pid_t spare = last_started(1);
	kill(spare, SIGKILL);
	help_assert_dies(spare); /* before the loop has seen it */
	cr_expect_neq(ask_pid(), spare);
}

JOB_TEST(a_spare_that_always_dies_is_not_started_in_a_circle)
{
	help_write("die", "", 0644);
	use(4);
	last_started(1);
	help_turns(200);
	cr_expect_gt(last_started(1), 0, "started again");
	AUTO_FREE char *die = help_path("die");
	unlink(die);
	cr_expect_gt(ask_pid(), 1);
}

JOB_TEST(a_worker_that_is_not_there)
{
	free(worker);
	worker = xstrdup("/nonexistent/certswap-worker");
	use(1);
	start("check", MESSAGE_CHECK, "echo", NULL, 10000);
	start("check", MESSAGE_CHECK, "echo", NULL, 10000);
	cr_assert_eq(nanswers, 0);
	awaited = 2;
	help_run();
	cr_expect_not_null(strstr(answers[0], "!/nonexistent/certswap-worker can't be started"));
	cr_expect_str_eq(answers[0], answers[1]);
	forget_answers();
}

/* ---- closing ---- */

JOB_TEST(closing_kills_without_a_call)
{
	use(2);
	struct job *job = start("probe", MESSAGE_PROBE, "silent", NULL, 60000);
	pid_t pid = last_started(2); /* the spare, and this one; which is which does not matter */
	job_close(job);
	job_close(NULL);
	cr_expect_str_eq(ask("echo"), "echo");
	cr_expect_eq(nanswers, 1);
	jobs_close(jobs);
	jobs = NULL;
	help_assert_dies(pid);
	forget_answers();
}

JOB_TEST(closing_all_while_they_run_and_wait)
{
	use(2);
	for (int i = 0; i < 6; i++)
		start("probe", MESSAGE_PROBE, "silent", NULL, 60000);
	help_turns(3);
	jobs_close(jobs);
	jobs = NULL;
	help_turns(10);
	cr_expect_eq(nanswers, 0);
}

static void close_all(struct message *reply, const struct fault *fault, void *data)
{
	nanswers++;
	jobs_close(jobs);
	jobs = NULL;
	if (reply) /* still valid */
		free(unpack_string(&reply->body));
	loop_stop(help_loop);
}

JOB_TEST(closing_all_from_a_callback)
{
	static const char *const words[] = {"echo", "exit", "garbage", "close"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		use(1);
		struct packer body = {0};
		pack_string(&body, words[i]);
		job_start(jobs, "check", MESSAGE_CHECK, &body, NULL, 0, NULL, 10000, close_all, NULL);
		start("check", MESSAGE_CHECK, "echo", NULL, 10000);
		packer_done(&body);
		help_run();
		help_turns(5);
		cr_expect_eq(nanswers, i + 1);
	}
	nanswers = 0;
}

JOB_TEST(closing_itself_in_its_callback)
{
	use(1);
	struct packer body = {0};
	struct job *job;
	pack_string(&body, "echo");
	job = job_start(jobs, "probe", MESSAGE_PROBE, &body, NULL, 0, NULL, 10000, done, &job);
	packer_done(&body);
	help_run();
	cr_expect_str_eq(answers[0], "echo");
	forget_answers();
}
