#include "fetch/ari.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/text.h"

static int read_time(const json_t *window, const char *field, int64_t *ret, struct fault *fault)
{
	const char *s = json_string_value(json_object_get(window, field));
	if (!s || text_to_time(s, ret) < 0)
		return fault_set(fault, -EBADMSG, "suggestedWindow has no \"%s\" in the form of RFC 3339", field);
	return 0;
}

/* For a person to read: only what is an address is passed on. */
static void read_explanation(const json_t *o, char *to)
{
	const char *url = json_string_value(json_object_get(o, "explanationURL"));
	*to = '\0';
	if (!url || strlen(url) > ARI_EXPLANATION_MAX ||
	    (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0))
		return;
	for (const char *c = url; *c; c++)
		if (*c <= 0x20 || *c >= 0x7f)
			return;
	strcpy(to, url);
}

static int read_object(const json_t *o, struct ari_answer *ret, struct fault *fault)
{
	const json_t *window = json_object_get(o, "suggestedWindow");
	if (!json_is_object(window))
		return fault_set(fault, -EBADMSG, "the answer has no suggestedWindow");
	if (read_time(window, "start", &ret->start, fault) < 0 || read_time(window, "end", &ret->end, fault) < 0)
		return -EBADMSG;
	if (ret->end <= ret->start)
		return fault_set(fault, -EBADMSG, "suggestedWindow ends before it begins");
	read_explanation(o, ret->explanation);
	return 0;
}

int ari_read(const void *bytes, size_t len, struct ari_answer *ret, struct fault *fault)
{
	*ret = (struct ari_answer){0};
	if (len > ARI_ANSWER_MAX)
		return fault_set(fault, -EBADMSG, "the answer is larger than %zu bytes", ARI_ANSWER_MAX);
	json_error_t error;
	json_t *o = json_loadb(len ? bytes : "", len, JSON_REJECT_DUPLICATES, &error);
	if (!o)
		return fault_set(fault, -EBADMSG, "the answer is not JSON: %s", error.text);
	int r = read_object(o, ret, fault);
	json_decref(o);
	if (r < 0)
		*ret = (struct ari_answer){0};
	return r;
}

/* IMF-fixdate and the two older forms (RFC 9110 5.6.7). */
static bool http_date(const char *s, int64_t *ret)
{
	static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
					    "%a %b %e %H:%M:%S %Y"};
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		struct tm tm = {0};
		const char *end = strptime(s, forms[i], &tm);
		if (end && !*end) {
			*ret = timegm(&tm);
			return true;
		}
	}
	return false;
}

int64_t ari_retry_after(const char *value, int64_t now)
{
	while (*value == ' ' || *value == '\t')
		value++;
	size_t digits = strspn(value, "0123456789");
	if (digits && digits < 12 && !value[digits + strspn(value + digits, " \t\r\n")])
		return strtoll(value, NULL, 10);
	int64_t at;
	if (digits || !http_date(value, &at))
		return -1;
	return at > now ? at - now : 0;
}
