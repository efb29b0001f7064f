/* Each kind of mistake, with its file, its line and the line itself. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "settings/settings.h"

/* libconfig 1.5 loses a string that it holds when it meets a syntax error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so";
}

static char folder[] = "/tmp/test-settings-XXXXXX";

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	cr_assert_eq(mkdir("certificates.d", 0755), 0);
}

static void tear_down(void)
{
	AUTO_CLOSE int fd = files_open_folder(AT_FDCWD, "/tmp", 0, NULL);
	files_remove_tree(fd, folder + strlen("/tmp/"), NULL);
}

TestSuite(settings_complaints, .init = set_up, .fini = tear_down);

static void write_file(const char *name, const char *text)
{
	FILE *out = fopen(name, "we");
	cr_assert_not_null(out);
	fputs(text, out);
	cr_assert_eq(fclose(out), 0);
}

/* All that is said about certswap.conf, as a person sees it. */
static char *complaints_of_file(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *err = open_memstream(&text, &len);
	int status = settings_print_check("certswap.conf", stderr, err);
	fclose(err);
	cr_assert_eq(status, 2);
	return text;
}

/* The same for a text; it must be exactly `expected`. */
static void assert_complaints(const char *config, const char *expected)
{
	write_file("certswap.conf", config);
	AUTO_FREE char *got = complaints_of_file();
	cr_assert_str_eq(got, expected, "for:\n%s\ngot:\n%s\nnot:\n%s", config, got, expected);
}

/* Exactly one complaint, about this line, with these words in it. */
static void assert_one(const char *config, unsigned int line, const char *words)
{
	struct complaints c = {0};
	write_file("certswap.conf", config);
	struct settings *s = settings_load("certswap.conf", &c);
	cr_assert_null(s, "taken:\n%s", config);
	if (c.n != 1)
		complaints_print(&c, stderr);
	cr_assert_eq(c.n, 1, "%zu complaints for:\n%s", c.n, config);
	cr_assert_str_eq(c.v[0].file, "certswap.conf");
	cr_assert_eq(c.v[0].line, line, "line %u and not %u for:\n%s", c.v[0].line, line, config);
	cr_assert_not_null(strstr(c.v[0].text, words), "\"%s\" is not in: %s", words, c.v[0].text);
	complaints_done(&c);
}

/* One option of a certificate on line 3. */
static void assert_certificate(const char *option, const char *words)
{
	AUTO_FREE char *config = xasprintf("certificates = (\n{ name = \"a\";\n%s\n} );\n", option);
	assert_one(config, 3, words);
}

static void assert_server(const char *option, const char *words)
{
	AUTO_FREE char *config = xasprintf("servers = (\n{ name = \"a\"; kind = \"nginx\";\n%s\n} );\n", option);
	assert_one(config, 3, words);
}

Test(settings_complaints, are_printed_with_file_line_and_source)
{
	assert_complaints("run_dir = \"/r\";\n\tstate_dri = \"/x\";\nsandbox = \"never\";\n",
			  "certswap.conf:2: unknown option 'state_dri' in the main file's top level; did you mean "
			  "'state_dir'?\n    state_dri = \"/x\";\n"
			  "certswap.conf:3: 'sandbox' needs one of auto, require, strict; it is \"never\"\n"
			  "    sandbox = \"never\";\n");
}

Test(settings_complaints, all_of_them_in_order)
{
	write_file("certificates.d/z.conf", "name = \"-bad\";\n");
	write_file("certificates.d/y.conf", "name = \"y\"\nwho = 1\nservers = [ \"nginz\" ]\n");
	assert_complaints(
		"certificates = ( { name = \"y\"; servers = [ \"none\" ]; } );\n"
		"servers = ( { name = \"nginx\"; kind = \"nginx\"; timeout = 30; } );\n",
		"certswap.conf:1: there is no server 'none' in the main file\n"
		"    certificates = ( { name = \"y\"; servers = [ \"none\" ]; } );\n"
		"certswap.conf:2: 'timeout' needs a time in quotes with its unit, like \"30s\" or \"15m\"\n"
		"    servers = ( { name = \"nginx\"; kind = \"nginx\"; timeout = 30; } );\n"
		"certificates.d/y.conf:1: the name 'y' is taken: a certificate of that name is in "
		"certswap.conf, line 1\n"
		"    name = \"y\"\n"
		"certificates.d/y.conf:2: unknown option 'who' in a certificate; certswap.conf(5) lists them all\n"
		"    who = 1\n"
		"certificates.d/y.conf:3: there is no server 'nginz' in the main file; did you mean 'nginx'?\n"
		"    servers = [ \"nginz\" ]\n"
		"certificates.d/z.conf:1: 'name' needs 1 to 64 letters, digits, '.', '_' or '-', not beginning "
		"with '.' or '-'; it is \"-bad\"\n"
		"    name = \"-bad\";\n");
}

Test(settings_complaints, unknown_options)
{
	assert_certificate("sever = [];", "did you mean 'servers'?");
	assert_certificate("state_dir = \"/x\";", "it belongs into the main file's top level");
	assert_certificate("crl = false;", "it belongs into a 'check' group");
	assert_certificate("frobnicate = 1;", "unknown option 'frobnicate' in a certificate; certswap.conf(5)");
	assert_certificate("check = { intervall = \"1m\"; };", "did you mean 'interval'?");
	assert_certificate("ca = { contract = \"x\"; };", "did you mean 'contact'?");
	assert_certificate("consumers = ( { name = \"p\"; reload = [\"/x\"]; prob = \"a:1\"; } );",
			   "did you mean 'probe'?");
	assert_server("Timeout = \"1s\";", "did you mean 'timeout'?");
	assert_one("\n\ncertificate = ();", 3, "did you mean 'certificates'?");
}

Test(settings_complaints, wrong_types)
{
	assert_one("state_dir = 5;", 1, "'state_dir' needs text in quotes");
	assert_one("servers = \"nginx\";", 1, "'servers' needs a list of groups");
	assert_one("servers = (\n\"nginx\"\n);", 2, "'servers' needs a list of groups");
	assert_one("alert = \"/x\";", 1, "'alert' needs a command as a list");
	assert_certificate("dns = \"a.example\";", "'dns' needs a list of words in quotes");
	assert_certificate("dns = ( \"a.example\", 5 );", "'dns' needs a list of words in quotes");
	assert_certificate("drain = 5;", "'drain' needs a time in quotes");
	assert_certificate("confirm_by = 1.5;", "'confirm_by' needs a time in quotes");
	assert_certificate("reissue_max = \"3\";", "'reissue_max' needs a whole number");
	assert_certificate("reissue_max = 3.0;", "'reissue_max' needs a whole number");
	assert_certificate("rotate_tickets = \"yes\";", "'rotate_tickets' needs true or false");
	assert_certificate("rotate_tickets = 1;", "'rotate_tickets' needs true or false");
	assert_certificate("manage = true;", "'manage' needs a word in quotes");
	assert_certificate("key_mode = 0600;", "'key_mode' needs an octal mode in quotes");
	assert_certificate("ca = [];", "'ca' needs a group");
	assert_certificate("check = { crl = 1; };", "'crl' needs true, false, or \"file:/path\"");
}

Test(settings_complaints, integers_out_of_range)
{
	assert_certificate("reissue_max = -1;", "from 0 to 100");
	assert_certificate("reissue_max = 101;", "from 0 to 100");
	assert_certificate("reissue_max = 5000000000L;", "from 0 to 100");
	assert_certificate("reissue_max = 4294967297;", "from 0 to 100"); /* wraps to 1 in libconfig 1.5 */
	assert_certificate("reissue_max = 99999999999999999999;", "from 0 to 100");
	assert_certificate("reissue_max = 0x100000001;", "from 0 to 100");
}

Test(settings_complaints, times)
{
	static const char *const wrong[] = {"", "5", "5x", "-5s", "1.5h", "s", "5 s"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		AUTO_FREE char *option = xasprintf("check = { interval = \"%s\"; };", wrong[i]);
		assert_certificate(option, "'interval' needs a time with its unit");
	}
	assert_certificate("check = { interval = \"999ms\"; };", "a time from 1s to 7d; it is \"999ms\"");
	assert_certificate("check = { interval = \"8d\"; };", "a time from 1s to 7d");
	assert_certificate("check = { interval = \"never\"; };", "a time with its unit");
	assert_certificate("confirm_by = \"31d\";", "a time from 0s to 30d");
	assert_certificate("confirm_by = \"soon\";", "or \"never\"");
	assert_server("timeout = \"2h\";", "a time from 1s to 1h");
}

Test(settings_complaints, words_and_modes)
{
	assert_certificate("manage = \"watch\";", "one of swap, observe");
	assert_certificate("key_type = \"rsa-1024\";", "one of ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096");
	assert_certificate("on_notice = \"ask\";", "one of swap, confirm");
	assert_certificate("check = { crl = \"file:ca.crl\"; };", "\"file:/path\"");
	static const char *const modes[] = {"0644", "0660", "0700", "0200", "4600", "0604"};
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		AUTO_FREE char *option = xasprintf("key_mode = \"%s\";", modes[i]);
		assert_certificate(option, "a key is read by its owner, by the group at most");
	}
	assert_certificate("key_mode = \"rw\";", "an octal mode");
	assert_certificate("key_mode = \"0608\";", "an octal mode");
}

Test(settings_complaints, names)
{
	assert_one("certificates = ( { name = \"../x\"; } );", 1, "1 to 64 letters");
	assert_one("certificates = ( { name = \"\"; } );", 1, "1 to 64 letters");
	assert_one("\ncertificates = ( { dns = []; } );", 2, "a certificate without 'name'");
	assert_one("servers = ( { name = \"a\"; } );", 1, "a server without 'kind'");
	assert_certificate("consumers = ( { name = \"p\"; } );", "a consumer without 'reload'");
	assert_certificate("consumers = ( { name = \"p\"; reload = []; } );", "'reload' is empty");
	assert_one("servers = ( { name = \"a\"; kind = \"nginx\"; },\n{ name = \"a\"; kind = \"nginx\"; } );", 2,
		   "the name 'a' is taken: a server of that name is in certswap.conf, line 1");
	assert_one("certificates = ( { name = \"a\"; },\n{ name = \"b\"; },\n{ name = \"a\"; } );", 3,
		   "the name 'a' is taken");
	assert_certificate(
		"consumers = ( { name = \"p\"; reload = [\"/x\"]; }, { name = \"p\"; reload = [\"/x\"]; } );",
		"the name 'p' is taken");
	assert_one("servers = ( { name = \"a\"; kind = \"nginx\"; } );\n"
		   "certificates = ( { name = \"c\"; servers = [\n\"a\",\n\"a\"\n]; } );",
		   4, "'servers' names \"a\" twice");
}

Test(settings_complaints, unknown_servers_at_their_own_line)
{
	assert_one("servers = ( { name = \"a\"; kind = \"nginx\"; } );\n"
		   "certificates = ( { name = \"c\"; servers = [\n\"a\",\n\"other\"\n]; } );",
		   4, "there is no server 'other'");
	assert_certificate("servers = [ \"x\" ];", "there is no server 'x'");
}

Test(settings_complaints, paths_and_commands)
{
	assert_one("state_dir = \"var/lib\";", 1, "an absolute path");
	assert_one("state_dir = \"\";", 1, "an absolute path");
	assert_server("config = \"nginx.conf\";", "'config' needs an absolute path (it begins with /), or \"\"");
}

Test(settings_complaints, commands)
{
	assert_one("alert = [ \"mail\", \"x\" ];", 1, "'alert' needs a program named by an absolute path");
	assert_certificate("reissue = [ \"certbot\" ];", "a program named by an absolute path");
	assert_one("worker_user = \"a:b\";", 1, "the name or number of a user");
}

Test(settings_complaints, endpoints)
{
	static const char *const wrong[] = {"443",         ":443",      "host",     "host:",       "host:0",
					    "host:65536",  "host:x",    "::1:443",  "[::1]",       "[1.2.3.4]:443",
					    "[::g]:443",   "unix:x",    "unix:",    "1.2.3.400:1", "a b:1",
					    "https://a:1", "host:+443", "-host:443"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		AUTO_FREE char *option = xasprintf("probe = [ \"%s\" ];", wrong[i]);
		assert_certificate(option, "HOST:PORT, [IPV6]:PORT or unix:/path");
	}
}

Test(settings_complaints, hosts_pins_urls_hours)
{
	static const char *const hosts[] = {"",     "a..b", "-a.b",      "a-.b",    "*",   "*.",   "a.*.b",
					    "*a.b", "a b",  "1.2.3.400", "日本.jp", "a/b", "[::1]"};
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		AUTO_FREE char *option = xasprintf("dns = [ \"%s\" ];", hosts[i]);
		assert_certificate(option, "a host name");
	}
	assert_certificate("pins = [ \"AAAA\" ];", "sha256/ and the 44");
	assert_certificate("pins = [ \"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\" ];", "sha256/ and the 44");
	assert_certificate("pins = [ \"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\" ];", "sha256/ and the 44");
	assert_certificate("check = { ari = \"ca.example\"; };", "a URL");
	assert_certificate("ca = { hours = \"office hours\"; };", "days and times");
	assert_certificate("ca = { hours = \"Mon-Fri 18:00-09:00\"; };", "days and times");
}

Test(settings_complaints, syntax_errors)
{
	assert_one("run_dir = \"/r\";\nservers = ( { name \"x\"; } );\n", 2, "syntax error");
	assert_one("run_dir = \"/r\";\nrun_dir = \"/s\";\n", 2, "this option stands twice");
	assert_one("certificates = ( { name = \"a\";\n dns = [];\n dns = []; } );\n", 3, "this option stands twice");
	assert_one("a", 1, "syntax error");
}

Test(settings_complaints, what_stands_before_a_syntax_error_is_checked_too)
{
	assert_complaints(
		"sandbox = \"x\";\nservers = ( { name = \"a\"; kind = } );\n",
		"certswap.conf:1: 'sandbox' needs one of auto, require, strict; it is \"x\"\n    sandbox = \"x\";\n"
		"certswap.conf:2: syntax error here or just before (syntax error)\n"
		"    servers = ( { name = \"a\"; kind = } );\n");
}

Test(settings_complaints, strings_and_comments_that_are_not_closed)
{
	assert_one("run_dir = \"/r\";\nstate_dir = \"/x;\n\n\n", 2, "a string begins here and is never closed");
	assert_one("run_dir = \"/r\";\n/* state_dir = \"/x\";\n\n", 2, "a comment begins here and is never closed");
	assert_complaints(
		"state_dir = \"/x;\nrun_dir = \"/r\";\nworker_user = \"u\";\n",
		"certswap.conf:1: 'state_dir' needs an absolute path (it begins with /); it is \"/x;?run_dir = \"\n"
		"    state_dir = \"/x;\n"
		"certswap.conf:2: syntax error: a string that began on line 1 runs into this one; is its closing \" "
		"missing?\n"
		"    run_dir = \"/r\";\n");
}

Test(settings_complaints, files_that_are_none)
{
	AUTO_FREE char *missing = complaints_of_file();
	cr_assert_str_eq(missing, "certswap.conf: can't open certswap.conf: No such file or directory\n");
	cr_assert_eq(mkdir("certswap.conf", 0755), 0);
	AUTO_FREE char *is_folder = complaints_of_file();
	cr_assert_not_null(strstr(is_folder, "is not a regular file"));
	cr_assert_eq(rmdir("certswap.conf"), 0);
	cr_assert_eq(mkfifo("certswap.conf", 0600), 0);
	AUTO_FREE char *is_pipe = complaints_of_file();
	cr_assert_not_null(strstr(is_pipe, "is not a regular file"));
	cr_assert_eq(unlink("certswap.conf"), 0);
	write_file("certswap.conf", "");
	cr_assert_eq(truncate("certswap.conf", (4 << 20) + 1), 0);
	AUTO_FREE char *large = complaints_of_file();
	cr_assert_not_null(strstr(large, "is larger than 4194304 bytes"));
	cr_assert_eq(truncate("certswap.conf", 10), 0);
	AUTO_FREE char *zeros = complaints_of_file();
	cr_assert_not_null(strstr(zeros, "NUL byte"));
}

Test(settings_complaints, folder_in_certificates_d)
{
	cr_assert_eq(mkdir("certificates.d/x.conf", 0755), 0);
	write_file("certificates.d/y.conf", "certificates = ();\nrun_dir = \"/r\";\n");
	write_file("certificates.d/z.conf", "servers = ( { name = \"n\"; } );\n");
	write_file("certswap.conf", "");
	AUTO_FREE char *got = complaints_of_file();
	cr_assert_not_null(strstr(got, "certificates.d/x.conf is not a regular file"), "%s", got);
	cr_assert_not_null(strstr(got, "certificates.d/y.conf:2: 'run_dir' can't stand beside"), "%s", got);
	cr_assert_not_null(strstr(got, "certificates.d/z.conf:1: 'servers' needs a list of words"), "%s", got);
	cr_assert_not_null(strstr(got, "certificates.d/z.conf: a certificate without 'name'"), "%s", got);
}

Test(settings_complaints, includes_have_their_own_lines)
{
	write_file("in.conf", "\n\nsandbox = \"x\";\nrun_dir = 1;\n");
	assert_complaints("trust = 1;\n@include \"in.conf\"\nworker_user = 1;\n",
			  "certswap.conf:1: 'trust' needs text in quotes\n    trust = 1;\n"
			  "certswap.conf:3: 'worker_user' needs text in quotes\n    worker_user = 1;\n"
			  "in.conf:3: 'sandbox' needs one of auto, require, strict; it is \"x\"\n    sandbox = \"x\";\n"
			  "in.conf:4: 'run_dir' needs text in quotes\n    run_dir = 1;\n");
	write_file("in.conf", "\nsandbox = ;\n");
	assert_complaints("@include \"in.conf\"\n", "in.conf:2: syntax error here or just before (syntax error)\n"
						    "    sandbox = ;\n");
}

Test(settings_complaints, includes_that_can_not_be_read)
{
	assert_one("\n@include \"none.conf\"\n", 2, "can't open none.conf: No such file");
	assert_one("\n@include \"certificates.d\"\n", 2, "is not a regular file");
	assert_one("\n@include \"certswap.conf\"\n", 2, "too many files include each other");
}
