#include "site/completion.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/audit.h"
#include "wire/fetch.h"

#define FOLDER      "intermediates-fetched"
#define DEADLINE_MS 10000
#define MARGIN_MS   10000

struct completion {
	struct certificate *certificate;
	char *subject;
	completion_cb cb;
	void *data;
};

char *completion_folder(const struct site *site)
{
	return xasprintf("%s/" FOLDER, site->settings->state_dir);
}

static bool keep(const struct completion *k, const struct fetch_reply *reply)
{
	struct site *site = k->certificate->site;
	struct fault fault = {0};
	char hex[DIGEST_HEX];
	AUTO_FREE char *pem = words_join(&reply->pem, "");
	const struct digest d = hash_bytes(pem, strlen(pem));
	AUTO_FREE char *name = xasprintf("%s.pem", digest_text(&d, hex));
	AUTO_CLOSE int folder = files_open_folder(site->folders.state, FOLDER, 0700, &fault);
	if (folder < 0 || files_replace(folder, name, pem, strlen(pem), 0600, &fault) < 0) {
		log_warning("issuer-fetched", "the issuer of %s can't be kept: %s", k->subject, fault.text);
		return false;
	}
	audit_write(site->audit, "issuer-fetched", k->certificate->settings->name, NULL,
		    "the certificate that signed %s came from %s", k->subject, reply->url);
	return true;
}

static void on_reply(struct message *message, const struct fault *fault, void *data)
{
	struct completion *k = data;
	struct fetch_reply reply = {0};
	bool found = false;
	if (!message)
		log_warning("issuer-fetched", "the issuer of %s can't be fetched: %s", k->subject, fault->text);
	else if (fetch_reply_unpack(&message->body, &reply) == 0 && reply.result == FETCH_ANSWERED && reply.pem.n)
		found = keep(k, &reply);
	else
		log_warning("issuer-fetched", "the issuer of %s can't be fetched: %s", k->subject,
			    reply.result == FETCH_ELSEWHERE ? "it redirects to another host"
			    : reply.text                    ? reply.text
							    : "no sense in the reply");
	fetch_reply_done(&reply);
	k->cb(found, k->data);
	free(k->subject);
	free(k);
}

void completion_start(struct certificate *c, const struct source_cert *cert, const struct words *orphan,
		      completion_cb cb, void *data)
{
	const struct settings *settings = c->site->settings;
	struct completion *k = xcalloc(1, sizeof *k);
	AUTO_FREE char *pem = words_join(orphan, "");
	AUTO_CLOSE int fd = memfd_create("certificate", MFD_CLOEXEC); /* a file for the worker that is nowhere */
	if (fd >= 0 && write(fd, pem, strlen(pem)) < 0)
		log_warning("issuer-fetched", "no memory file"); /* the worker will find nothing in it */
	*k = (struct completion){.certificate = c, .subject = xstrdup(cert->subject), .cb = cb, .data = data};
	const struct fetch_request r = {.kind = FETCH_ISSUER,
					.urls = cert->issuers,
					.deny = settings->fetch_deny,
					.proxy = settings->fetch_proxy,
					.deadline_ms = DEADLINE_MS,
					.child = cert->sha256};
	struct packer body = {0};
	fetch_request_pack(&body, &r);
	job_start(c->site->jobs, "fetch", MESSAGE_FETCH, &body, &fd, 1, certificate_trust(c), DEADLINE_MS + MARGIN_MS,
		  on_reply, k);
	packer_done(&body);
}
