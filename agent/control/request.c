#include "control/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "site/certificate.h"
#include "wire/finding.h"

#define DEFAULT_TIMEOUT_MS 300000
#define LARGE_ANSWER       (256 * 1024) /* bytes; the objects that it was made of are several times as large */

void request_send(struct request *r, json_t *o)
{
	char *line = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (r->client && line)
		client_send(r->client, line, strlen(line));
	bool large = line && strlen(line) > LARGE_ANSWER;
	free(line);
	if (large)
		memory_trim();
}

static void close_fds(struct request *r)
{
	for (size_t i = 0; i < r->nfds; i++)
		if (r->fds[i] >= 0)
			close(r->fds[i]);
	free(r->fds);
	r->fds = NULL;
	r->nfds = 0;
}

static void leave_waiting(struct request *r)
{
	if (!r->link)
		return;
	*r->link = r->next_waiting;
	if (r->next_waiting)
		r->next_waiting->link = r->link;
	r->link = NULL;
}

/* Sends the final answer; the request stays until its work has ended too (request_free). Takes over result. */
static void answer_with(struct request *r, int exit, const char *message, const char *next, json_t *result)
{
	json_t *o = json_pack("{si, ss, ss*, so*}", "exit", exit, "message", message ? message : "", "next", next,
			      "result", result);
	timer_close(r->timeout);
	r->timeout = NULL;
	leave_waiting(r);
	if (!r->client)
		return json_decref(o);
	client_set_data(r->client, NULL);
	if (o)
		request_send(r, o);
	client_finish(r->client);
	r->client = NULL;
}

void request_answer(struct request *r, int exit, const char *message, const char *next)
{
	answer_with(r, exit, message, next, NULL);
}

void request_free(struct request *r)
{
	timer_close(r->timeout);
	leave_waiting(r);
	close_fds(r);
	json_decref(r->arguments);
	text_done(&r->text);
	text_done(&r->next);
	free(r);
}

void request_finish(struct request *r, int exit, const char *message, const char *next)
{
	request_answer(r, exit, message, next);
	request_free(r);
}

void request_finish_exit(struct request *r, int exit, json_t *result)
{
	answer_with(r, exit, "", NULL, result);
	request_free(r);
}

void request_finish_result(struct request *r, const char *message, json_t *result)
{
	answer_with(r, 0, message, NULL, result);
	request_free(r);
}

void request_finish_with(struct request *r, json_t *result)
{
	request_finish_result(r, "", result);
}

static void on_timeout(void *data)
{
	struct request *r = data;
	request_answer(r, 1, "the time is up; the work goes on", "certswapctl status; certswapctl log");
}

const char *request_argument(const struct request *r, const char *key)
{
	const char *s = json_string_value(json_object_get(r->arguments, key));
	return s && *s ? s : NULL;
}

/* The answer comes when the wire is proved, at the timeout, or now where nobody waits. */
void request_wait(struct request *r)
{
	const json_t *wait = json_object_get(r->arguments, "wait"),
		     *timeout = json_object_get(r->arguments, "timeout_ms");
	if (wait && json_is_false(wait))
		return request_answer(r, 0, "taken; the work goes on", NULL);
	int64_t ms = json_is_integer(timeout) ? json_integer_value(timeout) : DEFAULT_TIMEOUT_MS;
	r->timeout = timer_start(r->site->loop, ms, on_timeout, r);
	r->link = &r->site->waiting;
	r->next_waiting = *r->link;
	if (r->next_waiting)
		r->next_waiting->link = &r->next_waiting;
	*r->link = r;
}

/* Which of them the request is about; n: none. */
static size_t find_named(const char *name, struct certificate *const *v, size_t n)
{
	size_t i = 0;
	while (i < n && name && strcmp(v[i]->settings->name, name) != 0)
		i++;
	return i;
}

void request_tell_step(struct certificate *const *v, size_t n, const char *doing)
{
	for (struct request *r = v[0]->site->waiting; r; r = r->next_waiting) {
		const char *name = request_argument(r, "name");
		size_t about = find_named(name, v, n);
		if (about == n)
			continue;
		AUTO_FREE char *text = name || n == 1 ? xasprintf("%s: %s", v[about]->settings->name, doing)
						      : xasprintf("%zu certificates: %s", n, doing);
		request_send(r, json_pack("{ss}", "progress", text));
	}
}

static int accept_one(const json_t *item, struct words *codes, struct text *why, struct fault *fault)
{
	enum finding_code code;
	const char *name = json_string_value(json_object_get(item, "code")),
		   *reason = json_string_value(json_object_get(item, "why"));
	if (!name || finding_parse(name, &code) < 0 || !reason || !*reason)
		return fault_set(fault, -EINVAL, "--accept takes a finding's code and --why TEXT: %.40s is not one",
				 name ? name : "?");
	if (!finding_can_be_accepted(code))
		return fault_set(fault, -EPERM,
				 "%s can't be let pass: such a pair would not work, or must never come back", name);
	words_add(codes, name);
	text_add(why, "%s%s: %s", why->len ? "; " : "", name, reason);
	return 0;
}

int request_accepted(const struct request *r, struct words *ret, char **ret_why, struct fault *fault)
{
	size_t i;
	json_t *item;
	struct text why = {0};
	json_array_foreach(json_object_get(r->arguments, "accept"), i, item)
	{
		int code = accept_one(item, ret, &why, fault);
		if (code < 0) {
			words_done(ret);
			text_done(&why);
			return code;
		}
	}
	*ret_why = why.s;
	return 0;
}

struct certificate *request_certificate(struct request *r)
{
	const char *name = request_argument(r, "name");
	struct certificate *c = name ? site_certificate(r->site, name) : NULL;
	if (c)
		return c;
	AUTO_FREE char *text = name ? site_no_certificate(r->site, name) : xstrdup("a certificate's name is needed");
	request_finish(r, name ? 1 : 2, text, "certswapctl status lists the names");
	return NULL;
}
