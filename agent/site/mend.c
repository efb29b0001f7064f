#include "site/mend.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"

bool mend_leads_nowhere(const struct certificate *c)
{
	return faccessat(c->folder, "live/fullchain.pem", F_OK, 0) < 0 &&
	       (errno == ENOENT || errno == ENOTDIR || errno == ELOOP);
}

bool mend_is_gone(const struct certificate *c)
{
	struct stat st;
	return fstatat(c->folder, "live", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       faccessat(c->folder, "live/meta.json", F_OK, 0) < 0 &&
	       (errno == ENOENT || errno == ENOTDIR || errno == ELOOP);
}

/* Does live name a generation that we know, however much of it is gone? What is left may do to restore it, and a swap
 * replaces it like any other. */
static bool names_ours(const struct certificate *c)
{
	struct meta meta = {0};
	int number = store_link_number(c->folder, "live", NULL);
	bool known = number > 0 && store_read_meta(c->folder, (unsigned int)number, &meta, NULL) == 0;
	meta_done(&meta);
	return known;
}

/* Is this generation still as it was sealed, and not refused meanwhile? 1, 0, or -EAGAIN: it can't be told now. */
static int is_sound(const struct certificate *c, unsigned int number)
{
	struct meta meta = {0};
	int r = number ? store_read_meta(c->folder, number, &meta, NULL) : -ENOENT;
	if (r < 0)
		return fault_may_pass(r) ? -EAGAIN : 0;
	unsigned int changed = store_changed_files(c->folder, &meta);
	bool sound = !changed && !certificate_denial(c, &meta);
	meta_done(&meta);
	return changed == STORE_UNREADABLE ? -EAGAIN : sound;
}

/* Is it there, if damaged, and not refused meanwhile? */
static bool is_known(const struct certificate *c, unsigned int number)
{
	struct meta meta = {0};
	bool known = number && store_read_meta(c->folder, number, &meta, NULL) == 0 && !certificate_denial(c, &meta);
	meta_done(&meta);
	return known && store_link_number(c->folder, "live", NULL) != (int)number;
}

/* The generation of the last swap that succeeded; 0: unknown. */
static unsigned int last_right(const struct certificate *c)
{
	return c->last_swap.at_ms ? c->last_swap.to : 0;
}

static int put_back(const struct certificate *c, unsigned int right, bool there, struct fault *fault)
{
	char path[32];
	store_generation_path(right, path);
	if (!there)
		return files_link(c->folder, "live", path, fault);
	AUTO_FREE char *aside = xasprintf("live-of-somebody-%lld", (long long)clock_wall_ms());
	int r = files_link(c->folder, aside, path, fault);
	return r < 0 ? r : files_exchange(c->folder, "live", aside, fault);
}

int mend_live(struct certificate *c, unsigned int right)
{
	struct stat st;
	struct fault fault = {0};
	if (!mend_leads_nowhere(c))
		return 0;
	bool there = fstatat(c->folder, "live", &st, AT_SYMLINK_NOFOLLOW) == 0;
	right = right ? right : last_right(c);
	int sound = is_sound(c, right);
	if (sound < 0)
		return sound;
	if (sound || is_known(c, right)) { /* what is left of a damaged one may do to restore it */
		int r = put_back(c, right, there, &fault);
		if (r < 0) {
			log_warning("neighbour", "%s: %s", c->settings->name, fault.text);
			return fault_may_pass(r) ? -EAGAIN : 0;
		}
		audit_write(c->site->audit, "link-restored", c->settings->name,
			    json_pack("{sI}", "generation", (json_int_t)right),
			    "the link live %s: it names generation %u again", there ? "led nowhere" : "was gone",
			    right);
	} else if (there && S_ISLNK(st.st_mode) && !names_ours(c) && files_remove(c->folder, "live", &fault) == 0) {
		audit_write(
			c->site->audit, "link-removed", c->settings->name, NULL,
			"the link live led nowhere, and the generation that it should name is damaged: the next pair "
			"is a first one; hand one over");
	} else {
		return 0;
	}
	certificate_refresh(c);
	return 1;
}
