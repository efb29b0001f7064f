#include "site/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "site/status.h"

/* ---- what is told of a certificate ---- */

static const char *string_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : "";
}

static bool is(const json_t *object, const char *key, const char *value)
{
	return strcmp(string_of(object, key), value) == 0;
}

static bool time_of(const json_t *object, const char *key, double *ret)
{
	int64_t seconds;
	if (text_to_time(string_of(object, key), &seconds) < 0)
		return false;
	*ret = (double)seconds;
	return true;
}

static bool expiry(const json_t *c, double *ret)
{
	return time_of(json_object_get(c, "live"), "not_after", ret);
}

static bool served(const json_t *c, double *ret)
{
	const char *live = string_of(json_object_get(c, "live"), "sha256");
	const json_t *places = json_object_get(c, "served");
	size_t i;
	json_t *place;
	*ret = 1;
	json_array_foreach(places, i, place)
	{
		if (!json_is_false(json_object_get(place, "owed")) && (!*live || !is(place, "sha256", live)))
			*ret = 0;
	}
	return json_array_size(places) > 0;
}

static bool unverified(const json_t *c, double *ret)
{
	*ret = (double)json_array_size(json_object_get(c, "unverified"));
	return true;
}

static bool revoked(const json_t *c, double *ret)
{
	const json_t *r = json_object_get(c, "revocation");
	*ret = is(r, "status", "revoked");
	return *ret > 0 || is(r, "status", "good");
}

static bool has_standby(const json_t *c, double *ret)
{
	*ret = json_is_object(json_object_get(c, "standby"));
	return true;
}

static bool standby_ready(const json_t *c, double *ret)
{
	*ret = json_is_true(json_object_get(json_object_get(c, "standby"), "ready"));
	return true;
}

static bool incident(const json_t *c, double *ret)
{
	*ret = json_is_object(json_object_get(c, "incident"));
	return true;
}

static bool deadline(const json_t *c, double *ret)
{
	return time_of(json_object_get(c, "incident"), "deadline", ret);
}

static bool swap_time(const json_t *c, double *ret)
{
	return time_of(json_object_get(c, "last_swap"), "at", ret);
}

static bool swap_duration(const json_t *c, double *ret)
{
	const json_t *swap = json_object_get(c, "last_swap");
	*ret = (double)json_integer_value(json_object_get(swap, "milliseconds")) / 1000;
	return json_is_object(swap);
}

static bool swap_good(const json_t *c, double *ret)
{
	const json_t *swap = json_object_get(c, "last_swap");
	*ret = is(swap, "result", "committed") || is(swap, "result", "unserved");
	return json_is_object(swap);
}

static const struct {
	const char *name, *help;
	bool (*value)(const json_t *certificate, double *ret); /* false: there is none */
} gauges[] = {
	{"certificate_not_after_timestamp_seconds", "End of the live certificate.", expiry},
	{"certificate_served", "1 where every place that should show the live pair does.", served},
	{"certificate_unverified", "Servers and consumers that have not shown the live pair yet.", unverified},
	{"certificate_revoked", "1 where it is known as revoked, 0 as good; absent where nothing is known.", revoked},
	{"standby_present", "1 where a standby pair is kept.", has_standby},
	{"standby_ready", "1 where a proved standby pair could go live now.", standby_ready},
	{"incident_open", "1 where an incident is open.", incident},
	{"incident_deadline_timestamp_seconds", "Deadline of the open incident.", deadline},
	{"last_swap_timestamp_seconds", "End of the last swap.", swap_time},
	{"last_swap_duration_seconds", "How long the last swap took.", swap_duration},
	{"last_swap_good", "1 where the last swap put the new pair in place.", swap_good},
};

static const char *const states[] = {"ok", "waiting", "swapping", "incident", "failed"}; /* CONTRACT "status --json" */

/* ---- the format ---- */

/* Label values: backslash, quote and line end are escaped. */
static void add_label(struct text *t, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			text_add(t, "\\");
		text_add(t, "%s%.*s", *s == '\n' ? "\\n" : "", *s != '\n', s);
	}
}

static void add_head(struct text *t, const char *name, const char *help)
{
	text_add(t, "# HELP certswap_%s %s\n# TYPE certswap_%s gauge\n", name, help, name);
}

static void add_sample(struct text *t, const char *metric, const json_t *certificate, const char *state, double value)
{
	text_add(t, "certswap_%s{certificate=\"", metric);
	add_label(t, string_of(certificate, "name"));
	text_add(t, state ? "\",state=\"%s" : "%s", state ? state : "");
	text_add(t, "\"} %.15g\n", value);
}

static void add_agent(struct text *t, const json_t *status, int64_t started_at, int64_t now)
{
	add_head(t, "build_info", "Version of the agent.");
	text_add(t, "certswap_build_info{version=\"");
	add_label(t, string_of(status, "version"));
	text_add(t, "\"} 1\n");
	add_head(t, "start_time_seconds", "When the agent started.");
	text_add(t, "certswap_start_time_seconds %lld\n", (long long)started_at);
	add_head(t, "configuration_in_force", "1 where the configuration that was read last is in force.");
	text_add(t, "certswap_configuration_in_force %d\n",
		 is(json_object_get(status, "configuration"), "state", "in force"));
	add_head(t, "heartbeat_timestamp_seconds", "When this was written; an agent that lives writes every 15 s.");
	text_add(t, "certswap_heartbeat_timestamp_seconds %lld\n", (long long)now);
}

char *metrics_render(const json_t *status, int64_t started_at, int64_t now)
{
	struct text t = {0};
	const json_t *list = json_object_get(status, "certificates");
	size_t i;
	json_t *c;
	double value;
	add_agent(&t, status, started_at, now);
	if (json_array_size(list))
		add_head(&t, "certificate_state", "1 for the state that the certificate is in.");
	json_array_foreach(list, i, c)
	{
		for (size_t k = 0; k < ARRAY_SIZE(states); k++)
			add_sample(&t, "certificate_state", c, states[k], is(c, "state", states[k]));
	}
	for (size_t m = 0; m < ARRAY_SIZE(gauges); m++) {
		bool headed = false;
		json_array_foreach(list, i, c)
		{
			if (!gauges[m].value(c, &value))
				continue;
			if (!headed)
				add_head(&t, gauges[m].name, gauges[m].help);
			headed = true;
			add_sample(&t, gauges[m].name, c, NULL, value);
		}
	}
	return t.s;
}

char *metrics_text(const struct site *site)
{
	json_t *status = status_json(site, NULL);
	char *text = metrics_render(status, site->started_at, clock_wall());
	json_decref(status);
	return text;
}

/* ---- the file ---- */

struct metrics {
	struct site *site;
	struct timer *heartbeat, *soon;
	bool failed; /* said once, until it works again */
};

/* Readers see the old file or the new one. Not synced: after a power cut it is written again. */
static int put(const char *path, const char *text)
{
	AUTO_FREE char *new = xasprintf("%s.new", path); /* no .prom: the collector passes it by */
	AUTO_CLOSE int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	size_t len = strlen(text);
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return -errno;
	ssize_t n = write(fd, text, len);
	if (n != (ssize_t)len || rename(new, path) < 0) {
		int error = n < 0 || errno ? errno : ENOSPC;
		unlink(new);
		return -error;
	}
	return 0;
}

static void write_file(void *data)
{
	struct metrics *m = data;
	const char *path = m->site->settings->metrics_file;
	timer_close(m->soon);
	m->soon = NULL;
	AUTO_FREE char *text = metrics_text(m->site);
	errno = 0;
	int r = put(path, text);
	if (r < 0 && !m->failed)
		log_warning("metrics-failed", "%s can't be written: %s%s", path, strerror(-r),
			    r == -EROFS ? " (systemctl edit certswapd: ReadWritePaths= its folder)" : "");
	m->failed = r < 0;
}

struct metrics *metrics_open(struct site *site)
{
	if (!*site->settings->metrics_file)
		return NULL;
	struct metrics *m = xcalloc(1, sizeof *m);
	m->site = site;
	m->heartbeat = timer_repeat(site->loop, 0, METRICS_HEARTBEAT_MS, write_file, m);
	return m;
}

void metrics_close(struct metrics *metrics)
{
	if (!metrics)
		return;
	timer_close(metrics->heartbeat);
	timer_close(metrics->soon);
	free(metrics);
}

void metrics_changed(struct metrics *metrics)
{
	if (metrics && !metrics->soon)
		metrics->soon = timer_start(metrics->site->loop, 0, write_file, metrics);
}
