#include "site/staple.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/pair.h"
#include "swap/record.h"
#include "wire/fetch.h"

#define ASK_MS    10000
#define REVIEW_MS (10 * 60 * 1000)

struct staple {
	struct certificate *certificate;
	unsigned int generation;
	char *serial;
	struct job *job;
	struct timer *timer; /* reports what needed no job */
	int answer;          /* read end of the pipe */
	struct fault fault;
	struct staple *next, **link;
	staple_cb cb;
	void *data;
};

struct staples {
	struct timer *review;
};

static int open_generation(const struct certificate *c, unsigned int number)
{
	char path[32];
	return files_open_folder(c->folder, store_generation_path(number, path), 0, NULL);
}

/* What is known of the response that is there; 0 and 0: there is none. */
static void read_times(const struct certificate *c, unsigned int number, int64_t *ret_fresh_until, int64_t *ret_end)
{
	json_t *record;
	struct fault fault = {0};
	*ret_fresh_until = *ret_end = 0;
	AUTO_CLOSE int folder = open_generation(c, number);
	if (folder < 0 || faccessat(folder, "ocsp.der", F_OK, AT_SYMLINK_NOFOLLOW) < 0 ||
	    record_load(folder, "ocsp.json", &record, &fault) < 0)
		return;
	struct reader r = {.object = record};
	*ret_fresh_until = record_number(&r, "fresh_until");
	*ret_end = record_number(&r, "next_update");
	json_decref(record);
}

static void leave(struct staple *s)
{
	timer_close(s->timer);
	job_close(s->job);
	auto_close_(&s->answer);
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
}

static void finish(void *data)
{
	struct staple *s = data;
	leave(s);
	s->cb(&s->fault, s->data);
	free(s->serial);
	free(s);
}

/* The response that is there holds on, where there is one. */
static void failed(struct staple *s, int code, const char *why)
{
	int64_t fresh_until, end;
	read_times(s->certificate, s->generation, &fresh_until, &end);
	if (end > clock_wall())
		log_info("staple", "%s: no new OCSP response: %s", s->certificate->settings->name, why);
	else
		fault_set(&s->fault, code,
			  "it waits for an OCSP response for its serial number, %s (option staple): %s", s->serial,
			  why);
}

static int keep(struct staple *s, const struct fetch_seen *seen, struct fault *fault)
{
	char bytes[FETCH_KEEP_MAX];
	ssize_t n = read(s->answer, bytes, sizeof bytes);
	AUTO_CLOSE int folder = open_generation(s->certificate, s->generation);
	if (n <= 0 || folder < 0)
		return fault_set(fault, -EIO, "the answer can't be kept");
	int64_t half = (seen->next_update - seen->this_update) / 2, fresh_until = seen->this_update + half;
	json_t *record = json_pack("{sI, sI}", "fresh_until", (json_int_t)fresh_until, "next_update",
				   (json_int_t)seen->next_update);
	int r = files_replace(folder, "ocsp.der", bytes, (size_t)n, 0644, fault);
	if (r == 0)
		r = record_save(folder, "ocsp.json", record, fault);
	json_decref(record);
	return r;
}

static void on_reply(struct message *message, const struct fault *fault, void *data)
{
	struct staple *s = data;
	struct fault bad = {0};
	struct fetch_reply reply;
	s->job = NULL;
	if (!message) {
		failed(s, -EAGAIN, fault->text);
	} else if (fetch_reply_unpack(&message->body, &reply) < 0) {
		failed(s, -EAGAIN, "certswap-worker (fetch) sent a reply that makes no sense");
	} else {
		const struct fetch_seen *seen = reply.n == 1 ? &reply.v[0] : NULL;
		if (!seen)
			failed(s, -EAGAIN, reply.text);
		else if (seen->status != FETCH_GOOD)
			failed(s, -EAGAIN, seen->status == FETCH_REVOKED ? "it is revoked" : seen->text);
		else if (keep(s, seen, &bad) < 0)
			failed(s, -EAGAIN, bad.text);
		fetch_reply_done(&reply);
	}
	finish(s);
}

static void ask(struct staple *s, const struct source_cert *leaf)
{
	int pipe[2], fds[2];
	struct certificate *c = s->certificate;
	const struct settings *settings = c->site->settings;
	struct fetch_item item = {.id = leaf->serial};
	const struct fetch_request r = {.kind = FETCH_OCSP,
					.urls = leaf->ocsp,
					.deny = settings->fetch_deny,
					.proxy = settings->fetch_proxy,
					.deadline_ms = ASK_MS,
					.keep = true,
					.child = leaf->sha256,
					.v = &item,
					.n = 1};
	AUTO_CLOSE int chain = store_open_file(c->folder, s->generation, "fullchain.pem", NULL);
	if (chain < 0 || pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
		failed(s, -EAGAIN, "its files can't be opened");
		s->timer = timer_start(c->site->loop, 0, finish, s);
		return;
	}
	s->answer = pipe[0];
	fds[0] = chain;
	fds[1] = pipe[1];
	struct packer body = {0};
	fetch_request_pack(&body, &r);
	s->job = job_start(c->site->jobs, "fetch", MESSAGE_FETCH, &body, fds, 2, certificate_trust(c), 2 * ASK_MS,
			   on_reply, s);
	packer_done(&body);
	close(pipe[1]);
}

void staple_get(struct certificate *c, unsigned int generation, const struct source_file *chain, staple_cb cb,
		void *data)
{
	int64_t fresh_until, end;
	struct staple *s = xcalloc(1, sizeof *s);
	*s = (struct staple){.certificate = c,
			     .generation = generation,
			     .answer = -1,
			     .cb = cb,
			     .data = data,
			     .serial = xstrdup("?")};
	s->link = &c->site->stapling;
	s->next = *s->link;
	if (s->next)
		s->next->link = &s->next;
	*s->link = s;
	read_times(c, generation, &fresh_until, &end);
	if (chain->n) {
		free(s->serial);
		s->serial = xstrdup(chain->v[0].serial);
	}
	if (fresh_until > clock_wall()) {
		s->timer = timer_start(c->site->loop, 0, finish, s);
	} else if (!chain->n || !chain->v[0].ocsp.n) {
		failed(s, -ENODATA, "it names no responder; take ssl_stapling_file out of nginx and this option off");
		s->timer = timer_start(c->site->loop, 0, finish, s);
	} else {
		ask(s, &chain->v[0]);
	}
}

/* ---- the live pair ---- */

static void on_refreshed(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	struct certificate *c = data;
	(void)next;
	c->stapling = false;
	if (outcome != PAIR_LIVE && outcome != PAIR_INSTALLED)
		log_warning("staple", "%s: no new OCSP response is live: %s", c->settings->name, text);
}

static void refresh(struct certificate *c)
{
	struct fault fault = {0};
	static const char *const files[] = {"fullchain.pem", "privkey.pem"};
	struct prove_input inputs[ARRAY_SIZE(files)];
	bool whole = true;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		inputs[i] = (struct prove_input){.fd = store_open_file(c->folder, c->live.number, files[i], &fault),
						 .role = CHECK_SUBMITTED};
		whole &= inputs[i].fd >= 0;
	}
	const struct pair_spec spec = {.certificate = c,
				       .inputs = inputs,
				       .ninputs = ARRAY_SIZE(inputs),
				       .leaf = c->live.sha256,
				       .origin = c->live.origin,
				       .accepted = &c->live.accepted};
	c->stapling = whole;
	if (whole)
		pair_start(&spec, on_refreshed, c);
	else
		log_warning("staple", "%s: %s", c->settings->name, fault.text);
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
		auto_close_(&inputs[i].fd);
}

static void review(void *data)
{
	struct site *site = data;
	for (size_t i = 0; i < site->ncertificates; i++) {
		int64_t fresh_until, end;
		struct certificate *c = site->certificates[i];
		if (!c->settings->staple || c->settings->manage != MANAGE_SWAP || !c->live.number || c->transaction ||
		    c->ready.number || c->stapling || certificate_denial(c, &c->live))
			continue;
		read_times(c, c->live.number, &fresh_until, &end);
		if (fresh_until <= clock_wall())
			refresh(c);
	}
}

struct staples *staples_open(struct site *site)
{
	struct staples *s = xcalloc(1, sizeof *s);
	s->review = timer_repeat(site->loop, 0, REVIEW_MS, review, site);
	return s;
}

void staples_close(struct site *site)
{
	while (site->stapling) {
		struct staple *s = site->stapling;
		leave(s);
		free(s->serial);
		free(s);
	}
	if (site->staples)
		timer_close(site->staples->review);
	free(site->staples);
	site->staples = NULL;
}
