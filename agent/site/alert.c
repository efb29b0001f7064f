#include "site/alert.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/child.h"
#include "site/metrics.h"
#include "swap/record.h"

#define ALERT_TIMEOUT_MS 60000
#define AGAIN_FIRST_MS   2000
#define AGAIN_LONGEST_MS (10 * 60 * 1000)
#define WAITING_MAX      10000 /* a command that never works does not fill the disk */
#define FILE_MAX         (64 * 1024 * 1024)
#define TOLD_KEPT        ((int64_t)90 * 86400) /* seconds that a state is remembered as told */

static const char *const severity_words[] = {[ALERT_INFO] = "info", [ALERT_TICKET] = "ticket", [ALERT_PAGE] = "page"};
static const char log_name[] = "alerts.jsonl";

struct waiting {
	json_t *event;
	enum alert_severity severity;
};

struct told {
	char *id;
	int64_t at;
};

struct alerts {
	struct site *site;
	int fd; /* of alerts.jsonl */
	struct waiting *waiting;
	size_t nwaiting;
	struct told *told;
	size_t ntold;
	struct child *child; /* the command, with what `current` names */
	char *current;
	struct timer *timer; /* the next try */
	unsigned int failures;
};

static void next_soon(struct alerts *a, int64_t after_ms);

/* ---- what waits and what was told ---- */

static const char *id_of(const struct waiting *w)
{
	return json_string_value(json_object_get(w->event, "id"));
}

static struct waiting *find_waiting(const struct alerts *a, const char *id)
{
	for (size_t i = 0; i < a->nwaiting; i++)
		if (strcmp(id_of(&a->waiting[i]), id) == 0)
			return &a->waiting[i];
	return NULL;
}

static struct told *find_told(const struct alerts *a, const char *id)
{
	for (size_t i = 0; i < a->ntold; i++)
		if (strcmp(a->told[i].id, id) == 0)
			return &a->told[i];
	return NULL;
}

static void drop_waiting(struct alerts *a, struct waiting *w)
{
	json_decref(w->event);
	memmove(w, w + 1, (size_t)(a->waiting + a->nwaiting - w - 1) * sizeof *w);
	a->nwaiting--;
}

static void drop_told(struct alerts *a, struct told *t)
{
	free(t->id);
	*t = a->told[--a->ntold];
}

static void add_waiting(struct alerts *a, json_t *event)
{
	const char *word = json_string_value(json_object_get(event, "severity"));
	struct waiting w = {.event = event, .severity = ALERT_INFO};
	for (size_t i = 0; word && i < ARRAY_SIZE(severity_words); i++)
		if (strcmp(severity_words[i], word) == 0)
			w.severity = (enum alert_severity)i;
	a->waiting = xrealloc(a->waiting, (a->nwaiting + 1) * sizeof *a->waiting);
	a->waiting[a->nwaiting++] = w;
}

static void add_told(struct alerts *a, const char *id, int64_t at)
{
	a->told = xrealloc(a->told, (a->ntold + 1) * sizeof *a->told);
	a->told[a->ntold++] = (struct told){.id = xstrdup(id), .at = at};
}

/* ---- the file: one object a line: {"waits": EVENT}, {"told": ID, "at": SECONDS}, {"over": ID} ---- */

static char *line_of(json_t *o)
{
	AUTO_FREE char *json = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return json ? xasprintf("%s\n", json) : NULL;
}

/* Takes over o. */
static void write_line(struct alerts *a, json_t *o)
{
	struct fault fault = {0};
	AUTO_FREE char *line = line_of(o);
	if (!line || files_append(a->fd, line, strlen(line), &fault) < 0)
		log_error("record-failed", "%s: %s", log_name, line ? fault.text : "no JSON");
}

static void apply(struct alerts *a, const json_t *o)
{
	json_t *event = json_object_get(o, "waits");
	const char *told = json_string_value(json_object_get(o, "told")),
		   *over = json_string_value(json_object_get(o, "over"));
	if (json_is_string(json_object_get(event, "id")))
		return add_waiting(a, json_incref(event));
	struct waiting *w = told ? find_waiting(a, told) : NULL;
	if (w)
		drop_waiting(a, w);
	if (told && !find_told(a, told))
		add_told(a, told, json_integer_value(json_object_get(o, "at")));
	struct told *t = over ? find_told(a, over) : NULL;
	if (t)
		drop_told(a, t);
}

/* A line that a crash has cut off is no JSON: what it would have said is found out again. */
static int load(struct alerts *a, struct fault *fault)
{
	char *bytes, *save = NULL;
	int r = files_read(a->site->folders.state, log_name, FILE_MAX, &bytes, NULL, fault);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	for (char *line = strtok_r(bytes, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		json_t *o = json_loads(line, 0, NULL);
		apply(a, o);
		json_decref(o);
	}
	free(bytes);
	return 0;
}

/* Written anew at each start: what was told long ago is forgotten. */
static int compact(struct alerts *a, struct fault *fault)
{
	struct text all = {0};
	int64_t now = clock_wall();
	for (size_t i = a->ntold; i-- > 0;)
		if (a->told[i].at + TOLD_KEPT < now)
			drop_told(a, &a->told[i]);
	for (size_t i = 0; i < a->ntold; i++) {
		AUTO_FREE char *line =
			line_of(json_pack("{ss, sI}", "told", a->told[i].id, "at", (json_int_t)a->told[i].at));
		text_add(&all, "%s", line ? line : "");
	}
	for (size_t i = 0; i < a->nwaiting; i++) {
		AUTO_FREE char *line = line_of(json_pack("{sO}", "waits", a->waiting[i].event));
		text_add(&all, "%s", line ? line : "");
	}
	int r = files_replace(a->site->folders.state, log_name, all.s ? all.s : "", all.len, 0600, fault);
	text_done(&all);
	if (r < 0)
		return r;
	a->fd = openat(a->site->folders.state, log_name, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	return a->fd < 0 ? fault_errno(fault, errno, "can't open %s", log_name) : 0;
}

/* ---- telling ---- */

static void on_done(const struct child_result *result, void *data)
{
	struct alerts *a = data;
	struct waiting *w = find_waiting(a, a->current);
	AUTO_FREE char *id = a->current;
	a->child = NULL;
	a->current = NULL;
	if (result->exit_status == 0) {
		a->failures = 0;
		if (w)
			drop_waiting(a, w);
		add_told(a, id, clock_wall());
		write_line(a, json_pack("{ss, sI}", "told", id, "at", (json_int_t)clock_wall()));
		return next_soon(a, 0);
	}
	int64_t wait = AGAIN_FIRST_MS;
	for (unsigned int i = 0; i < a->failures && wait < AGAIN_LONGEST_MS; i++)
		wait *= 2;
	if (a->failures++ == 0) /* once, not at each try */
		log_warning("alert-failed", "the alert command failed for %s, it is tried again: %s", id,
			    result->problem     ? result->problem
			    : result->timed_out ? "it took too long"
						: result->output);
	next_soon(a, wait < AGAIN_LONGEST_MS ? wait : AGAIN_LONGEST_MS);
}

static const struct waiting *most_severe(const struct alerts *a)
{
	const struct waiting *best = NULL;
	for (size_t i = 0; i < a->nwaiting; i++)
		if (!best || a->waiting[i].severity > best->severity)
			best = &a->waiting[i];
	return best;
}

static void tell_next(void *data)
{
	struct alerts *a = data;
	const struct words *command = &a->site->settings->alert;
	const struct waiting *w = most_severe(a);
	timer_close(a->timer);
	a->timer = NULL;
	if (a->child || !w || !command->n)
		return;
	AUTO_FREE char *input = json_dumps(w->event, JSON_COMPACT);
	AUTO_FREE const char **argv = xcalloc(command->n + 1, sizeof(*argv));
	for (size_t i = 0; i < command->n; i++)
		argv[i] = command->v[i];
	a->current = xstrdup(id_of(w));
	const struct child_spec spec = {
		.argv = argv, .input = input, .input_len = strlen(input), .timeout_ms = ALERT_TIMEOUT_MS};
	a->child = child_start(a->site->loop, &spec, on_done, a);
}

static void next_soon(struct alerts *a, int64_t after_ms)
{
	if (!a->timer && !a->child && a->nwaiting)
		a->timer = timer_start(a->site->loop, after_ms, tell_next, a);
}

/* The same state of the same thing has the same id, so that a receiver can tell a repetition. */
static char *stable_id(const char *event, const char *certificate, unsigned int incident, const char *state)
{
	return xasprintf("%s/%s/%u%s%s", event, certificate ? certificate : "-", incident, state ? "/" : "",
			 state ? state : "");
}

void alert_send(struct site *site, const struct alert *alert)
{
	struct alerts *a = site->alerts;
	metrics_changed(site->metrics);
	AUTO_FREE char *id = stable_id(alert->event, alert->certificate, alert->incident, alert->state);
	if (!a || !site->settings->alert.n || find_waiting(a, id) || find_told(a, id))
		return;
	if (a->nwaiting >= WAITING_MAX)
		return log_error("alert-failed", "%d alerts wait for their command already: %s is not told",
				 WAITING_MAX, id);
	json_t *event = json_pack("{ss, ss, ss, ss*, so, so, ss, ss, so}", "id", id, "event", alert->event, "severity",
				  severity_words[alert->severity], "certificate", alert->certificate, "incident",
				  alert->incident ? json_integer(alert->incident) : json_null(), "deadline",
				  record_from_time(alert->deadline), "text", alert->text, "what_to_do",
				  alert->what_to_do, "time", record_from_time(clock_wall()));
	if (!event)
		return log_error("alert-failed", "%s can't be written as JSON", id);
	write_line(a, json_pack("{sO}", "waits", event));
	add_waiting(a, event);
	next_soon(a, 0);
}

void alert_over(struct site *site, const char *event, const char *certificate, unsigned int incident, const char *state)
{
	struct alerts *a = site->alerts;
	AUTO_FREE char *id = stable_id(event, certificate, incident, state);
	struct told *t = a ? find_told(a, id) : NULL;
	if (!t)
		return;
	drop_told(a, t);
	write_line(a, json_pack("{ss}", "over", id));
}

/* ---- begin and end ---- */

struct alerts *alerts_open(struct site *site, struct fault *fault)
{
	struct alerts *a = xcalloc(1, sizeof *a);
	a->site = site;
	a->fd = -1;
	if (load(a, fault) < 0 || compact(a, fault) < 0) {
		alerts_close(a);
		return NULL;
	}
	next_soon(a, 0);
	return a;
}

void alerts_close(struct alerts *a)
{
	if (!a)
		return;
	child_close(a->child);
	timer_close(a->timer);
	auto_close_(&a->fd);
	for (size_t i = 0; i < a->nwaiting; i++)
		json_decref(a->waiting[i].event);
	for (size_t i = 0; i < a->ntold; i++)
		free(a->told[i].id);
	free(a->waiting);
	free(a->told);
	free(a->current);
	free(a);
}
