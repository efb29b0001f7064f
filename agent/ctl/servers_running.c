/* Web servers that run now, from /proc. */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/disk.h"
#include "ctl/servers.h"

static const struct {
	const char *name;
	enum webconf_kind kind;
} programs[] = {{"nginx", WEBCONF_NGINX},     {"openresty", WEBCONF_NGINX}, {"angie", WEBCONF_NGINX},
		{"freenginx", WEBCONF_NGINX}, {"apache2", WEBCONF_APACHE},  {"httpd", WEBCONF_APACHE}};

/* Where its program lies, without the " (deleted)" of one that was replaced; NULL: not ours to know. */
static char *exe_of(pid_t pid)
{
	char path[64], target[PATH_MAX];
	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n <= 0)
		return NULL;
	target[n] = '\0';
	char *deleted = strstr(target, " (deleted)");
	if (deleted)
		*deleted = '\0';
	return xstrdup(target);
}

static pid_t parent_of(pid_t pid)
{
	char path[64], *bytes;
	size_t len;
	int parent = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (disk_read(path, 4096, &bytes, &len) < 0)
		return 0;
	const char *behind = strrchr(bytes, ')');
	if (!behind || sscanf(behind + 1, " %*c %d", &parent) != 1)
		parent = 0;
	free(bytes);
	return parent;
}

static bool has_our_root(pid_t pid)
{
	char path[64];
	struct stat ours, theirs;
	snprintf(path, sizeof path, "/proc/%d/root", (int)pid);
	return stat("/", &ours) < 0 || stat(path, &theirs) < 0 ||
	       (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino);
}

static bool is_foreign(pid_t pid)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d", (int)pid);
	return stat(path, &st) < 0 || (st.st_uid != 0 && st.st_uid != geteuid());
}

/* Words of /proc/PID/cmdline. nginx has written a title over it: "nginx: master process /usr/sbin/nginx -c FILE ...",
 * one word, whose parts are cut at spaces. */
static void read_arguments(pid_t pid, struct words *ret)
{
	static const char title[] = "nginx: master process ";
	char path[64], *bytes;
	size_t len;
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	if (disk_read(path, 1 << 20, &bytes, &len) < 0)
		return;
	if (strncmp(bytes, title, sizeof title - 1) == 0) {
		char *rest = bytes + sizeof title - 1;
		for (char *word; (word = strsep(&rest, " "));)
			if (*word)
				words_add(ret, word);
	} else {
		for (size_t at = 0; at < len; at += strlen(bytes + at) + 1)
			words_add(ret, bytes + at);
	}
	free(bytes);
}

/* The value of "-c VALUE" or "-cVALUE"; NULL: not given. */
static const char *option(const struct words *arguments, const char *name)
{
	for (size_t i = 1; i < arguments->n; i++) {
		const char *word = arguments->v[i];
		if (strncmp(word, name, 2) != 0)
			continue;
		if (word[2])
			return word + 2;
		if (i + 1 < arguments->n)
			return arguments->v[i + 1];
	}
	return NULL;
}

static void keep_arguments(struct server *s, const struct words *words)
{
	static const char *const kept[WEBCONF_KINDS] = {[WEBCONF_NGINX] = "pg", [WEBCONF_APACHE] = "dD"};
	for (size_t i = 1; i + 1 < words->n; i++) {
		const char *word = words->v[i];
		if (word[0] != '-' || !word[1] || word[2] || !strchr(kept[s->kind], word[1]) || word[1] == 'g')
			continue; /* nginx's title has lost the quotes of -g */
		words_add(&s->arguments, word);
		words_add(&s->arguments, words->v[i + 1]);
	}
}

static void describe(struct server *s, pid_t pid, char *exe)
{
	struct words words = {0};
	read_arguments(pid, &words);
	s->pid = pid;
	s->binary = exe;
	s->elsewhere = !has_our_root(pid);
	s->foreign = is_foreign(pid);
	const char *config = option(&words, s->kind == WEBCONF_NGINX ? "-c" : "-f");
	const char *prefix = option(&words, s->kind == WEBCONF_NGINX ? "-p" : "-d");
	s->prefix = xstrdup(prefix);
	if (config && *config != '/' && prefix)
		s->config = xasprintf("%s/%s", prefix, config);
	else
		s->config = xstrdup(config);
	for (size_t i = 1; s->kind == WEBCONF_APACHE && i < words.n; i++) {
		if (strcmp(words.v[i], "-D") == 0 && i + 1 < words.n)
			words_add(&s->facts.defines, words.v[i + 1]);
		else if (strncmp(words.v[i], "-D", 2) == 0 && words.v[i][2])
			words_add(&s->facts.defines, words.v[i] + 2);
	}
	keep_arguments(s, &words);
	if (s->elsewhere)
		words_add(&s->problems, "it runs in a container or chroot with a root of its own: its paths mean "
					"nothing here; install certswap inside of it");
	words_done(&words);
}

static void look_at(struct servers *ret, pid_t pid)
{
	char *exe = exe_of(pid);
	const char *slash = exe ? strrchr(exe, '/') : NULL;
	for (size_t i = 0; slash && i < ARRAY_SIZE(programs); i++) {
		if (strcmp(slash + 1, programs[i].name) != 0)
			continue;
		AUTO_FREE char *above = exe_of(parent_of(pid));
		if (above && strcmp(above, exe) == 0)
			break; /* a worker */
		ret->v = xrealloc(ret->v, (ret->n + 1) * sizeof *ret->v);
		ret->v[ret->n] = (struct server){.kind = programs[i].kind};
		describe(&ret->v[ret->n++], pid, exe);
		return;
	}
	free(exe);
}

void servers_find_running(struct servers *ret)
{
	DIR *proc = opendir("/proc");
	for (struct dirent *e; proc && (e = readdir(proc));)
		if (isdigit((unsigned char)*e->d_name))
			look_at(ret, (pid_t)strtol(e->d_name, NULL, 10));
	if (proc)
		closedir(proc);
}
