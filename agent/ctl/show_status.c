#include "ctl/show.h"

#include <stdarg.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "ctl/print.h"
#include "ctl/when.h"

#define DAY       86400
#define SOON_DAYS 14 /* less than that is drawn as a warning */

int64_t show_time(const json_t *object, const char *key)
{
	int64_t t;
	const char *s = json_string_value(json_object_get(object, key));
	return s && text_to_time(s, &t) == 0 ? t : 0;
}

const char *show_left(int64_t deadline, int64_t now, char *buf)
{
	char left[48];
	int64_t seconds = deadline - now;
	text_time_left(seconds < 0 ? -seconds : seconds, left);
	snprintf(buf, 48, "%s%.40s", seconds < 0 ? "late " : "", left);
	return buf;
}

const json_t *show_find(const json_t *result, const char *name)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(result, "certificates"), i, c)
	{
		const char *its = json_string_value(json_object_get(c, "name"));
		if (its && strcmp(its, name) == 0)
			return c;
	}
	return NULL;
}

static enum colour colour_of_state(const char *state)
{
	static const struct {
		const char *name;
		enum colour colour;
	} colours[] = {{"ok", COLOUR_GOOD},
		       {"waiting", COLOUR_WARN},
		       {"swapping", COLOUR_WARN},
		       {"incident", COLOUR_BAD},
		       {"failed", COLOUR_BAD}};
	for (size_t i = 0; i < ARRAY_SIZE(colours); i++)
		if (strcmp(state, colours[i].name) == 0)
			return colours[i].colour;
	return COLOUR_PLAIN;
}

/* Should the place show the live pair? The plain port 80 beside it need not. */
static bool is_owed(const json_t *place)
{
	return !json_is_false(json_object_get(place, "owed"));
}

/* How many places show the live pair, and how many should. */
static void count_served(const json_t *certificate, size_t *ret_match, size_t *ret_all)
{
	const char *live = json_string_value(json_object_get(json_object_get(certificate, "live"), "sha256"));
	size_t i;
	json_t *place;
	*ret_match = *ret_all = 0;
	json_array_foreach(json_object_get(certificate, "served"), i, place)
	{
		const char *shown = json_string_value(json_object_get(place, "sha256"));
		*ret_all += is_owed(place);
		*ret_match += is_owed(place) && live && shown && strcmp(live, shown) == 0;
	}
}

static void add_served(struct table *t, const json_t *certificate)
{
	size_t match, all;
	const json_t *live = json_object_get(certificate, "live");
	AUTO_FREE char *serial = print_member(live, "serial", "");
	count_served(certificate, &match, &all);
	const char *dots = strlen(serial) > 8 ? ".." : "";
	if (!*serial)
		table_add(t, COLOUR_DIM, "-");
	else if (all == 0)
		table_add(t, COLOUR_WARN, "%.8s%s ?", serial, dots);
	else
		table_add(t, match == all ? COLOUR_GOOD : COLOUR_BAD, "%.8s%s %s", serial, dots,
			  match == all ? "yes" : "NO");
}

static void add_expires(struct table *t, const json_t *certificate, int64_t now)
{
	int64_t end = show_time(json_object_get(certificate, "live"), "not_after");
	if (!end)
		table_add(t, COLOUR_DIM, "-");
	else if (end <= now)
		table_add(t, COLOUR_BAD, "EXPIRED");
	else if (end - now < 2 * DAY)
		table_add(t, COLOUR_BAD, "%lld h", (long long)(end - now) / 3600);
	else
		table_add(t, end - now < SOON_DAYS * DAY ? COLOUR_WARN : COLOUR_PLAIN, "%lld d",
			  (long long)(end - now) / DAY);
}

static enum colour colour_of_revocation(const char *status)
{
	if (strcmp(status, "good") == 0)
		return COLOUR_GOOD;
	return strcmp(status, "revoked") == 0 ? COLOUR_BAD : COLOUR_DIM;
}

static void add_revocation(struct table *t, const json_t *certificate)
{
	const json_t *revocation = json_object_get(certificate, "revocation");
	AUTO_FREE char *status = print_member(revocation, "status", "none");
	AUTO_FREE char *source = print_member(revocation, "source", "");
	table_add(t, colour_of_revocation(status), "%s%s%s", status, *source ? " " : "", source);
}

static void add_standby(struct table *t, const json_t *certificate)
{
	const json_t *standby = json_object_get(certificate, "standby");
	if (!json_is_object(standby))
		table_add(t, COLOUR_DIM, "-");
	else if (json_is_true(json_object_get(standby, "ready")))
		table_add(t, COLOUR_GOOD, "ready");
	else
		table_add(t, COLOUR_BAD, "not ready");
}

static void add_incident(struct table *t, const json_t *certificate, int64_t now)
{
	char left[48];
	const json_t *incident = json_object_get(certificate, "incident");
	if (!json_is_object(incident)) {
		table_add(t, COLOUR_DIM, "-");
		return;
	}
	AUTO_FREE char *letter = print_member(incident, "case", "");
	int64_t deadline = show_time(incident, "deadline");
	table_add(t, COLOUR_BAD, "#%lld%s%s %s", (long long)json_integer_value(json_object_get(incident, "id")),
		  *letter ? " " : "", letter, deadline ? show_left(deadline, now, left) : "no deadline");
}

void show_status(const json_t *result, int64_t now, FILE *out, bool colour)
{
	static const struct column columns[] = {{"NAME", 0},
						{"STATE", 8},
						{"SERVED", 14},
						{"EXPIRES", 7},
						{"REVOCATION", 12},
						{"STANDBY", 9},
						{"INCIDENT, TIME LEFT", 22}};
	struct table t = {.columns = columns, .ncolumns = ARRAY_SIZE(columns)};
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(result, "certificates"), i, c)
	{
		AUTO_FREE char *name = print_member(c, "name", "?");
		AUTO_FREE char *state = print_member(c, "state", "?");
		table_add(&t, COLOUR_PLAIN, "%s", name);
		table_add(&t, colour_of_state(state), "%s", state);
		add_served(&t, c);
		add_expires(&t, c, now);
		add_revocation(&t, c);
		add_standby(&t, c);
		add_incident(&t, c, now);
	}
	if (t.ncells)
		table_print(&t, out, colour);
	else
		fputs("No certificate is looked after yet. `certswapctl discover` lists what the web servers here "
		      "serve,\n"
		      "`certswapctl adopt` takes it over; on a new server: `certificates` in certswap.conf(5).\n",
		      out);
	table_done(&t);
}

/* ---- one certificate ---- */

static void line(FILE *out, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void line(FILE *out, const char *label, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = xvasprintf(format, args);
	va_end(args);
	AUTO_FREE char *before = xasprintf("%-11s ", label);
	print_wrapped(out, before, 12, text);
}

static void show_live(const json_t *live, int64_t now, FILE *out)
{
	char left[48];
	size_t i;
	json_t *name;
	if (!json_is_object(live)) {
		line(out, "Live", "none yet; the first proved pair becomes it");
		return;
	}
	AUTO_FREE char *serial = print_member(live, "serial", "?");
	AUTO_FREE char *issuer = print_member(live, "issuer", "?");
	AUTO_FREE char *sha256 = print_member(live, "sha256", "?");
	AUTO_FREE char *spki = print_member(live, "spki_sha256", "?");
	AUTO_FREE char *from = print_member(live, "not_before", "?");
	AUTO_FREE char *to = print_member(live, "not_after", "?");
	line(out, "Live", "generation %lld, serial %s",
	     (long long)json_integer_value(json_object_get(live, "generation")), serial);
	line(out, "  issuer", "%s", issuer);
	line(out, "  valid", "%s to %s (%s)", from, to, show_left(show_time(live, "not_after"), now, left));
	line(out, "  SHA-256", "%s", sha256);
	line(out, "  key", "%s", spki);
	json_array_foreach(json_object_get(live, "names"), i, name)
		line(out, i ? "" : "  names", "%s", json_is_string(name) ? json_string_value(name) : "?");
}

static void show_places(const json_t *certificate, FILE *out, bool colour)
{
	const char *live = json_string_value(json_object_get(json_object_get(certificate, "live"), "sha256"));
	size_t i;
	json_t *place;
	json_array_foreach(json_object_get(certificate, "served"), i, place)
	{
		AUTO_FREE char *endpoint = print_member(place, "endpoint", "?");
		AUTO_FREE char *name = print_member(place, "server_name", "no name");
		AUTO_FREE char *at = print_member(place, "checked_at", "never");
		const char *shown = json_string_value(json_object_get(place, "sha256"));
		bool match = live && shown && strcmp(live, shown) == 0;
		AUTO_FREE char *what = print_member(place, "sha256", "no certificate");
		enum colour c = match ? COLOUR_GOOD : is_owed(place) ? COLOUR_BAD : COLOUR_DIM;
		fprintf(out, "%-11s %s (%s): %s%s%s, looked at %s\n", i ? "" : "Served", endpoint, name,
			colour_on(c, colour), match ? "the live pair" : what, colour_off(c, colour), at);
	}
	AUTO_FREE char *servers = NULL;
	struct words unverified = {0};
	json_array_foreach(json_object_get(certificate, "unverified"), i, place) if (json_is_string(place))
		words_add(&unverified, json_string_value(place));
	servers = words_join(&unverified, ", ");
	if (unverified.n)
		line(out, "Unverified", "%s: not seen serving the live pair yet", servers);
	words_done(&unverified);
}

static void show_consumers(const json_t *certificate, FILE *out)
{
	size_t i;
	json_t *consumer;
	json_array_foreach(json_object_get(certificate, "consumers"), i, consumer)
	{
		AUTO_FREE char *name = print_member(consumer, "name", "?"),
			       *state = print_member(consumer, "state", "?"), *why = print_member(consumer, "why", "");
		line(out, i ? "" : "Consumers", "%s: %s%s%s", name, state, *why ? ": " : "", why);
	}
}

/* Each source that has something to complain of, and what the CA says about renewal. */
static void show_watch(const json_t *revocation, FILE *out)
{
	size_t i;
	json_t *source;
	const json_t *renewal = json_object_get(revocation, "renewal");
	json_array_foreach(json_object_get(revocation, "sources"), i, source)
	{
		AUTO_FREE char *problem = print_member(source, "problem", ""),
			       *kind = print_member(source, "kind", "?");
		if (*problem)
			line(out, "", "%s: %s", kind, problem);
	}
	json_array_foreach(json_object_get(json_object_get(revocation, "acme_client"), "warnings"), i, source)
	{
		line(out, "", "%s", json_string_value(source));
	}
	if (json_is_true(json_object_get(revocation, "blind")))
		line(out, "", "nobody here would know of a revocation");
	if (json_is_object(renewal)) {
		AUTO_FREE char *start = print_member(renewal, "start", "?"), *end = print_member(renewal, "end", "?"),
			       *url = print_member(renewal, "explanation_url", "");
		line(out, "  renewal", "the CA suggests %s to %s%s%s%s", start, end,
		     json_is_true(json_object_get(renewal, "early")) ? ", earlier than planned" : "", *url ? ": " : "",
		     url);
	}
}

static void show_sources(const json_t *certificate, FILE *out)
{
	const json_t *revocation = json_object_get(certificate, "revocation");
	size_t i;
	json_t *issuer;
	if (json_is_object(revocation)) {
		AUTO_FREE char *status = print_member(revocation, "status", "none");
		AUTO_FREE char *source = print_member(revocation, "source", "no source is looked at");
		AUTO_FREE char *at = print_member(revocation, "checked_at", "");
		AUTO_FREE char *bound = print_member(revocation, "bound", "");
		line(out, "Revocation", "%s (%s%s%s)%s%s", status, *source ? source : "no source",
		     *at ? ", looked at " : "", at, *bound ? "; a revocation is known here within " : "", bound);
		show_watch(revocation, out);
	}
	json_array_foreach(json_object_get(certificate, "issuers"), i, issuer)
	{
		AUTO_FREE char *sha256 = print_member(issuer, "sha256", "?");
		AUTO_FREE char *status = print_member(issuer, "status", "none");
		AUTO_FREE char *source = print_member(issuer, "source", "no source");
		line(out, i ? "" : "  issuers", "%.16s.. %s (%s)", sha256, status, source);
	}
}

static void show_reserve(const json_t *certificate, FILE *out)
{
	const json_t *standby = json_object_get(certificate, "standby");
	size_t i;
	json_t *key;
	AUTO_FREE char *why = print_member(standby, "why", "");
	AUTO_FREE char *end = print_member(standby, "not_after", "?");
	AUTO_FREE char *weakness = print_member(standby, "weakness", "");
	if (!json_is_object(standby))
		line(out, "Standby", "none; `certswapctl standby NAME FILE...` keeps a pair for the day of need");
	else
		line(out, "Standby", "generation %lld, %s%s%s, valid to %s",
		     (long long)json_integer_value(json_object_get(standby, "generation")),
		     json_is_true(json_object_get(standby, "ready")) ? "ready" : "not ready", *why ? ": " : "", why,
		     end);
	if (*weakness)
		line(out, "", "%s", weakness);
	json_array_foreach(json_object_get(certificate, "pending"), i, key)
	{
		AUTO_FREE char *spki = print_member(key, "spki_sha256", "?");
		AUTO_FREE char *since = print_member(key, "since", "?");
		line(out, i ? "" : "Pending", "key %.16s.. since %s", spki, since);
	}
}

static void show_history(const json_t *certificate, int64_t now, FILE *out)
{
	char left[48], deadline_text[WHEN_TEXT];
	const json_t *incident = json_object_get(certificate, "incident"),
		     *swap = json_object_get(certificate, "last_swap");
	if (json_is_object(incident)) {
		AUTO_FREE char *letter = print_member(incident, "case", "not known");
		AUTO_FREE char *reason = print_member(incident, "reason", "no reason given");
		AUTO_FREE char *stage = print_member(incident, "stage", "?");
		int64_t deadline = show_time(incident, "deadline");
		line(out, "Incident", "#%lld, case %s, %s, stage %s",
		     (long long)json_integer_value(json_object_get(incident, "id")), letter, reason, stage);
		if (deadline)
			line(out, "  deadline", "%s, %s", when_text(deadline, deadline_text),
			     show_left(deadline, now, left));
	}
	if (json_is_object(swap)) {
		AUTO_FREE char *at = print_member(swap, "at", "?");
		AUTO_FREE char *outcome = print_member(swap, "result", "?");
		AUTO_FREE char *reason = print_member(swap, "reason", "");
		bool unserved = strcmp(outcome, "unserved") == 0;
		line(out, "Last swap", "%s, %s in %lld ms%s%s", at, unserved ? "put in place" : outcome,
		     (long long)json_integer_value(json_object_get(swap, "milliseconds")), *reason ? ": " : "",
		     unserved && !*reason ? "; no server showed an old pair" : reason);
	}
}

/* Why it is not looked after as it should be, and the commands that end it, each in a line of its own to be copied. */
static void show_trouble(const json_t *certificate, FILE *out)
{
	AUTO_FREE char *trouble = print_member(certificate, "trouble", "");
	const char *what_to_do = json_string_value(json_object_get(certificate, "what_to_do"));
	if (*trouble)
		line(out, "Trouble", "%s", trouble);
	if (what_to_do) {
		print_text(out, "  to do     by hand, in this order:\n", what_to_do);
	}
	AUTO_FREE char *manage = print_member(certificate, "manage", "");
	if (strcmp(manage, "observe") == 0)
		line(out, "Managed", "observe: it is watched, and never touched");
}

void show_certificate(const json_t *certificate, int64_t now, FILE *out, bool colour)
{
	AUTO_FREE char *name = print_member(certificate, "name", "?");
	AUTO_FREE char *state = print_member(certificate, "state", "?");
	enum colour c = colour_of_state(state);
	fprintf(out, "%-11s %s: %s%s%s\n", "Certificate", name, colour_on(c, colour), state, colour_off(c, colour));
	show_trouble(certificate, out);
	show_live(json_object_get(certificate, "live"), now, out);
	show_places(certificate, out, colour);
	show_consumers(certificate, out);
	show_sources(certificate, out);
	show_reserve(certificate, out);
	show_history(certificate, now, out);
}
