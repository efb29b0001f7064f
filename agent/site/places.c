#include "site/places_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/memory.h"

#define BASELINE_MS 5000

bool places_any_will_do(const struct places_round *round, const struct journal_place *p)
{
	if (p->turns < 0 || round->goal == PLACES_BASELINE)
		return false;
	enum txn_disk disk = round->journal->txn.certificates[p->turns].disk;
	return disk != (round->goal == PLACES_OLD ? TXN_DISK_OLD : TXN_DISK_NEW);
}

/* A place that showed another certificate must go on serving, but the reload may well have brought somebody's renewal.
 */
struct digest places_wanted(const struct places_round *round, const struct journal_place *p)
{
	static const struct digest none;
	const struct journal *j = round->journal;
	if (places_any_will_do(round, p))
		return none;
	switch (round->goal) {
	case PLACES_BASELINE:
		return none;
	case PLACES_OLD:
		return p->turns >= 0 ? p->before : none;
	case PLACES_NEW_ALL:
	case PLACES_NEW:
		break;
	}
	return p->turns >= 0 ? j->certificates[p->turns].new_sha256 : none;
}

bool places_was_silent(const struct journal_place *p)
{
	return digest_is_zero(&p->before);
}

/* A place that was silent is looked at again once every server runs, and on the way back. */
static bool to_ask(const struct places_round *round, const struct journal_place *p)
{
	return round->goal != PLACES_NEW || !places_was_silent(p);
}

void places_verdict_done(struct places_verdict *v)
{
	free(v->text);
	free(v->note);
	free(v->parts);
	*v = (struct places_verdict){0};
}

static void describe(struct places_verdict *v, const struct journal_place *p, const struct probe_seen *seen)
{
	if (v->text)
		return;
	static const char *const versions[PROBE_VERSIONS] = {
		[PROBE_VERSION_ANY] = "", [PROBE_TLS_1_2] = " (TLS 1.2)", [PROBE_TLS_1_3] = " (TLS 1.3)"};
	v->text = xasprintf("%s%s%s%s: %s%s%s", p->endpoint, *p->server_name ? " " : "", p->server_name,
			    p->version < PROBE_VERSIONS ? versions[p->version] : "", probe_result_text(seen->result),
			    seen->text && *seen->text ? ": " : "", seen->text ? seen->text : "");
}

static void note(struct places_verdict *v, const struct journal_place *p, const struct probe_seen *seen)
{
	if (v->note)
		return;
	v->note = xasprintf("%s%s%s: %s", p->endpoint, *p->server_name ? " " : "", p->server_name, seen->text);
	v->note_about = p->belongs;
}

/* A place that gave no handshake at the baseline owes none now (it may be no TLS port at all); but it must not show the
 * old pair. UNKNOWN: it says nothing. */
static enum txn_wire judge_silent(const struct places_round *round, const struct journal_place *p,
				  const struct probe_seen *seen)
{
	const struct journal_certificate *c = &round->journal->certificates[p->belongs];
	if (seen->result != PROBE_SHOWN)
		return TXN_WIRE_UNKNOWN;
	bool back = round->goal == PLACES_OLD;
	if (digest_equal(&seen->sha256, back ? &c->old_sha256 : &c->new_sha256)) /* both may be the same certificate */
		return TXN_WIRE_WANTED;
	if (c->old_number && digest_equal(&seen->sha256, back ? &c->new_sha256 : &c->old_sha256))
		return TXN_WIRE_OTHER;
	return TXN_WIRE_UNKNOWN;
}

/* What one place says about its server. */
static enum txn_wire judge_place(const struct places_round *round, const struct journal_place *p,
				 const struct probe_seen *seen)
{
	struct digest expect = places_wanted(round, p);
	switch (seen->result) {
	case PROBE_SHOWN:
		return digest_is_zero(&expect) || digest_equal(&expect, &seen->sha256) ? TXN_WIRE_WANTED
										       : TXN_WIRE_OTHER;
	case PROBE_NOT_ALONE:
	case PROBE_NOT_EXPECTED:
		return TXN_WIRE_OTHER;
	case PROBE_REFUSED:
	case PROBE_NO_ANSWER:
	case PROBE_TLS_FAILED:
	case PROBE_RESULTS:
		break;
	}
	return TXN_WIRE_BROKEN;
}

/* WANTED < OTHER < BROKEN: the worst place counts. */
static void add_to_part(struct places_part *part, enum txn_wire wire, bool is_new)
{
	part->judged++;
	part->turned += is_new;
	if (wire > part->wire)
		part->wire = wire;
}

static void judge(struct places_round *round, struct places_verdict *v, const struct journal_place *p,
		  const struct probe_seen *seen)
{
	enum txn_wire wire = places_was_silent(p) ? judge_silent(round, p, seen) : judge_place(round, p, seen);
	bool is_new = wire == TXN_WIRE_WANTED && round->goal != PLACES_OLD && (p->turns >= 0 || places_was_silent(p));
	if (wire == TXN_WIRE_UNKNOWN)
		return;
	for (size_t i = 0; i < round->journal->txn.nservers; i++)
		if (p->server < 0 || p->server == (int)i)
			add_to_part(&v->parts[i], wire, is_new);
	if (is_new && seen->first_expected_us && (!v->first_new_us || seen->first_expected_us < v->first_new_us))
		v->first_new_us = seen->first_expected_us;
	if (wire != TXN_WIRE_WANTED)
		describe(v, p, seen);
	else if (is_new && *seen->text)
		note(v, p, seen);
}

/* The certificates by their old pairs. */
struct old_pair {
	const struct digest *sha256;
	int index;
};

static int compare_old(const void *a, const void *b)
{
	const struct old_pair *x = a, *y = b;
	int order = memcmp(x->sha256, y->sha256, sizeof *x->sha256);
	return order ? order : x->index - y->index;
}

static struct old_pair *sort_old(const struct journal *j)
{
	struct old_pair *v = xcalloc(j->txn.ncertificates, sizeof *v);
	for (size_t i = 0; i < j->txn.ncertificates; i++)
		v[i] = (struct old_pair){&j->certificates[i].old_sha256, (int)i};
	qsort(v, j->txn.ncertificates, sizeof *v, compare_old);
	return v;
}

/* Which certificate's old pair is it? -1: none's. Of several that share it, the last. */
static int find_old(const struct old_pair *v, size_t n, const struct digest *sha256)
{
	size_t low = 0, high = n; /* the first that is greater */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (memcmp(v[middle].sha256, sha256, sizeof *sha256) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low && !digest_is_zero(sha256) && digest_equal(v[low - 1].sha256, sha256) ? v[low - 1].index : -1;
}

static void keep_baseline(struct places_round *round)
{
	struct journal *j = round->journal;
	AUTO_FREE struct old_pair *old = sort_old(j);
	for (size_t i = 0; i < j->nplaces; i++) {
		if (!round->asked[i])
			continue;
		j->places[i].before = round->seen[i].sha256;
		j->places[i].turns = find_old(old, j->txn.ncertificates, &j->places[i].before);
	}
}

/* Both versions of TLS are one line where they show the same, or one of them shows nothing. */
static bool add_served(struct served *served, size_t n, const struct journal_place *p, const struct digest *shown)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(served[i].endpoint, p->endpoint) != 0 || strcmp(served[i].server_name, p->server_name) != 0)
			continue;
		if (digest_is_zero(&served[i].sha256))
			served[i].sha256 = *shown;
		if (digest_is_zero(shown) || digest_equal(&served[i].sha256, shown))
			return false;
	}
	served[n] = (struct served){.endpoint = xstrdup(p->endpoint),
				    .server_name = xstrdup(p->server_name),
				    .sha256 = *shown,
				    .checked_at = clock_wall()};
	return true;
}

/* A site on one address of the host alone, whose port listens on every one, shows its pair at no loopback address. */
static void note_elsewhere(struct places_round *round)
{
	const struct journal *j = round->journal;
	for (size_t i = 0; i < j->txn.ncertificates; i++)
		round->certificates[i]->elsewhere = round->certificates[i]->live.number > 0;
	for (size_t i = 0; i < j->nplaces; i++) {
		struct certificate *c = round->certificates[j->places[i].belongs];
		if (address_is_loopback(j->places[i].endpoint) && digest_equal(&round->seen[i].sha256, &c->live.sha256))
			c->elsewhere = false;
	}
}

/* What each certificate's own endpoints showed, for `status`. */
static void keep_served(struct places_round *round)
{
	struct journal *j = round->journal;
	size_t n = j->txn.ncertificates;
	AUTO_FREE size_t *room = xcalloc(n, sizeof *room), *used = xcalloc(n, sizeof *used);
	AUTO_FREE struct served **served = xcalloc(n, sizeof(*served));
	for (size_t i = 0; i < j->nplaces; i++)
		room[j->places[i].belongs] += round->asked[i];
	for (size_t i = 0; i < n; i++)
		served[i] = xcalloc(room[i], sizeof(**served));
	for (size_t i = 0; i < j->nplaces; i++) {
		size_t of = (size_t)j->places[i].belongs;
		if (round->asked[i])
			used[of] += add_served(served[of], used[of], &j->places[i], &round->seen[i].sha256);
	}
	for (size_t i = 0; i < n; i++)
		certificate_set_served(round->certificates[i], served[i], used[i]);
}

static int compare_endpoints(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Endpoints that gave a handshake, sorted. */
struct speaking {
	const char **v;
	size_t n;
};

static struct speaking find_speaking(const struct places_round *round)
{
	const struct journal *j = round->journal;
	struct speaking speaking = {.v = xcalloc(j->nplaces, sizeof(*speaking.v))};
	for (size_t i = 0; i < j->nplaces; i++)
		if (round->asked[i] && round->seen[i].result == PROBE_SHOWN)
			speaking.v[speaking.n++] = j->places[i].endpoint;
	qsort(speaking.v, speaking.n, sizeof(*speaking.v), compare_endpoints);
	return speaking;
}

static bool speaks(const struct speaking *speaking, const char *endpoint)
{
	return bsearch(&endpoint, speaking->v, speaking->n, sizeof(*speaking->v), compare_endpoints);
}

/* After the first look of a baseline: an endpoint that takes connections and gives no handshake at all may want a PROXY
 * header first. Returns how many places are to be asked so. */
static size_t choose_for_header(struct places_round *round)
{
	struct journal *j = round->journal;
	struct speaking speaking = find_speaking(round);
	size_t n = 0;
	for (size_t i = 0; i < j->nplaces; i++) {
		struct journal_place *p = &j->places[i];
		enum probe_result result = round->seen[i].result;
		round->now[i] = round->asked[i] && !p->proxy_protocol && p->starttls == PROBE_TLS &&
				(result == PROBE_TLS_FAILED || result == PROBE_NO_ANSWER) &&
				!speaks(&speaking, p->endpoint);
		p->proxy_protocol |= round->now[i];
		n += round->now[i];
	}
	free(speaking.v);
	return n;
}

/* After the second: where the header did not help either, it was none that was missing. */
static void take_back_headers(struct places_round *round)
{
	struct journal *j = round->journal;
	struct speaking speaking = find_speaking(round);
	for (size_t i = 0; i < j->nplaces; i++)
		if (round->now[i] && !speaks(&speaking, j->places[i].endpoint))
			j->places[i].proxy_protocol = false;
	free(speaking.v);
}

void places_answered(void *data)
{
	struct places_round *round = data;
	struct journal *j = round->journal;
	if (round->with_header)
		take_back_headers(round);
	else if (round->goal == PLACES_BASELINE && !round->fault.code && choose_for_header(round)) {
		round->with_header = true;
		return places_ask(round, BASELINE_MS);
	}
	struct places_verdict v = {.parts = xcalloc(j->txn.nservers, sizeof *v.parts)};
	for (size_t i = 0; i < j->txn.nservers; i++)
		v.parts[i].wire = TXN_WIRE_WANTED;
	if (round->goal == PLACES_BASELINE) {
		keep_baseline(round);
		note_elsewhere(round);
	}
	for (size_t i = 0; round->goal != PLACES_BASELINE && i < j->nplaces; i++)
		if (round->asked[i])
			judge(round, &v, &j->places[i], &round->seen[i]);
	if (round->fault.code) { /* a worker failed: nothing was proved */
		for (size_t i = 0; i < j->txn.nservers; i++)
			v.parts[i].wire = TXN_WIRE_OTHER;
		free(v.text);
		v.text = xasprintf("the look at the wire failed: %s", round->fault.text);
	}
	keep_served(round);
	round->cb(&v, round->data);
	places_verdict_done(&v);
	places_close(round);
}

struct places_round *places_look(struct site *site, struct journal *j, struct certificate *const *certificates,
				 enum places_goal goal, int64_t deadline_ms, places_cb cb, void *data)
{
	struct places_round *round = xcalloc(1, sizeof *round);
	*round = (struct places_round){.site = site, .journal = j, .goal = goal, .cb = cb, .data = data};
	round->certificates = xmemdup(certificates, j->txn.ncertificates * sizeof(*certificates));
	round->nplaces = j->nplaces;
	round->seen = xcalloc(j->nplaces, sizeof *round->seen);
	round->asked = xcalloc(j->nplaces, sizeof *round->asked);
	round->now = xcalloc(j->nplaces, sizeof *round->now);
	round->turned = xcalloc(j->txn.nservers, sizeof *round->turned);
	round->same = xcalloc(j->nplaces, sizeof *round->same);
	for (size_t i = 0; i < j->nplaces; i++)
		round->same[i] = i;
	size_t asked = 0;
	for (size_t i = 0; i < j->nplaces; i++)
		asked += round->asked[i] = round->now[i] = to_ask(round, &j->places[i]);
	if (asked)
		places_ask(round, goal == PLACES_BASELINE ? BASELINE_MS : deadline_ms);
	else
		round->timer = timer_start(site->loop, 0, places_answered, round);
	return round;
}

void places_close(struct places_round *round)
{
	if (!round)
		return;
	for (size_t i = 0; i < round->njobs; i++)
		if (round->jobs[i].job)
			job_close(round->jobs[i].job);
	for (size_t i = 0; round->seen && i < round->nplaces; i++)
		places_forget_seen(&round->seen[i]);
	timer_close(round->timer);
	free(round->certificates);
	free(round->jobs);
	free(round->seen);
	free(round->asked);
	free(round->now);
	free(round->turned);
	free(round->same);
	free(round);
}
