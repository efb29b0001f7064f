#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pki/ocsp.h"
#include "fetch/fetch.h"

static void take_answer(const struct ocsp_answer *a, const struct fault *fault, struct fetch_seen *seen)
{
	seen->this_update = a->this_update;
	seen->next_update = a->next_update;
	seen->reason = -1;
	if (a->state == OCSP_GOOD) {
		seen->status = FETCH_GOOD;
		seen->text = xstrdup("");
	} else if (a->state == OCSP_REVOKED) {
		seen->status = FETCH_REVOKED;
		seen->reason = a->reason == CRL_CODE_OTHER ? -1 : (int8_t)a->reason;
		seen->revoked_at = a->revoked_at;
		seen->text = xstrdup("");
	} else {
		AUTO_FREE char *text =
			xasprintf("%s%s%s", ocsp_state_name(a->state), *fault->text ? ": " : "", fault->text);
		seen->text = xstrndup(text, FETCH_TEXT_MAX);
	}
}

static void keep(const struct fetch_job *job, const struct download *one, struct fetch_seen *seen)
{
	if (one->body.len <= FETCH_KEEP_MAX && write(job->keep, one->body.s, one->body.len) == (ssize_t)one->body.len)
		return;
	seen->status = FETCH_UNKNOWN;
	free(seen->text);
	seen->text = xasprintf("the answer has %zu bytes: too many to be stapled", one->body.len);
}

/* False: the responder does not answer at all, or leads elsewhere: the other items need not be tried there. */
static bool ask_about(struct fetch_job *job, const struct fetch_parties *who, const char *responder, size_t i,
		      struct fetch_reply *ret)
{
	struct ocsp_question q = {.issuer = who->issuer, .ca = job->request.v[i].ca, .now = clock_wall()};
	uint8_t *request = NULL;
	size_t len = 0;
	struct fetch_seen *seen = &ret->v[i];
	if (serial_from_text(job->request.v[i].id, &q.serial) < 0 || ocsp_request(&q, &request, &len) < 0) {
		seen->text = xstrdup("no question can be made of its serial number");
		return true;
	}
	AUTO_FREE char *get = ocsp_get_url(responder, request, len);
	struct download one = {.url = get ? get : responder,
			       .accept = "application/ocsp-response",
			       .content_type = get ? NULL : "application/ocsp-request",
			       .post = request,
			       .post_len = len,
			       .max = (int64_t)OCSP_ANSWER_MAX};
	bool goes_on = true;
	if (download_run(job->downloads, &one) == 0) {
		struct ocsp_answer a;
		struct fault fault = {0};
		ocsp_judge(&q, one.body.s ? one.body.s : "", one.body.len, &a, &fault);
		take_answer(&a, &fault, seen);
		if (a.state == OCSP_GOOD && job->keep >= 0)
			keep(job, &one, seen);
	} else {
		fetch_failed(ret, &one);
		seen->text = xstrndup(ret->text ? ret->text : "", FETCH_TEXT_MAX);
		goes_on = one.status != 0 && !one.elsewhere && i > 0;
	}
	download_done(&one);
	free(request);
	return goes_on;
}

static bool try_responder(struct fetch_job *job, const struct fetch_parties *who, const char *url,
			  struct fetch_reply *ret)
{
	const struct fetch_request *r = &job->request;
	ret->v = xcalloc(r->n, sizeof *ret->v);
	ret->n = r->n;
	bool good = true;
	for (size_t i = 0; i < r->n && good; i++)
		good = ask_about(job, who, url, i, ret);
	if (good) {
		ret->result = FETCH_ANSWERED;
		free(ret->url);
		ret->url = xstrdup(url);
		return true;
	}
	for (size_t i = 0; i < ret->n; i++)
		free(ret->v[i].text);
	free(ret->v);
	ret->v = NULL;
	ret->n = 0;
	return false;
}

void fetch_ocsp(struct fetch_job *job, const struct fetch_parties *who, struct fetch_reply *ret)
{
	for (size_t i = 0; i < job->request.urls.n; i++)
		if (*job->request.urls.v[i] && try_responder(job, who, job->request.urls.v[i], ret))
			return;
}
