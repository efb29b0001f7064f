#include "control/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "site/audit.h"
#include "site/certificate.h"
#include "control/letter.h"
#include "site/pending.h"
#include "swap/hours.h"
#include "swap/record.h"

static json_t *describe(const struct certificate *c, const struct waiting_key *key, const char *csr)
{
	char base64[DIGEST_BASE64], hex[DIGEST_HEX];
	AUTO_FREE char *pin = xasprintf("sha256/%s", digest_base64(&key->spki, base64)),
		       *tlsa = xasprintf("3 1 1 %s", digest_text(&key->spki, hex));
	return json_pack("{ss, so, so, ss, so, ss, ss, ss, ss*, ss, ss}", "name", c->settings->name, "spki_sha256",
			 record_from_digest(&key->spki), "since", record_from_time(key->since), "key_type",
			 key->key_type, "names", record_from_words(&key->names), "csr", csr, "pin", pin, "tlsa", tlsa,
			 "serial", c->live.number ? c->live.serial : NULL, "contact", c->settings->ca_contact, "order",
			 c->settings->ca_order);
}

static char *guidance(const struct certificate *c)
{
	const struct certificate_settings *s = c->settings;
	AUTO_FREE char *what = c->live.number ? xasprintf("as a REISSUE of serial %s", c->live.serial)
					      : xstrdup("for a new certificate");
	return xasprintf("Send this request to the CA or reseller%s%s%s%s %s, before the old certificate is revoked.\n"
			 "Its private key stays on this host. Put what comes back, in any form, into\n"
			 "%s/incoming/%s, or: certswapctl submit --name %s FILE...",
			 *s->ca_contact ? " (" : "", s->ca_contact, *s->ca_contact ? ")" : "",
			 *s->ca_order ? " with the order's number" : "", what, c->site->settings->state_dir, s->name,
			 s->name);
}

static void write_letter(struct request *r, struct certificate *c, const struct waiting_key *key, char *csr,
			 const char *language)
{
	const struct incident *incident = incident_of(c);
	int64_t now = clock_wall(), deadline = incident ? incident->deadline : 0;
	AUTO_FREE char *mail = letter_write(c, incident, csr, strcmp(language, "ja") == 0 ? LETTER_JA : LETTER_EN);
	AUTO_FREE char *desk = letter_desk(c->settings, now, deadline);
	AUTO_FREE char *text =
		xasprintf("%s%s", desk, incident ? "" : "\nno incident is open: the mail asks for a plain reissue");
	json_t *result = describe(c, key, csr);
	json_object_set_new(result, "mail", json_string(mail));
	json_object_set_new(result, "deadline", record_from_time(deadline));
	json_object_set_new(result, "desk_opens", record_from_time(hours_next(c->settings->ca_hours, now)));
	free(csr);
	request_finish_result(r, text, result);
}

static void show(struct request *r, struct certificate *c, const struct waiting_key *key)
{
	struct fault fault = {0};
	char *csr = NULL;
	if (pending_show(c, &key->spki, &csr, &fault) < 0)
		return request_finish(r, 1, fault.text, NULL);
	const char *language = request_argument(r, "lang");
	audit_write(c->site->audit, language ? "request" : "csr", c->settings->name, NULL,
		    "the request of a waiting key was shown");
	if (language)
		return write_letter(r, c, key, csr, language);
	AUTO_FREE char *text = guidance(c);
	request_finish_result(r, text, describe(c, key, csr));
	free(csr);
}

static void on_made(const struct waiting_key *key, const struct fault *fault, void *data)
{
	struct request *r = data;
	struct certificate *c = site_certificate(r->site, request_argument(r, "name"));
	if (!key)
		return request_finish(r, 1, fault->text, "certswapctl log tells more");
	show(r, c, key);
}

void command_csr(struct request *r)
{
	struct certificate *c = request_certificate(r);
	if (!c)
		return;
	bool new_key = json_is_true(json_object_get(r->arguments, "new_key"));
	const struct waiting_key *key = new_key ? NULL : pending_fit(c);
	if (key)
		return show(r, c, key);
	request_wait(r);
	pending_make(c, on_made, r);
}

/* The mail to the CA: the same, with more around it. */
void command_request(struct request *r)
{
	const char *language = request_argument(r, "lang");
	if (language && strcmp(language, "en") != 0 && strcmp(language, "ja") != 0)
		return request_finish(r, 2, "--lang is en or ja", NULL);
	if (!language)
		json_object_set_new(r->arguments, "lang", json_string("en"));
	command_csr(r);
}
