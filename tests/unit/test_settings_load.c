/* What settings_load takes, what it fills in, and that a dump reads back to the same. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "settings/options.h"
#include "settings/settings.h"

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

TestSuite(settings_load, .init = set_up, .fini = tear_down);

static void write_file(const char *name, const char *text)
{
	FILE *out = fopen(name, "we");
	cr_assert_not_null(out);
	fputs(text, out);
	cr_assert_eq(fclose(out), 0);
}

static struct settings *load(const char *file)
{
	struct complaints c = {0};
	struct settings *s = settings_load(file, &c);
	if (c.n)
		complaints_print(&c, stderr);
	cr_assert_eq(c.n, 0);
	cr_assert_not_null(s);
	complaints_done(&c);
	return s;
}

static struct settings *load_text(const char *text)
{
	write_file("certswap.conf", text);
	return load("certswap.conf");
}

static char *dump(const struct settings *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	settings_dump(s, out);
	fclose(out);
	return text;
}

/* settings -> file -> settings -> file: both files are the same */
static void assert_round_trip(const struct settings *s)
{
	AUTO_FREE char *first = dump(s);
	write_file("again.conf", first);
	cr_assert_eq(rename("certificates.d", "aside"), 0);
	struct settings *again = load("again.conf");
	cr_assert_eq(rename("aside", "certificates.d"), 0);
	AUTO_FREE char *second = dump(again);
	cr_assert_str_eq(first, second);
	cr_assert_eq(again->ncertificates, s->ncertificates);
	cr_assert_eq(again->nservers, s->nservers);
	settings_free(again);
}

Test(settings_load, empty_file_has_every_default)
{
	struct settings *s = load_text("");
	cr_assert_str_eq(s->state_dir, "/var/lib/certswap");
	cr_assert_str_eq(s->run_dir, "/run/certswap");
	cr_assert_str_eq(s->trust, "/etc/ssl/certs/ca-certificates.crt");
	cr_assert_str_eq(s->intermediates, "/etc/certswap/intermediates");
	cr_assert_str_eq(s->metrics_file, "");
	cr_assert_str_eq(s->worker_user, "_certswap");
	cr_assert_eq(s->sandbox, SANDBOX_AUTO);
	cr_assert_eq(s->alert.n, 0);
	cr_assert_eq(s->nservers, 0);
	cr_assert_eq(s->ncertificates, 0);
	assert_round_trip(s);
	settings_free(s);
}

Test(settings_load, least_certificate_has_every_default)
{
	struct settings *s = load_text(
		"certificates = (\n { name = \"a\"; consumers = ( { name = \"p\"; reload = [\"/x\"]; } ); } );");
	const struct certificate_settings *c = settings_certificate(s, "a");
	cr_assert_not_null(c);
	cr_assert_null(settings_certificate(s, "b"));
	cr_assert_eq(c->dns.n + c->servers.n + c->probe.n + c->watch.n + c->pins.n + c->reissue.n + c->after_swap.n, 0);
	cr_assert_eq(c->manage, MANAGE_SWAP);
	cr_assert_null(c->trust);
	cr_assert_eq(c->profile, PROFILE_AUTO);
	cr_assert_str_eq(c->key_type, "ecdsa-p256");
	cr_assert_str_eq(c->key_owner, "root");
	cr_assert_str_eq(c->key_group, "root");
	cr_assert_eq(c->key_mode, 0600);
	cr_assert_eq(c->on_notice, ON_EVENT_SWAP);
	cr_assert_eq(c->on_revoked, ON_EVENT_SWAP);
	cr_assert_eq(c->confirm_by_ms, 6 * 3600000);
	cr_assert_eq(c->reissue_max, 3);
	cr_assert_not(c->rotate_tickets);
	cr_assert_eq(c->drain_ms, 0);
	cr_assert_str_eq(c->ca_contact, "");
	cr_assert_str_eq(c->ca_order, "");
	cr_assert_str_eq(c->ca_hours, "");
	cr_assert_eq(c->ca_lead_time_ms, 0);
	cr_assert_eq(c->ca_revokes_old_after_ms, 0);
	cr_assert_str_eq(c->check_crl, "true");
	cr_assert(c->check_ocsp);
	cr_assert_str_eq(c->check_ari, "");
	cr_assert_eq(c->check_interval_ms, 15 * 60000);
	cr_assert_str_eq(c->file, "certswap.conf");
	cr_assert_eq(c->line, 2);
	cr_assert_eq(c->nconsumers, 1);
	cr_assert_str_eq(c->consumers[0].probe, "");
	cr_assert_eq(c->consumers[0].starttls, STARTTLS_NONE);
	assert_round_trip(s);
	settings_free(s);
}

Test(settings_load, layouts_fill_what_is_not_given)
{
	struct settings *s =
		load_text("servers = ( { name = \"n\"; kind = \"nginx\"; pidfile = \"/x/pid\"; },\n"
			  " { name = \"d\"; kind = \"apache\"; binary = \"/usr/sbin/apache2\"; },\n"
			  " { name = \"e\"; kind = \"apache\"; binary = \"/usr/sbin/httpd\"; config = \"\"; },\n"
			  " { name = \"o\"; kind = \"apache\"; config = \"/srv/own.conf\"; },\n"
			  " { name = \"h\"; kind = \"haproxy\"; } );");
	const struct server_settings *n = settings_server(s, "n"), *d = settings_server(s, "d");
	const struct server_settings *e = settings_server(s, "e"), *h = settings_server(s, "h");
	cr_assert_null(settings_server(s, "x"));
	cr_assert_str_eq(n->config, "/etc/nginx/nginx.conf");
	cr_assert_str_eq(n->binary, "/usr/sbin/nginx");
	cr_assert_str_eq(n->pidfile, "/x/pid");
	cr_assert_str_eq(n->environment_file, "");
	cr_assert_eq(n->reload, RELOAD_AUTO);
	cr_assert_eq(n->rehearsal, REHEARSAL_AUTO);
	cr_assert_eq(n->timeout_ms, 30000);
	cr_assert_eq(n->arguments.n, 0);
	cr_assert_str_eq(d->config, "/etc/apache2/apache2.conf");
	cr_assert_str_eq(d->pidfile, "/run/apache2/apache2.pid");
	cr_assert_str_eq(d->environment_file, "/etc/apache2/envvars");
	cr_assert_str_eq(e->config, "/etc/httpd/conf/httpd.conf");
	cr_assert_str_eq(e->pidfile, "/run/httpd/httpd.pid");
	cr_assert_str_eq(e->environment_file, "/etc/sysconfig/httpd");
	cr_assert_str_eq(settings_server(s, "o")->config, "/srv/own.conf");
	cr_assert_str_eq(settings_server(s, "o")->environment_file, "");
	cr_assert_str_eq(h->config, "");
	cr_assert_str_eq(h->binary, "");
	cr_assert_str_eq(h->pidfile, "");
	assert_round_trip(s);
	settings_free(s);
}

/* every line of the published contract, with values other than the defaults where there are others */
static const char everything[] =
	"state_dir = \"/var/lib/certswap\";  run_dir = \"/run/certswap\";\n"
	"trust     = \"/etc/ssl/certs/ca-certificates.crt\";     // PEM file; a certificate may name its own\n"
	"metrics_file = \"\";\n"
	"alert     = [ \"/etc/certswap/alert\" ];\n"
	"worker_user = \"_certswap\";\n"
	"sandbox     = \"require\";           // auto | require\n"
	"intermediates = \"/etc/certswap/intermediates\";\n"
	"servers = (\n"
	"  { name = \"nginx\";  kind = \"nginx\";  config = \"/etc/nginx/nginx.conf\";\n"
	"    binary = \"/usr/sbin/nginx\"; pidfile = \"/run/nginx.pid\"; arguments = [];\n"
	"    environment_file = \"\";\n"
	"    reload = \"systemd\";\n"
	"    rehearsal = \"own-proof\";\n"
	"    timeout = \"45s\"; },\n"
	"  { name = \"apache\"; kind = \"apache\"; config = \"/etc/apache2/apache2.conf\";\n"
	"    binary = \"/usr/sbin/apache2\"; pidfile = \"/run/apache2/apache2.pid\"; } );\n"
	"certificates = (\n"
	"  { name    = \"shop\";\n"
	"    dns     = [ \"shop.example.jp\", \"*.shop.example.jp\", \"192.0.2.1\", \"2001:db8::1\" ];\n"
	"    servers = [ \"nginx\", \"apache\" ];\n"
	"    probe   = [ \"127.0.0.1:443\", \"[::1]:443\", \"unix:/run/x.sock\", \"localhost:8443\" ];\n"
	"    manage  = \"observe\";\n"
	"    watch   = [ \"/etc/letsencrypt/live/shop.example.jp\" ];\n"
	"    trust   = \"/etc/certswap/own-root.pem\";\n"
	"    profile = \"private\";\n"
	"    key_type = \"rsa-3072\";\n"
	"    key_owner = \"root\"; key_group = \"ssl-cert\"; key_mode = \"0640\";\n"
	"    pins    = [ \"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\" ];\n"
	"    on_notice = \"confirm\"; on_revoked = \"confirm\";\n"
	"    confirm_by = \"never\";\n"
	"    reissue = [ \"/usr/bin/certbot\", \"renew\", \"--cert-name\", \"shop.example.jp\", \"--force-renewal\", "
	"\"--new-key\", \"--no-random-sleep-on-renew\" ];\n"
	"    reissue_max = 5;\n"
	"    after_swap = [ \"/etc/certswap/after-swap\", \"a \\\"b\\\" \\\\c\\n\" ];\n"
	"    rotate_tickets = true; drain = \"90s\";\n"
	"    consumers = ( { name = \"postfix\"; reload = [ \"/usr/sbin/postfix\", \"reload\" ]; probe = "
	"\"127.0.0.1:25\"; starttls = \"smtp\"; } );\n"
	"    ca      = { contact = \"\"; order = \"4711\"; hours = \"Mon-Fri 09:00-18:00\"; lead_time = \"3d\"; "
	"revokes_old_after = \"24h\"; };\n"
	"    check   = { crl = \"file:/srv/ca.crl\"; ocsp = false; ari = \"https://ca.example/directory\"; interval = "
	"\"1s\"; };\n"
	"  } );\n";

Test(settings_load, every_option_is_taken)
{
	struct settings *s = load_text(everything);
	const struct server_settings *n = settings_server(s, "nginx");
	const struct certificate_settings *c = settings_certificate(s, "shop");
	cr_assert_eq(s->sandbox, SANDBOX_REQUIRE);
	cr_assert_str_eq(s->alert.v[0], "/etc/certswap/alert");
	cr_assert_eq(n->reload, RELOAD_SYSTEMD);
	cr_assert_eq(n->rehearsal, REHEARSAL_OWN_PROOF);
	cr_assert_eq(n->timeout_ms, 45000);
	cr_assert_eq(c->dns.n, 4);
	cr_assert_str_eq(c->dns.v[1], "*.shop.example.jp");
	cr_assert_eq(c->servers.n, 2);
	cr_assert_eq(c->probe.n, 4);
	cr_assert_eq(c->manage, MANAGE_OBSERVE);
	cr_assert_str_eq(c->trust, "/etc/certswap/own-root.pem");
	cr_assert_eq(c->profile, PROFILE_PRIVATE);
	cr_assert_str_eq(c->key_type, "rsa-3072");
	cr_assert_eq(c->key_mode, 0640);
	cr_assert_eq(c->pins.n, 1);
	cr_assert_eq(c->on_notice, ON_EVENT_CONFIRM);
	cr_assert_eq(c->confirm_by_ms, CONFIRM_BY_NEVER);
	cr_assert_eq(c->reissue.n, 7);
	cr_assert_eq(c->reissue_max, 5);
	cr_assert_str_eq(c->after_swap.v[1], "a \"b\" \\c\n");
	cr_assert(c->rotate_tickets);
	cr_assert_eq(c->drain_ms, 90000);
	cr_assert_eq(c->consumers[0].starttls, STARTTLS_SMTP);
	cr_assert_eq(c->consumers[0].reload.n, 2);
	cr_assert_eq(c->ca_lead_time_ms, 3LL * 86400000);
	cr_assert_eq(c->ca_revokes_old_after_ms, 86400000);
	cr_assert_str_eq(c->check_crl, "file:/srv/ca.crl");
	cr_assert_not(c->check_ocsp);
	cr_assert_str_eq(c->check_ari, "https://ca.example/directory");
	cr_assert_eq(c->check_interval_ms, 1000);
	assert_round_trip(s);
	settings_free(s);
}

Test(settings_load, certificates_d_in_order)
{
	write_file("certificates.d/b.conf", "# bare\n\nname = \"b\";\nservers = [ \"n\" ];\n");
	write_file("certificates.d/a.conf", "certificates = ( { name = \"a1\"; },\n { name = \"a2\"; } );\n");
	write_file("certificates.d/c.conf", "# nothing yet\n");
	write_file("certificates.d/.hidden.conf", "no = \"configuration\"");
	write_file("certificates.d/d.conf.bak", "nor = \"this\"");
	struct settings *s =
		load_text("servers = ( { name = \"n\"; kind = \"nginx\"; } ); certificates = ( { name = \"m\"; } );");
	static const char *const order[] = {"m", "a1", "a2", "b"};
	cr_assert_eq(s->ncertificates, 4);
	for (size_t i = 0; i < 4; i++)
		cr_assert_str_eq(s->certificates[i].name, order[i]);
	cr_assert_str_eq(s->certificates[2].file, "certificates.d/a.conf");
	cr_assert_eq(s->certificates[2].line, 2);
	cr_assert_eq(s->certificates[3].line, 3);
	assert_round_trip(s);
	settings_free(s);
}

Test(settings_load, includes_and_links_are_followed)
{
	cr_assert_eq(mkdir("more", 0755), 0);
	write_file("real.conf", "@include \"more/servers.inc\"\n/*\n@include \"missing\"\n*/\n# @include \"missing\"\n"
				"worker_user = \"x\nnot; a #comment\";\n");
	write_file("more/servers.inc", "servers = (\n@include \"one.inc\"\n);");
	write_file("more/one.inc", "{ name = \"n\"; kind = \"nginx\"; }\n");
	cr_assert_eq(symlink("real.conf", "certswap.conf"), 0);
	struct complaints c = {0};
	cr_assert_null(
		settings_load("certswap.conf", &c)); /* the string over two lines is no user, but it is a string */
	cr_assert_eq(c.n, 1);
	cr_assert_eq(c.v[0].line, 6);
	complaints_done(&c);
	write_file("real.conf", "@include \"more/servers.inc\"\r\nrun_dir = \"/r\"\r\n");
	struct settings *s = load("certswap.conf");
	cr_assert_eq(s->nservers, 1);
	cr_assert_str_eq(s->run_dir, "/r");
	settings_free(s);
}

Test(settings_load, defaults_of_the_table_keep_its_rules)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		struct certificate_settings scratch[4] = {0}; /* larger than any of the structs */
		cr_assert(sizeof scratch > sizeof(struct settings));
		cr_assert_not_null(o->help, "%s", o->key);
		cr_assert_eq(option_find(o->place, o->key), o, "%s stands twice in %s", o->key,
			     option_place_text(o->place));
		if (!o->value)
			continue;
		AUTO_FREE char *needs = option_set(o, scratch, o->value);
		cr_assert_null(needs, "%s: the default needs %s", o->key, needs);
		if (o->type == OPTION_TEXT || o->type == OPTION_CRL)
			free(*(char **)option_at(o, scratch));
		if (o->type == OPTION_WORDS || o->type == OPTION_COMMAND)
			words_done(option_at(o, scratch));
	}
}

/* Lines that begin with "#" and no space behind it are options. */
static char *uncommented(const char *text)
{
	struct text out = {0};
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n");
		bool is_option = line[0] == '#' && n > 1 && line[1] != ' ';
		text_add(&out, "%.*s\n", (int)(is_option ? n - 1 : n), is_option ? line + 1 : line);
		line += n + (line[n] == '\n');
	}
	return out.s;
}

Test(settings_load, installed_configuration_is_right_as_it_is_and_uncommented)
{
	AUTO_FREE char *text = NULL;
	size_t len;
	cr_assert_eq(files_read(AT_FDCWD, SOURCE_DIR "/conf/certswap.conf", 65536, &text, &len, NULL), 0);
	struct settings *s = load_text(text);
	cr_assert_eq(s->nservers, 2); /* nothing is asked of them before a certificate names them */
	cr_assert_eq(s->ncertificates, 0);
	settings_free(s);
	AUTO_FREE char *whole = uncommented(text);
	s = load_text(whole);
	cr_assert_eq(s->nservers, 2);
	cr_assert_eq(s->ncertificates, 1);
	cr_assert_eq(s->certificates[0].nconsumers, 1);
	settings_free(s);
}

Test(settings_load, print_check_counts)
{
	char *text = NULL;
	size_t len = 0;
	write_file("certswap.conf", "servers = ( { name = \"n\"; kind = \"nginx\"; } );");
	FILE *out = open_memstream(&text, &len);
	cr_assert_eq(settings_print_check("certswap.conf", out, stderr), 0);
	fclose(out);
	cr_assert_str_eq(text, "certswap.conf: syntax and values are right: 1 server, 0 certificates\n");
	free(text);
}

Test(settings_load, reference_names_every_option)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	settings_reference(out);
	fclose(out);
	for (size_t i = 0; i < option_count; i++) {
		AUTO_FREE char *item = xasprintf(".It Ic %s No =", option_table[i].key);
		cr_assert_not_null(strstr(text, item), "%s", item);
	}
	free(text);
}
