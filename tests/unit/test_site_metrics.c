#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "site/metrics.h"

static const char full[] =
	"{\"version\":\"1.2\",\"configuration\":{\"state\":\"in force\"},\"certificates\":["
	"{\"name\":\"shop\",\"state\":\"incident\",\"live\":{\"sha256\":\"aa\",\"not_after\":\"2027-02-21T00:00:00Z\"},"
	"\"served\":[{\"sha256\":\"aa\"},{\"sha256\":\"bb\"}],\"revocation\":{\"status\":\"good\"},"
	"\"standby\":{\"ready\":true},\"unverified\":[\"apache\"],\"incident\":{\"deadline\":\"2026-11-24T00:00:00Z\"},"
	"\"last_swap\":{\"at\":\"2026-11-23T00:00:00.250Z\",\"result\":\"rolled back\",\"milliseconds\":93}},"
	"{\"name\":\"a\\\\b\\\"c\\nd\",\"state\":\"waiting\",\"live\":null,\"served\":[],\"revocation\":{\"status\":"
	"\"none\"},"
	"\"standby\":null,\"unverified\":[],\"incident\":null,\"last_swap\":null}]}";

static char *render(const char *json)
{
	json_t *o = json_loads(json, 0, NULL);
	cr_assert(o);
	char *text = metrics_render(o, 1000, 2000);
	json_decref(o);
	return text;
}

Test(site_metrics, what_is_known_is_told)
{
	AUTO_FREE char *t = render(full);
	static const char *const lines[] = {
		"certswap_build_info{version=\"1.2\"} 1",
		"certswap_start_time_seconds 1000",
		"certswap_heartbeat_timestamp_seconds 2000",
		"certswap_configuration_in_force 1",
		"certswap_certificate_state{certificate=\"shop\",state=\"incident\"} 1",
		"certswap_certificate_state{certificate=\"shop\",state=\"ok\"} 0",
		"certswap_certificate_served{certificate=\"shop\"} 0",
		"certswap_certificate_unverified{certificate=\"shop\"} 1",
		"certswap_certificate_revoked{certificate=\"shop\"} 0",
		"certswap_certificate_not_after_timestamp_seconds{certificate=\"shop\"} 1803168000",
		"certswap_standby_ready{certificate=\"shop\"} 1",
		"certswap_incident_deadline_timestamp_seconds{certificate=\"shop\"} 1795478400",
		"certswap_last_swap_duration_seconds{certificate=\"shop\"} 0.093",
		"certswap_last_swap_good{certificate=\"shop\"} 0",
	};
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		AUTO_FREE char *line = xasprintf("\n%s\n", lines[i]);
		cr_expect(strstr(t, line), "no %s in\n%s", lines[i], t);
	}
}

Test(site_metrics, what_is_not_known_is_absent)
{
	AUTO_FREE char *t = render(full);
	static const char other[] = "{certificate=\"a\\\\b\\\"c\\nd\"}";
	for (const char *at = t; (at = strstr(at, other)); at++) {
		const char *line = at;
		while (line > t && line[-1] != '\n')
			line--;
		cr_expect(strncmp(line, "certswap_certificate_unverified", 31) == 0 ||
				  strncmp(line, "certswap_standby_", 17) == 0 ||
				  strncmp(line, "certswap_incident_open{", 23) == 0,
			  "%.60s", line);
	}
	cr_expect(strstr(t, other));
	AUTO_FREE char *none = render("{\"version\":\"1.2\",\"certificates\":[]}");
	cr_expect(!strstr(none, "certificate"), "%s", none);
}
