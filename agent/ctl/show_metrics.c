#include <string.h>

#include "base/memory.h"
#include "ctl/print.h"
#include "ctl/show.h"

/* Label values: backslash, quote and newline are escaped (Prometheus text format 0.0.4). */
static void print_label(FILE *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			fputc('\\', out);
		fputc(*s, out);
	}
}

struct metric {
	const char *name, *help;
	bool (*value)(const json_t *certificate, double *ret); /* false: there is none */
};

static bool expiry(const json_t *c, double *ret)
{
	*ret = (double)show_time(json_object_get(c, "live"), "not_after");
	return *ret > 0;
}

static bool served(const json_t *c, double *ret)
{
	const char *live = json_string_value(json_object_get(json_object_get(c, "live"), "sha256"));
	size_t i, all = 0;
	json_t *place;
	*ret = 1;
	json_array_foreach(json_object_get(c, "served"), i, place)
	{
		const char *shown = json_string_value(json_object_get(place, "sha256"));
		all++;
		if (!live || !shown || strcmp(live, shown) != 0)
			*ret = 0;
	}
	return all > 0;
}

static bool is_string(const json_t *object, const char *key, const char *value)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s && strcmp(s, value) == 0;
}

static bool healthy(const json_t *c, double *ret)
{
	*ret = is_string(c, "state", "ok");
	return true;
}

static bool revoked(const json_t *c, double *ret)
{
	const json_t *r = json_object_get(c, "revocation");
	*ret = is_string(r, "status", "revoked");
	return *ret > 0 || is_string(r, "status", "good");
}

static bool standby(const json_t *c, double *ret)
{
	*ret = json_is_true(json_object_get(json_object_get(c, "standby"), "ready"));
	return true;
}

static bool deadline(const json_t *c, double *ret)
{
	*ret = (double)show_time(json_object_get(c, "incident"), "deadline");
	return *ret > 0;
}

static bool swap_time(const json_t *c, double *ret)
{
	*ret = (double)json_integer_value(json_object_get(json_object_get(c, "last_swap"), "milliseconds")) / 1000;
	return json_is_object(json_object_get(c, "last_swap"));
}

static const struct metric metrics[] = {
	{"certswap_certificate_ok", "1 where the state is ok", healthy},
	{"certswap_certificate_not_after_seconds", "end of the live certificate, seconds since 1970", expiry},
	{"certswap_certificate_served", "1 where every place that was looked at shows the live pair", served},
	{"certswap_certificate_revoked", "1 where it is revoked; absent where that is not known", revoked},
	{"certswap_standby_ready", "1 where a proved standby pair could go live now", standby},
	{"certswap_incident_deadline_seconds", "deadline of the open incident, seconds since 1970", deadline},
	{"certswap_last_swap_duration_seconds", "how long the last swap took", swap_time},
};

void show_metrics(const json_t *result, FILE *out)
{
	size_t i;
	json_t *c;
	AUTO_FREE char *version = print_member(result, "version", "");
	fputs("# HELP certswap_info version of the agent\n# TYPE certswap_info gauge\ncertswap_info{version=\"", out);
	print_label(out, version);
	fputs("\"} 1\n", out);
	for (size_t m = 0; m < ARRAY_SIZE(metrics); m++) {
		fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n", metrics[m].name, metrics[m].help, metrics[m].name);
		json_array_foreach(json_object_get(result, "certificates"), i, c)
		{
			double value;
			AUTO_FREE char *name = print_member(c, "name", "?");
			if (!metrics[m].value(c, &value))
				continue;
			fprintf(out, "%s{certificate=\"", metrics[m].name);
			print_label(out, name);
			fprintf(out, "\"} %.15g\n", value);
		}
	}
}
