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
	put(r.folder, "/crts/one.pem", "");
	put(r.folder, "/etc/haproxy/haproxy.cfg", "frontend x\n  bind :443 ssl crt /a/h.pem crt /crts alpn h2\n");
	others_read(r.folder, &o);
	cr_assert(has(&o, "postfix", "smtpd_tls_cert_file", "/a/cert.pem", 2));
	cr_assert(has(&o, "postfix", "smtpd_tls_chain_files", "/a/key.pem", 3));
	cr_assert(has(&o, "postfix", "smtpd_tls_chain_files", "/a/full.pem", 3));
	cr_assert(has(&o, "dovecot", "ssl_cert", "/a/dovecot.pem", 2));
	cr_assert(has(&o, "dovecot", "ssl_key", "/a/d.key", 3));
	cr_assert(has(&o, "exim", "tls_certificate", "/a/exim.crt", 1));
	cr_assert(has(&o, "haproxy", "crt", "/a/h.pem", 2));
	cr_assert(has(&o, "haproxy", "crt", "/crts/one.pem", 2));
	cr_assert_eq(o.n, 8);
	others_done(&o);
	run_end(&r);
}

static bool is_unknown(const struct others *o, const char *begin)
{
	for (size_t i = 0; i < o->unknown.n; i++)
		if (strncmp(o->unknown.v[i], begin, strlen(begin)) == 0)
			return true;
	return false;
}

Test(ctl_others, postfix)
{
	struct run r;
	struct others o;
	run_begin(&r);
	put(r.folder, "/etc/postfix/main.cf",
	    "smtpd_tls_key_file = $smtpd_tls_cert_file\ntls_home = ${config_directory}/tls\n"
	    "smtpd_tls_cert_file = $(tls_home)/mail.pem\nsmtp_tls_chain_files = # no comment here\n"
	    "   /a/rsa.key,\n# between\n\t/a/rsa.pem\nsmtpd_tls_eccert_file = none\n"
	    "tls_server_sni_maps = hash:$config_directory/sni, ldap:/etc/postfix/ldap.cf\n"
	    "lmtp_tls_cert_file = ${smtpd_tls_eccert_file\nsmtpd_tls_CAfile = /a/ca.pem\n");
	put(r.folder, "/etc/postfix/sni",
	    "# hosts\nmail.test /a/sni.key /a/sni.pem\n.two.test /a/two.key,\n  /a/two.pem\n");
	put(r.folder, "/etc/postfix/master.cf",
	    "smtps inet n - y - - smtpd\n  -o smtpd_tls_cert_file=/a/smtps.pem -o mydestination=/a/no\n"
	    "  -o { smtpd_tls_key_file = /a/smtps.key }\n");
	others_read(r.folder, &o);
	cr_assert(has(&o, "postfix", "smtpd_tls_cert_file", "/etc/postfix/tls/mail.pem", 3));
	cr_assert(has(&o, "postfix", "smtpd_tls_key_file", "/etc/postfix/tls/mail.pem", 1));
	cr_assert(has(&o, "postfix", "smtp_tls_chain_files", "/a/rsa.key", 4));
	cr_assert(has(&o, "postfix", "smtp_tls_chain_files", "/a/rsa.pem", 4));
	cr_assert(has(&o, "postfix", "tls_server_sni_maps", "/a/sni.pem", 2));
	cr_assert(has(&o, "postfix", "tls_server_sni_maps", "/a/two.pem", 3));
	cr_assert(has(&o, "postfix", "smtpd_tls_cert_file", "/a/smtps.pem", 1));
	cr_assert(has(&o, "postfix", "smtpd_tls_key_file", "/a/smtps.key", 1));
	cr_assert_eq(o.n, 10);
	cr_assert(is_unknown(&o, "/etc/postfix/main.cf:9: tls_server_sni_maps"));
	cr_assert(is_unknown(&o, "/etc/postfix/main.cf:10: lmtp_tls_cert_file"));
	others_done(&o);
	run_end(&r);
}

Test(ctl_others, dovecot)
{
	struct run r;
	struct others o;
	run_begin(&r);
	put(r.folder, "/etc/dovecot/dovecot.conf",
	    "protocols = imap\n!include conf.d/*.conf\n!include_try local.conf\n!include gone.conf\n"
	    "local_name imap.test {\n  ssl_cert = < /a/imap.pem\n  ssl_key=</a/imap.key\n  log_path = /var/log/x\n}\n"
	    "ssl_server {\n  cert_file = /a/new.pem\n  key_file = \"/a/new.key\"\n}\ncert_file = /a/no.pem\n"
	    "ssl_server_alt_cert_file = /a/%{domain}.pem\n");
	put(r.folder, "/etc/dovecot/conf.d/10-ssl.conf",
	    "ssl = yes\n#ssl_cert = </a/no.pem\nssl_cert = </a/d.pem # its own\n");
	put(r.folder, "/etc/dovecot/conf.d/10-ssl.conf.bak", "ssl_cert = </a/bak.pem\n");
	others_read(r.folder, &o);
	cr_assert(has(&o, "dovecot", "ssl_cert", "/a/d.pem", 3));
	cr_assert(has(&o, "dovecot", "ssl_cert", "/a/imap.pem", 6));
	cr_assert(has(&o, "dovecot", "ssl_key", "/a/imap.key", 7));
	cr_assert(has(&o, "dovecot", "ssl_server_cert_file", "/a/new.pem", 11));
	cr_assert(has(&o, "dovecot", "ssl_server_key_file", "/a/new.key", 12));
	cr_assert_eq(o.n, 5);
	cr_assert(is_unknown(&o, "/etc/dovecot/dovecot.conf:4: !include"));
	cr_assert(is_unknown(&o, "/etc/dovecot/dovecot.conf:15: ssl_server_alt_cert_file"));
	others_done(&o);
	run_end(&r);
}

Test(ctl_others, exim)
{
	struct run r;
	struct others o;
	run_begin(&r);
	put(r.folder, "/var/lib/exim4/config.autogenerated",
	    "MAIN_TLS_ENABLE == true\n.ifdef _HAVE_TLS\n.ifndef MAIN_TLS_CERTIFICATE\n"
	    "MAIN_TLS_CERTIFICATE = CONFDIR/exim.crt\n.else\nMAIN_TLS_CERTIFICATE = /a/no.crt\n.endif\n"
	    "tls_certificate = MAIN_TLS_CERTIFICATE\ntls_privatekey = \\\n  ${if "
	    "exists{/a/$tls_in_sni.key}{/a/x}{/a/y}}\n.endif\n"
	    ".ifdef ABSENT\ntls_certificate = /a/absent.pem\n.endif\n"
	    "begin transports\nremote:\n  tls_certificate = /a/rsa.pem : /a/ec.pem\n");
	put(r.folder, "/etc/exim4/exim4.conf.template", "tls_certificate = /a/template.pem\n");
	others_read(r.folder, &o);
	cr_assert(has(&o, "exim", "tls_certificate", "/etc/exim4/exim.crt", 8));
	cr_assert(has(&o, "exim", "tls_certificate", "/a/rsa.pem", 17));
	cr_assert(has(&o, "exim", "tls_certificate", "/a/ec.pem", 17));
	cr_assert_eq(o.n, 3);
	cr_assert(is_unknown(&o, "/var/lib/exim4/config.autogenerated:9: tls_privatekey"));
	others_done(&o);
	run_end(&r);
}

Test(ctl_others, haproxy)
{
	struct run r;
	struct others o;
	run_begin(&r);
	put(r.folder, "/a/bundle.pem.rsa", "");
	put(r.folder, "/a/bundle.pem.ecdsa", "");
	put(r.folder, "/a/split.pem", "");
	put(r.folder, "/a/split.pem.key", "");
	put(r.folder, "/a/list.txt", "# all\n/a/l.pem [alpn h2] one.test !two.test\nrelative.pem\n");
	put(r.folder, "/etc/haproxy/haproxy.cfg",
	    "global\n  crt-base /base\n  log /dev/log local0 # crt /a/no.pem\ncrt-store web\n  load crt \"c.pem\" key "
	    "/a/k.key alias x\n"
	    "frontend f\n  bind :443 ssl crt /a/bundle.pem crt /a/split.pem crt-list /a/list.txt crt @web/x ca-file "
	    "/a/ca.pem crl-file /a/crl.pem\n"
	    "  bind :444 ssl crt ${CERTS}/e.pem\n  http-request set-header x /a/no\nbackend b\n  server s 10.0.0.1:443 "
	    "ssl crt /a/client\\ 1.pem\n");
	others_read(r.folder, &o);
	static const char *const paths[] = {"/base/c.pem",  "/a/bundle.pem.rsa", "/a/bundle.pem.ecdsa",
					    "/a/split.pem", "/a/split.pem.key",  "/a/client 1.pem"};
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		cr_assert(has(&o, "haproxy", "crt", paths[i], i == 0 ? 5 : i == 5 ? 11 : 7), "%s", paths[i]);
	cr_assert(has(&o, "haproxy", "key", "/a/k.key", 5));
	cr_assert(has(&o, "haproxy", "crt-list", "/a/l.pem", 2));
	cr_assert(has(&o, "haproxy", "crt-list", "/base/relative.pem", 3));
	cr_assert(has(&o, "haproxy", "ca-file", "/a/ca.pem", 7));
	cr_assert_eq(o.n, 10);
	cr_assert(is_unknown(&o, "/etc/haproxy/haproxy.cfg:8: crt"));
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
