#include "site/aftermath.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "site/alert.h"
#include "site/audit.h"
#include "site/incident.h"
#include "swap/record.h"

struct aftermath {
	struct certificate *certificate;
	unsigned int incident;
	bool tickets;     /* still to be looked at */
	int64_t drain_at; /* 0: old workers end by themselves */
	bool asking;      /* a hook runs */
	struct server **servers;
	size_t n, at;
	struct server_hold *hold;
	struct timer *timer;
	char *live; /* STATE/certificates/NAME/live */
};

static void go_on(struct aftermath *a);

static void save(const struct aftermath *a)
{
	struct fault fault = {0};
	json_t *record = json_pack("{sI, sb, so}", "incident", (json_int_t)a->incident, "tickets", a->tickets,
				   "drain_at", record_from_time(a->drain_at));
	if (!record || record_save(a->certificate->folder, "aftermath.json", record, &fault) < 0)
		log_warning("record-failed", "%s: aftermath.json: %s", a->certificate->settings->name, fault.text);
	json_decref(record);
}

static void tell(const struct aftermath *a, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void tell(const struct aftermath *a, const char *event, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = text_printable(xvasprintf(format, args));
	va_end(args);
	audit_write(a->certificate->site->audit, event, a->certificate->settings->name,
		    json_pack("{sI}", "incident", (json_int_t)a->incident), "%s", text);
}

static void end(struct aftermath *a)
{
	struct certificate *c = a->certificate;
	if (files_remove(c->folder, "aftermath.json", NULL) < 0)
		log_warning("record-failed", "%s: aftermath.json can't be removed", c->settings->name);
	aftermath_close(c);
}

/* One line, however many the hook printed. */
static char *in_one_line(const char *output)
{
	char *s = xstrdup(output);
	for (char *p = s; *p; p++)
		if (*p == '\n')
			*p = p[1] ? ' ' : '\0';
	return s;
}

/* ---- session tickets ---- */

static void next_server(struct aftermath *a)
{
	a->asking = false;
	a->at++;
	go_on(a);
}

static void on_reloaded(enum server_answer answer, const char *output, void *data)
{
	struct aftermath *a = data;
	if (answer != SERVER_DONE)
		tell(a, "tickets-failed", "%s did not reload after its ticket keys were rotated: %s",
		     server_name(a->servers[a->at]), output);
	next_server(a);
}

/* The swap that went before was rehearsed; but somebody may have been at the configuration since. */
static void on_rehearsed(enum server_answer answer, const char *output, void *data)
{
	struct aftermath *a = data;
	if (answer == SERVER_REFUSED)
		return on_reloaded(answer, output, a);
	server_ask(a->servers[a->at], SERVER_RELOAD, NULL, NULL, on_reloaded, a);
}

static void on_rotated(enum server_answer answer, const char *output, void *data)
{
	struct aftermath *a = data;
	struct server *server = a->servers[a->at];
	AUTO_FREE char *files = in_one_line(output);
	if (answer == SERVER_NO_HOOK || (answer == SERVER_DONE && !*files))
		return next_server(a);
	if (answer != SERVER_DONE) {
		AUTO_FREE char *text = xasprintf("%s: the session ticket keys of %s could not all be rotated: %s",
						 a->certificate->settings->name, server_name(server), files);
		const struct alert alert = {.event = "tickets-failed",
					    .severity = ALERT_TICKET,
					    .certificate = a->certificate->settings->name,
					    .incident = a->incident,
					    .text = text,
					    .what_to_do = "write new random bytes into these files and reload",
					    .state = server_name(server)};
		tell(a, "tickets-failed", "%s", text);
		alert_send(a->certificate->site, &alert);
	} else {
		tell(a, "tickets-rotated", "%s: new session ticket keys in %s", server_name(server), files);
	}
	server_ask(server, SERVER_REHEARSE, NULL, NULL, on_rehearsed, a);
}

static void on_listed(enum server_answer answer, const char *output, void *data)
{
	struct aftermath *a = data;
	const char *name = a->certificate->settings->name, *server = server_name(a->servers[a->at]);
	AUTO_FREE char *files = in_one_line(output);
	if (answer == SERVER_DONE && *files) {
		AUTO_FREE char *text =
			xasprintf("%s: %s keeps session ticket keys in files, which a swap does not change: %s", name,
				  server, files);
		const struct alert alert = {.event = "tickets",
					    .severity = ALERT_TICKET,
					    .certificate = name,
					    .incident = a->incident,
					    .text = text,
					    .what_to_do = "after a key compromise write new random bytes into them and "
							  "reload; rotate_tickets = true does it",
					    .state = server};
		tell(a, "tickets", "%s", text);
		alert_send(a->certificate->site, &alert);
	} else if (answer != SERVER_DONE && answer != SERVER_NO_HOOK) {
		tell(a, "tickets-failed", "%s can't say whether it has session ticket key files: %s", server, files);
	}
	next_server(a);
}

/* ---- old workers ---- */

static void on_drained(enum server_answer answer, const char *output, void *data)
{
	struct aftermath *a = data;
	AUTO_FREE char *said = in_one_line(output);
	if (answer == SERVER_DONE && *said)
		tell(a, "drained", "%s: old workers ended: %s", server_name(a->servers[a->at]), said);
	else if (answer != SERVER_DONE && answer != SERVER_NO_HOOK)
		tell(a, "drain-failed", "%s: %s", server_name(a->servers[a->at]), said);
	next_server(a);
}

static void on_drain_time(void *data)
{
	struct aftermath *a = data;
	timer_close(a->timer);
	a->timer = NULL;
	a->at = 0;
	go_on(a);
}

static void say_of_old_workers(const struct aftermath *a)
{
	char left[48];
	if (a->drain_at)
		tell(a, "old-workers",
		     "connections that began before the reload go on in old workers, with the old key; "
		     "these are ended in %s",
		     text_time_left(a->drain_at - clock_wall(), left));
	else
		tell(a, "old-workers",
		     "connections that began before the reload go on in old workers, with the old key, "
		     "until they end; drain = \"...\" would end them");
}

/* ---- steps ---- */

static void tickets_are_done(struct aftermath *a)
{
	server_release_all(a->hold);
	a->hold = NULL;
	a->tickets = false;
	say_of_old_workers(a);
	if (!a->drain_at)
		return end(a);
	save(a);
	int64_t wait = (a->drain_at - clock_wall()) * 1000;
	a->timer = timer_start(a->certificate->site->loop, wait > 0 ? wait : 0, on_drain_time, a);
}

static void go_on(struct aftermath *a)
{
	bool rotate = a->certificate->settings->rotate_tickets;
	a->asking = a->at < a->n;
	if (a->at < a->n && a->tickets)
		return server_ask(a->servers[a->at], rotate ? SERVER_ROTATE : SERVER_TICKETS, NULL, NULL,
				  rotate ? on_rotated : on_listed, a);
	if (a->at < a->n)
		return server_ask(a->servers[a->at], SERVER_DRAIN, NULL, a->live, on_drained, a);
	if (a->tickets)
		return tickets_are_done(a);
	end(a);
}

static void on_held(void *data)
{
	go_on(data);
}

static struct aftermath *aftermath_new(struct certificate *c)
{
	struct aftermath *a = xcalloc(1, sizeof *a);
	const struct words *names = &c->settings->servers;
	a->certificate = c;
	a->live = xasprintf("%s/certificates/%s/live", c->site->settings->state_dir, c->settings->name);
	a->servers = xcalloc(names->n, sizeof(*a->servers));
	for (size_t i = 0; i < names->n; i++)
		if (site_server(c->site, names->v[i]))
			a->servers[a->n++] = site_server(c->site, names->v[i]);
	c->aftermath = a;
	return a;
}

static void start(struct aftermath *a)
{
	struct site *site = a->certificate->site;
	if (a->tickets && a->n)
		a->hold = server_take_all(site->loop, a->servers, a->n, on_held, a);
	else
		a->timer = timer_start(
			site->loop, (a->drain_at - clock_wall()) * 1000 > 0 ? (a->drain_at - clock_wall()) * 1000 : 0,
			on_drain_time, a);
}

void aftermath_review(struct certificate *c)
{
	const struct incident *i = incident_of(c);
	if (!i || !i->denies_key || c->last_swap.result != TXN_COMMITTED || digest_equal(&c->live.spki, &i->spki))
		return;
	if (c->aftermath && (c->aftermath->asking || c->aftermath->incident == i->id)) {
		c->aftermath->incident = i->id; /* what is being done now serves this one too */
		return;
	}
	aftermath_close(c);
	struct aftermath *a = aftermath_new(c);
	a->incident = i->id;
	a->tickets = true;
	a->drain_at = c->settings->drain_ms ? clock_wall() + (c->settings->drain_ms + 999) / 1000 : 0;
	save(a);
	start(a);
}

void aftermath_resume(struct certificate *c)
{
	json_t *record;
	if (record_load(c->folder, "aftermath.json", &record, NULL) < 0)
		return;
	struct reader r = {.object = record};
	struct aftermath *a = aftermath_new(c);
	a->incident = (unsigned int)record_number(&r, "incident");
	a->tickets = record_bool(&r, "tickets");
	a->drain_at = record_time(&r, "drain_at");
	json_decref(record);
	if (r.failed)
		return end(a);
	start(a);
}

void aftermath_close(struct certificate *c)
{
	struct aftermath *a = c->aftermath;
	if (!a)
		return;
	if (a->hold)
		server_release_all(a->hold);
	timer_close(a->timer);
	free(a->servers);
	free(a->live);
	free(a);
	c->aftermath = NULL;
}
