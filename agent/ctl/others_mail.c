/* Postfix, Dovecot and Exim. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ctl/others_read.h"

static bool is_one_of(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* "name = value" in place: *ret_value behind the '=', both trimmed; NULL: no such line. */
static char *cut_setting(char *line, char **ret_value)
{
	char *equals = strchr(line, '=');
	if (!equals)
		return NULL;
	*equals = '\0';
	*ret_value = others_trim(equals + 1);
	return others_trim(line);
}

/* --- Postfix: postconf(5), master(5) --- */

static bool is_postfix(const char *name)
{
	static const char *const ends[] = {"_tls_cert_file",  "_tls_key_file",  "_tls_eccert_file", "_tls_eckey_file",
					   "_tls_dcert_file", "_tls_dkey_file", "_tls_chain_files"};
	const char *tls = strstr(name, "_tls_");
	return tls && is_one_of(ends, ARRAY_SIZE(ends), tls);
}

/* $name, ${name} and $(name) by what main.cf says; NULL: one has no value here. The caller frees. */
static char *put_parameters(const struct others_source *s, const char *text, unsigned int depth)
{
	struct text out = {0};
	while (*text) {
		if (*text != '$') {
			text_add_bytes(&out, text++, 1);
			continue;
		}
		bool bracket = text[1] == '{' || text[1] == '(';
		const char *name = text + 1 + bracket;
		size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
		AUTO_FREE char *word = xstrndup(name, n);
		const char *value = n ? others_value(s, word) : NULL;
		char *whole = value && depth < 8 ? put_parameters(s, value, depth + 1) : NULL;
		if (!whole || (bracket && name[n] != '}' && name[n] != ')')) {
			free(whole);
			text_done(&out);
			return NULL;
		}
		text_add(&out, "%s", whole);
		free(whole);
		text = name + n + bracket;
	}
	return out.s ? out.s : xstrdup("");
}

/* name /key /cert, or with commas */
static void read_sni_map(struct others_source *s, char *bytes)
{
	uint32_t next = 1;
	for (char *line; (line = others_line(s, &bytes, &next, true)); free(line)) {
		char *rest = line;
		for (char *word; (word = strsep(&rest, " \t\r\n,"));)
			if (*word == '/')
				others_add(s, "tls_server_sni_maps", word);
	}
}

static void take_sni_map(struct others_source *s, const char *map)
{
	static const char *const types[] = {"hash", "btree", "lmdb", "texthash", "cdb", "dbm", "sdbm"};
	size_t n = strcspn(map, ":");
	AUTO_FREE char *type = xstrndup(map, n);
	if (map[n] != ':' || map[n + 1] != '/' || !is_one_of(types, ARRAY_SIZE(types), type))
		others_unknown(s, "tls_server_sni_maps", "a table that can't be read here");
	else if (!others_read_files(s, map + n + 1, read_sni_map))
		others_unknown(s, "tls_server_sni_maps", "the text of its table is not there");
}

static void take_postfix(struct others_source *s, const char *name, const char *value)
{
	bool map = strcmp(name, "tls_server_sni_maps") == 0;
	if (!map && !is_postfix(name))
		return;
	AUTO_FREE char *whole = put_parameters(s, value, 0);
	char *rest = whole;
	if (!whole)
		others_unknown(s, name, "it holds a variable that has no value here");
	for (char *word; rest && (word = strsep(&rest, " \t\r\n,"));) {
		if (!*word || strcmp(word, "none") == 0)
			continue;
		if (map)
			take_sni_map(s, word);
		else if (*word == '/')
			others_add(s, name, word);
		else
			others_unknown(s, name, "no absolute path");
	}
}

static void read_main_cf(struct others_source *s, char *bytes)
{
	AUTO_FREE char *again = xstrdup(bytes);
	char *first = again;
	uint32_t next = 1;
	AUTO_FREE char *folder = xstrndup(s->file, (size_t)(strrchr(s->file, '/') - s->file));
	words_done(&s->values);
	others_set(s, "config_directory", folder);
	for (char *line, *value, *name; (line = others_line(s, &first, &next, true)); free(line))
		if ((name = cut_setting(line, &value)))
			others_set(s, name, value);
	next = 1;
	for (char *line, *value, *name; (line = others_line(s, &bytes, &next, true)); free(line))
		if ((name = cut_setting(line, &value)))
			take_postfix(s, name, value);
}

/* -o name=value, -o { name = value } */
static void read_master_cf(struct others_source *s, char *bytes)
{
	uint32_t next = 1;
	for (char *line; (line = others_line(s, &bytes, &next, true)); free(line)) {
		for (char *at = line; (at = strstr(at, "-o"));) {
			at += 2 + strspn(at + 2, " \t");
			bool braces = *at == '{';
			at += braces;
			size_t n = strcspn(at, braces ? "}" : " \t");
			AUTO_FREE char *setting = xstrndup(at, n);
			char *value, *name = cut_setting(setting, &value);
			if (name)
				take_postfix(s, name, value);
			at += n;
		}
	}
}

void others_postfix(struct others_source *s)
{
	others_read_files(s, "/etc/postfix/main.cf", read_main_cf);
	others_read_files(s, "/etc/postfix/master.cf", read_master_cf);
	others_read_files(s, "/etc/postfix-*/main.cf", read_main_cf); /* postmulti(1) */
}

/* --- Dovecot --- */

static void read_dovecot(struct others_source *s, char *bytes);

static void include_dovecot(struct others_source *s, const char *word, char *pattern)
{
	AUTO_FREE char *folder = xstrndup(s->file, (size_t)(strrchr(s->file, '/') - s->file));
	AUTO_FREE char *whole = *pattern == '/' ? xstrdup(pattern) : xasprintf("%s/%s", folder, pattern);
	if (!others_read_files(s, whole, read_dovecot) && strcmp(word, "!include") == 0 && !strpbrk(whole, "*?["))
		others_unknown(s, "!include", "the file is not there");
}

static void take_dovecot(struct others_source *s, const char *block, const char *key, char *value)
{
	static const char *const keys[] = {"ssl_cert",
					   "ssl_key",
					   "ssl_alt_cert",
					   "ssl_alt_key",
					   "ssl_client_cert",
					   "ssl_client_key",
					   "ssl_server_cert_file",
					   "ssl_server_key_file",
					   "ssl_server_alt_cert_file",
					   "ssl_server_alt_key_file",
					   "ssl_client_cert_file",
					   "ssl_client_key_file"};
	bool below = strcmp(block, "ssl_server") == 0 || strcmp(block, "ssl_client") == 0;
	AUTO_FREE char *name = below ? xasprintf("%s_%s", block, key) : xstrdup(key);
	if (!is_one_of(keys, ARRAY_SIZE(keys), name))
		return;
	char *comment = strstr(value, " #");
	if (comment)
		*comment = '\0';
	value += *value == '<';
	value = others_trim(value);
	if (strpbrk(value, "$%"))
		others_unknown(s, name, "it holds a variable");
	else if (*value == '/')
		others_add(s, name, value);
	else if (*value)
		others_unknown(s, name, "no absolute path");
}

/* Blocks by their first word; a line is "name = value", "name {", "}" or "!include path". */
static void read_dovecot(struct others_source *s, char *bytes)
{
	struct words blocks = {0};
	uint32_t next = 1;
	for (char *line; (line = others_line(s, &bytes, &next, false)); free(line)) {
		char *text = others_trim(line), *value, *key;
		size_t n = strcspn(text, " \t{");
		AUTO_FREE char *word = xstrndup(text, n);
		size_t len = strlen(text);
		if (strcmp(word, "!include") == 0 || strcmp(word, "!include_try") == 0)
			include_dovecot(s, word, others_trim(text + n));
		else if (*text == '}' && blocks.n)
			free(blocks.v[--blocks.n]);
		else if (len && text[len - 1] == '{')
			words_add(&blocks, word);
		else if ((key = cut_setting(text, &value)))
			take_dovecot(s, blocks.n ? blocks.v[blocks.n - 1] : "", key, value);
	}
	words_done(&blocks);
}

void others_dovecot(struct others_source *s)
{
	if (others_read_files(s, "/etc/dovecot/dovecot.conf", read_dovecot))
		return;
	others_read_files(s, "/etc/dovecot/conf.d/*.conf", read_dovecot);
	others_read_files(s, "/etc/dovecot/local.conf", read_dovecot);
}

/* --- Exim --- */

/* Macros stand for their text wherever they stand; a later one may use those before it. */
static char *put_macros(const struct others_source *s, const char *text)
{
	char *whole = xstrdup(text);
	for (size_t i = s->values.n; i-- > 0;) {
		const char *equals = strchr(s->values.v[i], '=');
		AUTO_FREE char *name = xstrndup(s->values.v[i], (size_t)(equals - s->values.v[i]));
		char *found = strstr(whole, name);
		if (!found || strcmp(others_value(s, name), equals + 1) != 0)
			continue;
		char *more = xasprintf("%.*s%s%s", (int)(found - whole), whole, equals + 1, found + strlen(name));
		free(whole);
		whole = more;
	}
	return whole;
}

static void take_exim(struct others_source *s, const char *name, const char *value)
{
	AUTO_FREE char *whole = put_macros(s, value);
	char *rest = whole;
	if (strchr(whole, '$')) {
		others_unknown(s, name, "it is expanded anew for each connection");
		return;
	}
	for (char *word; (word = strsep(&rest, ":"));) {
		word = others_trim(word);
		if (*word == '/')
			others_add(s, name, word);
		else if (*word)
			others_unknown(s, name, "no absolute path");
	}
}

/* .ifdef, .ifndef, .else, .endif: *skipped counts those around that do not hold. true: the line was one of them. */
static bool exim_condition(const struct others_source *s, const char *text, unsigned int *skipped)
{
	bool ifdef = strncmp(text, ".ifdef ", 7) == 0, ifndef = strncmp(text, ".ifndef ", 8) == 0;
	if (ifdef || ifndef) {
		AUTO_FREE char *name = xstrdup(text + (ifdef ? 7 : 8));
		char *word = others_trim(name);
		bool known = *word == '_' /* what was built in: _HAVE_TLS */ || others_value(s, word);
		*skipped += *skipped || known != ifdef;
	} else if (strncmp(text, ".else", 5) == 0) {
		*skipped = *skipped > 1 ? *skipped : !*skipped;
	} else if (strncmp(text, ".endif", 6) == 0) {
		*skipped -= *skipped > 0;
	} else {
		return false;
	}
	return true;
}

static void read_exim(struct others_source *s, char *bytes)
{
	static const char *const names[] = {"tls_certificate", "tls_privatekey"};
	unsigned int skipped = 0;
	uint32_t next = 1;
	for (char *line; (line = others_line(s, &bytes, &next, false)); free(line)) {
		char *text = others_trim(line), *value, *name;
		if (exim_condition(s, text, &skipped) || skipped)
			continue;
		if (strncmp(text, ".include", 8) == 0) {
			others_read_files(s, others_trim(text + strcspn(text, " \t")), read_exim);
			continue;
		}
		name = cut_setting(text, &value);
		if (name && *value == '=') /* a macro defined anew */
			value = others_trim(value + 1);
		if (name && isupper((unsigned char)*name)) {
			AUTO_FREE char *whole = put_macros(s, value);
			others_set(s, name, whole);
		} else if (name && is_one_of(names, ARRAY_SIZE(names), name)) {
			take_exim(s, name, value);
		}
	}
}

void others_exim(struct others_source *s)
{
	static const char *const parts[] = {"/etc/exim4/exim4.conf.localmacros", "/etc/exim4/exim4.conf.template",
					    "/etc/exim4/conf.d/main/*"};
	others_set(s, "CONFDIR", "/etc/exim4");
	/* Debian: the administrator's own file, else what update-exim4.conf made of the parts */
	if (!others_read_files(s, "/etc/exim4/exim4.conf", read_exim) &&
	    !others_read_files(s, "/var/lib/exim4/config.autogenerated", read_exim))
		for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
			others_read_files(s, parts[i], read_exim);
	others_read_files(s, "/etc/exim/exim.conf", read_exim);
}
