/* Which ACME client keeps a pair, told by the files that it keeps beside it. */
#include <ctype.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "ctl/adopt_plan.h"

#define CLIENT_CONF_MAX (256 * 1024)

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return xstrndup(path, slash ? (size_t)(slash - path) : 0);
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Where the shell would find a program; NULL: nowhere. The caller's. */
static char *program(const char *name)
{
	const char *path = getenv("PATH"), *fallback = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	AUTO_FREE char *list = xstrdup(path ? path : fallback);
	char *rest = NULL;
	for (char *dir = strtok_r(list, ":", &rest); dir; dir = strtok_r(NULL, ":", &rest)) {
		char *found = xasprintf("%s/%s", dir, name);
		if (*found == '/' && access(found, X_OK) == 0)
			return found;
		free(found);
	}
	return NULL;
}

static void set_reissue(struct plan *p, const char *const *words, size_t n)
{
	for (size_t i = 0; p->client_path && i < n; i++)
		words_add(&p->reissue, words[i]);
}

/* FOLDER/live/LINEAGE/fullchain.pem beside FOLDER/renewal/LINEAGE.conf */
static bool is_certbot(struct plan *p, const char *path)
{
	AUTO_FREE char *lineage = folder_of(path), *live = folder_of(lineage), *top = folder_of(live);
	AUTO_FREE char *renewal = xasprintf("%s/renewal/%s.conf", top, base_of(lineage));
	if (strcmp(base_of(live), "live") != 0 || access(renewal, F_OK) < 0)
		return false;
	p->client = "certbot";
	p->client_path = program("certbot");
	p->lineage = xstrdup(base_of(lineage));
	words_add(&p->watch, lineage);
	const char *const words[] = {p->client_path,
				     "renew",
				     "--cert-name",
				     p->lineage,
				     "--force-renewal",
				     "--new-key",
				     "--no-random-sleep-on-renew",
				     "--config-dir",
				     top};
	set_reissue(p, words, strcmp(top, "/etc/letsencrypt") == 0 ? 7 : 9);
	return true;
}

/* NAME.crt beside NAME.json */
static bool is_lego(struct plan *p, const char *path)
{
	size_t len = strlen(path);
	if (len < 5 || strcmp(path + len - 4, ".crt") != 0)
		return false;
	AUTO_FREE char *json = xasprintf("%.*s.json", (int)(len - 4), path), *folder = folder_of(path);
	if (access(json, F_OK) < 0)
		return false;
	p->client = "lego"; /* its renew command needs what it was called with, which its files don't tell */
	p->lineage = xstrndup(base_of(path), strlen(base_of(path)) - 4);
	words_add(&p->watch, folder);
	return true;
}

/* fullchain.pem -> fullchain-1700000000.pem */
static bool is_dehydrated(struct plan *p, const char *path)
{
	char target[PATH_MAX];
	AUTO_FREE char *folder = folder_of(path);
	if (files_read_link(AT_FDCWD, path, target, sizeof target, NULL) < 0 || strchr(target, '/'))
		return false;
	const char *dash = strrchr(target, '-');
	if (!dash || !isdigit((unsigned char)dash[1]) || strspn(dash + 1, "0123456789") < 9)
		return false;
	p->client = "dehydrated";
	p->client_path = program("dehydrated");
	p->lineage = xstrdup(base_of(folder));
	words_add(&p->watch, folder);
	const char *const words[] = {p->client_path, "--cron", "--force", "--domain", p->lineage};
	set_reissue(p, words, ARRAY_SIZE(words));
	return true;
}

/* DOMAIN.conf of acme.sh says Le_Domain, and where --install-cert writes to. */
static bool take_acme_sh(struct plan *p, const char *conf, const char *path)
{
	char *bytes;
	if (files_read(AT_FDCWD, conf, CLIENT_CONF_MAX, &bytes, NULL, NULL) < 0)
		return false;
	AUTO_FREE char *text = bytes, *folder = folder_of(path), *own = folder_of(conf), *home = folder_of(own);
	const char *domain = strstr(text, "Le_Domain='");
	bool writes = strcmp(own, folder) == 0 || strstr(text, path) != NULL;
	if (!domain || !writes)
		return false;
	domain += strlen("Le_Domain='");
	p->client = "acme.sh";
	p->lineage = xstrndup(domain, strcspn(domain, "'"));
	p->client_path = xasprintf("%s/acme.sh", home);
	if (access(p->client_path, X_OK) < 0) {
		free(p->client_path);
		p->client_path = program("acme.sh");
	}
	words_add(&p->watch, folder);
	size_t len = strlen(own);
	bool ecc = len > 4 && strcmp(own + len - 4, "_ecc") == 0;
	const char *const words[] = {p->client_path, "--home", home, "--renew", "-d", p->lineage, "--force", "--ecc"};
	set_reissue(p, words, ecc ? 8 : 7);
	return true;
}

static bool is_acme_sh(struct plan *p, const char *path)
{
	glob_t found = {0};
	const char *home = getenv("HOME");
	AUTO_FREE char *folder = folder_of(path), *beside = xasprintf("%s/*.conf", folder),
		       *every = xasprintf("%s/.acme.sh/*/*.conf", home ? home : "/root");
	bool is = false;
	(void)glob(beside, 0, NULL, &found);
	if (glob(every, found.gl_pathc ? GLOB_APPEND : 0, NULL, &found) == GLOB_NOSPACE)
		return false;
	for (size_t i = 0; !is && i < found.gl_pathc; i++)
		is = take_acme_sh(p, found.gl_pathv[i], path);
	globfree(&found);
	return is;
}

static bool is_kept(struct plan *p, const char *path)
{
	return is_certbot(p, path) || is_lego(p, path) || is_dehydrated(p, path) || is_acme_sh(p, path);
}

void plan_find_client(struct plan *p)
{
	char target[PATH_MAX];
	for (int k = 0; k < PLAN_PARTS && !p->client; k++) {
		const char *path = p->paths[k];
		if (!path || p->ours[k] || is_kept(p, path))
			continue;
		/* a link into the client's tree */
		if (files_read_link(AT_FDCWD, path, target, sizeof target, NULL) == 0 && *target == '/')
			(void)is_kept(p, target);
	}
}
