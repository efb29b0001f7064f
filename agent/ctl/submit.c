/* submit, standby: files to the agent, as descriptors */
#include <stdlib.h>

#include "base/memory.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/inputs.h"

/* A name that stands in the configuration has this form; anything else is a mistake in typing. */
static int add_name(struct ctl *ctl, json_t *request, const char *name)
{
	if (!text_is_name(name))
		return ctl_usage(ctl, "%s can't be the name of a certificate here", name);
	json_object_set_new(request, "name", json_string(name));
	return CTL_DONE;
}

/* Opens the files, asks for their passwords, and puts both into the request. */
static int add_files(struct ctl *ctl, const struct args *a, const struct words *paths, struct inputs *in,
		     json_t *request)
{
	int status = inputs_open(ctl, paths, in);
	if (status == CTL_DONE)
		status = inputs_open_passwords(ctl, a, in);
	if (status == CTL_DONE && ctl->interactive && in->passwords < 0)
		status = inputs_unlock(ctl, in, NULL);
	if (status != CTL_DONE)
		return status;
	if (in->passwords >= 0 && in->n == INPUTS_MAX)
		return ctl_usage(ctl, "with passwords %d files are the most", INPUTS_MAX - 1);
	json_t *labels = json_array();
	for (size_t i = 0; i < in->n; i++)
		json_array_append_new(labels, client_string(in->labels[i]));
	json_object_set_new(request, "files", labels);
	json_object_set_new(request, "passwords", json_boolean(in->passwords >= 0));
	if (in->passwords >= 0)
		in->fds[in->n] = in->passwords;
	return CTL_DONE;
}

static int send_files(struct ctl *ctl, const struct args *a, const struct words *paths, json_t *request)
{
	struct inputs in = {.passwords = -1};
	int status = add_files(ctl, a, paths, &in, request);
	if (status == CTL_DONE)
		status = client_run(ctl, a, json_incref(request), in.fds, in.n + (in.passwords >= 0));
	inputs_done(&in);
	return status;
}

int command_submit(struct ctl *ctl, const struct args *a)
{
	json_t *request = json_pack("{s:s}", "command", "submit");
	const char *name = args_value(a, OPTION_NAME);
	int status = name ? add_name(ctl, request, name) : CTL_DONE;
	if (status == CTL_DONE)
		status = client_add_wait(ctl, a, request);
	if (status == CTL_DONE)
		status = client_add_accept(ctl, a, request);
	if (status == CTL_DONE)
		status = send_files(ctl, a, &a->operands, request);
	json_decref(request);
	return status;
}

int command_standby(struct ctl *ctl, const struct args *a)
{
	bool drop = args_has(a, OPTION_DROP);
	const struct words files = {.v = a->operands.v + 1, .n = a->operands.n - 1};
	if (drop && files.n)
		return ctl_usage(ctl, "--drop takes no files");
	if (!drop && !files.n)
		return ctl_usage(ctl, "which files? (or --drop)");
	json_t *request = json_pack("{s:s}", "command", "standby");
	int status = add_name(ctl, request, a->operands.v[0]);
	if (status == CTL_DONE && drop) {
		json_object_set_new(request, "drop", json_true());
		status = client_run(ctl, a, json_incref(request), NULL, 0);
	} else if (status == CTL_DONE) {
		status = client_add_accept(ctl, a, request);
		if (status == CTL_DONE)
			status = send_files(ctl, a, &files, request);
	}
	json_decref(request);
	return status;
}
