#include "worker/identify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/key.h"
#include "pki/pool.h"
#include "wire/identify.h"
#include "worker/input.h"

static struct object *add(struct identify_reply *r, enum object_kind kind, uint16_t file, char *text)
{
	r->v = xrealloc(r->v, (r->n + 1) * sizeof *r->v);
	r->v[r->n] = (struct object){.kind = kind, .file = file, .text = text};
	return &r->v[r->n++];
}

static void add_cert(struct identify_reply *r, const struct pool_cert *c)
{
	char *subject = cert_subject(c->x509), *type = cert_key_type(X509_get0_pubkey(c->x509));
	struct object *o = add(r, c->ca ? OBJECT_CA : OBJECT_LEAF, c->file,
			       xasprintf("%s %s, %s", c->ca ? "CA certificate" : "certificate", subject, type));
	o->sha256 = c->sha256;
	o->spki = c->spki;
	o->not_before = cert_not_before(c->x509);
	o->not_after = cert_not_after(c->x509);
	o->serial = cert_serial(c->x509);
	o->issuer = cert_issuer(c->x509);
	if (!c->ca)
		cert_names(c->x509, &o->names);
	free(subject);
	free(type);
}

static void add_other(struct identify_reply *r, const struct pool_other *other)
{
	enum object_kind kind = OBJECT_NOTHING;
	switch (other->kind) {
	case POOL_LOCKED:
		kind = OBJECT_LOCKED;
		break;
	case POOL_REQUEST:
		kind = OBJECT_REQUEST;
		break;
	case POOL_BLOCK:
		add(r, OBJECT_NOTHING, other->file, xstrdup("DH or EC parameters"));
		return;
	case POOL_NOTHING:
	case POOL_DAMAGED:
		break;
	}
	add(r, kind, other->file, xstrdup(other->text))->spki = other->spki;
}

static void describe(const struct pool *p, struct identify_reply *r)
{
	for (size_t i = 0; i < p->ncerts; i++)
		add_cert(r, &p->certs[i]);
	for (size_t i = 0; i < p->nkeys; i++)
		add(r, OBJECT_KEY, p->keys[i].file, xstrdup(p->keys[i].text))->spki = key_spki(p->keys[i].key);
	for (size_t i = 0; i < p->nothers; i++)
		add_other(r, &p->others[i]);
}

static void read_file(struct pool *p, uint16_t file, int fd)
{
	struct input in;
	input_read(fd, INPUT_MAX, &in);
	if (in.error == -EFBIG)
		pool_add_other(p, file, POOL_NOTHING, "larger than 1 MiB, so not read");
	else if (in.error == -EINVAL)
		pool_add_other(p, file, POOL_NOTHING, "not a regular file");
	else if (in.error)
		pool_add_other(p, file, POOL_NOTHING, "can't be read: %s", strerror(-in.error));
	else
		pool_read(p, file, in.bytes, in.len);
	input_done(&in);
}

static bool fits(const struct identify_reply *r)
{
	struct packer p = {0};
	identify_reply_pack(&p, r);
	bool good = !p.failed && p.len <= WIRE_MESSAGE_MAX - MESSAGE_HEADER;
	packer_done(&p);
	return good;
}

/* More than a message holds: the last ones are left out, and that is said. */
static void cut(struct identify_reply *r)
{
	while (!fits(r)) {
		size_t keep = r->n / 2;
		struct identify_reply rest = {.v = xcalloc(r->n - keep, sizeof *r->v), .n = r->n - keep};
		memcpy(rest.v, r->v + keep, rest.n * sizeof *rest.v);
		uint16_t file = rest.v[0].file;
		identify_reply_done(&rest);
		r->n = keep;
		add(r, OBJECT_NOTHING, file, xstrdup("more objects than fit in an answer; the rest is left out"));
	}
}

int worker_identify(struct message *request, struct packer *reply)
{
	struct identify_request r;
	if (identify_request_unpack(&request->body, &r) || request->nfds != (size_t)r.files + (r.passwords ? 1 : 0))
		return -EBADMSG;
	struct words passwords = {0};
	struct input lines = {0};
	if (r.passwords) {
		input_read(request->fds[r.files], INPUT_MAX, &lines);
		pool_passwords(&passwords, lines.bytes, lines.len);
	}
	struct pool pool = {.passwords = &passwords};
	for (uint16_t i = 0; i < r.files; i++)
		read_file(&pool, i, request->fds[i]);
	struct identify_reply answer = {0};
	describe(&pool, &answer);
	cut(&answer);
	identify_reply_pack(reply, &answer);
	identify_reply_done(&answer);
	pool_done(&pool);
	pool_passwords_done(&passwords);
	input_done(&lines);
	return 0;
}
