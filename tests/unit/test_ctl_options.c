#include "test_ctl_help.h"

#include "ctl/options.h"

static const struct command *find(const char *first, const char *second)
{
	char a[32], b[32];
	snprintf(a, sizeof a, "%s", first);
	snprintf(b, sizeof b, "%s", second);
	char *argv[] = {a, b, NULL};
	int words = 0;
	return command_find(2, argv, &words);
}

Test(ctl_options, commands_are_found_whole)
{
	cr_expect_str_eq(find("deny", "add")->name, "deny add");
	cr_expect_str_eq(find("incident", "12")->name, "incident");
	cr_expect_str_eq(find("incidents", "")->name, "incidents");
	cr_expect_null(find("deny", "all"));
	cr_expect_null(find("stat", ""));
	cr_expect_null(find("", ""));
	cr_expect(command_is_prefix("config"));
	cr_expect_not(command_is_prefix("conf"));
}

static int parse(const char *command, const char *const *words, struct args *a)
{
	struct fault fault = {0};
	char *argv[16];
	int argc = 0;
	for (; words[argc]; argc++)
		argv[argc] = xstrdup(words[argc]);
	*a = (struct args){0};
	int r = args_parse(find(command, "-"), argc, argv, a, &fault);
	cr_expect(r == 0 || *fault.text, "a refusal says why");
	while (argc)
		free(argv[--argc]);
	return r;
}
#define parse_words(command, a, ...) parse(command, (const char *const[]){__VA_ARGS__, NULL}, a)

Test(ctl_options, every_way_to_give_a_value)
{
	struct args a;
	cr_assert_eq(parse_words("submit", &a, "one", "--name=shop", "--accept", "X", "--accept=Y", "--", "--two"), 0);
	cr_expect_str_eq(args_value(&a, OPTION_NAME), "shop");
	cr_expect_eq(a.values[OPTION_ACCEPT].n, 2);
	cr_expect_eq(a.operands.n, 2);
	cr_expect_str_eq(a.operands.v[1], "--two");
	args_done(&a);
	cr_assert_eq(parse_words("submit", &a, "-nshop", "-c", "file", "-"), 0);
	cr_expect_str_eq(args_value(&a, OPTION_NAME), "shop");
	cr_expect_str_eq(args_value(&a, OPTION_CONFIG), "file");
	cr_expect_str_eq(a.operands.v[0], "-");
	args_done(&a);
	cr_assert_eq(parse_words("submit", &a, "--name=", "f"), 0);
	cr_expect_str_empty(args_value(&a, OPTION_NAME));
	args_done(&a);
}

Test(ctl_options, what_is_refused)
{
	struct args a;
	cr_expect_neq(parse_words("submit", &a, "--nam", "shop", "f"), 0, "no abbreviations: they break later");
	args_done(&a);
	cr_expect_neq(parse_words("submit", &a, "f", "--name"), 0, "value missing");
	args_done(&a);
	cr_expect_neq(parse_words("submit", &a, "--name", "a", "--name", "b", "f"), 0, "twice");
	args_done(&a);
	cr_expect_neq(parse_words("status", &a, "--json=1"), 0, "a flag with a value");
	args_done(&a);
	cr_expect_neq(parse_words("status", &a, "a", "b"), 0, "too many operands");
	args_done(&a);
	cr_expect_neq(parse_words("submit", &a, "--json"), 0, "no file");
	args_done(&a);
	cr_expect_neq(parse_words("status", &a, "--yes"), 0, "an option of other commands");
	args_done(&a);
	cr_expect_neq(parse_words("status", &a, "-wx"), 0, "letters are not joined");
	args_done(&a);
}

Test(ctl_options, usage_is_2_with_the_usage_line)
{
	struct run r;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "status", "--nonsense"), CTL_USAGE);
	cr_expect(strstr(r.err, "unknown option --nonsense\nusage: certswapctl status"), "%s", r.err);
	cr_expect_eq(run_words(&r, "nonsense"), CTL_USAGE);
	cr_expect(strstr(r.err, "there is no command nonsense\n"), "%s", r.err);
	cr_expect_eq(run_words(&r, "config"), CTL_USAGE);
	cr_expect(strstr(r.err, "needs another word"), "%s", r.err);
	cr_expect_eq(run_words(&r, "-c"), CTL_USAGE);
	cr_expect_eq(run_array(&r, (const char *[]){"certswapctl", NULL}), CTL_USAGE);
	run_end(&r);
}

Test(ctl_options, a_typo_is_answered_with_what_was_meant)
{
	struct run r;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "statsu"), CTL_USAGE);
	cr_expect(strstr(r.err, "there is no command statsu; did you mean status?"), "%s", r.err);
	cr_expect_eq(run_words(&r, "deny", "ad", "x"), CTL_USAGE);
	cr_expect(strstr(r.err, "there is no command deny ad; did you mean deny add?"), "%s", r.err);
	cr_expect_eq(run_words(&r, "help", "rolback"), CTL_USAGE);
	cr_expect(strstr(r.err, "did you mean rollback?"), "%s", r.err);
	cr_expect_eq(run_words(&r, "submit", "--nmae=shop", "f"), CTL_USAGE);
	cr_expect(strstr(r.err, "unknown option --nmae=shop; did you mean --name?"), "%s", r.err);
	cr_expect_eq(run_words(&r, "submit", "--accept", "NAME_MISING", "--why", "x", "/dev/null"), CTL_USAGE);
	cr_expect(strstr(r.err, "there is no such finding; did you mean NAME_MISSING?"), "%s", r.err);
	run_end(&r);
}

Test(ctl_options, help_fits_and_is_complete)
{
	struct run r;
	run_begin(&r);
	for (size_t i = 0; i < command_count; i++) {
		char name[32];
		snprintf(name, sizeof name, "%s", command_table[i].name);
		char *second = strchr(name, ' ');
		if (second)
			*second++ = '\0';
		int status = second ? run_words(&r, name, second, "--help") : run_words(&r, name, "--help");
		cr_expect_eq(status, CTL_DONE, "%s", command_table[i].name);
		AUTO_FREE char *copy = xstrdup(r.out);
		char *rest = copy;
		for (char *line; (line = strsep(&rest, "\n"));)
			cr_expect_leq(strlen(line), 100, "%s: too wide: %s", name, line);
		for (enum option o = 0; o < OPTIONS; o++) {
			AUTO_FREE char *word = xasprintf("--%s", option_specs[o].name);
			cr_expect(!command_takes(&command_table[i], o) || strstr(r.out, word), "%s lacks %s", name,
				  word);
		}
	}
	run_end(&r);
}

Test(ctl_options, words_for_the_shell)
{
	struct run r;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "help", "--words"), CTL_DONE);
	cr_expect(strstr(r.out, "\ndeny add\n") && strstr(r.out, "status\n"), "%s", r.out);
	cr_expect_eq(run_words(&r, "help", "--words", "deny", "add"), CTL_DONE);
	cr_expect(strstr(r.out, "--why=\n") && strstr(r.out, "--json\n"), "%s", r.out);
	cr_expect_eq(run_words(&r, "--version"), CTL_DONE);
	cr_expect_str_eq(r.out, "certswapctl " CERTSWAP_VERSION "\n");
	run_end(&r);
}

Test(ctl_options, configuration_that_is_wrong)
{
	struct run r;
	run_begin(&r);
	write_text(r.config, "state_dirr = \"/x\";\n");
	cr_expect_eq(run_words(&r, "config", "test"), CTL_USAGE);
	cr_expect(strstr(r.err, "certswap.conf:1:") && strstr(r.err, "state_dirr"), "%s", r.err);
	cr_expect_eq(run_words(&r, "status"), CTL_USAGE);
	cr_expect_eq(run_words(&r, "-c", "/nonexistent", "status"), CTL_USAGE);
	cr_expect(strstr(r.err, "/nonexistent"), "%s", r.err);
	run_end(&r);
}

Test(ctl_options, configuration_that_is_good)
{
	struct run r;
	run_begin(&r);
	cr_expect_eq(run_words(&r, "config", "test"), CTL_DONE, "%s", r.err);
	cr_expect(strstr(r.out, "is good"), "%s", r.out);
	cr_expect_eq(run_words(&r, "config", "dump"), CTL_DONE);
	cr_expect(strstr(r.out, r.folder), "%s", r.out);
	run_end(&r);
}
