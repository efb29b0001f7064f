#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/dropbox_parts.h"

#define WIPED_AT_ONCE 4096
#define WIPE_MODE     (S_ISVTX | 0600) /* from the beginning of a wipe on; nobody hands in such a file */

static const char zeros[WIPED_AT_ONCE];

static struct item *remember(struct dropbox *box, unsigned int number, const char *from, const char *name, char *file)
{
	struct item *item = xcalloc(1, sizeof *item);
	*item = (struct item){.all = box,
			      .file = file,
			      .name = text_printable(xstrdup(name)),
			      .box = xstrdup(from),
			      .since = clock_wall()};
	box->items = xrealloc(box->items, (box->nitems + 1) * sizeof(*box->items));
	box->items[box->nitems++] = item;
	box->last = number > box->last ? number : box->last;
	return item;
}

/* "000007,shop,new.pem": one rename claims a file and says where it came from. A name that is too long is cut off. */
static char *file_name(unsigned int number, const char *from, const char *entry)
{
	char *file = xasprintf("%06u,%s,%s", number, from, entry);
	if (strlen(file) > NAME_MAX)
		file[NAME_MAX] = '\0';
	return file;
}

void dropbox_claim(struct dropbox *box, int folder, const char *from, const char *entry)
{
	unsigned int number = box->last + 1;
	char *file = file_name(number, from, entry);
	if (renameat2(folder, entry, box->site->folders.work, file, RENAME_NOREPLACE) == 0) {
		const struct item *item = remember(box, number, from, entry, file);
		log_debug("claimed", "%s", item->name);
		return;
	}
	int error = errno;
	free(file);
	if (error == ENOENT)
		return;
	AUTO_FREE char *clean = text_printable(xstrdup(entry));
	log_warning("claim-failed", "%s: can't be moved to work/: %s", clean, strerror(error));
	dropbox_retry_later(box);
}

int dropbox_open_item(struct dropbox *box, const struct item *item)
{
	int fd = openat(box->site->folders.work, item->file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void dropbox_wipe_content(struct dropbox *box, const struct item *item)
{
	struct stat st;
	struct fault fault = {0};
	int work = box->site->folders.work;
	AUTO_CLOSE int fd = openat(work, item->file, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		(void)fchmod(fd, WIPE_MODE); /* without it a wipe that is cut off is told as a file without content */
		for (off_t at = 0; at < st.st_size; at += (off_t)sizeof zeros)
			if (pwrite(fd, zeros, sizeof zeros, at) < 0)
				break;
		(void)fsync(fd);
	}
	if (files_remove(work, item->file, &fault) < 0)
		log_warning("record-failed", "work/%s: %s", item->file, fault.text);
}

/* Has dropbox_wipe_item begun to overwrite it? Then there is nothing in it to look into any more. Zeros alone tell
 * nothing: somebody may have handed them in. */
static bool is_wiped(struct dropbox *box, const struct item *item, mode_t mode)
{
	char begin[WIPED_AT_ONCE];
	if ((mode & 07777) != WIPE_MODE)
		return false;
	AUTO_CLOSE int fd = dropbox_open_item(box, item);
	ssize_t n = fd < 0 ? -1 : read(fd, begin, sizeof begin);
	return n > 0 && memcmp(begin, zeros, (size_t)n) == 0;
}

/* What was claimed before the start. 0, or negative and fault: the machine is in trouble. */
static int take_up(struct dropbox *box, const char *file, struct fault *fault)
{
	unsigned int number;
	struct stat st = {0};
	int at = 0;
	const char *from = sscanf(file, "%9u,%n", &number, &at) == 1 && at ? file + at : "";
	const char *comma = strchr(from, ',');
	if (fstatat(box->site->folders.work, file, &st, AT_SYMLINK_NOFOLLOW) < 0 && fault_may_pass(-errno))
		return fault_errno(fault, errno, "work/%s can't be looked at", file);
	if (!comma || !S_ISREG(st.st_mode)) {
		log_error("record-failed", "work/%s is nothing of ours: move it to where it belongs", file);
		return 0;
	}
	AUTO_FREE char *name_of_box = xstrndup(from, (size_t)(comma - from));
	struct item *item = remember(box, number, name_of_box, comma + 1, xstrdup(file));
	item->since = st.st_ctim.tv_sec; /* of its last rename */
	item->taken_up = true;
	if (is_wiped(box, item, st.st_mode))
		dropbox_wipe_item(box, item);
	return 0;
}

int dropbox_take_up(struct dropbox *box, struct fault *fault)
{
	struct words names = {0};
	int r = files_list(box->site->folders.work, false, &names, fault);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = take_up(box, names.v[i], fault);
	words_done(&names);
	return r;
}
