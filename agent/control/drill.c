#include "control/drill.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "loop/child.h"
#include "site/audit.h"
#include "site/pair.h"
#include "site/parent.h"
#include "site/pending.h"
#include "site/standby.h"
#include "swap/hours.h"
#include "swap/record.h"

#define DRY_RUN_TIMEOUT_MS 600000
#define ALERT_TIMEOUT_MS   60000
#define HOURS_24           (24 * 3600)
#define DAYS_5             (5 * 24 * 3600)
#define SAID_MAX           400

enum verdict { DRILL_GOOD, DRILL_BAD, DRILL_UNKNOWN };
enum step { STEP_STANDBY, STEP_PENDING, STEP_REISSUE, STEP_DESK, STEP_SERVERS, STEP_ALERT, STEP_LIVE, STEP_END };

struct drill {
	struct certificate *certificate;
	const struct revocation_case *rule;
	bool live;
	enum step step;
	size_t server;
	json_t *items, *stopped_by;
	bool standby, reissue, request; /* ways that would work */
	int64_t request_s;              /* how long the CA's desk takes; 0: not known */
	int64_t began_ms;
	struct timer *timer;
	drill_step_cb tell;
	drill_done_cb done;
	void *data;
};

static void next_step(struct drill *d);

/* Notes one thing; `stops`: without it the day would not go well. */
static void note(struct drill *d, const char *what, enum verdict verdict, bool stops, int64_t ms, const char *format,
		 ...) __attribute__((format(printf, 6, 7)));
static void note(struct drill *d, const char *what, enum verdict verdict, bool stops, int64_t ms, const char *format,
		 ...)
{
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = text_printable(xvasprintf(format, args));
	va_end(args);
	json_t *good = verdict == DRILL_UNKNOWN ? json_null() : json_boolean(verdict == DRILL_GOOD);
	json_array_append_new(d->items, json_pack("{ss, so, ss, so}", "what", what, "good", good, "text", text,
						  "milliseconds", ms < 0 ? json_null() : json_integer(ms)));
	if (!stops || verdict == DRILL_GOOD)
		return;
	AUTO_FREE char *line = xasprintf("%s: %s", what, text);
	json_array_append_new(d->stopped_by, json_string(line));
}

/* ---- what is there ---- */

static void look_at_standby(struct drill *d)
{
	const struct certificate *c = d->certificate;
	AUTO_FREE char *why = c->standby.number ? standby_why(c) : xstrdup("");
	int64_t ms = c->last_swap.at_ms ? c->last_swap.milliseconds : -1;
	if (!c->standby.number)
		note(d, "standby", DRILL_BAD, false, -1, "there is none");
	else if (*why)
		note(d, "standby", DRILL_BAD, true, -1, "it is not ready: %s", why);
	else if (d->rule->new_key && digest_equal(&c->standby.spki, &c->live.spki))
		note(d, "standby", DRILL_BAD, true, -1,
		     "it has the same key as the live pair, which this case refuses");
	else if (d->rule->person)
		note(d, "standby", DRILL_GOOD, false, ms,
		     "ready, but in this case a person has to say that its data is right (certswapctl confirm)");
	else
		note(d, "standby", DRILL_GOOD, false, ms, "ready%s%s", *standby_weakness(c) ? "; but " : "",
		     standby_weakness(c));
	d->standby = c->standby.number && !*why && !(d->rule->new_key && digest_equal(&c->standby.spki, &c->live.spki));
}

static void look_at_pending(struct drill *d)
{
	struct certificate *c = d->certificate;
	const struct waiting_key *key = pending_fit(c);
	if (c->settings->reissue.n)
		note(d, "request", DRILL_GOOD, false, -1, "not needed: a reissue command is configured");
	else if (key)
		note(d, "request", DRILL_GOOD, false, -1, "a key and its request (CSR) wait: certswapctl request %s",
		     c->settings->name);
	else
		note(d, "request", DRILL_BAD, true, -1,
		     "no key waits for the names that are needed now: certswapctl csr %s "
		     "makes one",
		     c->settings->name);
	d->request = key != NULL;
}

static void look_at_desk(struct drill *d)
{
	char when[32], lead[32];
	const struct certificate_settings *s = d->certificate->settings;
	int64_t now = clock_wall(), open = hours_next(s->ca_hours, now);
	d->request_s = open && s->ca_lead_time_ms ? open - now + s->ca_lead_time_ms / 1000 : 0;
	bool late = !open || open - now > d->rule->within || d->request_s > d->rule->within;
	bool alone = !s->reissue.n && !d->standby;
	if (s->reissue.n)
		note(d, "desk", DRILL_GOOD, false, -1, "not needed: a reissue command is configured");
	else if (!*s->ca_contact && !*s->ca_hours)
		note(d, "desk", DRILL_UNKNOWN, alone, -1,
		     "`ca` is not configured: whom to write to, when the desk is open, how "
		     "long it takes");
	else if (late)
		note(d, "desk", DRILL_BAD, alone, -1, "too late: it opens at %s and takes %s",
		     open ? text_from_time(open, when) : "no time within eight days",
		     s->ca_lead_time_ms ? text_from_ms(s->ca_lead_time_ms, lead) : "a time that is not configured");
	else
		note(d, "desk", s->ca_lead_time_ms ? DRILL_GOOD : DRILL_UNKNOWN, false, -1, "%s; %s%s",
		     open == now ? "open now" : text_from_time(open, when),
		     s->ca_lead_time_ms ? "the certificate takes "
					: "how long it takes is not configured (ca.lead_time)",
		     s->ca_lead_time_ms ? text_from_ms(s->ca_lead_time_ms, lead) : "");
}

/* ---- what is run ---- */

/* What a program said, in one line: its end, where it is long; the caller's. */
static char *in_short(const char *output)
{
	size_t len = strlen(output);
	char *s = xstrdup(len > SAID_MAX ? output + len - SAID_MAX : output);
	for (char *p = s; *p; p++)
		if (*p == '\n')
			*p = p[1] ? ' ' : '\0';
	return s;
}

static int64_t passed_ms(const struct drill *d)
{
	return clock_monotonic_us() / 1000 - d->began_ms;
}

static void on_dry_run(const struct child_result *r, void *data)
{
	struct drill *d = data;
	AUTO_FREE char *said = in_short(r->output);
	d->reissue = r->exit_status == 0;
	if (d->reissue)
		note(d, "reissue", DRILL_GOOD, false, passed_ms(d), "its own dry run is good");
	else
		note(d, "reissue", DRILL_BAD, true, passed_ms(d), "its own dry run fails: %s",
		     r->problem     ? r->problem
		     : r->timed_out ? "it took more than 10 minutes"
				    : said);
	next_step(d);
}

static void run_command(struct drill *d, const struct words *command, const char *more, const char *input,
			int64_t timeout_ms, child_done_cb cb)
{
	const char **argv = xcalloc(command->n + 2, sizeof(*argv));
	for (size_t i = 0; i < command->n; i++)
		argv[i] = command->v[i];
	argv[command->n] = more;
	const struct child_spec spec = {
		.argv = argv, .input = input, .input_len = input ? strlen(input) : 0, .timeout_ms = timeout_ms};
	d->began_ms = clock_monotonic_us() / 1000;
	child_start(d->certificate->site->loop, &spec, cb, d);
	free(argv);
}

/* certbot is known to have a dry run that ends without a certificate; lego, dehydrated and scripts have none. */
static bool starts_dry_run(struct drill *d)
{
	const struct words *command = &d->certificate->settings->reissue;
	if (!command->n) {
		note(d, "reissue", DRILL_UNKNOWN, false, -1, "no reissue command is configured");
		return false;
	}
	const char *slash = strrchr(command->v[0], '/'), *program = slash ? slash + 1 : command->v[0];
	if (access(command->v[0], X_OK) != 0) {
		note(d, "reissue", DRILL_BAD, true, -1, "%s can't be executed", command->v[0]);
		return false;
	}
	if (strncmp(program, "certbot", 7) == 0) {
		run_command(d, command, "--dry-run", NULL, DRY_RUN_TIMEOUT_MS, on_dry_run);
		return true;
	}
	d->reissue = true;
	note(d, "reissue", DRILL_UNKNOWN, false, -1, "%s is there, but has no dry run: only a real renewal would show",
	     program);
	return false;
}

static void on_alert(const struct child_result *r, void *data)
{
	struct drill *d = data;
	AUTO_FREE char *said = in_short(r->output);
	if (r->exit_status == 0)
		note(d, "alert", DRILL_GOOD, false, passed_ms(d), "the command took an event \"drill\"");
	else
		note(d, "alert", DRILL_BAD, true, passed_ms(d), "the command fails: %s",
		     r->problem     ? r->problem
		     : r->timed_out ? "it took too long"
				    : said);
	next_step(d);
}

static bool starts_alert(struct drill *d)
{
	const char *name = d->certificate->settings->name;
	const struct words *command = &d->certificate->site->settings->alert;
	if (!command->n) {
		note(d, "alert", DRILL_BAD, true, -1, "no alert command is configured: nobody would be told");
		return false;
	}
	AUTO_FREE char *id = xasprintf("drill/%s/%lld", name, (long long)clock_wall());
	json_t *event = json_pack("{ss, ss, ss, ss, sn, sn, ss, ss}", "id", id, "event", "drill", "severity", "info",
				  "certificate", name, "incident", "deadline", "text", "this is a drill", "what_to_do",
				  "nothing");
	AUTO_FREE char *input = json_dumps(event, JSON_COMPACT);
	json_decref(event);
	run_command(d, command, NULL, input, ALERT_TIMEOUT_MS, on_alert);
	return true;
}

/* ---- servers ---- */

static void ask_server(struct drill *d, enum server_verb verb);

static void on_server(struct drill *d, enum server_verb verb, enum server_answer answer, const char *output)
{
	const char *name = d->certificate->settings->servers.v[d->server];
	if (verb == SERVER_REHEARSE && (answer == SERVER_NO_HOOK || answer == SERVER_CANT_TELL))
		return ask_server(d, SERVER_CONFIGTEST);
	AUTO_FREE char *what = xasprintf("server %s", name), *said = in_short(output);
	const char *how = verb == SERVER_REHEARSE ? "rehearsal" : "configuration test";
	const struct server_settings *settings = server_settings(site_server(d->certificate->site, name));
	AUTO_CLOSE int parent = parent_open(settings);
	bool stopped = settings->pidfile && *settings->pidfile && parent < 0;
	if (answer == SERVER_DONE && stopped)
		note(d, what, DRILL_UNKNOWN, false, passed_ms(d), "the %s passes, but it does not run: start it", how);
	else if (answer == SERVER_DONE)
		note(d, what, DRILL_GOOD, false, passed_ms(d), "the %s passes", how);
	else if (answer == SERVER_CANT_TELL || answer == SERVER_NO_HOOK)
		note(d, what, DRILL_UNKNOWN, false, passed_ms(d), "can't tell: %s", said);
	else
		note(d, what, DRILL_BAD, true, passed_ms(d), "the %s fails: %s", how, said);
	d->server++;
	next_step(d);
}

static void on_rehearsed(enum server_answer answer, const char *output, void *data)
{
	on_server(data, SERVER_REHEARSE, answer, output);
}

static void on_tested(enum server_answer answer, const char *output, void *data)
{
	on_server(data, SERVER_CONFIGTEST, answer, output);
}

/* With the live pair in the place of a candidate. */
static void ask_server(struct drill *d, enum server_verb verb)
{
	const struct certificate *c = d->certificate;
	struct server *server = site_server(c->site, c->settings->servers.v[d->server]);
	AUTO_FREE char *live = xasprintf("%s/certificates/%s/live", c->site->settings->state_dir, c->settings->name);
	AUTO_FREE char *generation = xasprintf("%s/certificates/%s/gen/%06u", c->site->settings->state_dir,
					       c->settings->name, c->live.number);
	server_ask(server, verb, c->live.number ? generation : NULL, c->live.number ? live : NULL,
		   verb == SERVER_REHEARSE ? on_rehearsed : on_tested, d);
}

static bool starts_server(struct drill *d)
{
	const struct words *servers = &d->certificate->settings->servers;
	while (d->server < servers->n && !site_server(d->certificate->site, servers->v[d->server]))
		d->server++;
	if (d->server >= servers->n)
		return false;
	d->began_ms = clock_monotonic_us() / 1000;
	ask_server(d, SERVER_REHEARSE);
	return true;
}

/* ---- the whole way ---- */

static void on_swapped(enum pair_outcome outcome, const char *text, const char *next, void *data)
{
	struct drill *d = data;
	(void)next;
	if (outcome == PAIR_LIVE)
		note(d, "live swap", DRILL_GOOD, false, passed_ms(d), "%s", text);
	else
		note(d, "live swap", DRILL_BAD, true, passed_ms(d), "%s", text);
	next_step(d);
}

static bool starts_swap(struct drill *d)
{
	struct certificate *c = d->certificate;
	if (!d->live)
		return false;
	const char *hinder = !c->live.number                                    ? "there is no live pair"
			     : c->settings->manage == MANAGE_OBSERVE            ? "manage = \"observe\""
			     : c->swapping || c->transaction || c->ready.number ? "a swap is under way"
										: NULL;
	struct fault fault = {0};
	AUTO_CLOSE int chain = hinder ? -1 : store_open_file(c->folder, c->live.number, "fullchain.pem", &fault);
	AUTO_CLOSE int key = hinder ? -1 : store_open_file(c->folder, c->live.number, "privkey.pem", &fault);
	if (chain < 0 || key < 0) {
		note(d, "live swap", DRILL_BAD, true, -1, "not tried: %s", hinder ? hinder : fault.text);
		return false;
	}
	const struct prove_input inputs[] = {{.fd = chain, .role = CHECK_SUBMITTED},
					     {.fd = key, .role = CHECK_SUBMITTED}};
	const struct pair_spec spec = {.certificate = c,
				       .inputs = inputs,
				       .ninputs = ARRAY_SIZE(inputs),
				       .leaf = c->live.sha256,
				       .origin = "drill",
				       .accepted = &c->live.accepted,
				       .why = c->live.accepted.n ? "as for the live pair" : NULL};
	d->began_ms = clock_monotonic_us() / 1000;
	pair_start(&spec, on_swapped, d);
	return true;
}

/* ---- the end ---- */

/* The fastest way that would work, and how long it takes; -1: not known. */
static const char *fastest_way(const struct drill *d, int64_t *ret_seconds)
{
	const struct certificate *c = d->certificate;
	*ret_seconds = -1;
	if (d->standby) {
		*ret_seconds = c->last_swap.at_ms ? (c->last_swap.milliseconds + 999) / 1000 : -1;
		return "the standby pair";
	}
	if (d->reissue)
		return "the reissue command";
	if (d->request) {
		*ret_seconds = d->request_s ? d->request_s : -1;
		return "the request (CSR) by mail";
	}
	return "none";
}

static json_t *judge(int64_t limit, bool has_way, int64_t seconds)
{
	if (!has_way || seconds > limit)
		return json_false();
	return seconds < 0 ? json_null() : json_true();
}

static void finish(struct drill *d)
{
	int64_t seconds;
	const char *way = fastest_way(d, &seconds);
	bool has_way = d->standby || d->reissue || d->request;
	if (!has_way)
		json_array_append_new(d->stopped_by,
				      json_string("no source of a replacement: neither standby pair, reissue "
						  "command nor waiting key"));
	char letter[2] = {d->rule->letter, 0};
	json_t *result = json_pack("{ss, ss, sI, ss, so, so, so, so, so}", "name", d->certificate->settings->name,
				   "case", letter, "within_seconds", (json_int_t)d->rule->within, "fastest", way,
				   "fastest_seconds", seconds < 0 ? json_null() : json_integer(seconds), "in_24_hours",
				   judge(HOURS_24, has_way, seconds), "in_5_days", judge(DAYS_5, has_way, seconds),
				   "items", d->items, "stopped_by", d->stopped_by);
	audit_write(d->certificate->site->audit, "drill", d->certificate->settings->name, NULL,
		    "a drill%s: fastest way: %s; %zu things would have stopped it", d->live ? " with a live swap" : "",
		    way, json_array_size(d->stopped_by));
	d->done(result, d->data);
	json_decref(result);
	free(d);
}

static void next_step(struct drill *d)
{
	static const char *const words[] = {[STEP_STANDBY] = "standby pair",
					    [STEP_PENDING] = "waiting key",
					    [STEP_REISSUE] = "the reissue command's dry run",
					    [STEP_DESK] = "the CA's desk",
					    [STEP_SERVERS] = "web servers",
					    [STEP_ALERT] = "alert command",
					    [STEP_LIVE] = "a swap to a copy of the live pair",
					    [STEP_END] = ""};
	_Static_assert(ARRAY_SIZE(words) == STEP_END + 1, "a word for each step");
	for (;;) {
		bool started = false;
		enum step step = d->step;
		if (step < STEP_END)
			d->tell(words[step], d->data);
		d->step += step != STEP_SERVERS && step != STEP_END;
		switch (step) {
		case STEP_STANDBY:
			look_at_standby(d);
			break;
		case STEP_PENDING:
			look_at_pending(d);
			break;
		case STEP_REISSUE:
			started = starts_dry_run(d);
			break;
		case STEP_DESK:
			look_at_desk(d);
			break;
		case STEP_SERVERS:
			started = starts_server(d);
			d->step += !started;
			break;
		case STEP_ALERT:
			started = starts_alert(d);
			break;
		case STEP_LIVE:
			started = starts_swap(d);
			break;
		case STEP_END:
			return finish(d);
		}
		if (started)
			return;
	}
}

static void begin(void *data)
{
	struct drill *d = data;
	timer_close(d->timer);
	d->timer = NULL;
	next_step(d);
}

void drill_start(const struct drill_spec *spec, drill_step_cb step, drill_done_cb done, void *data)
{
	struct drill *d = xcalloc(1, sizeof *d);
	*d = (struct drill){.certificate = spec->certificate,
			    .rule = spec->rule,
			    .live = spec->live,
			    .items = json_array(),
			    .stopped_by = json_array(),
			    .tell = step,
			    .done = done,
			    .data = data};
	d->timer = timer_start(spec->certificate->site->loop, 0, begin, d);
}
