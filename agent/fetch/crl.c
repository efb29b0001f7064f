#include <errno.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "pki/crl.h"
#include "pki/sources.h"
#include "fetch/fetch.h"

/* The largest public lists have some 70 MB (a shard of Let's Encrypt, if all that it issued were revoked). */
#define LIST_MAX ((int64_t)512 << 20)
#define PIECE    65536

static bool feed(const void *bytes, size_t len, void *data)
{
	return crl_scan_feed(data, bytes, len) == 0;
}

/* A scan that waits for all items; NULL: a serial makes no sense. */
static struct crl_scan *begin(const struct fetch_request *r, const struct fetch_parties *who, struct words *points)
{
	struct crl_options options = {.issuer = who->issuer, .now = clock_wall(), .known_this_update = r->this_update};
	if (crl_number_parse(r->number, &options.known_number))
		options.known_number = (struct crl_number){0};
	struct crl_scan *scan = crl_scan_new(&options);
	for (size_t i = 0; i < r->n; i++) {
		struct crl_want want = {.ca = r->v[i].ca, .points = points};
		if (serial_from_text(r->v[i].id, &want.serial) == 0 && crl_scan_want(scan, &want) == (int)i)
			continue;
		crl_scan_free(scan);
		return NULL;
	}
	return scan;
}

static void take_answer(const struct crl_scan *scan, size_t i, const struct crl_list *list, struct fetch_reply *ret)
{
	struct crl_answer a;
	struct fetch_seen *seen = &ret->v[i];
	crl_scan_answer(scan, i, &a);
	seen->this_update = list->this_update;
	seen->next_update = list->next_update;
	seen->reason = -1;
	seen->text = xstrdup("");
	if (a.verdict == CRL_GOOD) {
		seen->status = FETCH_GOOD;
	} else if (a.verdict == CRL_REVOKED) {
		seen->status = FETCH_REVOKED;
		seen->reason = a.reason == CRL_CODE_OTHER ? -1 : (int8_t)a.reason;
		seen->revoked_at = a.revoked_at;
	} else if (a.why == CRL_WHY_SHARD) {
		fetch_say(ret, "the list is of another distribution point than the certificate names: not used for it");
	} else {
		fetch_say(ret, "the list is not for this kind of certificate");
	}
}

static bool conclude(struct crl_scan *scan, const char *url, size_t n, struct fetch_reply *ret)
{
	struct crl_list list;
	struct fault fault = {0};
	enum crl_state state = crl_scan_finish(scan, &list, &fault);
	if (state != CRL_SOUND) {
		fetch_say(ret, "%s: the list is not used: %s", url, fault.text);
		return false;
	}
	char number[CRL_NUMBER_TEXT];
	free(ret->text);
	ret->text = NULL;
	ret->result = FETCH_ANSWERED;
	ret->number = xstrdup(crl_number_text(&list.number, number));
	ret->this_update = list.this_update;
	ret->next_update = list.next_update;
	ret->v = xcalloc(n, sizeof *ret->v);
	for (ret->n = 0; ret->n < n; ret->n++)
		take_answer(scan, ret->n, &list, ret);
	return true;
}

static bool read_file(struct fetch_job *job, struct crl_scan *scan, struct fetch_reply *ret)
{
	AUTO_FREE uint8_t *piece = xmalloc(PIECE);
	ssize_t n;
	do {
		n = read(job->list, piece, PIECE);
		if (n > 0 && crl_scan_feed(scan, piece, (size_t)n) < 0)
			break;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		fetch_say(ret, "the file with the list can't be read: %s", strerror(errno));
	return n >= 0 && conclude(scan, "the file", job->request.n, ret);
}

/* True: it is decided. */
static bool try_url(struct fetch_job *job, struct crl_scan *scan, size_t i, struct fetch_reply *ret)
{
	const struct fetch_request *r = &job->request;
	struct download one = {.url = r->urls.v[i],
			       .accept = "application/pkix-crl, */*;q=0.5",
			       .etag = i == 0 ? r->etag : "", /* they are of the first */
			       .last_modified = i == 0 ? r->last_modified : "",
			       .max = LIST_MAX,
			       .sink = feed,
			       .data = scan};
	bool done = false;
	if (download_run(job->downloads, &one) < 0) {
		fetch_failed(ret, &one);
	} else if (one.status == 304) {
		ret->result = FETCH_UNCHANGED;
		done = true;
	} else if (conclude(scan, one.url, r->n, ret)) {
		ret->etag = xstrdup(one.new_etag);
		ret->last_modified = xstrdup(one.new_last_modified);
		done = true;
	}
	if (done) {
		free(ret->url);
		ret->url = xstrdup(one.url);
	}
	download_done(&one);
	return done;
}

void fetch_crl(struct fetch_job *job, const struct fetch_parties *who, struct fetch_reply *ret)
{
	const struct fetch_request *r = &job->request;
	struct words points = {0};
	bool done = false;
	sources_points(who->child, &points);
	size_t tries = r->from_file ? 1 : r->urls.n;
	for (size_t i = 0; i < tries && !done; i++) {
		if (!r->from_file && !*r->urls.v[i])
			continue;
		struct crl_scan *scan = begin(r, who, &points);
		if (!scan) {
			fetch_say(ret, "a serial number that can't be read");
			break;
		}
		done = r->from_file ? read_file(job, scan, ret) : try_url(job, scan, i, ret);
		crl_scan_free(scan);
	}
	words_done(&points);
}
