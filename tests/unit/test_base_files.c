#include "test_files_help.h"

#define ASSERT_OK(call) cr_assert_eq(call, 0, "%s", fault.text)
static struct fault fault;

/* These, and then the test's folder. */
static void expect_syncs(const char *before)
{
	AUTO_FREE char *want = xasprintf("%s %s", before, files_name());
	cr_expect_str_eq(files_syncs.log, want);
	files_syncs.log[0] = '\0';
}

/* ---- folders ---- */

FILES_TEST(folder, is_made_with_its_mode_whatever_the_umask)
{
	umask(0077);
	int fd = files_open_folder(files_folder, "a", 0751, &fault);
	cr_assert_geq(fd, 0, "%s", fault.text);
	close(fd);
	expect_syncs("");
	cr_expect_eq(files_mode(files_folder, "a"), 0751);
	fd = files_open_folder(files_folder, "a", 0700, &fault); /* there already: left as it is */
	cr_assert_geq(fd, 0);
	cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	cr_expect_eq(files_mode(files_folder, "a"), 0751);
	cr_expect_eq(files_open_folder(files_folder, "b", 0, &fault), -ENOENT);
	cr_expect_not(files_exist(files_folder, "b"));
	cr_expect_eq(files_open_folder(files_folder, "b/c", 0700, &fault), -ENOENT, "parents are not made");
	files_put(files_folder, "file", "x");
	cr_expect_eq(files_open_folder(files_folder, "file", 0700, &fault), -ENOTDIR);
	cr_expect_str_eq(fault.text, "can't open folder file: Not a directory");
}

FILES_TEST(folder, a_failed_sync_is_told)
{
	files_syncs.fail_at = 1;
	cr_expect_eq(files_open_folder(files_folder, "a", 0700, &fault), -EIO);
}

FILES_TEST(folder, a_path_is_made_with_its_parents)
{
	AUTO_FREE char *path = xasprintf("%s/x//y/z/", files_path);
	cr_expect_eq(files_open_path(path, 0, &fault), -ENOENT);
	cr_expect_str_eq(files_all(files_folder), "");
	int fd = files_open_path(path, 0700, &fault);
	cr_assert_geq(fd, 0, "%s", fault.text);
	close(fd);
	cr_expect(files_exist(files_folder, "x/y/z"));
	fd = files_open_path(path, 0, &fault);
	cr_assert_geq(fd, 0);
	close(fd);
	cr_expect_eq(files_open_path("", 0700, &fault), -EINVAL);
	fd = files_open_path("/", 0, &fault);
	cr_assert_geq(fd, 0);
	close(fd);
}

/* ---- reading ---- */

static void expect_unread(const char *name, size_t max, int error)
{
	char *bytes = NULL;
	fault = (struct fault){0};
	cr_expect_eq(files_read(files_folder, name, max, &bytes, NULL, &fault), error, "%s: %s", name, fault.text);
	cr_expect_eq(fault.code, error);
	cr_expect_not_null(strstr(fault.text, name));
}

FILES_TEST(read, whole_and_not_more_than_allowed)
{
	char *bytes;
	size_t len;
	files_put_bytes(files_folder, "f",
			"12345\0"
			"789",
			9);
	ASSERT_OK(files_read(files_folder, "f", 9, &bytes, &len, &fault));
	cr_expect_eq(len, 9);
	cr_expect_eq(memcmp(bytes,
			    "12345\0"
			    "789",
			    10),
		     0, "a NUL stands behind");
	free(bytes);
	ASSERT_OK(files_read(files_folder, "f", 100, &bytes, NULL, NULL));
	free(bytes);
	expect_unread("f", 8, -EFBIG);
	files_put(files_folder, "empty", "");
	ASSERT_OK(files_read(files_folder, "empty", 0, &bytes, &len, &fault));
	cr_expect(len == 0 && !*bytes);
	free(bytes);
	AUTO_CLOSE int sparse = openat(files_folder, "huge", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(ftruncate(sparse, (off_t)1 << 42), 0); /* no memory is asked for */
	expect_unread("huge", 1000000, -EFBIG);
}

FILES_TEST(read, only_regular_files_and_hangs_on_nothing)
{
	files_put(files_folder, "target", "secret");
	files_set_link(files_folder, "link", "target");
	files_set_link(files_folder, "dangling", "nowhere");
	cr_assert_eq(mkfifoat(files_folder, "fifo", 0600), 0);
	cr_assert_eq(mkdirat(files_folder, "folder", 0700), 0);
	expect_unread("link", 100, -ELOOP);
	expect_unread("dangling", 100, -ELOOP);
	expect_unread("fifo", 100, -EINVAL); /* would wait for a writer */
	expect_unread("folder", 100, -EINVAL);
	expect_unread("missing", 100, -ENOENT);
	char *bytes;
	cr_expect_eq(files_read(AT_FDCWD, "/dev/zero", 100, &bytes, NULL, &fault), -EINVAL);
}

/* ---- writing ---- */

FILES_TEST(create, content_then_name_are_synced)
{
	umask(0077);
	ASSERT_OK(files_create(files_folder, "f",
			       "12\0"
			       "4",
			       4, 0644, &fault));
	expect_syncs(" f");
	cr_expect_eq(memcmp(files_get(files_folder, "f"),
			    "12\0"
			    "4",
			    5),
		     0);
	cr_expect_eq(files_mode(files_folder, "f"), 0644);
	cr_expect_eq(files_create(files_folder, "f", "new", 3, 0600, &fault), -EEXIST);
	cr_expect_str_eq(files_get(files_folder, "f"), "12");
	files_set_link(files_folder, "link", "elsewhere");
	cr_expect_eq(files_create(files_folder, "link", "new", 3, 0600, &fault), -EEXIST);
	cr_expect_not(files_exist(files_folder, "elsewhere"), "it followed a link");
}

FILES_TEST(create, a_failed_sync_leaves_nothing)
{
	files_syncs.fail_at = 1;
	cr_expect_eq(files_create(files_folder, "f", "x", 1, 0600, &fault), -EIO);
	cr_expect_str_eq(files_all(files_folder), "");
	files_syncs.fail_at = 2; /* of the folder */
	cr_expect_eq(files_create(files_folder, "f", "x", 1, 0600, &fault), -EIO);
}

FILES_TEST(replace, is_one_step_and_durable)
{
	files_put(files_folder, "f", "old");
	files_put(files_folder, ".f.new", "what a crash left");
	ASSERT_OK(files_replace(files_folder, "f", "new", 3, 0640, &fault));
	expect_syncs(" .f.new");
	cr_expect_str_eq(files_get(files_folder, "f"), "new");
	cr_expect_eq(files_mode(files_folder, "f"), 0640);
	cr_expect_str_eq(files_all(files_folder), "f ");
	files_put(files_folder, "target", "untouched");
	files_set_link(files_folder, "f2", "target");
	ASSERT_OK(files_replace(files_folder, "f2", "new", 3, 0600, &fault));
	cr_expect_str_eq(files_get(files_folder, "target"), "untouched");
	cr_expect_str_eq(files_target(files_folder, "f2"), "(no link)");
	files_set_link(files_folder, ".f.new", "target");
	ASSERT_OK(files_replace(files_folder, "f", "newer", 5, 0600, &fault));
	cr_expect_str_eq(files_get(files_folder, "target"), "untouched");
	char longest[254];
	memset(longest, 'n', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	cr_expect_eq(files_replace(files_folder, longest, "x", 1, 0600, &fault), -ENAMETOOLONG);
}

FILES_TEST(replace, at_any_failure_the_old_one_stays)
{
	files_put(files_folder, "f", "old");
	files_syncs.fail_at = 1;
	cr_expect_eq(files_replace(files_folder, "f", "new", 3, 0600, &fault), -EIO);
	cr_expect_str_eq(files_get(files_folder, "f"), "old");
	cr_expect_str_eq(files_all(files_folder), "f ");
	cr_assert_eq(mkdirat(files_folder, "d", 0700), 0);
	cr_expect_eq(files_replace(files_folder, "d", "new", 3, 0600, &fault), -EISDIR);
	cr_expect_str_eq(files_all(files_folder), "d f ");
	cr_assert_eq(mkdirat(files_folder, ".f.new", 0700), 0);
	cr_expect_eq(files_replace(files_folder, "f", "new", 3, 0600, &fault), -EISDIR);
	cr_expect_str_eq(files_get(files_folder, "f"), "old");
}

FILES_TEST(replace, on_a_full_disk_the_old_one_stays)
{
	char much[20000];
	memset(much, 'm', sizeof much);
	files_small_disk(64);
	files_put(files_folder, "f", "old");
	files_fill_disk();
	cr_expect_eq(files_replace(files_folder, "f", much, sizeof much, 0600, &fault), -ENOSPC);
	cr_expect_not_null(strstr(fault.text, "No space left on device"));
	cr_expect_eq(files_create(files_folder, "g", much, sizeof much, 0600, &fault), -ENOSPC);
	cr_expect_str_eq(files_get(files_folder, "f"), "old");
	cr_expect_str_eq(files_all(files_folder), "f filler ", "half a file stays");
	files_free_disk();
	ASSERT_OK(files_replace(files_folder, "f", "new", 3, 0600, &fault));
}

FILES_TEST(write, nothing_on_a_read_only_disk)
{
	files_small_disk(64);
	files_put(files_folder, "f", "old");
	files_set_link(files_folder, "l", "old");
	files_read_only(true);
	cr_expect_eq(files_replace(files_folder, "f", "new", 3, 0600, &fault), -EROFS);
	cr_expect_eq(files_create(files_folder, "g", "new", 3, 0600, &fault), -EROFS);
	cr_expect_eq(files_link(files_folder, "l", "new", &fault), -EROFS);
	cr_expect_eq(files_exchange(files_folder, "f", "l", &fault), -EROFS);
	cr_expect_eq(files_move(files_folder, "f", files_folder, "g", &fault), -EROFS);
	cr_expect_eq(files_remove(files_folder, "f", &fault), -EROFS);
	cr_expect_eq(files_open_folder(files_folder, "d", 0700, &fault), -EROFS);
	cr_expect_eq(files_remove_tree(files_folder, "f", &fault), -EROFS);
	cr_expect_str_eq(files_get(files_folder, "f"), "old");
	cr_expect_str_eq(files_target(files_folder, "l"), "old");
	files_read_only(false);
}

FILES_TEST(append, is_synced)
{
	files_put(files_folder, "log", "one\n");
	AUTO_CLOSE int fd = openat(files_folder, "log", O_WRONLY | O_APPEND | O_CLOEXEC);
	ASSERT_OK(files_append(fd, "two\n", 4, &fault));
	cr_expect_str_eq(files_syncs.log, " log");
	cr_expect_str_eq(files_get(files_folder, "log"), "one\ntwo\n");
	files_syncs.fail_at = 1;
	cr_expect_eq(files_append(fd, "three\n", 6, &fault), -EIO);
	AUTO_CLOSE int unwritable = openat(files_folder, "log", O_RDONLY | O_CLOEXEC);
	cr_expect_eq(files_append(unwritable, "x", 1, &fault), -EBADF);
}

/* ---- links, names ---- */

FILES_TEST(link, is_made_put_in_place_and_read)
{
	char buf[16];
	cr_expect_eq(files_read_link(files_folder, "l", buf, sizeof buf, &fault), -ENOENT);
	ASSERT_OK(files_link(files_folder, "l", "gen/1", &fault));
	expect_syncs("");
	ASSERT_OK(files_link(files_folder, "l", "gen/2", &fault));
	ASSERT_OK(files_read_link(files_folder, "l", buf, sizeof buf, &fault));
	cr_expect_str_eq(buf, "gen/2");
	cr_expect_str_eq(files_all(files_folder), "l ");
	files_put(files_folder, "f", "a file");
	cr_expect_eq(files_read_link(files_folder, "f", buf, sizeof buf, &fault), -EINVAL);
	ASSERT_OK(files_link(files_folder, "l15", "123456789012345", &fault));
	ASSERT_OK(files_read_link(files_folder, "l15", buf, sizeof buf, &fault));
	cr_expect_str_eq(buf, "123456789012345");
	ASSERT_OK(files_link(files_folder, "l16", "1234567890123456", &fault));
	cr_expect_eq(files_read_link(files_folder, "l16", buf, sizeof buf, &fault), -ENAMETOOLONG);
}

FILES_TEST(exchange, of_two_names)
{
	files_set_link(files_folder, "a", "1");
	files_put(files_folder, "b", "file");
	ASSERT_OK(files_exchange(files_folder, "a", "b", &fault));
	expect_syncs("");
	cr_expect_str_eq(files_get(files_folder, "a"), "file");
	cr_expect_str_eq(files_target(files_folder, "b"), "1");
	cr_expect_eq(files_exchange(files_folder, "a", "none", &fault), -ENOENT);
	cr_expect_str_eq(files_get(files_folder, "a"), "file");
	files_syncs.fail_at = 1;
	cr_expect_eq(files_exchange(files_folder, "a", "b", &fault), -EIO);
}

FILES_TEST(move, never_replaces_and_syncs_both_folders)
{
	cr_assert_eq(mkdirat(files_folder, "to", 0700), 0);
	AUTO_CLOSE int to = openat(files_folder, "to", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	files_put(files_folder, "f", "f");
	ASSERT_OK(files_move(files_folder, "f", to, "g", &fault));
	expect_syncs(" to");
	files_put(files_folder, "f", "second");
	cr_expect_eq(files_move(files_folder, "f", to, "g", &fault), -EEXIST);
	cr_expect_str_eq(files_get(files_folder, "f"), "second");
	cr_expect_str_eq(files_get(to, "g"), "f");
	cr_expect_eq(files_move(files_folder, "none", to, "h", &fault), -ENOENT);
	files_syncs.log[0] = '\0';
	ASSERT_OK(files_move(files_folder, "f", files_folder, "h", &fault));
	expect_syncs("");
}

FILES_TEST(remove, a_missing_file_is_fine_a_folder_is_not)
{
	files_put(files_folder, "f", "f");
	ASSERT_OK(files_remove(files_folder, "f", &fault));
	expect_syncs("");
	ASSERT_OK(files_remove(files_folder, "f", &fault));
	cr_assert_eq(mkdirat(files_folder, "d", 0700), 0);
	cr_expect_eq(files_remove(files_folder, "d", &fault), -EISDIR);
}

FILES_TEST(tree, goes_without_what_its_links_name)
{
	cr_assert_eq(mkdirat(files_folder, "out", 0700), 0);
	files_put(files_folder, "out/kept", "kept");
	cr_assert_eq(mkdirat(files_folder, "t", 0700), 0);
	cr_assert_eq(mkdirat(files_folder, "t/.d", 0700), 0);
	files_put(files_folder, "t/.d/.f", "f");
	files_set_link(files_folder, "t/.d/link", "../../out");
	files_set_link(files_folder, "t/file", "../out/kept");
	cr_assert_eq(mkfifoat(files_folder, "t/fifo", 0600), 0);
	ASSERT_OK(files_remove_tree(files_folder, "t", &fault));
	cr_expect_str_eq(files_all(files_folder), "out ");
	cr_expect_str_eq(files_get(files_folder, "out/kept"), "kept");
	files_set_link(files_folder, "t", "out");
	ASSERT_OK(files_remove_tree(files_folder, "t", &fault));
	cr_expect_str_eq(files_get(files_folder, "out/kept"), "kept");
	ASSERT_OK(files_remove_tree(files_folder, "t", &fault)); /* gone already */
}

FILES_TEST(tree, stays_on_its_filesystem)
{
	AUTO_FREE char *mounted = xasprintf("%s/t/mounted", files_path);
	files_own_mounts();
	cr_assert_eq(mkdirat(files_folder, "t", 0700), 0);
	cr_assert_eq(mkdirat(files_folder, "t/mounted", 0700), 0);
	if (mount("tmpfs", mounted, "tmpfs", 0, "size=64k") < 0)
		files_skip("no tmpfs to be had");
	files_put(files_folder, "t/mounted/kept", "kept");
	cr_expect_eq(files_remove_tree(files_folder, "t", &fault), -EXDEV);
	cr_expect_str_eq(files_get(files_folder, "t/mounted/kept"), "kept");
	umount2(mounted, MNT_DETACH);
}

FILES_TEST(list, sorted_and_hidden_only_when_asked)
{
	struct words names = {0};
	files_put(files_folder, "b", "");
	files_put(files_folder, "a", "");
	files_put(files_folder, ".h", "");
	ASSERT_OK(files_list(files_folder, false, &names, &fault));
	AUTO_FREE char *joined = words_join(&names, " ");
	cr_expect_str_eq(joined, "a b");
	words_done(&names);
	cr_expect_str_eq(files_all(files_folder), ".h a b ");
	cr_expect_str_eq(files_all(files_folder), ".h a b ", "the descriptor's place does not matter");
	cr_expect_eq(files_list(-1, false, &names, &fault), -EBADF);
}
