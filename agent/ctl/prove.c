#include "ctl/prove.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "ctl/worker.h"
#include "settings/systemroots.h"
#include "settings/weakkeys.h"
#include "swap/denied.h"

#define INTERMEDIATES_TAKEN 64
#define LOAD_MAX            (INPUTS_MAX + 1 + INTERMEDIATES_TAKEN + WEAKKEYS_MAX + LOCALROOTS_MAX)

const char *prove_trust(const struct ctl *ctl, const char *named)
{
	if (named)
		return named;
	if (ctl->settings)
		return ctl->settings->trust;
	return systemroots_path(); /* where there is none, the worker's complaint names it */
}

/* Descriptors of one request with their roles. Those of the inputs are borrowed. */
struct load {
	int fds[LOAD_MAX];
	uint8_t roles[LOAD_MAX];
	size_t n, borrowed;
};

static void load_inputs(struct load *load, const struct inputs *in)
{
	for (size_t i = 0; i < in->n; i++) {
		load->fds[load->n] = in->fds[i];
		load->roles[load->n++] = CHECK_SUBMITTED;
	}
	if (in->passwords >= 0) {
		load->fds[load->n] = in->passwords;
		load->roles[load->n++] = CHECK_PASSWORD;
	}
	load->borrowed = load->n;
}

/* The agent completes chains from this folder; without the right to read it the chain must be whole. */
static void load_intermediates(struct load *load, const char *path)
{
	struct words names = {0};
	struct stat st;
	AUTO_CLOSE int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 || files_list(folder, false, &names, NULL) < 0)
		return;
	for (size_t i = 0; i < names.n && i < INTERMEDIATES_TAKEN; i++) {
		int fd = openat(folder, names.v[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
			close(fd);
			continue;
		}
		load->fds[load->n] = fd;
		load->roles[load->n++] = CHECK_INTERMEDIATE;
	}
	words_done(&names);
}

static void load_weak_keys(struct load *load)
{
	size_t n = weakkeys_open(load->fds + load->n);
	for (size_t i = 0; i < n; i++)
		load->roles[load->n++] = CHECK_WEAK_KEYS;
}

static void load_local_roots(struct load *load)
{
	size_t n = systemroots_open_local(load->fds + load->n);
	for (size_t i = 0; i < n; i++)
		load->roles[load->n++] = CHECK_LOCAL_ROOT;
}

static void load_done(struct load *load)
{
	for (size_t i = load->borrowed; i < load->n; i++)
		close(load->fds[i]);
}

/* The refused keys; *ret_read: false where they could not be looked at. */
static struct denied read_denied(struct ctl *ctl, bool *ret_read)
{
	struct denied denied = {0};
	const char *state = ctl->settings ? ctl->settings->state_dir : CTL_DEFAULT_STATE;
	AUTO_CLOSE int folder = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct fault fault = {0};
	*ret_read = folder >= 0 ? denied_load(folder, &denied, &fault) == 0 : errno == ENOENT;
	return denied;
}

int prove_pair(struct ctl *ctl, const struct inputs *in, const struct words *names, enum check_profile profile,
	       const char *trust, struct outcome *ret, struct fault *fault)
{
	struct load load = {0};
	trust = prove_trust(ctl, trust);
	load_inputs(&load, in);
	load_weak_keys(&load);
	if (systemroots_is(trust))
		load_local_roots(&load);
	load_intermediates(&load, ctl->settings ? ctl->settings->intermediates : "/etc/certswap/intermediates");
	struct denied denied = read_denied(ctl, &ret->denied_read);
	struct digest *digests = xcalloc(denied.n, sizeof *digests);
	for (size_t i = 0; i < denied.n; i++)
		digests[i] = denied.v[i].digest;
	const struct check_request request = {.roles = load.roles,
					      .files = load.n,
					      .names = *names,
					      .profile = profile,
					      .system_trust = systemroots_is(trust),
					      .denied = digests,
					      .ndenied = denied.n};
	int r = worker_check_pair(ctl, &request, load.fds, trust, &ret->reply, fault);
	free(digests);
	denied_done(&denied);
	load_done(&load);
	return r;
}
