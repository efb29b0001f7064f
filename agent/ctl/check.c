/* check: proves a pair without the agent */
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/memory.h"
#include "ctl/commands.h"
#include "ctl/inputs.h"
#include "ctl/print.h"
#include "ctl/prove.h"

static int parse_profile(struct ctl *ctl, const char *s, enum check_profile *ret)
{
	static const char *const names[] = {
		[CHECK_PROFILE_AUTO] = "auto", [CHECK_PROFILE_PUBLIC] = "public", [CHECK_PROFILE_PRIVATE] = "private"};
	_Static_assert(ARRAY_SIZE(names) == CHECK_PROFILES, "each profile has its name");
	for (size_t i = 0; s && i < ARRAY_SIZE(names); i++) {
		if (strcmp(s, names[i]) == 0) {
			*ret = (enum check_profile)i;
			return CTL_DONE;
		}
	}
	return s ? ctl_usage(ctl, "--profile is auto, public or private") : CTL_DONE;
}

static int prove(struct ctl *ctl, const struct args *a, const struct inputs *in, enum check_profile profile,
		 struct outcome *ret)
{
	struct fault fault = {0};
	if (prove_pair(ctl, in, &a->values[OPTION_DNS], profile, args_value(a, OPTION_TRUST), ret, &fault) == 0)
		return CTL_DONE;
	ctl_say(ctl, "%s", fault.text);
	return CTL_FAILED;
}

static void print_certificate(struct ctl *ctl, const struct check_reply *r)
{
	char hex[DIGEST_HEX], from[32], to[32], left[48];
	if (digest_is_zero(&r->sha256))
		return;
	AUTO_FREE char *names = words_join(&r->names, ", ");
	print_wrapped(ctl->out, "Names    ", 9, names);
	print_wrapped(ctl->out, "Issuer   ", 9, r->issuer);
	fprintf(ctl->out, "Serial   %s\n", text_printable(r->serial));
	fprintf(ctl->out, "SHA-256  %s\n", digest_text(&r->sha256, hex));
	fprintf(ctl->out, "Key      %s, SPKI SHA-256 %s\n", text_printable(r->key_type), digest_text(&r->spki, hex));
	fprintf(ctl->out, "Valid    %s to %s (%s)\n", text_from_time(r->not_before, from),
		text_from_time(r->not_after, to), text_time_left(r->not_after - clock_wall(), left));
	fprintf(ctl->out, "Trust    %s\n\n", r->publicly_trusted ? "a public CA" : "not a public CA");
}

static void print_findings(struct ctl *ctl, const struct findings *f)
{
	static const enum colour colours[FINDING_SEVERITIES] = {
		[FINDING_INFO] = COLOUR_DIM, [FINDING_WARN] = COLOUR_WARN, [FINDING_BLOCK] = COLOUR_BAD};
	for (size_t i = 0; i < f->n; i++) {
		enum colour c = colours[f->v[i].severity];
		AUTO_FREE char *head =
			xasprintf("%-5s %s: ", severity_name(f->v[i].severity), finding_name(f->v[i].code));
		fputs(colour_on(c, ctl->colour), ctl->out);
		print_wrapped(ctl->out, head, 6, f->v[i].text);
		fputs(colour_off(c, ctl->colour), ctl->out);
		print_wrapped(ctl->out, "      -> ", 9, finding_what_to_do(f->v[i].code));
	}
}

/* Findings name files by their number. */
static void print_files(struct ctl *ctl, const struct inputs *in)
{
	struct text list = {0};
	for (size_t i = 0; i < in->n; i++)
		text_add(&list, "%s%zu: %s", i ? ", " : "", i + 1, in->labels[i]);
	print_wrapped(ctl->out, "Files    ", 9, list.s);
	text_done(&list);
}

static void print_outcome(struct ctl *ctl, const struct inputs *in, const struct outcome *o)
{
	size_t blocks = 0;
	print_files(ctl, in);
	print_certificate(ctl, &o->reply);
	print_findings(ctl, &o->reply.findings);
	for (size_t i = 0; i < o->reply.findings.n; i++)
		blocks += o->reply.findings.v[i].severity == FINDING_BLOCK;
	if (!o->denied_read)
		fputs("Not looked at: the list of refused keys, which only root may read.\n", ctl->out);
	enum colour c = blocks ? COLOUR_BAD : COLOUR_GOOD;
	fputs(colour_on(c, ctl->colour), ctl->out);
	if (blocks)
		fprintf(ctl->out, "Not good: %zu finding%s this pair from going live.", blocks,
			blocks == 1 ? " keeps" : "s keep");
	else
		fputs("Good: this pair can go live.", ctl->out);
	fprintf(ctl->out, "%s\n", colour_off(c, ctl->colour));
}

static json_t *certificate_json(const struct check_reply *r)
{
	char sha256[DIGEST_HEX], spki[DIGEST_HEX], from[32], to[32];
	if (digest_is_zero(&r->sha256))
		return json_null();
	json_t *names = json_array();
	for (size_t i = 0; i < r->names.n; i++)
		json_array_append_new(names, json_string(r->names.v[i]));
	return json_pack("{ss, ss, ss, ss, ss, ss, ss, ss, so, sb}", "sha256", digest_text(&r->sha256, sha256),
			 "spki_sha256", digest_text(&r->spki, spki), "serial", r->serial, "issuer", r->issuer,
			 "subject", r->subject, "key_type", r->key_type, "not_before",
			 text_from_time(r->not_before, from), "not_after", text_from_time(r->not_after, to), "names",
			 names, "publicly_trusted", r->publicly_trusted);
}

static void print_outcome_json(struct ctl *ctl, const struct outcome *o)
{
	json_t *findings = json_array();
	for (size_t i = 0; i < o->reply.findings.n; i++) {
		const struct finding *f = &o->reply.findings.v[i];
		json_array_append_new(findings, json_pack("{ss, ss, ss, ss}", "code", finding_name(f->code), "severity",
							  severity_name(f->severity), "text", f->text, "what_to_do",
							  finding_what_to_do(f->code)));
	}
	json_t *result = json_pack("{sb, so, so, sb}", "good", !findings_block(&o->reply.findings), "certificate",
				   certificate_json(&o->reply), "findings", findings, "denied_checked", o->denied_read);
	print_json(ctl->out, result);
	json_decref(result);
}

static int check_files(struct ctl *ctl, const struct args *a, struct inputs *in, enum check_profile profile)
{
	struct outcome o = {0};
	int status = inputs_open_passwords(ctl, a, in);
	if (status == CTL_DONE && in->passwords < 0 && ctl->interactive)
		status = inputs_unlock(ctl, in, NULL);
	if (status == CTL_DONE)
		status = prove(ctl, a, in, profile, &o);
	if (status != CTL_DONE)
		return status;
	if (args_has(a, OPTION_JSON))
		print_outcome_json(ctl, &o);
	else
		print_outcome(ctl, in, &o);
	status = findings_block(&o.reply.findings) ? CTL_FAILED : CTL_DONE;
	check_reply_done(&o.reply);
	return status;
}

int command_check(struct ctl *ctl, const struct args *a)
{
	enum check_profile profile = CHECK_PROFILE_AUTO;
	int status = parse_profile(ctl, args_value(a, OPTION_PROFILE), &profile);
	/* a host without certswap's configuration can check as well */
	if (status == CTL_DONE && (ctl->config_named || access(ctl->config_file, R_OK) == 0))
		status = ctl_settings(ctl);
	if (status != CTL_DONE)
		return status;
	struct words paths = {0};
	struct inputs in = {.passwords = -1};
	words_copy(&paths, &a->operands);
	if (args_has(a, OPTION_KEY))
		words_add(&paths, args_value(a, OPTION_KEY));
	status = inputs_open(ctl, &paths, &in);
	if (status == CTL_DONE)
		status = check_files(ctl, a, &in, profile);
	inputs_done(&in);
	words_done(&paths);
	return status;
}
