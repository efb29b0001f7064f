#include "test_files_help.h"

#include "swap/keyring.h"

#define ASSERT_OK(call) cr_assert_eq(call, 0, "%s", fault.text)
#define SINCE           1795449600
static struct fault fault;

static struct waiting_key key_of(uint8_t byte)
{
	struct waiting_key key = {.since = SINCE, .key_type = (char *)(uintptr_t) "ecdsa-p256"};
	memset(key.spki.b, byte, sizeof key.spki.b);
	words_add(&key.names, "shop.example.test");
	return key;
}

/* Makes one on disk, as the daemon and its worker do. */
static void make(uint8_t byte)
{
	int fds[KEYRING_FILES];
	struct waiting_key key = key_of(byte);
	ASSERT_OK(keyring_begin(files_folder, fds, &fault));
	for (int i = 0; i < KEYRING_FILES; i++)
		cr_assert_eq(write(fds[i], "content", 7), 7);
	ASSERT_OK(keyring_seal(files_folder, fds, &key, &fault));
	for (int i = 0; i < KEYRING_FILES; i++)
		close(fds[i]);
	words_done(&key.names);
}

FILES_TEST(keyring, there_and_back)
{
	struct keyring ring = {0};
	char *request;
	ASSERT_OK(keyring_load(files_folder, &ring, &fault)); /* none were ever made */
	cr_expect_eq(ring.n, 0);
	make(0xab);
	make(0x01);
	ASSERT_OK(keyring_load(files_folder, &ring, &fault));
	cr_assert_eq(ring.n, 2);
	cr_expect_eq(ring.v[1].spki.b[0], 0xab);
	cr_expect_eq(ring.v[1].since, SINCE);
	cr_expect(!ring.v[1].printed);
	cr_expect(words_has(&ring.v[1].names, "shop.example.test"));
	ring.v[1].printed = ring.v[1].suspect = true;
	ASSERT_OK(keyring_mark(files_folder, &ring.v[1], &fault));
	ASSERT_OK(keyring_remove(files_folder, &ring.v[0].spki, &fault));
	ASSERT_OK(keyring_read_request(files_folder, &ring.v[1].spki, &request, &fault));
	cr_expect_str_eq(request, "content");
	free(request);
	struct stat st;
	int fd = keyring_open_key(files_folder, &ring.v[1].spki, &fault);
	cr_assert(fd >= 0 && fstat(fd, &st) == 0);
	cr_expect_eq(st.st_mode & 0777, 0600);
	close(fd);
	keyring_done(&ring);
	ASSERT_OK(keyring_load(files_folder, &ring, &fault));
	cr_assert_eq(ring.n, 1);
	cr_expect(ring.v[0].printed && ring.v[0].suspect);
	keyring_done(&ring);
}

FILES_TEST(keyring, one_that_was_being_made_is_none)
{
	int fds[KEYRING_FILES];
	struct keyring ring = {0};
	ASSERT_OK(keyring_begin(files_folder, fds, &fault));
	cr_assert_eq(write(fds[0], "half", 4), 4);
	for (int i = 0; i < KEYRING_FILES; i++)
		close(fds[i]);
	ASSERT_OK(keyring_load(files_folder, &ring, &fault));
	cr_expect_eq(ring.n, 0);
	make(0xab); /* takes its place */
	ASSERT_OK(keyring_load(files_folder, &ring, &fault));
	cr_expect_eq(ring.n, 1);
	keyring_done(&ring);
}

FILES_TEST(keyring, damaged_record_is_told)
{
	struct keyring ring = {0};
	make(0xab);
	int pending = files_open_folder(files_folder, "pending", 0, &fault);
	struct words names = {0};
	ASSERT_OK(files_list(pending, false, &names, &fault));
	AUTO_FREE char *path = xasprintf("%s/key.json", names.v[0]);
	int fd = openat(pending, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	cr_assert_eq(write(fd, "{}", 2), 2);
	close(fd);
	close(pending);
	cr_expect_eq(keyring_load(files_folder, &ring, &fault), -EBADMSG);
	cr_expect(strstr(fault.text, "damaged"), "%s", fault.text);
	words_done(&names);
	keyring_done(&ring);
}
