#include "worker/keygen.h"

#include <errno.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/key.h"
#include "pki/pem.h"
#include "pki/request.h"
#include "wire/keygen.h"
#include "worker/input.h"

/* The first certificate of a PEM file; NULL: there is none, and then the request has the names alone. */
static X509 *read_certificate(int fd)
{
	struct input in;
	struct pem_block block;
	size_t at = 0;
	X509 *x = NULL;
	input_read(fd, INPUT_MAX, &in);
	if (!in.error && pem_next(in.bytes, in.len, &at, &block)) {
		x = block.der ? cert_from_der(block.der, block.len) : NULL;
		pem_block_done(&block);
	}
	input_done(&in);
	return x;
}

static int make(const struct keygen_request *r, const int *fds, struct keygen_reply *ret, struct fault *fault)
{
	EVP_PKEY *key = request_new_key(r->key_type, fault);
	if (!key)
		return fault->code;
	struct text private = {0}, request = {0};
	X509 *like = r->subject ? read_certificate(fds[KEYGEN_OUTPUTS]) : NULL;
	int error = request_write(&request, key, &r->names, like, fault);
	if (!error && !key_write(&private, key))
		error = fault_set(fault, -EIO, "the new key can't be written as PKCS#8");
	if (!error)
		error = output_write(fds[KEYGEN_OUT_KEY], private.s, private.len);
	if (!error)
		error = output_write(fds[KEYGEN_OUT_REQUEST], request.s, request.len);
	if (error && !fault->code)
		fault_errno(fault, error, "the new key can't be written to the disk");
	if (!error)
		ret->spki = key_spki(key);
	pem_text_done(&private);
	text_done(&request);
	X509_free(like);
	EVP_PKEY_free(key);
	return error;
}

int worker_keygen(struct message *request, struct packer *reply)
{
	struct keygen_request r;
	struct keygen_reply answer = {0};
	struct fault fault = {0};
	if (keygen_request_unpack(&request->body, &r))
		return -EBADMSG;
	bool good = request->nfds == KEYGEN_OUTPUTS + (r.subject ? 1U : 0U) && r.names.n;
	if (good) {
		(void)make(&r, request->fds, &answer, &fault);
		answer.problem = fault.text;
		keygen_reply_pack(reply, &answer);
	}
	keygen_request_done(&r);
	return good ? 0 : -EBADMSG;
}
