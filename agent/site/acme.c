#include "site/acme.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"

#define FILE_MAX   65536
#define ARI_MAJOR  4 /* certbot asks for renewal information since 4.1.0 */
#define ARI_MINOR  1
#define TIMER_WAYS 6

static const char *const client_name[] = {[ACME_NONE] = "",
					  [ACME_CERTBOT] = "certbot",
					  [ACME_LEGO] = "lego",
					  [ACME_DEHYDRATED] = "dehydrated",
					  [ACME_SH] = "acme.sh"};
_Static_assert(ARRAY_SIZE(client_name) == ACME_CLIENTS, "a name for each");

const char *acme_client_name(enum acme_client client)
{
	return client_name[client];
}

/* ---- who it is ---- */

static bool is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

/* The first file that a pattern finds; NULL: none. The caller frees. */
static char *first_of(const char *folder, const char *pattern)
{
	glob_t found;
	AUTO_FREE char *whole = xasprintf("%s/%s", folder, pattern);
	char *path = glob(whole, 0, NULL, &found) == 0 ? xstrdup(found.gl_pathv[0]) : NULL;
	globfree(&found);
	return path;
}

/* /etc/letsencrypt/live/NAME -> /etc/letsencrypt/renewal/NAME.conf */
static char *certbot_file(const char *folder)
{
	AUTO_FREE char *copy = xstrdup(folder);
	size_t len = strlen(copy);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	char *name = strrchr(copy, '/');
	if (!name || name == copy)
		return NULL;
	*name++ = '\0';
	char *live = strrchr(copy, '/');
	if (!live || strcmp(live, "/live") != 0)
		return NULL;
	*live = '\0';
	return xasprintf("%s/renewal/%s.conf", copy, name);
}

enum acme_client acme_recognise(const char *folder, char **ret_file)
{
	char *file = certbot_file(folder);
	*ret_file = xstrdup("");
	if (file && is_there(file)) {
		free(*ret_file);
		*ret_file = file;
		return ACME_CERTBOT;
	}
	free(file);
	AUTO_FREE char *csr = xasprintf("%s/cert.csr", folder);
	AUTO_FREE char *lego = first_of(folder, "*.issuer.crt");
	AUTO_FREE char *sh = first_of(folder, "*.csr.conf");
	if (sh) {
		AUTO_FREE char *stem = xstrndup(sh, strlen(sh) - strlen(".csr.conf"));
		free(*ret_file);
		*ret_file = xasprintf("%s.conf", stem);
		return ACME_SH;
	}
	if (lego)
		return ACME_LEGO;
	if (!is_there(csr))
		return ACME_NONE;
	free(*ret_file);
	*ret_file = xasprintf("%s/config", folder);
	return ACME_DEHYDRATED;
}

/* ---- what can't work ---- */

/* The value of "key = value" or "KEY='value'" on a line of its own; NULL: it is not there. The caller frees. */
static char *value_of(const char *file, const char *key)
{
	size_t len = strlen(key);
	for (const char *line = file; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) != 0)
			continue;
		const char *from = line + len + strspn(line + len, " ");
		if (*from != '=')
			continue;
		from += 1 + strspn(from + 1, " '\"");
		return xstrndup(from, strcspn(from, " '\"\r\n"));
	}
	return NULL;
}

static bool is_value(const char *file, const char *key, const char *wanted)
{
	AUTO_FREE char *value = value_of(file, key);
	return value && strcasecmp(value, wanted) == 0;
}

static bool knows_ari(const char *file)
{
	AUTO_FREE char *version = value_of(file, "version");
	unsigned int major = 0, minor = 0;
	if (!version || sscanf(version, "%u.%u", &major, &minor) != 2)
		return true; /* nothing is known: nothing is said */
	return major > ARI_MAJOR || (major == ARI_MAJOR && minor >= ARI_MINOR);
}

static bool reuses_key(const struct acme_facts *f)
{
	switch (f->client) {
	case ACME_CERTBOT:
		return is_value(f->file, "reuse_key", "True");
	case ACME_DEHYDRATED:
		return is_value(f->file, "PRIVATE_KEY_RENEW", "no");
	case ACME_SH: /* it keeps the key unless it is told otherwise */
		return *f->file && !is_value(f->file, "Le_ForceNewDomainKey", "1");
	case ACME_LEGO:
	case ACME_NONE:
	case ACME_CLIENTS:
		break;
	}
	return false;
}

void acme_judge(const struct acme_facts *f, struct words *ret)
{
	const char *name = client_name[f->client];
	bool says_reuse = words_has(f->command, "--reuse-key");
	bool says_new = words_has(f->command, "--new-key") || words_has(f->command, "--always-force-new-domain-key");
	if (f->client == ACME_NONE)
		return;
	if (says_reuse || (reuses_key(f) && !says_new)) {
		AUTO_FREE char *text = xasprintf("%s keeps the old key when it renews: after a key compromise its new "
						 "certificate would be refused here",
						 name);
		words_add(ret, text);
	}
	if (f->client == ACME_CERTBOT && !f->has_ocsp && !knows_ari(f->file))
		words_add(ret, "this certbot does not know Renewal Information (it came with 4.1) and the certificate "
			       "names no OCSP responder: certbot can't notice a revocation; set reissue, so that "
			       "certswap makes it renew");
	if (!f->has_timer) {
		AUTO_FREE char *text =
			xasprintf("nothing on this host seems to start %s by itself (no timer, no cron job)", name);
		words_add(ret, text);
	}
}

/* ---- on this host ---- */

static bool has_timer(enum acme_client client)
{
	static const char *const ways[TIMER_WAYS] = {"/etc/systemd/system/timers.target.wants/*%s*.timer",
						     "/etc/systemd/system/*/*%s*.timer",
						     "/etc/cron.d/*%s*",
						     "/etc/cron.daily/*%s*",
						     "/etc/cron.weekly/*%s*",
						     "/var/spool/cron/crontabs/*"};
	for (size_t i = 0; i < TIMER_WAYS; i++) {
		const char *stars = strstr(ways[i], "%s");
		AUTO_FREE char *pattern =
			stars ? xasprintf("%.*s%s%s", (int)(stars - ways[i]), ways[i], client_name[client], stars + 2)
			      : xstrdup(ways[i]);
		AUTO_FREE char *found = first_of("", pattern + 1);
		if (found)
			return true;
	}
	return false;
}

enum acme_client acme_look(const struct words *folders, const struct words *command, bool has_ocsp, struct words *ret)
{
	enum acme_client last = ACME_NONE;
	for (size_t i = 0; i < folders->n; i++) {
		AUTO_FREE char *path = NULL;
		AUTO_FREE char *content = NULL;
		enum acme_client client = acme_recognise(folders->v[i], &path);
		if (*path)
			(void)files_read(AT_FDCWD, path, FILE_MAX, &content, NULL, NULL); /* none: nothing is said */
		const struct acme_facts facts = {.client = client,
						 .file = content ? content : "",
						 .command = command,
						 .has_ocsp = has_ocsp,
						 .has_timer = has_timer(client)};
		acme_judge(&facts, ret);
		last = client ? client : last;
	}
	return last;
}
