#include "swap/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "swap/record.h"

#define REQUEST_MAX (256 * 1024)
#define NEW         ".new"

static const char *const file_name[KEYRING_FILES] = {"privkey.pem", "request.csr"};

static int open_pending(int folder, bool make, struct fault *fault)
{
	return files_open_folder(folder, "pending", make ? 0700 : 0, fault);
}

static int open_key_folder(int folder, const struct digest *spki, struct fault *fault)
{
	char hex[DIGEST_HEX];
	AUTO_CLOSE int pending = open_pending(folder, false, fault);
	return pending < 0 ? pending : files_open_folder(pending, digest_text(spki, hex), 0, fault);
}

static void key_done(struct waiting_key *key)
{
	free(key->key_type);
	words_done(&key->names);
}

void keyring_done(struct keyring *k)
{
	for (size_t i = 0; i < k->n; i++)
		key_done(&k->v[i]);
	free(k->v);
	*k = (struct keyring){0};
}

void keyring_add(struct keyring *k, const struct waiting_key *key)
{
	k->v = xrealloc(k->v, (k->n + 1) * sizeof *k->v);
	k->v[k->n++] = *key;
}

void keyring_drop(struct keyring *k, size_t at)
{
	key_done(&k->v[at]);
	k->n--;
	memmove(&k->v[at], &k->v[at + 1], (k->n - at) * sizeof *k->v);
}

static int load_key(int pending, const char *name, struct waiting_key *ret, struct fault *fault)
{
	json_t *record;
	AUTO_CLOSE int folder = files_open_folder(pending, name, 0, fault);
	int r = folder < 0 ? folder : record_load(folder, "key.json", &record, fault);
	if (r < 0)
		return r;
	struct reader reader = {.object = record};
	ret->since = record_time(&reader, "since");
	ret->key_type = xstrdup(record_string(&reader, "key_type"));
	ret->names = record_words(&reader, "names");
	ret->printed = record_bool(&reader, "printed");
	ret->suspect = record_bool(&reader, "suspect");
	json_decref(record);
	if (!reader.failed)
		return 0;
	key_done(ret);
	return fault_set(fault, -EBADMSG, "pending/%s/key.json is damaged: %s", name, reader.field);
}

int keyring_load(int folder, struct keyring *ret, struct fault *fault)
{
	struct words names = {0};
	AUTO_CLOSE int pending = open_pending(folder, false, fault);
	if (pending == -ENOENT)
		return 0;
	int r = pending < 0 ? pending : files_list(pending, false, &names, fault);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		struct waiting_key key = {0};
		if (digest_parse(names.v[i], &key.spki) < 0)
			continue; /* not ours: left alone */
		r = load_key(pending, names.v[i], &key, fault);
		if (r == 0)
			keyring_add(ret, &key);
	}
	words_done(&names);
	return r;
}

int keyring_begin(int folder, int ret_fds[KEYRING_FILES], struct fault *fault)
{
	AUTO_CLOSE int pending = open_pending(folder, true, fault);
	int r = pending < 0 ? pending : files_remove_tree(pending, NEW, fault);
	AUTO_CLOSE int new = r < 0 ? r : files_open_folder(pending, NEW, 0700, fault);
	if (new < 0)
		return new;
	for (int i = 0; i < KEYRING_FILES; i++) {
		ret_fds[i] = openat(new, file_name[i], O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (ret_fds[i] >= 0)
			continue;
		int error = errno;
		while (i-- > 0)
			close(ret_fds[i]);
		return fault_errno(fault, error, "can't make a file for a new key");
	}
	return 0;
}

static int save(int folder, const struct waiting_key *key, struct fault *fault)
{
	json_t *names = record_from_words(&key->names);
	json_t *record =
		names ? json_pack("{so, ss, so, sb, sb}", "since", record_from_time(key->since), "key_type",
				  key->key_type, "names", names, "printed", key->printed, "suspect", key->suspect)
		      : NULL;
	int r = record ? record_save(folder, "key.json", record, fault)
		       : fault_set(fault, -EINVAL, "a name in the request is not UTF-8");
	json_decref(record);
	return r;
}

int keyring_seal(int folder, const int fds[KEYRING_FILES], const struct waiting_key *key, struct fault *fault)
{
	char hex[DIGEST_HEX];
	AUTO_CLOSE int pending = open_pending(folder, false, fault);
	AUTO_CLOSE int new = pending < 0 ? pending : files_open_folder(pending, NEW, 0, fault);
	if (new < 0)
		return new;
	for (int i = 0; i < KEYRING_FILES; i++)
		if (fsync(fds[i]) < 0)
			return fault_errno(fault, errno, "can't write %s", file_name[i]);
	int r = save(new, key, fault);
	if (r == 0)
		r = files_sync_folder(new, fault);
	return r < 0 ? r : files_move(pending, NEW, pending, digest_text(&key->spki, hex), fault);
}

int keyring_mark(int folder, const struct waiting_key *key, struct fault *fault)
{
	AUTO_CLOSE int own = open_key_folder(folder, &key->spki, fault);
	return own < 0 ? own : save(own, key, fault);
}

int keyring_remove(int folder, const struct digest *spki, struct fault *fault)
{
	char hex[DIGEST_HEX];
	AUTO_CLOSE int pending = open_pending(folder, false, fault);
	return pending < 0 ? pending : files_remove_tree(pending, digest_text(spki, hex), fault);
}

int keyring_open_key(int folder, const struct digest *spki, struct fault *fault)
{
	AUTO_CLOSE int own = open_key_folder(folder, spki, fault);
	if (own < 0)
		return own;
	int fd = openat(own, file_name[0], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd : fault_errno(fault, errno, "can't open the waiting key");
}

int keyring_read_request(int folder, const struct digest *spki, char **ret, struct fault *fault)
{
	AUTO_CLOSE int own = open_key_folder(folder, spki, fault);
	return own < 0 ? own : files_read(own, file_name[1], REQUEST_MAX, ret, NULL, fault);
}
