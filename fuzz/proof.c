/* The whole proof of what was handed in: which certificate, which chain, what is wrong with it. The first byte chooses
 * profile and what is live. The corpus brings whole pairs; the root that they end in is one of their files. */
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"
#include "pki/pki.h"
#include "pki/proof.h"

#define NOW 1795449600 /* 2026-11-23T16:00:00Z */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	pki_init();
	return 0;
}

static bool blocks(const struct findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].severity == FINDING_BLOCK)
			return true;
	return false;
}

static void prove(const uint8_t *bytes, size_t len, struct bundle *trust, enum check_profile profile, bool live)
{
	uint8_t roles[] = {CHECK_SUBMITTED, CHECK_LIVE};
	struct proof_file files[] = {{.bytes = bytes, .len = len}, {.bytes = bytes, .len = len}};
	struct check_request request = {.roles = roles, .files = live ? 2 : 1, .profile = profile, .now = NOW};
	struct proof_input in = {.request = &request, .files = files, .trust = trust};
	struct check_reply reply, again = {0};
	struct proof_output out;
	bool whole = proof_make(&in, &reply, &out);
	MUST(whole || blocks(&reply.findings));
	MUST(!whole || (out.v[CHECK_OUT_FULLCHAIN].len && out.v[CHECK_OUT_KEY].len && !digest_is_zero(&reply.spki)));
	/* the answer goes over the wire, and must come out as it went in */
	struct packer p = {0};
	check_reply_pack(&p, &reply);
	struct unpacker u = {.bytes = p.bytes, .len = p.len};
	MUST(check_reply_unpack(&u, &again) == 0 && again.findings.n == reply.findings.n);
	check_reply_done(&again);
	packer_done(&p);
	/* what was written out is proved as what came in */
	if (whole && !blocks(&reply.findings)) {
		struct proof_file own = {.bytes = out.v[CHECK_OUT_COMBINED].s, .len = out.v[CHECK_OUT_COMBINED].len};
		struct proof_output second;
		files[0] = own; /* beside the same live one: what is no worse than it never blocks */
		MUST(proof_make(&in, &again, &second) && !blocks(&again.findings));
		MUST(digest_equal(&again.sha256, &reply.sha256));
		MUST(strcmp(second.v[CHECK_OUT_FULLCHAIN].s, out.v[CHECK_OUT_FULLCHAIN].s) == 0);
		check_reply_done(&again);
		proof_output_done(&second);
	}
	check_reply_done(&reply);
	proof_output_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (!len)
		return 0;
	struct bundle *trust = bundle_new();
	bundle_add(trust, bytes + 1, len - 1);
	prove(bytes + 1, len - 1, bytes[0] & 4 ? NULL : trust, (enum check_profile)(bytes[0] % 3), bytes[0] & 8);
	bundle_free(trust);
	return 0;
}
