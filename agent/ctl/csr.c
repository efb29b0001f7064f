/* csr NAME, request NAME: the request for the CA, and the mail around it */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/print.h"

static int write_file(struct ctl *ctl, const char *path, const char *content)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	size_t len = strlen(content), at = 0;
	while (fd >= 0 && at < len) {
		ssize_t n = write(fd, content + at, len - at);
		if (n < 0 && errno != EINTR)
			break;
		at += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0 && at == len)
		return CTL_DONE;
	ctl_say(ctl, "can't write %s: %s", path, strerror(errno));
	return CTL_FAILED;
}

static const char *word(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

/* For clients that pinned the key, and for DANE (RFC 6698: 3 1 1 is the SHA-256 of the key of the certificate itself).
 */
static void print_pins(struct ctl *ctl, const json_t *result)
{
	size_t i;
	json_t *name;
	fprintf(ctl->out, "%s\n", word(result, "pin"));
	json_array_foreach(json_object_get(result, "names"), i, name)
	{
		const char *s = json_string_value(name);
		if (s && strchr(s, '.') && *s != '*' && strspn(s, "0123456789.") != strlen(s) && !strchr(s, ':'))
			fprintf(ctl->out, "_443._tcp.%s. IN TLSA %s\n", s, word(result, "tlsa"));
	}
}

static int show(struct ctl *ctl, const struct args *a, const json_t *answer, const char *what)
{
	const json_t *result = json_object_get(answer, "result");
	const char *path = args_value(a, OPTION_OUT);
	int status = path ? write_file(ctl, path, word(result, what)) : CTL_DONE;
	if (status != CTL_DONE)
		return status;
	if (args_has(a, OPTION_JSON)) {
		print_json(ctl->out, result);
		return CTL_DONE;
	}
	if (!path)
		fputs(word(result, what), ctl->out);
	if (args_has(a, OPTION_PINS))
		print_pins(ctl, result);
	fflush(ctl->out);
	ctl_say(ctl, "%s", word(answer, "message"));
	return CTL_DONE;
}

static int ask(struct ctl *ctl, const struct args *a, json_t *request, const char *what)
{
	json_t *answer = NULL;
	int status = client_ask(ctl, a, request, NULL, 0, &answer);
	json_decref(request);
	if (!answer)
		return status;
	status = json_is_object(json_object_get(answer, "result")) ? show(ctl, a, answer, what)
								   : client_print_answer(ctl, a, answer);
	json_decref(answer);
	return status;
}

int command_csr(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands.v[0];
	if (!text_is_name(name))
		return ctl_usage(ctl, "%s can't be the name of a certificate here", name);
	return ask(ctl, a,
		   json_pack("{ss, ss, sb}", "command", "csr", "name", name, "new_key", args_has(a, OPTION_NEW_KEY)),
		   "csr");
}

int command_request(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands.v[0], *lang = args_value(a, OPTION_LANG);
	if (!text_is_name(name))
		return ctl_usage(ctl, "%s can't be the name of a certificate here", name);
	if (lang && strcmp(lang, "en") != 0 && strcmp(lang, "ja") != 0)
		return ctl_usage(ctl, "--lang is en or ja");
	return ask(ctl, a, json_pack("{ss, ss, ss}", "command", "request", "name", name, "lang", lang ? lang : "en"),
		   "mail");
}
