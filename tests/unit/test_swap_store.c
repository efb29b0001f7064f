#include "test_files_help.h"

#include <sys/wait.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "swap/store.h"

#define ASSERT_OK(call) cr_assert_eq(call, 0, "%s", fault.text)
static struct fault fault;
static struct store_owner owner;

static struct meta meta_of(unsigned int number)
{
	return (struct meta){.number = number,
			     .serial = (char *)(uintptr_t) "1a",
			     .issuer = (char *)(uintptr_t) "CN=Test CA",
			     .subject = (char *)(uintptr_t) "CN=shop.test",
			     .key_type = (char *)(uintptr_t) "ecdsa-p256",
			     .origin = (char *)(uintptr_t) "submit"};
}

/* A sealed generation; each file holds its name and the number. */
static unsigned int make_generation(void)
{
	unsigned int number = 0;
	int fds[STORE_FILES];
	owner = (struct store_owner){.uid = geteuid(), .gid = getegid(), .mode = 0600};
	ASSERT_OK(store_begin(files_folder, 0, &number, fds, &fault));
	for (int i = 0; i < STORE_FILES; i++)
		cr_assert_gt(dprintf(fds[i], "%s %u\n", store_file_name[i], number), 0);
	struct meta meta = meta_of(number);
	ASSERT_OK(store_seal(files_folder, number, fds, &meta, &owner, &fault));
	for (int i = 0; i < STORE_FILES; i++)
		close(fds[i]);
	return number;
}

static struct meta read_meta(unsigned int number)
{
	struct meta meta;
	ASSERT_OK(store_read_meta(files_folder, number, &meta, &fault));
	return meta;
}

static const char *live(void)
{
	return files_target(files_folder, "live");
}

static const char *next(void)
{
	return files_target(files_folder, "next");
}

static void set_live(const char *target)
{
	files_set_link(files_folder, "live", target);
}

static void set_next(const char *target)
{
	files_set_link(files_folder, "next", target);
}

/* ---- generations ---- */

FILES_TEST(generation, exists_when_sealed)
{
	int fds[STORE_FILES];
	unsigned int number;
	char path[32];
	ASSERT_OK(store_begin(files_folder, 0, &number, fds, &fault));
	cr_expect_eq(number, 1);
	cr_expect_str_eq(store_generation_path(number, path), "gen/000001");
	cr_expect_eq(files_mode(files_folder, path), 0700);
	struct meta meta;
	cr_expect_eq(store_read_meta(files_folder, 1, &meta, &fault), -ENOENT);
	for (int i = 0; i < STORE_FILES; i++) {
		cr_expect_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
		close(fds[i]);
	}
	cr_expect_eq(make_generation(), 2, "a number is not used twice");
	ASSERT_OK(store_begin(files_folder, 7, &number, fds, &fault));
	cr_expect_eq(number, 8, "nor one that was given before and removed");
	for (int i = 0; i < STORE_FILES; i++)
		close(fds[i]);
	meta = read_meta(2);
	cr_expect(meta.number == 2 && strcmp(meta.origin, "submit") == 0);
	meta_done(&meta);
	AUTO_CLOSE int fd = store_open_file(files_folder, 2, "privkey.pem", &fault);
	char bytes[32] = "";
	cr_expect_gt(read(fd, bytes, sizeof bytes - 1), 0);
	cr_expect_str_eq(bytes, "privkey.pem 2\n");
	cr_expect_eq(store_open_file(files_folder, 9, "privkey.pem", &fault), -ENOENT);
	cr_expect_str_eq(fault.text, "can't open gen/000009/privkey.pem: No such file or directory");
}

FILES_TEST(generation, everything_is_on_disk_before_it_exists)
{
	int fds[STORE_FILES];
	unsigned int number;
	ASSERT_OK(store_begin(files_folder, 0, &number, fds, &fault));
	files_syncs.log[0] = '\0';
	struct meta meta = meta_of(number);
	owner = (struct store_owner){.uid = geteuid(), .gid = getegid(), .mode = 0600};
	ASSERT_OK(store_seal(files_folder, number, fds, &meta, &owner, &fault));
	cr_expect_str_eq(files_syncs.log, " cert.pem chain.pem fullchain.pem privkey.pem combined.pem 000001 gen"
					  " .meta.json.new 000001");
	for (int i = 0; i < STORE_FILES; i++)
		close(fds[i]);
}

FILES_TEST(generation, is_not_there_where_a_sync_failed)
{
	for (int at = 1; at <= 9; at++) {
		int fds[STORE_FILES];
		unsigned int number;
		ASSERT_OK(store_begin(files_folder, 0, &number, fds, &fault));
		struct meta meta = meta_of(number);
		owner = (struct store_owner){.uid = geteuid(), .gid = getegid(), .mode = 0600};
		files_syncs.fail_at = at;
		cr_expect_eq(store_seal(files_folder, number, fds, &meta, &owner, &fault), -EIO, "sync %d", at);
		if (at < 9) /* the ninth comes after the name is there: whoever asked takes it for not made */
			cr_expect_eq(store_read_meta(files_folder, number, &meta, &fault), -ENOENT, "sync %d", at);
		ASSERT_OK(store_remove(files_folder, number, &fault));
		for (int i = 0; i < STORE_FILES; i++)
			close(fds[i]);
	}
}

FILES_TEST(generation, only_the_key_is_secret_and_its_group_reaches_it)
{
	static const struct {
		mode_t asked, key, other, folder;
	} rows[] = {{0600, 0600, 0644, 0700}, {0640, 0640, 0644, 0750}, {0400, 0400, 0444, 0700}};
	umask(0077);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int fds[STORE_FILES];
		unsigned int number;
		ASSERT_OK(store_begin(files_folder, 0, &number, fds, &fault));
		struct meta meta = meta_of(number);
		struct stat st;
		char path[32];
		owner = (struct store_owner){.uid = geteuid(), .gid = getegid(), .mode = rows[i].asked};
		if (geteuid() == 0)
			owner.gid = 12345;
		ASSERT_OK(store_seal(files_folder, number, fds, &meta, &owner, &fault));
		cr_expect_eq(files_mode(files_folder, store_generation_path(number, path)), rows[i].folder);
		for (int f = 0; f < STORE_FILES; f++) {
			cr_assert_eq(fstat(fds[f], &st), 0);
			bool secret = strstr("privkey.pem combined.pem", store_file_name[f]);
			cr_expect_eq(st.st_mode & 07777, secret ? rows[i].key : rows[i].other, "%s",
				     store_file_name[f]);
			cr_expect_eq(st.st_gid, owner.gid);
			close(fds[f]);
		}
	}
}

FILES_TEST(generation, a_full_disk_leaves_no_half_of_one)
{
	files_small_disk(128);
	cr_expect_eq(make_generation(), 1);
	int fds[STORE_FILES];
	unsigned int number;
	ASSERT_OK(store_begin(files_folder, 0, &number, fds, &fault));
	files_fill_disk();
	struct meta meta = meta_of(number);
	cr_expect_eq(store_seal(files_folder, number, fds, &meta, &owner, &fault), -ENOSPC);
	cr_expect_eq(store_read_meta(files_folder, number, &meta, &fault), -ENOENT);
	for (int i = 0; i < STORE_FILES; i++)
		close(fds[i]);
	ASSERT_OK(store_sweep(files_folder, true, &fault));
	cr_expect_not(files_exist(files_folder, "gen/000002"));
	cr_expect(files_exist(files_folder, "gen/000001"));
}

FILES_TEST(generation, none_on_a_read_only_disk)
{
	files_small_disk(128);
	cr_expect_eq(make_generation(), 1);
	set_live("gen/000001");
	files_read_only(true);
	int fds[STORE_FILES];
	unsigned int number;
	bool foreign;
	cr_expect_eq(store_begin(files_folder, 0, &number, fds, &fault), -EROFS);
	cr_expect_eq(store_exchange(files_folder, 1, 2, &foreign, &fault), -EROFS);
	cr_expect_eq(store_set_standby(files_folder, 1, &fault), -EROFS);
	files_read_only(false);
	cr_expect_str_eq(live(), "gen/000001");
	cr_expect_str_eq(files_all(files_folder), "gen live ");
}

/* A link may be somebody else's, and name any number; nothing is put where it leads. */
FILES_TEST(generation, numbers_count_from_what_is_there_and_skip_what_is_named)
{
	set_live("gen/999999");
	cr_expect_eq(make_generation(), 1);
	set_next("gen/000002");
	ASSERT_OK(store_set_standby(files_folder, 3, &fault));
	cr_expect_eq(make_generation(), 4);
	ASSERT_OK(store_remove(files_folder, 1, &fault));
	cr_expect_eq(make_generation(), 5);
}

FILES_TEST(changed, each_file_alone_and_together)
{
	unsigned int number = make_generation();
	char path[64];
	struct meta meta = read_meta(number);
	cr_expect_eq(store_changed_files(files_folder, &meta), 0);
	for (unsigned int i = 0; i < STORE_FILES; i++) {
		snprintf(path, sizeof path, "gen/000001/%s", store_file_name[i]);
		AUTO_FREE char *was = xstrdup(files_get(files_folder, path));
		AUTO_FREE char *other = xstrdup(was);
		other[0] ^= 1; /* as long as before */
		files_put(files_folder, path, other);
		cr_expect_eq(store_changed_files(files_folder, &meta), 1u << i, "%s", path);
		files_put(files_folder, path, "");
		cr_expect_eq(store_changed_files(files_folder, &meta), 1u << i, "%s is empty", path);
		files_put(files_folder, path, was);
		cr_expect_eq(store_changed_files(files_folder, &meta), 0);
	}
	cr_assert_eq(unlinkat(files_folder, "gen/000001/cert.pem", 0), 0);
	cr_assert_eq(renameat(files_folder, "gen/000001/chain.pem", files_folder, "gen/000001/copy.pem"), 0);
	files_set_link(files_folder, "gen/000001/chain.pem", "copy.pem"); /* the same bytes */
	cr_expect_eq(store_changed_files(files_folder, &meta), 3, "missing, and a link");
	meta_done(&meta);
}

FILES_TEST(changed, a_pipe_in_the_place_of_a_file_hangs_nobody)
{
	unsigned int number = make_generation();
	struct meta meta = read_meta(number);
	cr_assert_eq(unlinkat(files_folder, "gen/000001/cert.pem", 0), 0);
	cr_assert_eq(mkfifoat(files_folder, "gen/000001/cert.pem", 0600), 0);
	cr_expect_eq(store_changed_files(files_folder, &meta), 1);
	meta_done(&meta);
}

/* ---- links ---- */

FILES_TEST(links, only_ours_have_a_number)
{
	static const char *const others[] = {"gen/1",         "gen/000000",   "gen/ 00001",  "gen/-00001",
					     "gen/000001/",   "./gen/000001", "/gen/000001", "gen/00000a",
					     "../gen/000001", "gen/0000001",  "cert.pem"};
	cr_expect_eq(store_link_number(files_folder, "live", &fault), 0);
	set_live("gen/000007");
	cr_expect_eq(store_link_number(files_folder, "live", &fault), 7);
	set_live("gen/1234567");
	cr_expect_eq(store_link_number(files_folder, "live", &fault), 1234567);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		set_live(others[i]);
		cr_expect_eq(store_link_number(files_folder, "live", &fault), -EINVAL, "%s", others[i]);
	}
	cr_assert_eq(unlinkat(files_folder, "live", 0), 0);
	files_put(files_folder, "live", "a file");
	cr_expect_eq(store_link_number(files_folder, "live", &fault), -EINVAL);
	cr_assert_eq(unlinkat(files_folder, "live", 0), 0);
	cr_assert_eq(mkdirat(files_folder, "live", 0700), 0);
	cr_expect_eq(store_link_number(files_folder, "live", &fault), -EINVAL);
}

static const char *long_target(void)
{
	static char target[3001];
	memset(target, 'x', sizeof target - 1);
	target[0] = '/';
	return target;
}

FILES_TEST(links, a_very_long_one_is_a_strangers_too)
{
	enum txn_disk disk = TXN_DISK_OLD;
	bool foreign = false;
	set_live(long_target());
	cr_expect_eq(store_link_number(files_folder, "live", &fault), -EINVAL);
	ASSERT_OK(store_look(files_folder, 1, 2, &disk, &fault));
	cr_expect_eq(disk, TXN_DISK_FOREIGN);
	ASSERT_OK(store_exchange(files_folder, 1, 2, &foreign, &fault));
	cr_expect(foreign);
	cr_expect_str_eq(live(), long_target());
	set_live("gen/000002"); /* it came out of an exchange */
	set_next(long_target());
	ASSERT_OK(store_look(files_folder, 1, 2, &disk, &fault));
	cr_expect_eq(disk, TXN_DISK_FOREIGN);
	cr_expect_str_eq(live(), long_target());
	cr_expect_str_eq(next(), "(none)");
}

FILES_TEST(links, standby_comes_and_goes)
{
	ASSERT_OK(store_set_standby(files_folder, 0, &fault));
	ASSERT_OK(store_set_standby(files_folder, 3, &fault));
	cr_expect_eq(store_link_number(files_folder, "standby", &fault), 3);
	ASSERT_OK(store_set_standby(files_folder, 4, &fault));
	cr_expect_eq(store_link_number(files_folder, "standby", &fault), 4);
	ASSERT_OK(store_set_standby(files_folder, 0, &fault));
	cr_expect_str_eq(files_all(files_folder), "");
}

/* ---- the look, at everything that a crash or a stranger can leave ---- */

static void expect_look(unsigned int old, unsigned int new, enum txn_disk want, int line)
{
	static const char *const names[] = {"OLD", "NEW", "FOREIGN"};
	enum txn_disk disk = TXN_DISKS;
	int r = store_look(files_folder, old, new, &disk, &fault);
	cr_assert_eq(r, 0, "line %d: %s", line, fault.text);
	cr_expect_str_eq(names[disk], names[want], "line %d", line);
}
#define EXPECT_LOOK(old, new, disk) expect_look(old, new, TXN_DISK_##disk, __LINE__)

FILES_TEST(look, without_an_exchange_under_way)
{
	EXPECT_LOOK(0, 1, OLD);
	EXPECT_LOOK(1, 2, FOREIGN); /* live is missing: somebody took it away */
	set_live("gen/000001");
	EXPECT_LOOK(1, 2, OLD);
	EXPECT_LOOK(0, 1, NEW);
	EXPECT_LOOK(2, 1, NEW);
	EXPECT_LOOK(0, 2, FOREIGN);
	EXPECT_LOOK(3, 2, FOREIGN);
	set_live("/etc/letsencrypt/live/shop");
	EXPECT_LOOK(1, 2, FOREIGN);
	EXPECT_LOOK(0, 2, FOREIGN);
	cr_expect_str_eq(live(), "/etc/letsencrypt/live/shop");
	cr_assert_eq(unlinkat(files_folder, "live", 0), 0);
	cr_assert_eq(mkdirat(files_folder, "live", 0700), 0);
	files_put(files_folder, "live/cert.pem", "a stranger's");
	EXPECT_LOOK(1, 2, FOREIGN);
	EXPECT_LOOK(0, 2, FOREIGN);
	cr_expect_str_eq(files_get(files_folder, "live/cert.pem"), "a stranger's");
}

FILES_TEST(look, a_cut_off_exchange_is_ended)
{
	set_live("gen/000001"); /* before the exchange */
	set_next("gen/000002");
	EXPECT_LOOK(1, 2, OLD);
	cr_expect_str_eq(live(), "gen/000001");
	cr_expect_str_eq(next(), "(none)");
	set_live("gen/000002"); /* behind it */
	set_next("gen/000001");
	EXPECT_LOOK(1, 2, NEW);
	cr_expect_str_eq(live(), "gen/000002");
	cr_expect_str_eq(next(), "(none)");
}

FILES_TEST(look, a_strangers_link_that_came_out_is_given_back)
{
	static const char *const ours[] = {"gen/000001", "gen/000002"};
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		set_live(ours[i]);
		set_next("/stranger");
		EXPECT_LOOK(1, 2, FOREIGN);
		cr_expect_str_eq(live(), "/stranger");
		cr_expect_str_eq(next(), "(none)");
		EXPECT_LOOK(1, 2, FOREIGN); /* again: nothing changes */
		cr_expect_str_eq(live(), "/stranger");
	}
}

FILES_TEST(look, a_strangers_file_or_folder_is_given_back)
{
	set_live("gen/000002");
	files_put(files_folder, "next", "a stranger's");
	EXPECT_LOOK(1, 2, FOREIGN);
	cr_expect_str_eq(files_get(files_folder, "live"), "a stranger's");
	cr_expect_str_eq(next(), "(none)");
	cr_assert_eq(unlinkat(files_folder, "live", 0), 0);
	set_live("gen/000002");
	cr_assert_eq(mkdirat(files_folder, "next", 0700), 0);
	files_put(files_folder, "next/cert.pem", "a stranger's");
	EXPECT_LOOK(1, 2, FOREIGN);
	cr_expect_str_eq(files_get(files_folder, "live/cert.pem"), "a stranger's");
	cr_expect_str_eq(next(), "(none)");
}

FILES_TEST(look, of_two_strangers_none_is_lost)
{
	set_live("/newer");
	set_next("/older");
	EXPECT_LOOK(1, 2, FOREIGN);
	cr_expect_str_eq(live(), "/newer");
	cr_expect_str_eq(next(), "/older");
}

FILES_TEST(look, another_link_to_a_generation_is_given_back_too)
{
	set_live("gen/000004"); /* a person went back to an older one by hand, and the exchange took it out */
	set_next("gen/000001");
	EXPECT_LOOK(3, 4, FOREIGN);
	cr_expect_str_eq(live(), "gen/000001");
	cr_expect_str_eq(next(), "(none)");
}

/* The giving back was cut off when all but our own link was in its place: left there, a later swap would take it for a
 * stranger's and put it back. */
FILES_TEST(look, our_own_link_goes_once_the_strangers_is_back)
{
	set_live("/stranger");
	set_next("gen/000002");
	EXPECT_LOOK(1, 2, FOREIGN);
	cr_expect_str_eq(live(), "/stranger");
	cr_expect_str_eq(next(), "(none)");
	cr_assert_eq(unlinkat(files_folder, "live", 0), 0);
	set_next("gen/000001");
	EXPECT_LOOK(1, 2, FOREIGN);
	cr_expect_str_eq(files_all(files_folder), "");
	set_next("/stranger");
	EXPECT_LOOK(1, 2, FOREIGN);
	cr_expect_str_eq(next(), "/stranger");
}

FILES_TEST(look, a_failed_sync_is_told_and_the_next_look_goes_on)
{
	enum txn_disk disk;
	set_live("gen/000002");
	set_next("/stranger");
	files_syncs.fail_at = 1; /* just behind the exchange */
	cr_expect_eq(store_look(files_folder, 1, 2, &disk, &fault), -EIO);
	EXPECT_LOOK(1, 2, FOREIGN);
	cr_expect_str_eq(live(), "/stranger");
	cr_expect_str_eq(next(), "(none)");
}

/* ---- the exchange ---- */

static void expect_exchange(unsigned int from, unsigned int to, bool foreign, const char *is_live, int line)
{
	bool is_foreign = !foreign;
	int r = store_exchange(files_folder, from, to, &is_foreign, &fault);
	cr_assert_eq(r, 0, "line %d: %s", line, fault.text);
	cr_expect_eq(is_foreign, foreign, "line %d", line);
	cr_expect_str_eq(live(), is_live, "line %d", line);
	cr_expect_str_eq(next(), "(none)", "line %d", line);
}
#define EXPECT_EXCHANGE(...) expect_exchange(__VA_ARGS__, __LINE__)

FILES_TEST(exchange, there_again_and_back)
{
	set_live("gen/000001");
	EXPECT_EXCHANGE(1, 2, false, "gen/000002");
	EXPECT_EXCHANGE(1, 2, false, "gen/000002");
	EXPECT_EXCHANGE(2, 1, false, "gen/000001");
	EXPECT_EXCHANGE(2, 1, false, "gen/000001");
	files_syncs.log[0] = '\0';
	EXPECT_EXCHANGE(1, 2, false, "gen/000002");
	AUTO_FREE char *once = xasprintf(" %s", files_name());
	cr_expect_str_eq(files_syncs.log, once, "the new link and the exchange; a next that comes back is looked at");
}

FILES_TEST(exchange, the_first_pair)
{
	EXPECT_EXCHANGE(0, 1, false, "gen/000001");
	AUTO_FREE char *once = xasprintf(" %s", files_name());
	cr_expect_str_eq(files_syncs.log, once);
	EXPECT_EXCHANGE(0, 1, false, "gen/000001");
	EXPECT_EXCHANGE(0, 2, true, "gen/000001");
	cr_assert_eq(unlinkat(files_folder, "live", 0), 0);
	EXPECT_EXCHANGE(1, 2, true, "(none)"); /* it was taken away: that is somebody's will */
}

FILES_TEST(exchange, never_touches_what_a_stranger_left)
{
	set_live("/stranger");
	EXPECT_EXCHANGE(1, 2, true, "/stranger");
	EXPECT_EXCHANGE(0, 2, true, "/stranger");
	cr_assert_eq(unlinkat(files_folder, "live", 0), 0);
	files_put(files_folder, "live", "a file");
	EXPECT_EXCHANGE(1, 2, true, "(no link)");
	EXPECT_EXCHANGE(0, 2, true, "(no link)");
	cr_expect_str_eq(files_get(files_folder, "live"), "a file");
	cr_assert_eq(unlinkat(files_folder, "live", 0), 0);
	cr_assert_eq(mkdirat(files_folder, "live", 0700), 0);
	EXPECT_EXCHANGE(1, 2, true, "(no link)");
}

FILES_TEST(exchange, after_a_crash_at_any_step_of_an_earlier_one)
{
	set_live("gen/000001");
	files_set_link(files_folder, ".next.new", "gen/000002"); /* in files_link */
	EXPECT_EXCHANGE(1, 2, false, "gen/000002");
	set_live("gen/000001");
	set_next("gen/000002");
	EXPECT_EXCHANGE(1, 2, false, "gen/000002");
	set_next("gen/000001");
	EXPECT_EXCHANGE(1, 2, false, "gen/000002");
	set_next("/stranger"); /* it came out, and was not looked at yet */
	EXPECT_EXCHANGE(1, 2, true, "/stranger");
}

FILES_TEST(exchange, can_be_repeated_after_a_failed_sync)
{
	bool foreign;
	set_live("gen/000001");
	files_syncs.fail_at = 1;
	cr_expect_eq(store_exchange(files_folder, 1, 2, &foreign, &fault), -EIO);
	EXPECT_EXCHANGE(1, 2, false, "gen/000002");
}

FILES_TEST(exchange, a_full_disk_changes_nothing)
{
	files_small_disk(64);
	set_live("gen/000001");
	files_fill_disk();
	bool foreign;
	int r = 0;
	for (int i = 0; i < 4096 && r == 0; i++) { /* names need room too, on most filesystems */
		AUTO_FREE char *name = xasprintf("%0200d", i);
		r = symlinkat(long_target(), files_folder, name) < 0 ? -errno : 0;
	}
	cr_expect_eq(r, -ENOSPC);
	r = store_exchange(files_folder, 1, 2, &foreign, &fault);
	cr_expect(r == 0 || r == -ENOSPC, "%s", fault.text);
	cr_expect_str_eq(live(), r == 0 ? "gen/000002" : "gen/000001");
}

/* What a stranger puts in the place of live, just before each exchange: a link's target, "FILE", "FOLDER" or "GONE". */
static const char *const *strangers;

static void put_stranger(const char *what)
{
	if (unlinkat(files_folder, "live", 0) < 0)
		(void)files_remove_tree(files_folder, "live", NULL);
	if (strcmp(what, "FILE") == 0)
		files_put(files_folder, "live", "a stranger's");
	else if (strcmp(what, "FOLDER") == 0)
		cr_assert_eq(mkdirat(files_folder, "live", 0700), 0);
	else if (strcmp(what, "GONE") != 0)
		cr_assert_eq(symlinkat(what, files_folder, "live"), 0);
}

static void next_stranger(void)
{
	if (*strangers)
		put_stranger(*strangers++);
}

/* An exchange of 1 with 2 while these strangers come, one before each renameat2. */
static int exchange_among(const char *const *these, bool *ret_foreign)
{
	set_live("gen/000001");
	strangers = these;
	files_names.before_rename = next_stranger;
	int r = store_exchange(files_folder, 1, 2, ret_foreign, &fault);
	files_names.before_rename = NULL;
	return r;
}

FILES_TEST(exchange, gives_back_what_came_between_look_and_exchange)
{
	static const char *const rows[][5] = {{"/s1"},
					      {"gen/000003"},
					      {"gen/000007/"},
					      {"/s1", "/s2"},
					      {"/s1", "/s2", "/s3"},
					      {"/s1", "gen/000003"},
					      {"gen/000003", "/s1", "/s2", "/s3"}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool foreign = false;
		size_t n = 0;
		while (rows[i][n])
			n++;
		cr_expect_eq(exchange_among(rows[i], &foreign), 0, "%zu: %s", i, fault.text);
		cr_expect(foreign, "%zu", i);
		cr_expect_str_eq(live(), rows[i][n - 1], "%zu: the newest", i);
		cr_expect_str_eq(next(), "(none)", "%zu", i);
	}
}

FILES_TEST(exchange, gives_back_a_file_and_a_folder)
{
	static const char *const file[] = {"FILE", NULL}, *const folder[] = {"FOLDER", NULL},
				 *const both[] = {"FOLDER", "FILE", NULL};
	bool foreign = false;
	cr_expect_eq(exchange_among(file, &foreign), 0);
	cr_expect(foreign);
	cr_expect_str_eq(files_get(files_folder, "live"), "a stranger's");
	cr_expect_str_eq(files_all(files_folder), "live ");
	foreign = false;
	put_stranger("GONE");
	cr_expect_eq(exchange_among(folder, &foreign), 0);
	struct stat st;
	cr_expect(foreign && fstatat(files_folder, "live", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
	cr_expect_str_eq(files_all(files_folder), "live ");
	put_stranger("GONE");
	int r = exchange_among(both, &foreign);
	cr_expect(foreign && files_exist(files_folder, "live"), "%d", r);
}

FILES_TEST(exchange, of_a_link_that_was_taken_away_is_an_error)
{
	static const char *const gone[] = {"GONE", NULL};
	bool foreign = false;
	cr_expect_eq(exchange_among(gone, &foreign), -ENOENT);
	EXPECT_LOOK(1, 2, FOREIGN);
	cr_expect_str_eq(files_all(files_folder), "");
}

FILES_TEST(exchange, an_endless_race_ends_and_loses_nothing)
{
	static const char *const many[] = {"/1",  "/2",  "/3",  "/4",  "/5",  "/6",  "/7",  "/8",  "/9", "/10",
					   "/11", "/12", "/13", "/14", "/15", "/16", "/17", "/18", NULL};
	bool foreign = false;
	cr_expect_eq(exchange_among(many, &foreign), -EAGAIN);
	cr_expect_str_eq(next(), strangers[-1], "the newest came out last");
	cr_expect_str_eq(live(), strangers[-2]);
	EXPECT_LOOK(1, 2, FOREIGN);
	cr_expect_str_eq(next(), strangers[-1]);
	cr_expect_str_eq(live(), strangers[-2]);
}

static void make_live_first(void)
{
	files_names.before_link = NULL;
	files_set_link(files_folder, "live", "/stranger");
}

FILES_TEST(exchange, the_first_pair_replaces_nothing_that_came_between)
{
	bool foreign = false;
	files_names.before_link = make_live_first;
	ASSERT_OK(store_exchange(files_folder, 0, 1, &foreign, &fault));
	cr_expect(foreign);
	cr_expect_str_eq(live(), "/stranger");
}

FILES_TEST(exchange, without_an_exchange_it_is_a_rename)
{
	files_names.no_exchange = true;
	set_live("gen/000001");
	EXPECT_EXCHANGE(1, 2, false, "gen/000002");
	EXPECT_EXCHANGE(1, 2, false, "gen/000002");
	EXPECT_EXCHANGE(2, 1, false, "gen/000001");
	set_live("/stranger");
	EXPECT_EXCHANGE(1, 2, true, "/stranger");
}

/* A stranger replaces live by rename(2), as fast as he can: now by a link that looks like ours, now by his own. He ends
 * with his own, and that must stay. */
static void be_a_stranger(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		char target[32];
		snprintf(target, sizeof target, i % 2 ? "/stranger/%d" : "gen/000001", i);
		(void)unlinkat(files_folder, "his", 0);
		if (symlinkat(target, files_folder, "his") < 0 ||
		    renameat(files_folder, "his", files_folder, "live") < 0)
			_exit(1);
	}
	_exit(0);
}

FILES_TEST(exchange, a_strangers_last_link_survives_any_race)
{
	enum { ROUNDS = 4000 };
	int status = -1, foreign_seen = 0, ours_seen = 0;
	enum txn_disk disk = TXN_DISKS;
	AUTO_FREE char *last = xasprintf("/stranger/%d", ROUNDS - 1);
	set_live("gen/000001");
	pid_t stranger = fork();
	if (stranger == 0)
		be_a_stranger(ROUNDS);
	while (waitpid(stranger, &status, WNOHANG) == 0) {
		bool foreign = false;
		if (store_exchange(files_folder, 1, 2, &foreign, &fault) == 0)
			*(foreign ? &foreign_seen : &ours_seen) += 1;
		(void)store_exchange(files_folder, 2, 1, &foreign, &fault);
	}
	cr_assert_eq(status, 0);
	for (int i = 0; i < 2; i++)
		ASSERT_OK(store_look(files_folder, 1, 2, &disk, &fault));
	cr_expect_eq(disk, TXN_DISK_FOREIGN);
	/* After many rounds of such a race the last two may stand under both names: none of them is lost. */
	cr_expect(strcmp(live(), last) == 0 || strcmp(next(), last) == 0, "lost; live is %s", live());
	cr_expect(foreign_seen + ours_seen > 0);
}

/* ---- what is removed ---- */

FILES_TEST(sweep, what_was_being_made_goes)
{
	int fds[STORE_FILES];
	unsigned int number, sealed = make_generation();
	ASSERT_OK(store_begin(files_folder, 0, &number, fds, &fault));
	for (int i = 0; i < STORE_FILES; i++)
		close(fds[i]);
	ASSERT_OK(store_sweep(files_folder, true, &fault));
	cr_expect(sealed == 1 && files_exist(files_folder, "gen/000001/meta.json"));
	cr_expect_not(files_exist(files_folder, "gen/000002"));
}

FILES_TEST(sweep, what_a_link_names_stays_even_without_its_meta)
{
	static const char *const links[] = {"live", "standby"};
	for (unsigned int i = 0; i < 4; i++) {
		char path[64];
		make_generation();
		snprintf(path, sizeof path, "gen/%06u/meta.json", i + 1);
		cr_assert_eq(unlinkat(files_folder, path, 0), 0);
		if (i < 2)
			files_set_link(files_folder, links[i], store_generation_path(i + 1, path));
	}
	files_set_link(files_folder, "next", "/stranger");
	ASSERT_OK(store_sweep(files_folder, true, &fault));
	cr_expect(files_exist(files_folder, "gen/000001/privkey.pem"));
	cr_expect(files_exist(files_folder, "gen/000002/privkey.pem"));
	cr_expect_not(files_exist(files_folder, "gen/000004"));
	cr_expect_str_eq(next(), "/stranger", "a stranger's link is not ours to remove");
}

FILES_TEST(sweep, a_link_of_ours_that_no_exchange_needs_goes)
{
	make_generation();
	make_generation();
	set_live("gen/000001");
	set_next("gen/000002");
	ASSERT_OK(store_sweep(files_folder, true, &fault));
	cr_expect_str_eq(next(), "(none)");
	cr_expect_str_eq(live(), "gen/000001");
	cr_expect(files_exist(files_folder, "gen/000002/meta.json"));
}

FILES_TEST(sweep, what_is_not_ours_stays)
{
	make_generation();
	set_live("gen/000001");
	ASSERT_OK(store_set_standby(files_folder, 1, &fault));
	set_next("/stranger");
	cr_assert_eq(mkdirat(files_folder, "gen/backup", 0700), 0);
	cr_assert_eq(mkdirat(files_folder, "gen/000009-old", 0700), 0);
	files_put(files_folder, "gen/notes", "x");
	ASSERT_OK(store_sweep(files_folder, true, &fault));
	ASSERT_OK(store_prune(files_folder, 0, &fault));
	AUTO_CLOSE int generations = openat(files_folder, "gen", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_expect_str_eq(files_all(generations), "000001 000009-old backup notes ");
	cr_expect_eq(make_generation(), 2);
}

FILES_TEST(prune, keeps_the_newest_and_what_is_named)
{
	for (int i = 0; i < 8; i++)
		make_generation();
	set_live("gen/000002");
	ASSERT_OK(store_set_standby(files_folder, 4, &fault));
	set_next("gen/000001");
	ASSERT_OK(store_prune(files_folder, 2, &fault));
	AUTO_CLOSE int generations = openat(files_folder, "gen", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_expect_str_eq(files_all(generations), "000001 000002 000004 000007 000008 ");
	cr_assert_eq(unlinkat(files_folder, "next", 0), 0);
	ASSERT_OK(store_prune(files_folder, 10, &fault));
	cr_expect_str_eq(files_all(generations), "000001 000002 000004 000007 000008 ");
	ASSERT_OK(store_prune(files_folder, 0, &fault));
	cr_expect_str_eq(files_all(generations), "000002 000004 ");
}

FILES_TEST(prune, what_a_link_names_is_never_removed)
{
	for (int i = 0; i < 4; i++)
		make_generation();
	set_live("gen/000001");
	ASSERT_OK(store_set_standby(files_folder, 2, &fault));
	set_next("gen/000003");
	for (unsigned int number = 1; number <= 3; number++)
		cr_expect_eq(store_remove(files_folder, number, &fault), -EBUSY, "%u", number);
	ASSERT_OK(store_remove(files_folder, 4, &fault));
	AUTO_CLOSE int generations = openat(files_folder, "gen", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_expect_str_eq(files_all(generations), "000001 000002 000003 ");
}

/* u::rw- u:33:r-- g::--- m::r-- o::--- as the kernel stores it (linux/posix_acl_xattr.h) */
FILES_TEST(store, who_may_read_by_an_acl_may_read_the_next_generation)
{
	static const unsigned char acl[] = {2, 0,  0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
					    0, 33, 0,   0,   0,   4,   0,  0, 0,   255, 255, 255, 255, 16, 0,
					    4, 0,  255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
	unsigned char seen[sizeof acl + 1];
	make_generation();
	set_live("gen/000001");
	AUTO_CLOSE int key = store_open_file(files_folder, 1, "privkey.pem", &fault);
	if (fsetxattr(key, "system.posix_acl_access", acl, sizeof acl, 0) < 0)
		cr_skip("this file system has no ACL");
	make_generation();
	AUTO_CLOSE int next_key = store_open_file(files_folder, 2, "privkey.pem", &fault);
	cr_expect_eq(fgetxattr(next_key, "system.posix_acl_access", seen, sizeof seen), sizeof acl);
	cr_expect_eq(memcmp(seen, acl, sizeof acl), 0);
	AUTO_CLOSE int cert = store_open_file(files_folder, 2, "cert.pem", &fault);
	cr_expect_lt(fgetxattr(cert, "system.posix_acl_access", seen, sizeof seen), 0);
}
