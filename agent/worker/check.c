#include "worker/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pki/proof.h"
#include "wire/check.h"
#include "worker/input.h"
#include "worker/sources.h"

#define ORPHAN_PIECE 4000              /* bytes of one word of the reply */
#define TRUST_MAX    (8 * 1024 * 1024) /* bytes; the system's file has 220 KiB */
#define WEAK_MAX     (8 * 1024 * 1024) /* bytes of one list; Debian's have 2 MB each */

static struct bundle *trust; /* of the whole process: loaded before the request comes */

int worker_trust_load(int fd, struct fault *fault)
{
	struct input in;
	input_read(fd, TRUST_MAX, &in);
	if (in.error)
		return fault_errno(fault, in.error, "the trust file can't be read");
	struct bundle *b = bundle_new();
	size_t n = bundle_add(b, in.bytes, in.len);
	input_done(&in);
	if (!n) {
		bundle_free(b);
		return fault_set(fault, -EINVAL, "the trust file holds no certificate in PEM");
	}
	bundle_free(trust);
	trust = b;
	return 0;
}

/* The outputs stand behind the files. */
static void write_outputs(const struct message *m, const struct check_request *r, const struct proof_output *out,
			  struct check_reply *ret)
{
	int error = 0;
	for (size_t i = 0; i < CHECK_OUTPUTS && !error; i++)
		error = output_write(m->fds[r->files + i], out->v[i].s, out->v[i].len);
	ret->written = !error; /* the caller sees it and says that it could not be kept */
}

/* The last certificate of what is there of the chain, as the daemon hands it to the one who fetches its issuer. */
static void take_orphan(const struct text *chain, struct words *ret)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	const char *last = NULL;
	for (const char *at = chain->s; at && (at = strstr(at, begin)); at++)
		last = at;
	for (size_t left = last ? strlen(last) : 0; left;) {
		size_t n = left < ORPHAN_PIECE ? left : ORPHAN_PIECE;
		words_add_n(ret, last, n);
		last += n;
		left -= n;
	}
}

/* A reply that does not fit (a thousand long names) is cut to one that does, and then blocks. */
static void pack(struct packer *p, struct check_reply *r)
{
	struct packer whole = {0};
	check_reply_pack(&whole, r);
	bool fits = !whole.failed && whole.len <= WIRE_MESSAGE_MAX - MESSAGE_HEADER;
	packer_done(&whole);
	if (!fits) {
		words_done(&r->names);
		source_file_done(&r->chain);
		words_done(&r->orphan);
		findings_done(&r->findings);
		r->written = false;
		findings_add(&r->findings, FINDING_TOO_LARGE, FINDING_BLOCK,
			     "The files hold so much that the answer does not fit in a message.");
	}
	check_reply_pack(p, r);
}

/* All lists that came along as one; NULL: none did. */
static struct weak_list *read_weak_keys(const struct check_request *r, const struct input *inputs)
{
	struct text all = {0};
	bool any = false;
	for (size_t i = 0; i < r->files; i++) {
		if (r->roles[i] != CHECK_WEAK_KEYS || inputs[i].error)
			continue;
		text_add_bytes(&all, (const char *)inputs[i].bytes, inputs[i].len);
		text_add(&all, "\n");
		any = true;
	}
	struct weak_list *list = any ? weak_list_read(all.s, all.len) : NULL;
	text_done(&all);
	return list;
}

static void run(const struct message *m, const struct check_request *r, struct packer *reply)
{
	struct input *inputs = xcalloc(r->files, sizeof *inputs);
	struct proof_file *files = xcalloc(r->files, sizeof *files);
	for (size_t i = 0; i < r->files; i++) {
		input_read(m->fds[i], r->roles[i] == CHECK_WEAK_KEYS ? WEAK_MAX : INPUT_MAX, &inputs[i]);
		files[i] = (struct proof_file){.bytes = inputs[i].bytes,
					       .len = inputs[i].len,
					       .too_large = inputs[i].error == -EFBIG,
					       .error = inputs[i].error};
	}
	struct weak_list *weak = read_weak_keys(r, inputs);
	struct proof_input in = {.request = r, .files = files, .trust = trust, .weak = weak};
	struct proof_output out;
	struct check_reply answer;
	bool whole = proof_make(&in, &answer, &out);
	if (whole && r->write_out && !findings_block(&answer.findings))
		write_outputs(m, r, &out, &answer);
	worker_sources_of(out.chain.s, out.chain.len, &answer.chain);
	if (out.incomplete)
		take_orphan(&out.chain, &answer.orphan);
	pack(reply, &answer);
	proof_output_done(&out);
	weak_list_free(weak);
	check_reply_done(&answer);
	for (size_t i = 0; i < r->files; i++)
		input_done(&inputs[i]);
	free(inputs);
	free(files);
}

int worker_check(struct message *request, struct packer *reply)
{
	struct check_request r;
	if (check_request_unpack(&request->body, &r))
		return -EBADMSG;
	bool good = request->nfds == r.files + (r.write_out ? CHECK_OUTPUTS : 0U);
	if (!r.now)
		r.now = clock_wall();
	if (good)
		run(request, &r, reply);
	check_request_done(&r);
	return good ? 0 : -EBADMSG;
}
