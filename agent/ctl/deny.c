/* deny list, add, confirm, remove: the refused keys */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/inputs.h"
#include "ctl/print.h"
#include "ctl/worker.h"
#include "swap/denied.h"

static void list_json(struct ctl *ctl, const struct denied *d)
{
	json_t *list = json_array();
	for (size_t i = 0; i < d->n; i++) {
		char hex[DIGEST_HEX], since[32];
		const struct denial *v = &d->v[i];
		json_array_append_new(list,
				      json_pack("{ss, ss, ss, sb, so, so}", "kind", v->is_key ? "key" : "certificate",
						"sha256", digest_text(&v->digest, hex), "since",
						text_from_time(v->since, since), "confirmed", v->confirmed, "incident",
						v->incident ? json_integer(v->incident) : json_null(), "reason",
						client_string(v->reason)));
	}
	json_t *result = json_pack("{so}", "denied", list);
	print_json(ctl->out, result);
	json_decref(result);
}

/* Two lines each: the hash alone takes 64 columns, and a person copies it whole. */
static void list_text(struct ctl *ctl, const struct denied *d)
{
	if (!d->n)
		fputs("No key and no certificate is refused.\n", ctl->out);
	for (size_t i = 0; i < d->n; i++) {
		char hex[DIGEST_HEX], since[32];
		const struct denial *v = &d->v[i];
		fprintf(ctl->out, "%-11s %s\n", v->is_key ? "key" : "certificate", digest_text(&v->digest, hex));
		struct text words = {0};
		text_add(&words, "since %s, %s", text_from_time(v->since, since),
			 v->confirmed ? "confirmed" : "provisional");
		if (v->incident)
			text_add(&words, ", incident %u", v->incident);
		text_add(&words, ": %s", v->reason);
		print_wrapped(ctl->out, "            ", 12, words.s);
		text_done(&words);
	}
}

int command_deny_list(struct ctl *ctl, const struct args *a)
{
	int status;
	struct denied denied = {0};
	struct fault fault = {0};
	AUTO_FREE char *state = ctl_state_path(ctl, "", &status);
	if (!state)
		return status;
	AUTO_CLOSE int folder = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = folder < 0 ? fault_errno(&fault, errno, "can't open %s", state) : denied_load(folder, &denied, &fault);
	if (r < 0) {
		ctl_say(ctl, "%s", fault.text);
		return r == -EACCES || r == -EPERM ? CTL_NOT_PERMITTED : CTL_FAILED;
	}
	if (args_has(a, OPTION_JSON))
		list_json(ctl, &denied);
	else
		list_text(ctl, &denied);
	denied_done(&denied);
	return CTL_DONE;
}

/* The one key of a file. CA certificates count only where nothing else is there: a chain file means its leaf. */
static int choose_key(struct ctl *ctl, const char *path, const struct identify_reply *reply, struct digest *ret)
{
	*ret = (struct digest){0};
	for (int round = 0; round < 2 && digest_is_zero(ret); round++) {
		for (size_t i = 0; i < reply->n; i++) {
			const struct object *o = &reply->v[i];
			if ((o->kind == OBJECT_CA) != (round == 1) || digest_is_zero(&o->spki))
				continue;
			if (!digest_is_zero(ret) && !digest_equal(ret, &o->spki)) {
				ctl_say(ctl, "%s holds several keys; name the one by its SPKI hash", path);
				return CTL_FAILED;
			}
			*ret = o->spki;
		}
	}
	if (!digest_is_zero(ret))
		return CTL_DONE;
	ctl_say(ctl, "%s holds no key, certificate or CSR that can be read%s%s", path, reply->n ? ": " : "",
		reply->n ? reply->v[0].text : "");
	return CTL_FAILED;
}

static int key_of_file(struct ctl *ctl, const struct args *a, const char *path, struct digest *ret)
{
	struct words paths = {.v = a->operands.v, .n = 1};
	struct inputs in = {.passwords = -1};
	struct identify_reply reply = {0};
	int status = inputs_open(ctl, &paths, &in);
	if (status == CTL_DONE)
		status = inputs_open_passwords(ctl, a, &in);
	if (status == CTL_DONE)
		status = inputs_unlock(ctl, &in, &reply);
	if (status == CTL_DONE)
		status = choose_key(ctl, path, &reply, ret);
	identify_reply_done(&reply);
	inputs_done(&in);
	return status;
}

static int send_key(struct ctl *ctl, const struct args *a, const char *command, const struct digest *spki)
{
	char hex[DIGEST_HEX];
	const char *why = args_value(a, OPTION_WHY);
	json_t *request = json_pack("{ss, ss}", "command", command, "spki", digest_text(spki, hex));
	if (why)
		json_object_set_new(request, "why", client_string(why));
	return client_run(ctl, a, request, NULL, 0);
}

int command_deny_add(struct ctl *ctl, const struct args *a)
{
	struct digest spki;
	const char *what = a->operands.v[0];
	if (digest_parse(what, &spki) < 0) {
		int status = ctl_settings(ctl); /* who the worker runs as */
		if (status == CTL_DONE)
			status = key_of_file(ctl, a, what, &spki);
		if (status != CTL_DONE)
			return status;
	}
	return send_key(ctl, a, "deny_add", &spki);
}

int command_deny_confirm(struct ctl *ctl, const struct args *a)
{
	struct digest spki;
	if (digest_parse(a->operands.v[0], &spki) < 0)
		return ctl_usage(ctl, "SPKI is a SHA-256: 64 hexadecimal digits");
	return send_key(ctl, a, "deny_confirm", &spki);
}

int command_deny_remove(struct ctl *ctl, const struct args *a)
{
	struct digest spki;
	const char *why = args_value(a, OPTION_WHY);
	if (digest_parse(a->operands.v[0], &spki) < 0)
		return ctl_usage(ctl, "SPKI is a SHA-256: 64 hexadecimal digits");
	if (!why || !why[strspn(why, " \t")])
		return ctl_usage(ctl, "--why TEXT is needed: the reason goes into the audit log");
	return send_key(ctl, a, "deny_remove", &spki);
}
