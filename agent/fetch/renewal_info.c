#include <jansson.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/ari.h"
#include "fetch/ari.h"
#include "fetch/fetch.h"

/* `renewalInfo` of an ACME directory (RFC 9773 4); NULL and a text: the CA gives none. The caller frees. */
static char *renewal_info(struct fetch_job *job, const char *url, struct fetch_reply *ret)
{
	struct download one = {.url = url, .accept = "application/json", .max = (int64_t)ARI_ANSWER_MAX};
	char *found = NULL;
	if (download_run(job->downloads, &one) < 0) {
		fetch_failed(ret, &one);
	} else {
		json_t *directory = json_loadb(one.body.s ? one.body.s : "", one.body.len, 0, NULL);
		const char *info = json_string_value(json_object_get(directory, "renewalInfo"));
		if (info && strlen(info) <= FETCH_URL_MAX)
			found = xstrdup(info);
		else
			fetch_say(ret, "%s is no ACME directory that names renewalInfo", url);
		json_decref(directory);
	}
	download_done(&one);
	return found;
}

/* False: the server does not answer at all, or leads elsewhere. */
static bool ask_about(struct fetch_job *job, const char *base, size_t i, struct fetch_reply *ret)
{
	struct fetch_seen *seen = &ret->v[i];
	AUTO_FREE char *url = ari_url(base, job->request.v[i].id);
	struct download one = {.url = url, .accept = "application/json", .max = (int64_t)ARI_ANSWER_MAX};
	struct ari_answer answer;
	struct fault fault = {0};
	bool goes_on = true;
	seen->reason = -1;
	if (download_run(job->downloads, &one) < 0) {
		fetch_failed(ret, &one);
		seen->text = xstrndup(ret->text ? ret->text : "", FETCH_TEXT_MAX);
		goes_on = one.status != 0 && !one.elsewhere;
	} else if (ari_read(one.body.s ? one.body.s : "", one.body.len, &answer, &fault) < 0) {
		seen->text = xstrndup(fault.text, FETCH_TEXT_MAX);
	} else {
		seen->status = FETCH_GOOD;
		seen->this_update = answer.start;
		seen->next_update = answer.end;
		seen->text = xstrndup(answer.explanation, FETCH_TEXT_MAX);
	}
	seen->retry_after = one.retry_after;
	download_done(&one);
	return goes_on;
}

/* A host that is not known yet must be resolved before the sandbox: another job asks there. */
static bool is_near(struct fetch_job *job, const char *base, struct fetch_reply *ret)
{
	if (downloads_has(job->downloads, base))
		return true;
	ret->result = FETCH_ELSEWHERE;
	free(ret->url);
	ret->url = xstrdup(base);
	return false;
}

void fetch_ari(struct fetch_job *job, struct fetch_reply *ret)
{
	const struct fetch_request *r = &job->request;
	if (!r->urls.n || !*r->urls.v[0])
		return;
	AUTO_FREE char *base = r->renewal_info ? xstrdup(r->urls.v[0]) : renewal_info(job, r->urls.v[0], ret);
	if (!base || !is_near(job, base, ret))
		return;
	ret->v = xcalloc(r->n, sizeof *ret->v);
	ret->n = r->n;
	for (size_t i = 0; i < r->n; i++)
		ret->v[i].text = xstrdup("");
	for (size_t i = 0; i < r->n; i++) {
		free(ret->v[i].text);
		ret->v[i].text = NULL;
		if (!ask_about(job, base, i, ret))
			return;
	}
	ret->result = FETCH_ANSWERED;
	free(ret->url);
	ret->url = xstrdup(base);
}
