#include "test_site_help.h"

#include <limits.h>

#include "site/dropbox_parts.h"

static struct site *site;
static struct fault fault;

static int look(const char *entry, size_t max)
{
	fault = (struct fault){0};
	int fd = dropbox_look(site->folders.incoming, entry, max, &fault);
	auto_close_(&fd);
	return fd;
}

SITE_TEST(dropbox, takes_only_files_of_ours_that_nobody_writes)
{
	site = site_make(files_folder, files_path);
	int box = site->folders.incoming;
	files_put(box, "good.pem", "12345");
	cr_expect_geq(look("good.pem", 5), 0, "%s", fault.text);
	cr_expect_eq(look("good.pem", 4), -EFBIG);
	cr_expect_not_null(strstr(fault.text, "TOO_LARGE: 5 bytes"));
	files_set_link(box, "link.pem", "good.pem");
	cr_expect_eq(look("link.pem", 100), -ELOOP);
	cr_expect_str_eq(fault.text, "a symbolic link: put the file itself here");
	cr_assert_eq(mkfifoat(box, "fifo", 0600), 0);
	cr_expect_eq(look("fifo", 100), -EPERM, "%s", fault.text);
	cr_assert_eq(mknodat(box, "socket", S_IFSOCK | 0600, 0), 0);
	cr_expect_eq(look("socket", 100), -EPERM, "%s: it was opened", fault.text);
	cr_assert_eq(mkdirat(box, "folder", 0700), 0);
	cr_expect_eq(look("folder", 100), -EPERM);
	cr_expect_eq(look("missing", 100), -ENOENT);
	cr_assert_eq(linkat(box, "good.pem", box, "second.pem", 0), 0);
	cr_expect_eq(look("good.pem", 100), -EPERM);
	cr_expect_not_null(strstr(fault.text, "hard link"));
	cr_assert_eq(unlinkat(box, "second.pem", 0), 0);
	int writer = openat(box, "good.pem", O_WRONLY | O_CLOEXEC);
	cr_expect_eq(look("good.pem", 100), -EBUSY, "somebody still writes it");
	close(writer);
	cr_expect_geq(look("good.pem", 100), 0);
	if (geteuid() == 0) {
		cr_assert_eq(fchownat(box, "good.pem", 12345, 12345, 0), 0);
		cr_expect_eq(look("good.pem", 100), -EPERM);
		cr_expect_not_null(strstr(fault.text, "owned by neither root nor the agent's user"));
	}
	site_done(site);
}

/* The only folder in rejected/ that holds this file; the caller frees. */
static char *rejected_folder(const char *file)
{
	struct words folders = {0};
	char *found = NULL;
	cr_assert_eq(files_list(site->folders.rejected, true, &folders, &fault), 0);
	for (size_t i = 0; i < folders.n; i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", folders.v[i], file);
		if (files_exist(site->folders.rejected, path) && !found)
			found = xstrdup(folders.v[i]);
	}
	words_done(&folders);
	return found;
}

SITE_TEST(dropbox, what_is_refused_goes_with_its_reason)
{
	static const char *const names[] = {"shop.pem", "a b;$(x).pem", "why.txt", "caf\xc3\xa9.pem", "..pem"};
	site = site_make(files_folder, files_path);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		files_put(site->folders.incoming, names[i], names[i]);
		dropbox_reject(site, site->folders.incoming, names[i], names[i],
			       "UNREADABLE: it is no certificate\n\nWhat to do: ask");
		const char *file = strcmp(names[i], "why.txt") == 0 ? "file-why.txt" : names[i];
		AUTO_FREE char *folder = rejected_folder(file);
		cr_assert_not_null(folder, "%s", names[i]);
		cr_expect(text_is_name(folder), "%s", folder);
		cr_expect_eq(files_mode(site->folders.rejected, folder), 0700);
		AUTO_FREE char *why = xasprintf("%s/why.txt", folder), *whole = xasprintf("%s/%s", folder, file);
		cr_expect_str_eq(files_get(site->folders.rejected, why),
				 "UNREADABLE: it is no certificate\n\nWhat to do: ask\n");
		cr_expect_str_eq(files_get(site->folders.rejected, whole), names[i]);
	}
	cr_expect_str_eq(files_all(site->folders.incoming), "");
	cr_expect_not_null(strstr(files_get(files_folder, "audit.jsonl"), "\"event\":\"rejected\""));
	cr_expect_not_null(
		strstr(files_get(files_folder, "audit.jsonl"), "certificate; What to do: ask")); /* in a line */
	site_done(site);
}

SITE_TEST(dropbox, the_same_name_in_the_same_moment_replaces_nothing)
{
	site = site_make(files_folder, files_path);
	for (int i = 0; i < 20; i++) {
		files_put(site->folders.incoming, "shop.pem", "x");
		dropbox_reject(site, site->folders.incoming, "shop.pem", "shop.pem", "no");
	}
	struct words folders = {0};
	cr_assert_eq(files_list(site->folders.rejected, true, &folders, &fault), 0);
	cr_expect_eq(folders.n, 20);
	for (size_t i = 0; i < folders.n; i++) {
		AUTO_FREE char *path = xasprintf("%s/shop.pem", folders.v[i]);
		cr_expect(files_exist(site->folders.rejected, path), "%s", path);
	}
	words_done(&folders);
	site_done(site);
}

SITE_TEST(dropbox, on_a_full_disk_a_refused_file_stays_where_it_is)
{
	files_small_disk(64);
	site = site_make(files_folder, files_path);
	files_put(site->folders.incoming, "shop.pem", "x");
	files_fill_disk();
	dropbox_reject(site, site->folders.incoming, "shop.pem", "shop.pem", "no");
	cr_expect_str_eq(files_get(site->folders.incoming, "shop.pem"), "x");
	site_done(site);
}

static struct dropbox *open_again(struct dropbox *box)
{
	dropbox_close(box);
	box = dropbox_open(site, &fault);
	cr_assert_not_null(box, "%s", fault.text);
	return box;
}

static const struct item *item_named(const struct dropbox *box, const char *name)
{
	for (size_t i = 0; i < box->nitems; i++)
		if (strcmp(box->items[i]->name, name) == 0)
			return box->items[i];
	return NULL;
}

/* Claimed before a stop, and not looked into: what is waiting is listed only once it is known what it is. */
SITE_TEST(dropbox, a_claim_is_one_rename_that_says_where_it_came_from)
{
	static const char *const names[] = {"a.pem", "a,b c.pem", "caf\xc3\xa9\n.pem"};
	static const char *const clean[] = {"a.pem", "a,b c.pem", "caf\xc3\xa9?.pem"};
	site = site_make(files_folder, files_path);
	struct dropbox *box = open_again(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		files_put(site->folders.incoming, names[i], names[i]);
		dropbox_claim(box, site->folders.incoming, i ? "shop" : "", names[i]);
	}
	cr_expect_str_eq(files_all(site->folders.incoming), "");
	for (int round = 0; round < 2; round++) {
		cr_assert_eq(box->nitems, ARRAY_SIZE(names));
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			const struct item *item = item_named(box, clean[i]);
			cr_assert_not_null(item, "%s", clean[i]);
			cr_expect_str_eq(item->box, i ? "shop" : "");
			cr_expect_str_eq(files_get(site->folders.work, item->file), names[i]);
		}
		box = open_again(box);
	}
	json_t *waiting = dropbox_waiting(box);
	cr_expect_eq(json_array_size(waiting), 0);
	json_decref(waiting);
	files_put(site->folders.incoming, "a.pem", "another");
	dropbox_claim(box, site->folders.incoming, "", "a.pem");
	cr_expect_eq(box->nitems, ARRAY_SIZE(names) + 1, "numbers go on after a restart");
	dropbox_close(box);
	site_done(site);
}

SITE_TEST(dropbox, the_longest_name_is_claimed_and_refused)
{
	char longest[NAME_MAX + 1];
	memset(longest, 'x', NAME_MAX);
	longest[NAME_MAX] = '\0';
	site = site_make(files_folder, files_path);
	struct dropbox *box = open_again(NULL);
	files_put(site->folders.incoming, longest, "1");
	dropbox_claim(box, site->folders.incoming, "shop", longest);
	cr_expect_str_eq(files_all(site->folders.incoming), "");
	box = open_again(box);
	cr_assert_eq(box->nitems, 1);
	cr_expect_str_eq(box->items[0]->box, "shop");
	dropbox_refuse_item(box, box->items[0], "no", NULL);
	cr_expect_eq(box->nitems, 0);
	cr_expect_str_eq(files_all(site->folders.work), "");
	dropbox_close(box);
	site_done(site);
}

SITE_TEST(dropbox, what_is_wiped_is_overwritten_and_gone)
{
	char zeros[5] = "?";
	site = site_make(files_folder, files_path);
	struct dropbox *box = open_again(NULL);
	files_put(site->folders.incoming, "key.pem", "12345");
	int fd = openat(site->folders.incoming, "key.pem", O_RDONLY | O_CLOEXEC);
	dropbox_claim(box, site->folders.incoming, "", "key.pem");
	dropbox_wipe_item(box, box->items[0]);
	cr_expect_str_eq(files_all(site->folders.work), "");
	cr_expect_eq(pread(fd, zeros, 5, 0), 5);
	cr_expect_eq(memcmp(zeros, "\0\0\0\0\0", 5), 0);
	close(fd);
	dropbox_close(box);
	site_done(site);
}

/* What is not ours in work/ is said, and left alone. */
SITE_TEST(dropbox, what_others_put_into_work_stays)
{
	static const char *const names[] = {"notes.txt", "000001", "000002,shop", ",shop,a.pem", "x1,shop,a.pem"};
	site = site_make(files_folder, files_path);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		files_put(site->folders.work, names[i], "x");
	cr_assert_eq(mkdirat(site->folders.work, "000004,shop,folder", 0700), 0);
	struct dropbox *box = open_again(NULL);
	cr_expect_eq(box->nitems, 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		cr_expect(files_exist(site->folders.work, names[i]), "%s", names[i]);
	dropbox_close(box);
	site_done(site);
}

/* Whoever reads the disk's blocks, or holds the file open, finds nothing of the key. */
SITE_TEST(dropbox, what_was_used_is_overwritten)
{
	static char got[3 * 4096], zeros[3 * 4096];
	site = site_make(files_folder, files_path);
	AUTO_FREE char *long_key = xmemdup(zeros, 5001);
	memset(long_key, 'k', 5000);
	files_put(site->folders.work, "000004,,a.pem", long_key);
	struct dropbox *box = dropbox_open(site, &fault);
	cr_assert_not_null(box, "%s", fault.text);
	cr_assert_eq(box->nitems, 1);
	AUTO_CLOSE int content = dropbox_open_item(box, box->items[0]);
	cr_assert_geq(content, 0);
	dropbox_wipe_item(box, box->items[0]);
	cr_expect_str_eq(files_all(site->folders.work), "");
	ssize_t n = pread(content, got, sizeof got, 0);
	cr_expect(n >= 5000 && memcmp(got, zeros, (size_t)n) == 0, "%zd bytes", n);
	dropbox_close(box);
	site_done(site);
}

/* Whoever handed it in must not read that the CA sent binary data. */
SITE_TEST(dropbox, a_wipe_that_was_cut_off_is_finished)
{
	static const char nothing[6000];
	site = site_make(files_folder, files_path);
	int fd = openat(site->folders.work, "000004,,a.pem", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, nothing, sizeof nothing), (ssize_t)sizeof nothing);
	cr_assert_eq(write(fd, "the end of a key", 16), 16);
	cr_assert_eq(fchmod(fd, S_ISVTX | 0600), 0);
	close(fd);
	struct dropbox *box = dropbox_open(site, &fault);
	cr_assert_not_null(box, "%s", fault.text);
	cr_expect_str_eq(files_all(site->folders.work), "");
	cr_expect_str_eq(files_all(site->folders.rejected), "");
	dropbox_close(box);
	site_done(site);
}

/* A disk that lost the content of a file shows zeros: whoever handed it in must hear of it. */
SITE_TEST(dropbox, zeros_that_somebody_handed_in_stay)
{
	static const char nothing[6000];
	site = site_make(files_folder, files_path);
	int fd = openat(site->folders.work, "000004,,a.pem", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, nothing, sizeof nothing), (ssize_t)sizeof nothing);
	struct dropbox *box = dropbox_open(site, &fault);
	cr_assert_not_null(box, "%s", fault.text);
	cr_assert_eq(box->nitems, 1);
	cr_expect_eq(box->items[0]->state, ITEM_NEW, "it is read like any other");
	struct stat st;
	AUTO_CLOSE int content = dropbox_open_item(box, box->items[0]);
	dropbox_wipe_item(box, box->items[0]);
	cr_expect(fstat(content, &st) == 0 && (st.st_mode & 07777) == (S_ISVTX | 0600), "a wipe is marked");
	close(fd);
	dropbox_close(box);
	site_done(site);
}
