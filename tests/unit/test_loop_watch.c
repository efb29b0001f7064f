/* loop/watch.c: what must be reported, and that it is reported once a turn. */
#include "loop/watch.h"
#include "test_loop_help.h"

static struct watcher *watcher;
static int reports, other_reports;
static char *folder; /* the one that is watched */

static void begin(void)
{
	help_begin();
	watcher = watcher_new(help_loop, NULL);
	cr_assert_not_null(watcher);
	folder = help_path("in");
	cr_assert_eq(mkdir(folder, 0755), 0);
}

static void end(void)
{
	watcher_close(watcher);
	free(folder);
	help_end();
}

#define WATCH_TEST(name) HELP_TEST(watch, name, begin, end)

static void changed(void *data)
{
	++*(int *)data;
	loop_stop(help_loop);
}

static struct watch *start(const char *path, int *count)
{
	struct fault fault = {0};
	struct watch *w = watch_start(watcher, path, changed, count, &fault);
	cr_assert_not_null(w, "%s", fault.text);
	help_turns(2);
	cr_assert_eq(*count, 0, "a report before anything has happened");
	return w;
}

/* The next report, and that no second one follows. */
#define EXPECT_REPORT(what)                                                                                            \
	do {                                                                                                           \
		reports = 0;                                                                                           \
		what;                                                                                                  \
		help_run();                                                                                            \
		help_turns(3);                                                                                         \
		cr_expect_eq(reports, 1, "%s: %d reports", #what, reports);                                            \
	} while (0)

#define EXPECT_SILENCE(what)                                                                                           \
	do {                                                                                                           \
		reports = 0;                                                                                           \
		what;                                                                                                  \
		help_turns(5);                                                                                         \
		cr_expect_eq(reports, 0, "%s: %d reports", #what, reports);                                            \
	} while (0)

static void move(const char *from, const char *to)
{
	AUTO_FREE char *a = help_path(from);
	AUTO_FREE char *b = help_path(to);
	cr_assert_eq(rename(a, b), 0);
}

static void exchange(const char *from, const char *to)
{
	AUTO_FREE char *a = help_path(from);
	AUTO_FREE char *b = help_path(to);
	cr_assert_eq(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 0);
}

static void point(const char *name, const char *target)
{
	AUTO_FREE char *a = help_path(name);
	cr_assert_eq(symlink(target, a), 0);
}

static void hard_link(const char *from, const char *to)
{
	AUTO_FREE char *a = help_path(from);
	AUTO_FREE char *b = help_path(to);
	cr_assert_eq(link(a, b), 0);
}

static void make_folder(const char *name)
{
	AUTO_FREE char *a = help_path(name);
	cr_assert_eq(mkdir(a, 0755), 0);
}

static void remove_any(const char *name)
{
	AUTO_FREE char *a = help_path(name);
	cr_assert_eq(remove(a), 0);
}

static int open_new(const char *name)
{
	AUTO_FREE char *a = help_path(name);
	int fd = open(a, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	return fd;
}

WATCH_TEST(a_file_is_reported_when_it_is_closed_not_before)
{
	start(folder, &reports);
	int fd;
	EXPECT_SILENCE(fd = open_new("in/cert.pem"); cr_assert_eq(write(fd, "half", 4), 4));
	EXPECT_REPORT(close(fd));
}

WATCH_TEST(renames_links_folders_and_removals)
{
	help_write("outside.pem", "x", 0600);
	help_write("second.pem", "x", 0600);
	start(folder, &reports);
	EXPECT_REPORT(move("outside.pem", "in/cert.pem"));
	EXPECT_REPORT(move("in/cert.pem", "outside.pem"));
	EXPECT_REPORT(point("in/link.pem", "../outside.pem"));
	EXPECT_REPORT(hard_link("second.pem", "in/hard.pem"));
	EXPECT_REPORT(make_folder("in/shop"));
	EXPECT_REPORT(remove_any("in/link.pem"));
	EXPECT_REPORT(remove_any("in/shop"));
	EXPECT_SILENCE(help_write("beside.pem", "x", 0600));
}

WATCH_TEST(many_changes_of_one_turn_are_one_report)
{
	start(folder, &reports);
	EXPECT_REPORT(for (int i = 0; i < 100; i++) help_write(i % 2 ? "in/a" : "in/b", "x", 0600));
}

WATCH_TEST(a_folder_replaced_by_rename_is_watched_again)
{
	start(folder, &reports);
	make_folder("new");
	help_write("new/cert.pem", "x", 0600);
	EXPECT_REPORT(move("in", "old"); move("new", "in"));
	EXPECT_REPORT(help_write("in/key.pem", "x", 0600));
	EXPECT_SILENCE(help_write("old/key.pem", "x", 0600));
}

WATCH_TEST(a_folder_exchanged_is_watched_again)
{
	start(folder, &reports);
	make_folder("new");
	EXPECT_REPORT(exchange("in", "new"));
	EXPECT_REPORT(help_write("in/key.pem", "x", 0600));
	EXPECT_SILENCE(help_write("new/key.pem", "x", 0600));
}

WATCH_TEST(a_folder_removed_and_made_again)
{
	start(folder, &reports);
	EXPECT_REPORT(remove_any("in"));
	EXPECT_REPORT(make_folder("in"));
	EXPECT_REPORT(help_write("in/key.pem", "x", 0600));
	EXPECT_REPORT(remove_any("in/key.pem"); remove_any("in"); make_folder("in"); help_write("in/a", "x", 0600));
	EXPECT_REPORT(help_write("in/key.pem", "x", 0600));
}

WATCH_TEST(a_folder_that_is_made_later)
{
	AUTO_FREE char *later = help_path("later");
	start(later, &reports);
	EXPECT_SILENCE(make_folder("other"));
	EXPECT_REPORT(make_folder("later"));
	EXPECT_REPORT(help_write("later/key.pem", "x", 0600));
}

WATCH_TEST(a_parent_that_is_replaced)
{
	make_folder("up");
	make_folder("up/in");
	AUTO_FREE char *path = help_path("up/in");
	start(path, &reports);
	EXPECT_REPORT(move("up", "old"));
	EXPECT_SILENCE(help_write("old/in/key.pem", "x", 0600));
	EXPECT_REPORT(make_folder("up"));
	EXPECT_REPORT(make_folder("up/in"));
	EXPECT_REPORT(help_write("up/in/key.pem", "x", 0600));
}

WATCH_TEST(a_link_that_is_turned)
{
	make_folder("one");
	make_folder("two");
	point("current", "one");
	AUTO_FREE char *path = help_path("current/"); /* the final slash does not matter */
	start(path, &reports);
	EXPECT_REPORT(help_write("one/key.pem", "x", 0600));
	point("next", "two");
	EXPECT_REPORT(move("next", "current"));
	EXPECT_REPORT(help_write("two/key.pem", "x", 0600));
	EXPECT_SILENCE(help_write("one/key.pem", "y", 0600));
	EXPECT_REPORT(remove_any("current"));
}

WATCH_TEST(a_link_whose_target_is_replaced)
{
	make_folder("far");
	make_folder("far/one");
	point("current", "far/one");
	AUTO_FREE char *path = help_path("current");
	start(path, &reports);
	EXPECT_REPORT(move("far/one", "far/gone"));
	EXPECT_REPORT(make_folder("far/one"));
	EXPECT_REPORT(help_write("far/one/key.pem", "x", 0600));
	EXPECT_SILENCE(help_write("far/gone/key.pem", "x", 0600));
}

WATCH_TEST(a_link_to_an_absolute_path)
{
	make_folder("far");
	AUTO_FREE char *target = help_path("far");
	point("current", target);
	AUTO_FREE char *path = help_path("current");
	start(path, &reports);
	EXPECT_REPORT(help_write("far/key.pem", "x", 0600));
	EXPECT_REPORT(move("far", "gone"));
	EXPECT_REPORT(make_folder("far"));
}

WATCH_TEST(an_overflow_reports_every_folder_and_watching_goes_on)
{
	AUTO_FREE char *quiet = help_path("quiet");
	make_folder("quiet");
	start(quiet, &other_reports);
	start(folder, &reports);
	make_folder("in/a");
	help_run();
	help_turns(3);
	reports = 0;
	AUTO_FREE char *a = help_path("in/a");
	AUTO_FREE char *b = help_path("in/b");
	for (int i = 0; i < 10000; i++) { /* two events each; the queue holds 16,384 */
		cr_assert_eq(rename(a, b), 0);
		cr_assert_eq(rename(b, a), 0);
	}
	help_run();
	help_turns(5);
	cr_expect_geq(reports, 1);
	cr_expect_leq(reports, 3);
	cr_expect_eq(other_reports, 1, "the quiet folder may have changed unseen");
	EXPECT_REPORT(help_write("in/key.pem", "x", 0600));
}

WATCH_TEST(two_watches_of_one_folder_are_independent)
{
	struct watch *first = start(folder, &reports);
	start(folder, &other_reports);
	EXPECT_REPORT(help_write("in/key.pem", "x", 0600));
	cr_expect_eq(other_reports, 1);
	watch_close(first);
	watch_close(NULL);
	reports = 0;
	help_write("in/key.pem", "y", 0600);
	help_run();
	help_turns(3);
	cr_expect_eq(other_reports, 2);
	cr_expect_eq(reports, 0);
}

WATCH_TEST(a_parent_that_is_watched_itself)
{
	AUTO_FREE char *child = help_path("in/shop");
	start(child, &reports);
	struct watch *parent = start(folder, &other_reports);
	EXPECT_REPORT(make_folder("in/shop"));
	cr_expect_eq(other_reports, 1);
	watch_close(parent); /* the other one still needs the kernel's watch */
	EXPECT_REPORT(remove_any("in/shop"));
}

static struct watch *pair[2];

static void close_both(void *data)
{
	reports++;
	watch_close(pair[0]);
	watch_close(pair[1]);
	loop_stop(help_loop);
}

WATCH_TEST(closing_watches_from_a_report)
{
	pair[0] = watch_start(watcher, folder, close_both, NULL, NULL);
	pair[1] = watch_start(watcher, folder, close_both, NULL, NULL);
	EXPECT_REPORT(help_write("in/key.pem", "x", 0600));
}

static void close_all(void *data)
{
	reports++;
	watcher_close(watcher);
	watcher = NULL;
	loop_stop(help_loop);
}

WATCH_TEST(closing_the_watcher_from_a_report)
{
	for (int i = 0; i < 3; i++)
		watch_start(watcher, folder, close_all, NULL, NULL);
	EXPECT_REPORT(help_write("in/key.pem", "x", 0600));
}

WATCH_TEST(a_watch_closed_with_a_report_on_its_way)
{
	struct watch *w = start(folder, &reports);
	start(folder, &other_reports);
	help_write("in/key.pem", "x", 0600);
	watch_close(w);
	help_run();
	cr_expect_eq(reports, 0);
	cr_expect_eq(other_reports, 1);
}

WATCH_TEST(what_can_not_be_watched_is_told)
{
	struct fault fault = {0};
	cr_expect_null(watch_start(watcher, "/nonexistent/up/in", changed, &reports, &fault));
	cr_expect_eq(fault.code, -ENOENT);
	cr_expect_not_null(strstr(fault.text, "/nonexistent/up/in can't be watched"));
	struct watch *root = watch_start(watcher, "/", changed, &other_reports, &fault);
	cr_expect_not_null(root);
	watch_close(root);
}

/* The descriptor of the watcher, found by what it is. */
static int inotify_descriptor(void)
{
	char path[64], what[64] = "";
	for (int fd = 3; fd < 1000; fd++) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, what, sizeof what - 1);
		if (n > 0 && strncmp(what, "anon_inode:inotify", (size_t)n) == 0)
			return fd;
	}
	return -1;
}

/* A read that fails is not tried again at once and for ever: the watches are made anew, and nothing is missed. */
WATCH_TEST(goes_on_after_a_read_that_failed)
{
	struct watch *w = start(folder, &reports);
	int fd = inotify_descriptor(), same = dup(fd), other = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(fd >= 0 && same >= 0 && dup2(other, fd) == fd); /* the poller still has the true one by `same` */
	close(other);
	EXPECT_REPORT(help_write("in/first", "x", 0600));
	close(same);
	EXPECT_REPORT(help_write("in/second", "x", 0600));
	watch_close(w);
}
