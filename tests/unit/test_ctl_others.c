/* Other programs' configuration: only the lines that name files. */
#include "ctl/others.h"
#include "test_ctl_help.h"

static bool has(const struct others *o, const char *program, const char *directive, const char *path, uint32_t line)
{
	for (size_t i = 0; i < o->n; i++)
		if (strcmp(o->v[i].program, program) == 0 && strcmp(o->v[i].directive, directive) == 0 &&
		    strcmp(o->v[i].path, path) == 0 && o->v[i].line == line)
			return true;
	return false;
}

static void put(const char *root, const char *path, const char *text)
{
	AUTO_FREE char *whole = xasprintf("%s%s", root, path);
	for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(whole, 0755);
		*slash = '/';
	}
	write_text(whole, text);
}

Test(ctl_others, each_program_names_its_files)
{
	struct run r;
	struct others o;
	run_begin(&r);
	put(r.folder, "/etc/postfix/main.cf",
	    "# smtpd_tls_cert_file = /no\nsmtpd_tls_cert_file=/a/cert.pem\nsmtpd_tls_chain_files =\n    /a/key.pem,\n"
	    "    /a/full.pem\nmydestination = /b\n");
	put(r.folder, "/etc/dovecot/conf.d/10-ssl.conf",
	    "ssl = required\nssl_cert = </a/dovecot.pem\nssl_key=</a/d.key # x\n");
	put(r.folder, "/etc/exim4/exim4.conf", "tls_certificate = /a/exim.crt\n");
	AUTO_FREE char *folder = xasprintf("%s/crts", r.folder);
	AUTO_FREE char *cfg = xasprintf("frontend x\n  bind :443 ssl crt /a/h.pem crt %s alpn h2\n", folder);
	AUTO_FREE char *inner = xasprintf("%s/one.pem", folder);
	put(r.folder, "/crts/one.pem", "");
	put(r.folder, "/etc/haproxy/haproxy.cfg", cfg);
	others_read(r.folder, &o);
	cr_assert(has(&o, "postfix", "smtpd_tls_cert_file", "/a/cert.pem", 2));
	cr_assert(has(&o, "postfix", "smtpd_tls_chain_files", "/a/key.pem", 4));
	cr_assert(has(&o, "postfix", "smtpd_tls_chain_files", "/a/full.pem", 5));
	cr_assert(has(&o, "dovecot", "ssl_cert", "/a/dovecot.pem", 2));
	cr_assert(has(&o, "dovecot", "ssl_key", "/a/d.key", 3));
	cr_assert(has(&o, "exim", "tls_certificate", "/a/exim.crt", 1));
	cr_assert(has(&o, "haproxy", "crt", "/a/h.pem", 2));
	cr_assert(has(&o, "haproxy", "crt", inner, 2));
	cr_assert_eq(o.n, 8);
	others_done(&o);
	run_end(&r);
}

Test(ctl_others, nothing_there_is_nothing)
{
	struct others o;
	others_read("/nowhere", &o);
	cr_assert_eq(o.n, 0);
	others_done(&o);
}
