#include "test_ctl_help.h"

#include <jansson.h>

#define STATUS                                                                                                         \
	"{\"exit\":0,\"message\":\"\",\"result\":{\"version\":\"1\",\"time\":\"2026-11-23T10:00:00Z\","                \
	"\"certificates\":[{\"name\":\"shop\",\"state\":\"ok\"}]}}\n"

static json_t *request_of(const struct agent *a, size_t i)
{
	json_t *o = json_loads(a->requests[i], 0, NULL);
	cr_assert_not_null(o, "not JSON: %s", a->requests[i]);
	return o;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "(none)";
}

Test(ctl_client, exit_status_is_the_agents)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	cr_expect_eq(run_against(&r, &a, "{\"exit\":0,\"message\":\"done\"}\n", "confirm", "shop"), CTL_DONE);
	cr_expect_str_eq(r.out, "done\n");
	cr_expect_eq(run_against(&r, &a, "{\"exit\":1,\"message\":\"no\",\"next\":\"do this\"}\n", "confirm", "shop"),
		     CTL_FAILED);
	cr_expect_str_eq(r.err, "certswapctl: no\nNext: do this\n");
	cr_expect_str_empty(r.out, "what failed goes to standard error");
	cr_expect_eq(run_against(&r, &a, "{\"exit\":4,\"message\":\"not you\"}\n", "confirm", "shop"),
		     CTL_NOT_PERMITTED);
	cr_expect_eq(run_against(&r, &a, "{\"exit\":99,\"message\":\"?\"}\n", "confirm", "shop"), CTL_FAILED);
	run_end(&r);
}

Test(ctl_client, an_agent_that_is_not_there)
{
	struct run r;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "status"), CTL_UNREACHABLE);
	cr_expect(strstr(r.err, "is certswapd running? systemctl status certswapd"), "%s", r.err);
	run_end(&r);
}

Test(ctl_client, a_stale_socket)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	agent_start(&a, &r, NULL, 0);
	agent_end(&a); /* the file stays, nobody listens */
	cr_expect_eq(run_words(&r, "status"), CTL_UNREACHABLE);
	cr_expect(strstr(r.err, "nobody answers"), "%s", r.err);
	run_end(&r);
}

Test(ctl_client, an_agent_that_hangs_up_or_talks_nonsense)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	cr_expect_eq(run_against(&r, &a, "", "status"), CTL_UNREACHABLE);
	cr_expect_eq(run_against(&r, &a, "{\"progress\":\"1\"}\n", "status"), CTL_UNREACHABLE);
	cr_expect_eq(run_against(&r, &a, "garbage\n", "status"), CTL_FAILED);
	cr_expect_eq(run_against(&r, &a, "{\"exit\":\"0\"}\n", "status"), CTL_FAILED);
	run_end(&r);
}

Test(ctl_client, progress_comes_before_the_answer)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	const char *talk = "{\"progress\":\"one\"}\n{\"progress\":\"two\"}\n{\"exit\":0,\"message\":\"done\"}\n";
	cr_expect_eq(run_against(&r, &a, talk, "rollback", "shop"), CTL_DONE);
	cr_expect_str_eq(r.out, "done\n");
	cr_expect_str_empty(r.err, "no progress where no terminal is");
	r.ctl.progress = true;
	cr_expect_eq(run_against(&r, &a, talk, "rollback", "shop"), CTL_DONE);
	cr_expect(strstr(r.err, "\r\033[Ktwo\r\033[K"), "the line is taken away at the end");
	run_end(&r);
}

Test(ctl_client, what_an_agent_says_moves_no_terminal)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	run_against(&r, &a, "{\"exit\":0,\"message\":\"a\\u001b[2Jb\\nc\"}\n", "confirm", "shop");
	cr_expect_str_eq(r.out, "a?[2Jb\nc\n");
	run_against(&r, &a, "{\"exit\":0,\"result\":{\"x\":\"\\u009b2J\\u007f\"}}\n", "confirm", "shop", "--json");
	cr_expect_str_eq(r.out, "{\n  \"x\": \"\\u009b2J\\u007f\"\n}\n");
	run_end(&r);
}

Test(ctl_client, json_without_a_result)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	run_against(&r, &a, "{\"exit\":0,\"message\":\"done\"}\n", "confirm", "shop", "--json");
	cr_expect_str_eq(r.out, "{\n  \"exit\": 0,\n  \"message\": \"done\"\n}\n");
	run_end(&r);
}

Test(ctl_client, submit_sends_descriptors)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	AUTO_FREE char *one = xasprintf("%s/one.pem", r.folder), *two = xasprintf("%s/two.pem", r.folder),
		       *secret = xasprintf("%s/secret", r.folder);
	write_text(one, "first");
	write_text(two, "second");
	write_text(secret, "password\n");
	cr_expect_eq(run_against(&r, &a, "{\"exit\":0,\"message\":\"live\"}\n", "submit", "--name", "shop",
				 "--password-file", secret, "--accept", "expired", "--why", "a test", "--timeout=2s",
				 one, two),
		     CTL_DONE, "%s", r.err);
	json_t *o = request_of(&a, 0);
	cr_expect_str_eq(text_of(o, "command"), "submit");
	cr_expect_str_eq(text_of(o, "name"), "shop");
	cr_expect_eq(json_array_size(json_object_get(o, "files")), 2);
	cr_expect_str_eq(json_string_value(json_array_get(json_object_get(o, "files"), 1)), "two.pem");
	cr_expect(json_is_true(json_object_get(o, "passwords")));
	cr_expect(json_is_true(json_object_get(o, "wait")));
	cr_expect_eq(json_integer_value(json_object_get(o, "timeout_ms")), 2000);
	const json_t *accept = json_array_get(json_object_get(o, "accept"), 0);
	cr_expect_str_eq(text_of(accept, "code"), "EXPIRED");
	cr_expect_str_eq(text_of(accept, "why"), "a test");
	cr_expect_eq(a.nfds[0], 3);
	cr_expect_str_eq(a.first[0], "first");
	cr_expect_null(strstr(a.requests[0], "password\\n"), "no secret in the request");
	json_decref(o);
	run_end(&r);
}

Test(ctl_client, files_that_are_refused_here)
{
	struct run r;
	run_begin(&r);
	AUTO_FREE char *fifo = xasprintf("%s/fifo", r.folder), *big = xasprintf("%s/big", r.folder);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	write_text(big, "");
	cr_assert_eq(truncate(big, 1024 * 1024 + 1), 0);
	cr_expect_eq(run_words(&r, "submit", fifo), CTL_FAILED);
	cr_expect(strstr(r.err, "not a regular file"), "%s", r.err);
	cr_expect_eq(run_words(&r, "submit", big), CTL_FAILED);
	cr_expect(strstr(r.err, "larger than 1 MiB"), "%s", r.err);
	cr_expect_eq(run_words(&r, "submit", "/nonexistent"), CTL_FAILED);
	cr_expect_eq(run_words(&r, "standby", "shop", r.folder), CTL_FAILED);
	run_end(&r);
}

Test(ctl_client, accept_and_why)
{
	struct run r;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "submit", "--accept", "EXPIRED", r.config), CTL_USAGE);
	cr_expect(strstr(r.err, "--why"), "%s", r.err);
	cr_expect_eq(run_words(&r, "submit", "--accept", "EXPIRED", "--why", " ", r.config), CTL_USAGE);
	cr_expect_eq(run_words(&r, "submit", "--accept", "NONSENSE", "--why", "x", r.config), CTL_USAGE);
	cr_expect_eq(run_words(&r, "submit", "--accept", "PAIR_MISMATCH", "--why", "x", r.config), CTL_USAGE);
	cr_expect(strstr(r.err, "can't be accepted"), "%s", r.err);
	cr_expect_eq(run_words(&r, "submit", "--why", "x", r.config), CTL_USAGE);
	run_end(&r);
}

Test(ctl_client, notice_is_checked_here)
{
	struct run r;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "notice"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "shop", "--serial", "12"), CTL_USAGE, "one way to name it");
	cr_expect_eq(run_words(&r, "notice", "shop", "--issuer", "CN=x"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "shop", "--case", "q"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "shop", "--case", "ab"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "--serial", "xyz"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "--serial", "dec:"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "--fingerprint", "abcd"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "shop", "--reason", "mood"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "shop", "--scope", "all"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "shop", "--revoke-at", "tomorrow"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "shop", "--received-at", "+2h"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "shop", "--revoke-at", "-2h", "--received-at", "-1h"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "notice", "shop", "--timeout", "5"), CTL_USAGE);
	cr_expect(strstr(r.err, "usage: certswapctl notice"), "%s", r.err);
	run_end(&r);
}

Test(ctl_client, notice_is_sent)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	cr_expect_eq(run_against(&r, &a, "{\"exit\":0,\"message\":\"ok\"}\n", "notice", "--serial", "0A:bc", "--case",
				 "C", "--reason", "Key Compromise", "--revoke-at", "2026-11-24T12:00:00+09:00",
				 "--no-wait"),
		     CTL_DONE, "%s", r.err);
	json_t *o = request_of(&a, 0);
	cr_expect_str_eq(text_of(o, "serial"), "0A:bc");
	cr_expect_str_eq(text_of(o, "case"), "c");
	cr_expect_str_eq(text_of(o, "reason"), "keyCompromise");
	cr_expect_str_eq(text_of(o, "revoke_at"), "2026-11-24T03:00:00Z");
	cr_expect(json_is_false(json_object_get(o, "wait")));
	json_decref(o);
	run_end(&r);
}

Test(ctl_client, a_question_in_a_script)
{
	struct run r;
	struct agent a;
	static const char question[] = "{\"exit\":1,\"message\":\"m\",\"ask\":\"two certificates\"}\n";
	run_begin(&r);
	cr_expect_eq(run_against(&r, &a, question, "notice", "shop"), CTL_FAILED);
	cr_expect(strstr(r.err, "two certificates") && strstr(r.err, "--yes"), "%s", r.err);
	json_t *o = request_of(&a, 0);
	cr_expect_null(json_object_get(o, "yes"));
	json_decref(o);
	cr_expect_eq(run_against(&r, &a, "{\"exit\":0,\"message\":\"ok\"}\n", "notice", "shop", "--yes"), CTL_DONE);
	o = request_of(&a, 0);
	cr_expect(json_is_true(json_object_get(o, "yes")));
	json_decref(o);
	run_end(&r);
}

/* Standard input answers the question. */
static int ask_with(struct run *r, struct agent *a, const char *answer, const char *const *answers, size_t n)
{
	AUTO_FREE char *path = xasprintf("%s/stdin", r->folder);
	write_text(path, answer);
	cr_assert_not_null(freopen(path, "r", stdin));
	r->ctl.interactive = true;
	agent_start(a, r, answers, n);
	int status = run_words(r, "notice", "shop");
	agent_end(a);
	return status;
}

Test(ctl_client, a_person_says_yes)
{
	struct run r;
	struct agent a;
	static const char *const answers[] = {"{\"exit\":1,\"message\":\"m\",\"ask\":\"sure?\"}\n",
					      "{\"exit\":0,\"message\":\"ok\"}\n"};
	run_begin(&r);
	cr_expect_eq(ask_with(&r, &a, "y\n", answers, 2), CTL_DONE);
	json_t *o = request_of(&a, 1);
	cr_expect(json_is_true(json_object_get(o, "yes")));
	json_decref(o);
	run_end(&r);
}

Test(ctl_client, a_person_says_no)
{
	struct run r;
	struct agent a;
	static const char *const answers[] = {"{\"exit\":1,\"message\":\"m\",\"ask\":\"sure?\"}\n"};
	run_begin(&r);
	cr_expect_eq(ask_with(&r, &a, "\n", answers, 1), CTL_FAILED);
	run_end(&r);
}

Test(ctl_client, status_of_one_that_is_not_there)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	cr_expect_eq(run_against(&r, &a, STATUS, "status", "shop"), CTL_DONE);
	cr_expect(strstr(r.out, "Certificate shop: ok"), "%s", r.out);
	cr_expect_eq(run_against(&r, &a, STATUS, "status", "mail"), CTL_FAILED);
	cr_expect(strstr(r.err, "no certificate mail"), "%s", r.err);
	cr_expect_eq(run_words(&r, "status", "--watch", "--json"), CTL_USAGE);
	run_end(&r);
}

Test(ctl_client, deny_needs_a_hash_or_a_reason)
{
	static const char hash[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	struct run r;
	struct agent a;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "deny", "remove", hash), CTL_USAGE);
	cr_expect_eq(run_words(&r, "deny", "confirm", "zz"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "deny"), CTL_USAGE);
	cr_expect_eq(run_against(&r, &a, "{\"exit\":0,\"message\":\"done\"}\n", "deny", "add", hash), CTL_DONE);
	json_t *o = request_of(&a, 0);
	cr_expect_str_eq(text_of(o, "command"), "deny_add");
	cr_expect_str_eq(text_of(o, "spki"), hash);
	json_decref(o);
	run_end(&r);
}

Test(ctl_client, deny_list_needs_no_agent)
{
	struct run r;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "deny", "list"), CTL_DONE);
	cr_expect(strstr(r.out, "No key"), "%s", r.out);
	AUTO_FREE char *path = xasprintf("%s/denied", r.folder);
	write_text(path, "key 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff 2026-11-23T10:00:00Z "
			 "provisional 12 found in a repository\n");
	cr_expect_eq(run_words(&r, "deny", "list"), CTL_DONE, "%s", r.err);
	cr_expect(strstr(r.out, "provisional, incident 12: found in a repository"), "%s", r.out);
	write_text(path, "what is this\n");
	cr_expect_eq(run_words(&r, "deny", "list"), CTL_FAILED);
	run_end(&r);
}

Test(ctl_client, a_path_too_long_for_a_socket_address)
{
	struct run r;
	struct agent a;
	run_begin(&r);
	char deep[192] = "", name[101] = "";
	memset(name, 'x', 100);
	snprintf(deep, sizeof deep, "%s/%s", r.folder, name);
	cr_assert_eq(mkdir(deep, 0700), 0);
	static const char *const answers[] = {"{\"exit\":0,\"message\":\"ok\"}\n"};
	agent_start(&a, &r, answers, 1);
	AUTO_FREE char *from = xasprintf("%s/control.sock", r.folder), *to = xasprintf("%s/control.sock", deep);
	cr_assert_eq(rename(from, to), 0);
	AUTO_FREE char *text = xasprintf("state_dir = \"%s\"; run_dir = \"%s\";\n", deep, deep);
	write_text(r.config, text);
	cr_expect_eq(run_words(&r, "confirm", "shop"), CTL_DONE, "%s", r.err);
	agent_end(&a);
	run_end(&r);
}
