#include "site/prove.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "settings/systemroots.h"
#include "settings/weakkeys.h"
#include "site/candidate.h"
#include "site/completion.h"
#include "site/staple.h"

#define PROVE_TIMEOUT_MS  30000
#define INTERMEDIATES_MAX 64
#define ISSUERS_MAX       3    /* that are fetched for one proof */
#define DENIALS_MAX       1000 /* digests that a message takes beside everything else */

_Static_assert((int)STORE_FILES == (int)CHECK_OUTPUTS, "a generation has the files that a check writes");
_Static_assert((int)PROFILE_PRIVATE == (int)CHECK_PROFILE_PRIVATE, "profiles have one order");

struct prove {
	struct prove *next, **link; /* among all of the site */
	struct certificate *certificate;
	struct prove_input *inputs; /* descriptors of our own */
	size_t ninputs;
	struct digest leaf;
	bool older_blocks;
	unsigned int number;     /* 0: only a check */
	unsigned int generation; /* whose files hold the chain */
	unsigned int rounds;     /* issuers that were fetched */
	struct check_reply reply;
	int out[STORE_FILES];
	char *origin;
	struct words accepted;
	prove_cb cb;
	void *data;
	struct fault fault; /* it could not begin: told by the timer */
	struct timer *timer;
};

/* The descriptors and roles of one request, in step. */
struct load {
	int fds[MESSAGE_FDS];
	uint8_t roles[MESSAGE_FDS];
	size_t n, borrowed; /* the first `borrowed` are the caller's */
};

static void load_add(struct load *load, int fd, enum check_role role)
{
	if (fd < 0)
		return;
	if (load->n >= MESSAGE_FDS - STORE_FILES) {
		close(fd);
		return;
	}
	load->fds[load->n] = fd;
	load->roles[load->n++] = (uint8_t)role;
}

static void load_done(struct load *load)
{
	for (size_t i = load->borrowed; i < load->n; i++)
		close(load->fds[i]);
}

/* Files of the intermediates folder of the configuration; a missing folder is none. */
static void add_intermediates(struct load *load, const char *path)
{
	struct words names = {0};
	AUTO_CLOSE int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 || files_list(folder, false, &names, NULL) < 0)
		return;
	for (size_t i = 0; i < names.n && i < INTERMEDIATES_MAX; i++) {
		struct stat st;
		int fd = openat(folder, names.v[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
			close(fd);
			fd = -1;
		}
		load_add(load, fd, CHECK_INTERMEDIATE);
	}
	words_done(&names);
}

static void add_ours(struct load *load, struct certificate *c)
{
	if (c->live.number) {
		/* combined.pem: its other blocks go on */
		load_add(load, store_open_file(c->folder, c->live.number, "combined.pem", NULL), CHECK_LIVE);
		load_add(load, store_open_file(c->folder, c->live.number, "chain.pem", NULL), CHECK_INTERMEDIATE);
	}
	if (c->standby.number)
		load_add(load, store_open_file(c->folder, c->standby.number, "chain.pem", NULL), CHECK_INTERMEDIATE);
	int weak[WEAKKEYS_MAX];
	size_t n = weakkeys_open(weak);
	for (size_t i = 0; i < n; i++)
		load_add(load, weak[i], CHECK_WEAK_KEYS);
	int local[LOCALROOTS_MAX];
	n = systemroots_is(certificate_trust(c)) ? systemroots_open_local(local) : 0;
	for (size_t i = 0; i < n; i++)
		load_add(load, local[i], CHECK_LOCAL_ROOT);
	add_intermediates(load, c->site->settings->intermediates);
	AUTO_FREE char *fetched = completion_folder(c->site);
	add_intermediates(load, fetched);
}

static void close_out(struct prove *p)
{
	for (size_t i = 0; p->number && i < STORE_FILES; i++)
		close(p->out[i]);
}

static int seal(struct prove *p, const struct check_reply *reply, struct fault *fault)
{
	struct certificate *c = p->certificate;
	struct store_owner owner;
	int r = certificate_owner(c, &owner, fault);
	if (r < 0)
		return r;
	const struct meta meta = {.number = p->number,
				  .sha256 = reply->sha256,
				  .spki = reply->spki,
				  .issuer_spki = reply->issuer_spki,
				  .serial = reply->serial,
				  .issuer = reply->issuer,
				  .issuer_ski = reply->issuer_ski,
				  .subject = reply->subject,
				  .key_type = reply->key_type,
				  .origin = p->origin,
				  .names = reply->names,
				  .accepted = p->accepted,
				  .not_before = reply->not_before,
				  .not_after = reply->not_after,
				  .made_at = clock_wall(),
				  .publicly_trusted = reply->publicly_trusted};
	return store_seal(c->folder, p->number, p->out, &meta, &owner, fault);
}

enum prove_blame prove_blame(const struct fault *fault)
{
	switch (fault->code) {
	case -EKEYREVOKED:
	case -EMSGSIZE:
	case -ENODATA: /* no OCSP response can be had for it */
	case -ESTALE:  /* a generation that is not what was proved */
		return PROVE_PAIR;
	case -ETIMEDOUT:
	case -EBADMSG:
	case -ECONNABORTED:
		return PROVE_WORKER;
	default:
		return PROVE_MACHINE;
	}
}

/* The worker is told what is refused, as far as it fits in a message; the last word is here. */
static bool is_denied(const struct site *site, const struct check_reply *reply)
{
	return denied_find(&site->denied, true, &reply->spki) || denied_find(&site->denied, false, &reply->sha256);
}

static struct prove *new_prove(struct certificate *c, prove_cb cb, void *data)
{
	struct prove *p = xcalloc(1, sizeof *p), **first = &c->site->proofs;
	*p = (struct prove){.certificate = c, .cb = cb, .data = data, .link = first, .next = *first};
	if (p->next)
		p->next->link = &p->next;
	*first = p;
	return p;
}

/* What its callback does, proofs_close among it, does not concern it any more. */
static void leave(struct prove *p)
{
	if (!p->link)
		return;
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	p->link = NULL;
}

static void free_prove(struct prove *p)
{
	leave(p);
	timer_close(p->timer);
	for (size_t i = 0; i < p->ninputs; i++)
		close(p->inputs[i].fd);
	free(p->inputs);
	check_reply_done(&p->reply);
	words_done(&p->accepted);
	free(p->origin);
	free(p);
}

static void finish(struct prove *p, const struct check_reply *reply, const struct fault *problem)
{
	struct fault fault = problem ? *problem : (struct fault){0};
	bool good = reply && !findings_block(&reply->findings);
	if (good && is_denied(p->certificate->site, reply))
		good = false, fault_set(&fault, -EKEYREVOKED,
					"KEY_DENIED: its key, or the certificate itself, is among the refused ones "
					"(certswapctl deny list)");
	if (good && p->number && !reply->written)
		good = false, fault_set(&fault, -EIO, "the worker could not write the pair out: is the disk full?");
	if (good && p->number && seal(p, reply, &fault) < 0)
		good = false;
	close_out(p);
	if (!good && p->number)
		(void)store_remove(p->certificate->folder, p->number, NULL); /* else the next start sweeps it */
	leave(p);
	p->cb(fault.code ? NULL : reply, good ? p->number : 0, &fault, p->data);
	free_prove(p);
}

void proofs_close(struct site *site)
{
	while (site->proofs) {
		close_out(site->proofs); /* the generation has no meta.json, and is swept */
		free_prove(site->proofs);
	}
}

static void ask(struct prove *p);

static void on_staple(const struct fault *fault, void *data)
{
	struct prove *p = data;
	finish(p, fault->code ? NULL : &p->reply, fault);
}

/* It is sound. Where nginx staples from a file, it needs a response of its own. */
static void conclude(struct prove *p)
{
	struct certificate *c = p->certificate;
	if (!c->settings->staple || !p->generation || findings_block(&p->reply.findings))
		return finish(p, &p->reply, NULL);
	staple_get(c, p->generation, &p->reply.chain, on_staple, p);
}

static void on_candidate(const char *revoked, void *data)
{
	struct prove *p = data;
	const char *code = finding_name(FINDING_REVOKED);
	bool accepted = words_has(&p->accepted, code);
	if (revoked)
		findings_add(&p->reply.findings, FINDING_REVOKED, accepted ? FINDING_WARN : FINDING_BLOCK, "%s%s.",
			     revoked, accepted ? "; accepted" : "");
	conclude(p);
}

/* Is it sound, but published as revoked? */
static void look_up(struct prove *p)
{
	struct certificate *c = p->certificate;
	if (findings_block(&p->reply.findings) || !candidate_has_sources(c, &p->reply.chain))
		return conclude(p);
	AUTO_CLOSE int chain = p->generation ? store_open_file(c->folder, p->generation, "fullchain.pem", NULL) : -1;
	candidate_start(c, &p->reply.chain, chain, on_candidate, p);
}

static void on_issuer(bool found, void *data)
{
	struct prove *p = data;
	if (!found)
		return look_up(p);
	check_reply_done(&p->reply);
	ask(p);
}

static void take_reply(struct prove *p)
{
	const struct source_file *chain = &p->reply.chain;
	if (!p->reply.orphan.n || !chain->n || !chain->v[chain->n - 1].issuers.n || p->rounds++ >= ISSUERS_MAX)
		return look_up(p);
	completion_start(p->certificate, &chain->v[chain->n - 1], &p->reply.orphan, on_issuer, p);
}

static void on_reply(struct message *message, const struct fault *fault, void *data)
{
	struct prove *p = data;
	struct fault bad = {0};
	if (!message)
		return finish(p, NULL, fault);
	if (check_reply_unpack(&message->body, &p->reply) < 0) {
		fault_set(&bad, -EBADMSG, "certswap-worker (check) sent a reply that makes no sense");
		return finish(p, NULL, &bad);
	}
	take_reply(p);
}

static void pack_request(struct packer *packer, struct prove *p, const struct load *load)
{
	struct certificate *c = p->certificate;
	const struct denied *denied = &c->site->denied;
	struct digest *digests = xcalloc(denied->n, sizeof *digests);
	size_t n = denied->n < DENIALS_MAX ? denied->n : DENIALS_MAX;
	for (size_t i = 0; i < n; i++)
		digests[i] = denied->v[denied->n - n + i].digest; /* the newest */
	const struct check_request request = {.roles = (uint8_t *)(uintptr_t)load->roles,
					      .files = load->n,
					      .leaf = p->leaf,
					      .names = *certificate_names(c),
					      .profile = (enum check_profile)c->settings->profile,
					      .older_blocks = p->older_blocks,
					      .write_out = p->number != 0,
					      .system_trust = systemroots_is(certificate_trust(c)),
					      .accepted = p->accepted,
					      .pins = c->settings->pins,
					      .denied = digests,
					      .ndenied = n};
	check_request_pack(packer, &request);
	free(digests);
}

static void report_failure(void *data)
{
	struct prove *p = data;
	leave(p);
	p->cb(NULL, 0, &p->fault, p->data);
	free_prove(p);
}

/* Callers are never called back from inside their call. */
static void fail_later(struct certificate *c, prove_cb cb, void *data, const struct fault *fault)
{
	struct prove *p = new_prove(c, cb, data);
	p->fault = *fault;
	p->timer = timer_start(c->site->loop, 0, report_failure, p);
}

/* Asks a worker; the descriptors of the request are duplicated by it. */
static void ask(struct prove *p)
{
	struct certificate *c = p->certificate;
	struct load load = {0};
	for (size_t i = 0; i < p->ninputs; i++) {
		load.fds[load.n] = p->inputs[i].fd;
		load.roles[load.n++] = (uint8_t)p->inputs[i].role;
	}
	load.borrowed = load.n;
	add_ours(&load, c);
	struct packer body = {0};
	pack_request(&body, p, &load);
	size_t nfds = load.n;
	for (size_t i = 0; p->number && i < STORE_FILES; i++)
		load.fds[nfds++] = p->out[i];
	job_start(c->site->jobs, "check", MESSAGE_CHECK, &body, load.fds, nfds, c->settings->trust, PROVE_TIMEOUT_MS,
		  on_reply, p);
	packer_done(&body);
	load_done(&load);
}

static int keep_inputs(struct prove *p, const struct prove_spec *spec, struct fault *fault)
{
	p->inputs = xcalloc(spec->ninputs, sizeof *p->inputs);
	for (size_t i = 0; i < spec->ninputs && i < MESSAGE_FDS - STORE_FILES; i++) {
		int fd = fcntl(spec->inputs[i].fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return fault_errno(fault, errno, "a file of the pair can't be kept open");
		p->inputs[p->ninputs++] = (struct prove_input){fd, spec->inputs[i].role};
	}
	return 0;
}

void prove_start(struct certificate *c, const struct prove_spec *spec, prove_cb cb, void *data)
{
	struct fault fault = {0};
	struct prove *p = new_prove(c, cb, data);
	p->leaf = spec->leaf;
	p->older_blocks = spec->older_blocks;
	p->origin = xstrdup(spec->origin);
	if (spec->accepted)
		words_copy(&p->accepted, spec->accepted);
	if (keep_inputs(p, spec, &fault) < 0 ||
	    (!spec->only_check && store_begin(c->folder, c->newest, &p->number, p->out, &fault) < 0)) {
		free_prove(p);
		return fail_later(c, cb, data, &fault);
	}
	p->generation = p->number ? p->number : spec->generation;
	ask(p);
}

void prove_generation(struct certificate *c, unsigned int number, const struct words *accepted, prove_cb cb, void *data)
{
	struct fault fault = {0};
	struct prove_input inputs[2] = {
		{.fd = store_open_file(c->folder, number, "fullchain.pem", &fault), .role = CHECK_SUBMITTED},
		{.fd = store_open_file(c->folder, number, "privkey.pem", &fault), .role = CHECK_SUBMITTED}};
	unsigned int changed;
	struct meta meta = {0}; /* what a person let pass once stays let pass for this generation */
	if (inputs[0].fd < 0 || inputs[1].fd < 0 || store_read_meta(c->folder, number, &meta, &fault) < 0) {
		fail_later(c, cb, data, &fault);
	} else if ((changed = store_changed_files(c->folder, &meta)) == STORE_UNREADABLE) {
		fault_set(&fault, -EMFILE, "generation %u can't be looked at now", number);
		fail_later(c, cb, data, &fault);
	} else if (changed) {
		fault_set(&fault, -ESTALE, "generation %u was changed after it was proved: it is not used any more",
			  number);
		fail_later(c, cb, data, &fault);
	} else {
		for (size_t i = 0; accepted && i < accepted->n; i++)
			words_add(&meta.accepted, accepted->v[i]);
		const struct prove_spec spec = {.inputs = inputs,
						.ninputs = 2,
						.origin = "",
						.only_check = true,
						.generation = number,
						.accepted = &meta.accepted};
		prove_start(c, &spec, cb, data);
	}
	meta_done(&meta);
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
		if (inputs[i].fd >= 0)
			close(inputs[i].fd);
}
