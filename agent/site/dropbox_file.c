#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/dropbox.h"

/* A name for a folder that says when and what; only harmless characters of the file's name. */
static char *rejected_name(const char *name)
{
	char now[32];
	text_from_time_ms(clock_wall_ms(), now);
	char *s = xasprintf("%.23s-%.100s", now, name);
	for (char *p = s; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p))
			*p = '_';
	return s;
}

static bool is_there(int folder, const char *entry)
{
	return faccessat(folder, entry, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static char *in_one_line(const char *why)
{
	struct text t = {0};
	for (const char *at = why; *at;) {
		size_t n = strcspn(at, "\n");
		text_add(&t, "%s%.*s", t.len ? "; " : "", (int)n, at);
		at += n;
		at += strspn(at, "\n");
	}
	return t.s ? t.s : xstrdup("");
}

int dropbox_reject(struct site *site, int folder, const char *entry, const char *name, const char *why)
{
	struct fault fault = {0};
	AUTO_FREE char *base = rejected_name(name), *text = xasprintf("%s\n", why);
	AUTO_FREE char *target = xstrdup(base);
	for (int i = 2; is_there(site->folders.rejected, target); i++) {
		free(target);
		target = xasprintf("%s.%d", base, i);
	}
	AUTO_CLOSE int to = files_open_folder(site->folders.rejected, target, 0700, &fault);
	int r = to < 0 ? to : files_create(to, "why.txt", text, strlen(text), 0600, &fault);
	if (r == 0)
		r = files_move(folder, entry, to, strcmp(name, "why.txt") == 0 ? "file-why.txt" : name, &fault);
	if (r < 0 && is_there(folder, entry)) { /* a move whose sync failed is a move all the same */
		log_error("reject-failed", "%s is refused (%s), but stays where it is: %s", name, why, fault.text);
		return r;
	}
	AUTO_FREE char *line = in_one_line(why);
	audit_write(site->audit, "rejected", NULL, json_pack("{ss}", "folder", target), "%s: %s", name, line);
	return 0;
}

bool dropbox_is_being_written(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

int dropbox_look(int folder, const char *entry, size_t max, struct fault *fault)
{
	struct stat st;
	/* not even opened: that alone makes some devices do something */
	if (fstatat(folder, entry, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return fault_set(fault, -EPERM, "not a regular file");
	int fd = openat(folder, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int error = fd < 0 ? errno : EIO; /* what is open can be looked at, but for trouble of the machine */
		auto_close_(&fd);
		return error == ELOOP ? fault_set(fault, -ELOOP, "a symbolic link: put the file itself here")
				      : fault_errno(fault, error, "can't be opened");
	}
	const char *wrong = !S_ISREG(st.st_mode) ? "not a regular file"
			    : st.st_uid != 0 && st.st_uid != geteuid()
				    ? "owned by neither root nor the agent's user: it is not read"
			    : st.st_nlink != 1 ? "a hard link to a file elsewhere: put a copy here"
					       : NULL;
	int r = wrong ? fault_set(fault, -EPERM, "%s", wrong) : 0;
	if (r == 0 && dropbox_is_being_written(fd))
		r = -EBUSY;
	if (r == 0 && (uintmax_t)st.st_size > max)
		r = fault_set(fault, -EFBIG, "TOO_LARGE: %lld bytes; a certificate or key has at most %zu",
			      (long long)st.st_size, max);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}
