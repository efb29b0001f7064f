#include "test_site_help.h"

#include "site/dropbox.h"

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
		dropbox_reject(site, site->folders.incoming, names[i], names[i], "UNREADABLE: it is no certificate");
		const char *file = strcmp(names[i], "why.txt") == 0 ? "file-why.txt" : names[i];
		AUTO_FREE char *folder = rejected_folder(file);
		cr_assert_not_null(folder, "%s", names[i]);
		cr_expect(text_is_name(folder), "%s", folder);
		cr_expect_eq(files_mode(site->folders.rejected, folder), 0700);
		AUTO_FREE char *why = xasprintf("%s/why.txt", folder), *whole = xasprintf("%s/%s", folder, file);
		cr_expect_str_eq(files_get(site->folders.rejected, why), "UNREADABLE: it is no certificate\n");
		cr_expect_str_eq(files_get(site->folders.rejected, whole), names[i]);
	}
	cr_expect_str_eq(files_all(site->folders.incoming), "");
	cr_expect_not_null(strstr(files_get(files_folder, "audit.jsonl"), "\"event\":\"rejected\""));
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

/* Claimed before a stop, and not looked into: what is waiting is listed only once it is known what it is. */
SITE_TEST(dropbox, a_claim_that_was_cut_off_leaves_nothing)
{
	site = site_make(files_folder, files_path);
	cr_assert_eq(mkdirat(site->folders.work, "000004", 0700), 0);
	files_put(site->folders.work, "000004/from.json", "{\"box\": \"\", \"name\": \"a.pem\", \"since\": 1}");
	struct dropbox *box = dropbox_open(site, &fault);
	cr_assert_not_null(box, "%s", fault.text);
	cr_expect_str_eq(files_all(site->folders.work), "");
	json_t *waiting = dropbox_waiting(box);
	cr_expect_eq(json_array_size(waiting), 0);
	json_decref(waiting);
	dropbox_close(box);
	site_done(site);
}
