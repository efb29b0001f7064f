/* The proof of a pair: bytes of files in, findings and the files to serve out. No I/O. Used by the check worker. */
#ifndef PKI_PROOF_H
#define PKI_PROOF_H
#include "pki/bundle.h"
#include "pki/weak.h"
#include "wire/check.h"

struct proof_file {
	const void *bytes;
	size_t len;
	bool too_large; /* was not read, for its size */
	int error;      /* 0, or the negative errno that kept it from being read */
};
struct proof_input {
	const struct check_request *request; /* its `now` set, its roles one for each of files */
	const struct proof_file *files;
	struct bundle *trust;         /* NULL: nothing is trusted */
	const struct weak_list *weak; /* Debian's weak keys; NULL: no list */
};
struct proof_output {
	struct text v[CHECK_OUTPUTS];
	struct text chain; /* PEM of what was found of the chain, whatever came out; no key */
	bool incomplete;   /* the issuer of the last one in `chain` is missing */
};
/* Fills *ret (end it with check_reply_done; `written` is left to the caller), and the texts where there is a whole pair
 * (end them with proof_output_done whatever comes out: they hold the key). True: the texts are whole. */
bool proof_make(const struct proof_input *in, struct check_reply *ret, struct proof_output *out);
void proof_output_done(struct proof_output *out);
#endif
