/* notice, waive, withdraw, close */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/serial.h"
#include "ctl/when.h"

/* CRLReason, RFC 5280 5.3.1; 7 is not used. */
static const char *const reasons[] = {
	"unspecified",          "keyCompromise",   "cACompromise",  "affiliationChanged", "superseded",
	"cessationOfOperation", "certificateHold", "removeFromCRL", "privilegeWithdrawn", "aACompromise",
};

/* "key compromise", "KEY-COMPROMISE": letters count, as mails of CAs spell it in every way. */
static bool same_letters(const char *a, const char *b)
{
	for (;; a++, b++) {
		a += strspn(a, " -_");
		if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
			return false;
		if (!*a)
			return true;
	}
}

static int add_reason(struct ctl *ctl, json_t *request, const char *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (same_letters(s, reasons[i])) {
			json_object_set_new(request, "reason", json_string(reasons[i]));
			return CTL_DONE;
		}
	}
	struct words all = {0};
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		words_add(&all, reasons[i]);
	AUTO_FREE char *list = words_join(&all, " ");
	words_done(&all);
	return ctl_usage(ctl, "--reason %s: there is no such reason; they are: %s", s, list);
}

static int add_time(struct ctl *ctl, const struct args *a, enum option o, json_t *request, const char *key,
		    int64_t *ret)
{
	const char *s = args_value(a, o);
	struct fault fault = {0};
	char buf[WHEN_TEXT];
	bool guessed;
	if (!s)
		return CTL_DONE;
	if (when_parse(s, clock_wall(), ret, &guessed, &fault) < 0)
		return ctl_usage(ctl, "--%s: %s", option_specs[o].name, fault.text);
	if (guessed)
		ctl_say(ctl, "--%s is taken as %s", option_specs[o].name, when_text(*ret, buf));
	json_object_set_new(request, key, json_string(text_from_time(*ret, buf)));
	return CTL_DONE;
}

static int add_times(struct ctl *ctl, const struct args *a, json_t *request)
{
	int64_t revoke_at = 0, received_at = 0;
	int status = add_time(ctl, a, OPTION_REVOKE_AT, request, "revoke_at", &revoke_at);
	if (status == CTL_DONE)
		status = add_time(ctl, a, OPTION_RECEIVED_AT, request, "received_at", &received_at);
	if (status != CTL_DONE)
		return status;
	if (received_at > clock_wall() + 300) /* clocks differ a little */
		return ctl_usage(ctl, "--received-at is in the future");
	if (revoke_at && received_at && revoke_at < received_at)
		return ctl_usage(ctl, "--revoke-at is before --received-at");
	return CTL_DONE;
}

/* Which certificate: exactly one way to name it. */
static int add_subject(struct ctl *ctl, const struct args *a, json_t *request)
{
	const char *name = a->operands.n ? a->operands.v[0] : NULL, *serial = args_value(a, OPTION_SERIAL);
	const char *fingerprint = args_value(a, OPTION_FINGERPRINT), *issuer = args_value(a, OPTION_ISSUER);
	struct digest digest;
	char hex[DIGEST_HEX];
	if (!name + !serial + !fingerprint != 2)
		return ctl_usage(ctl, "name the certificate by NAME, by --serial or by --fingerprint");
	if (issuer && !serial)
		return ctl_usage(ctl, "--issuer goes with --serial");
	if (name && !text_is_name(name))
		return ctl_usage(ctl, "%s can't be the name of a certificate here", name);
	if (name)
		json_object_set_new(request, "certificate", json_string(name));
	if (fingerprint && digest_parse(fingerprint, &digest) < 0)
		return ctl_usage(ctl, "--fingerprint must be a SHA-256: 64 hexadecimal digits");
	if (fingerprint)
		json_object_set_new(request, "fingerprint", json_string(digest_text(&digest, hex)));
	if (issuer)
		json_object_set_new(request, "issuer", client_string(issuer));
	if (serial && !serial_is_plausible(serial))
		return ctl_usage(ctl, "--serial %s: hexadecimal digits with or without colons, or dec:N", serial);
	if (serial)
		json_object_set_new(request, "serial", json_string(serial));
	return CTL_DONE;
}

static int add_kind(struct ctl *ctl, const struct args *a, json_t *request)
{
	const char *letter = args_value(a, OPTION_CASE), *reason = args_value(a, OPTION_REASON);
	const char *scope = args_value(a, OPTION_SCOPE), *reference = args_value(a, OPTION_REF);
	if (letter) {
		char small[2] = {(char)tolower((unsigned char)letter[0])};
		if (small[0] < 'a' || small[0] > 'p' || letter[1])
			return ctl_usage(ctl, "--case is a letter from a to p (Baseline Requirements 4.9.1.1)");
		json_object_set_new(request, "case", json_string(small));
	}
	if (scope && strcmp(scope, "key") != 0 && strcmp(scope, "host") != 0)
		return ctl_usage(ctl, "--scope is key or host");
	if (scope)
		json_object_set_new(request, "scope", json_string(scope));
	if (reference)
		json_object_set_new(request, "reference", client_string(reference));
	return reason ? add_reason(ctl, request, reason) : CTL_DONE;
}

int notice_add_terms(struct ctl *ctl, const struct args *a, json_t *request)
{
	int status = add_kind(ctl, a, request);
	return status == CTL_DONE ? add_times(ctl, a, request) : status;
}

int command_notice(struct ctl *ctl, const struct args *a)
{
	json_t *request = json_pack("{s:s}", "command", "notice");
	int status = add_subject(ctl, a, request);
	if (status == CTL_DONE)
		status = notice_add_terms(ctl, a, request);
	if (status == CTL_DONE)
		status = client_add_wait(ctl, a, request);
	if (status == CTL_DONE)
		status = client_run(ctl, a, json_incref(request), NULL, 0);
	json_decref(request);
	return status;
}

int command_waive(struct ctl *ctl, const struct args *a)
{
	const char *why = args_value(a, OPTION_WHY), *name = a->operands.v[0];
	if (!text_is_name(name))
		return ctl_usage(ctl, "%s can't be the name of a certificate here", name);
	if (a->values[OPTION_WHY].n != 1 || !why[strspn(why, " \t")])
		return ctl_usage(ctl, "--why TEXT is needed: the reason goes into the audit log");
	return client_run(ctl, a,
			  json_pack("{s:s, s:s, s:o, s:o}", "command", "waive", "name", name, "consumer",
				    client_string(a->operands.v[1]), "why", client_string(why)),
			  NULL, 0);
}

static int end_incident(struct ctl *ctl, const struct args *a, const char *command)
{
	const char *why = args_value(a, OPTION_WHY), *id = a->operands.v[0];
	json_int_t number;
	if (incident_number(id, &number) < 0)
		return ctl_usage(ctl, "%s is not the number of an incident", id);
	if (a->values[OPTION_WHY].n != 1 || !why[strspn(why, " \t")])
		return ctl_usage(ctl, "--why TEXT is needed: the reason goes into the audit log");
	return client_run(
		ctl, a, json_pack("{s:s, s:I, s:o}", "command", command, "incident", number, "why", client_string(why)),
		NULL, 0);
}

int command_withdraw(struct ctl *ctl, const struct args *a)
{
	return end_incident(ctl, a, "withdraw");
}

int command_close(struct ctl *ctl, const struct args *a)
{
	return end_incident(ctl, a, "close");
}
