#include "ctl/others.h"

#include <ctype.h>
#include <dirent.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ctl/disk.h"

#define CONFIG_MAX (4 * 1024 * 1024)

static const struct program {
	const char *name;
	const char *files[6];       /* glob(7) */
	const char *directives[12]; /* before a '='; HAProxy: words that the path follows */
} programs[] = {
	{"postfix",
	 {"/etc/postfix/main.cf", "/etc/postfix/master.cf"},
	 {"smtpd_tls_cert_file", "smtpd_tls_key_file", "smtpd_tls_eccert_file", "smtpd_tls_eckey_file",
	  "smtpd_tls_chain_files", "smtp_tls_cert_file", "smtp_tls_key_file", "smtp_tls_chain_files",
	  "tls_server_sni_maps"}},
	{"dovecot",
	 {"/etc/dovecot/dovecot.conf", "/etc/dovecot/conf.d/*.conf", "/etc/dovecot/local.conf"},
	 {"ssl_cert", "ssl_key", "ssl_alt_cert", "ssl_alt_key", "ssl_server_cert_file", "ssl_server_key_file"}},
	{"exim",
	 {"/etc/exim4/exim4.conf", "/etc/exim4/exim4.conf.template", "/etc/exim4/exim4.conf.localmacros",
	  "/etc/exim4/conf.d/main/*", "/etc/exim/exim.conf"},
	 {"tls_certificate", "tls_privatekey", "MAIN_TLS_CERTIFICATE", "MAIN_TLS_PRIVATEKEY", "MAIN_TLS_CERTKEY"}},
	{"haproxy", {"/etc/haproxy/haproxy.cfg", "/etc/haproxy/conf.d/*.cfg"}, {"crt", "crt-list", "ca-file"}},
};

static void add(struct others *o, const struct program *p, const char *directive, const char *file, uint32_t line,
		const char *path)
{
	if (o->n >= OTHERS_MAX || *path != '/')
		return;
	o->v = xrealloc(o->v, (o->n + 1) * sizeof *o->v);
	o->v[o->n++] = (struct other){p->name, xstrdup(directive), xstrdup(file), xstrdup(path), line};
}

/* HAProxy's crt may be a folder: then every file in it. */
static void add_path(struct others *o, const struct program *p, const char *directive, const char *file, uint32_t line,
		     const char *path)
{
	DIR *folder = strcmp(p->name, "haproxy") == 0 ? opendir(path) : NULL;
	if (!folder) {
		add(o, p, directive, file, line, path);
		return;
	}
	for (struct dirent *e; (e = readdir(folder));) {
		AUTO_FREE char *whole = xasprintf("%s/%s", path, e->d_name);
		if (*e->d_name != '.')
			add(o, p, directive, file, line, whole);
	}
	closedir(folder);
}

static const char *directive_of(const struct program *p, const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->directives) && p->directives[i]; i++)
		if (strcmp(p->directives[i], word) == 0)
			return p->directives[i];
	return NULL;
}

/* Every word after a directive that is a path, up to the next directive: "name = </path", "name = /a, /b", "crt /a".
 * `last` goes on over continued lines (Postfix: those that begin with white space). */
static void read_line(struct others *o, const struct program *p, const char *file, uint32_t number, char *line,
		      const char **last)
{
	if (!isspace((unsigned char)*line))
		*last = NULL;
	for (char *word; (word = strsep(&line, " \t\r=,<\"'{}"));) {
		const char *directive = directive_of(p, word);
		if (*word == '#')
			return;
		if (directive)
			*last = directive;
		else if (*last && *word == '/')
			add_path(o, p, *last, file, number, word);
	}
}

static void read_file(struct others *o, const struct program *p, const char *root, const char *path)
{
	char *bytes;
	size_t len;
	uint32_t number = 0;
	const char *last = NULL;
	if (disk_read(path, CONFIG_MAX, &bytes, &len) < 0)
		return;
	char *rest = bytes;
	for (char *line; (line = strsep(&rest, "\n"));)
		read_line(o, p, path + strlen(root), ++number, line, &last);
	free(bytes);
}

void others_read(const char *root, struct others *ret)
{
	*ret = (struct others){0};
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(programs[i].files) && programs[i].files[j]; j++) {
			AUTO_FREE char *pattern = xasprintf("%s%s", root, programs[i].files[j]);
			glob_t found;
			if (glob(pattern, 0, NULL, &found) == 0)
				for (size_t k = 0; k < found.gl_pathc; k++)
					read_file(ret, &programs[i], root, found.gl_pathv[k]);
			globfree(&found);
		}
	}
}

void others_done(struct others *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->v[i].directive);
		free(o->v[i].file);
		free(o->v[i].path);
	}
	free(o->v);
	*o = (struct others){0};
}
