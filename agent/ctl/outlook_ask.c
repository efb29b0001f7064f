/* What the CA publishes of a certificate and of the intermediates beside it: asked now, by a fetch worker for each
 * source. The CRL first, it is what the CA must publish; the OCSP responder where there is no CRL or it does not
 * answer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/disk.h"
#include "ctl/inputs.h"
#include "ctl/outlook.h"
#include "ctl/prove.h"
#include "ctl/worker.h"

#define DEADLINE_MS 20000

/* Only the certificates: a file of Apache may hold the key too, and no key goes near the network. */
static void add_certificates(struct text *pem, const char *path)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
	char *bytes;
	size_t len;
	if (disk_read(path, INPUT_BYTES_MAX, &bytes, &len) < 0)
		return;
	for (const char *from = bytes; (from = strstr(from, begin));) {
		const char *to = strstr(from, end);
		if (!to)
			break;
		to += sizeof end - 1;
		text_add_bytes(pem, from, (size_t)(to - from));
		text_add(pem, "\n");
		from = to;
	}
	free_secret(bytes, len);
}

static int open_certificates(const struct discovered *d)
{
	struct text pem = {0};
	add_certificates(&pem, d->certificate->text);
	if (d->chain)
		add_certificates(&pem, d->chain->text);
	int fd = memfd_create("certificates", MFD_CLOEXEC);
	bool whole = fd >= 0 && pem.len && write(fd, pem.s, pem.len) == (ssize_t)pem.len;
	text_done(&pem);
	if (whole)
		return fd;
	if (fd >= 0)
		close(fd);
	return -EIO;
}

struct question {
	struct ctl *ctl;
	const char *trust;
	int certificates;
	const struct source_cert *cert;
};

/* One source, redirects followed. 0 with *ret answered, or negative errno with the reason in *ret_why (the caller's).
 */
static int ask(const struct question *q, enum fetch_kind kind, const struct words *urls, struct fetch_reply *ret,
	       char **ret_why)
{
	const struct settings *s = q->ctl->settings;
	char none[] = "";
	struct fetch_item item = {q->cert->serial, q->cert->ca};
	struct words at = {0};
	words_copy(&at, urls);
	for (uint8_t redirects = 0;; redirects++) {
		struct fault fault = {0};
		struct fetch_request r = {.kind = kind, .urls = at, .proxy = s ? s->fetch_proxy : none};
		if (s)
			r.deny = s->fetch_deny;
		r.deadline_ms = DEADLINE_MS;
		r.redirects = redirects;
		r.child = q->cert->sha256;
		r.etag = r.last_modified = r.number = none;
		r.v = &item;
		r.n = 1;
		int error = worker_fetch(q->ctl, &r, q->certificates, q->trust, ret, &fault);
		words_done(&at);
		if (error == 0 && ret->result == FETCH_ELSEWHERE && redirects < FETCH_REDIRECTS) {
			words_add(&at, ret->url);
			fetch_reply_done(ret);
			continue;
		}
		if (error == 0 && ret->result == FETCH_ANSWERED && ret->n == 1)
			return 0;
		*ret_why = xstrdup(error < 0 ? fault.text : ret->text);
		if (error == 0)
			fetch_reply_done(ret);
		return -EIO;
	}
}

static void tell(struct outlook *o, enum outlook_status status, const struct source_cert *c, char *text)
{
	bool worse = !o->status_text || (status == OUTLOOK_REVOKED && o->status != OUTLOOK_REVOKED) ||
		     (status == OUTLOOK_UNKNOWN && o->status == OUTLOOK_GOOD);
	if (worse) {
		free(o->status_text);
		o->status = status;
		o->status_text = c->ca ? xasprintf("%s: the intermediate %s", text, c->subject) : xstrdup(text);
	}
	free(text);
}

static void judge(struct outlook *o, const struct source_cert *c, const char *source, const struct fetch_reply *reply)
{
	char when[32], until[32];
	const struct fetch_seen *seen = &reply->v[0];
	switch (seen->status) {
	case FETCH_GOOD:
		tell(o, OUTLOOK_GOOD, c,
		     xasprintf("%s of %s, next by %s", source, text_from_time(seen->this_update, when),
			       text_from_time(seen->next_update, until)));
		break;
	case FETCH_REVOKED:
		tell(o, OUTLOOK_REVOKED, c, xasprintf("%s, since %s", source, text_from_time(seen->revoked_at, when)));
		break;
	case FETCH_UNKNOWN:
	case FETCH_STATUSES:
		tell(o, OUTLOOK_UNKNOWN, c, xasprintf("%s: %s", source, seen->text));
		break;
	}
}

static void ask_about(const struct question *q, struct outlook *o)
{
	const struct source_cert *c = q->cert;
	const struct {
		enum fetch_kind kind;
		const struct words *urls;
		const char *name;
	} sources[] = {{FETCH_CRL, &c->crls, "CRL"}, {FETCH_OCSP, &c->ocsp, "OCSP"}};
	AUTO_FREE char *why = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		struct fetch_reply reply = {0};
		if (!sources[i].urls->n)
			continue;
		free(why);
		why = NULL;
		if (ask(q, sources[i].kind, sources[i].urls, &reply, &why) < 0)
			continue;
		bool known = reply.v[0].status != FETCH_UNKNOWN || i + 1 == ARRAY_SIZE(sources);
		if (known)
			judge(o, c, sources[i].name, &reply);
		else
			why = xasprintf("%s: %s", sources[i].name, reply.v[0].text);
		fetch_reply_done(&reply);
		if (known)
			return;
	}
	tell(o, OUTLOOK_UNKNOWN, c,
	     why ? xasprintf("no answer: %s", why) : xstrdup("it names no CRL and no OCSP responder"));
}

void outlook_ask(struct ctl *ctl, const char *trust, const struct discovered *d, struct outlook *o)
{
	AUTO_CLOSE int certificates = d->proved ? open_certificates(d) : -1;
	struct question q = {ctl, prove_trust(ctl, trust), certificates, NULL};
	for (size_t i = 0; certificates >= 0 && i < d->reply.chain.n; i++) {
		q.cert = &d->reply.chain.v[i];
		if (!q.cert->self_signed)
			ask_about(&q, o);
	}
	if (!o->status_text)
		o->status_text = xstrdup("nothing could be asked: the certificate was not read");
}
