#include "swap/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/memory.h"

int record_load(int folder, const char *name, json_t **ret, struct fault *fault)
{
	return record_load_large(folder, name, RECORD_MAX, ret, fault);
}

int record_load_large(int folder, const char *name, size_t max, json_t **ret, struct fault *fault)
{
	char *bytes;
	size_t len;
	json_error_t error;
	int r = files_read(folder, name, max, &bytes, &len, fault);
	if (r < 0)
		return r;
	json_t *record = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &error);
	free(bytes);
	if (!json_is_object(record)) {
		json_decref(record);
		return fault_set(fault, -EBADMSG, "%s is damaged: %s (line %d)", name, error.text, error.line);
	}
	*ret = record;
	return 0;
}

int record_save(int folder, const char *name, const json_t *record, struct fault *fault)
{
	char *bytes = json_dumps(record, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	if (!bytes)
		return fault_set(fault, -EINVAL, "%s can't be written as JSON", name);
	int r = files_replace(folder, name, bytes, strlen(bytes), 0600, fault);
	free(bytes);
	return r;
}

int record_sweep(int folder, struct fault *fault)
{
	struct words names = {0};
	int r = files_list(folder, true, &names, fault);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		const char *end = strrchr(names.v[i], '.');
		if (names.v[i][0] == '.' && end != names.v[i] && strcmp(end, ".new") == 0)
			r = files_remove(folder, names.v[i], fault);
	}
	words_done(&names);
	return r;
}

static const json_t *field_of(struct reader *r, const char *field, bool (*fits)(const json_t *))
{
	const json_t *value = json_object_get(r->object, field);
	if (value && fits(value))
		return value;
	if (!r->failed)
		r->field = field;
	r->failed = true;
	return NULL;
}

static bool is_string(const json_t *v)
{
	return json_is_string(v);
}

static bool is_integer(const json_t *v)
{
	return json_is_integer(v);
}

static bool is_boolean(const json_t *v)
{
	return json_is_boolean(v);
}

static bool is_array(const json_t *v)
{
	return json_is_array(v);
}

static bool is_string_or_null(const json_t *v)
{
	return json_is_string(v) || json_is_null(v);
}

static void failed(struct reader *r, const char *field)
{
	if (!r->failed)
		r->field = field;
	r->failed = true;
}

const char *record_string(struct reader *r, const char *field)
{
	const json_t *v = field_of(r, field, is_string);
	return v ? json_string_value(v) : "";
}

int64_t record_number(struct reader *r, const char *field)
{
	const json_t *v = field_of(r, field, is_integer);
	return v ? json_integer_value(v) : 0;
}

bool record_bool(struct reader *r, const char *field)
{
	const json_t *v = field_of(r, field, is_boolean);
	return v && json_is_true(v);
}

struct digest record_digest(struct reader *r, const char *field)
{
	struct digest d = {0};
	if (digest_parse(record_string(r, field), &d) < 0)
		failed(r, field);
	return d;
}

const json_t *record_array(struct reader *r, const char *field)
{
	return field_of(r, field, is_array);
}

struct words record_words(struct reader *r, const char *field)
{
	struct words w = {0};
	const json_t *array = record_array(r, field), *v;
	size_t i;
	json_array_foreach(array, i, v)
	{
		if (json_is_string(v))
			words_add(&w, json_string_value(v));
		else
			failed(r, field);
	}
	return w;
}

int64_t record_time(struct reader *r, const char *field)
{
	int64_t t = 0;
	const json_t *v = field_of(r, field, is_string_or_null);
	if (v && json_is_string(v) && text_to_time(json_string_value(v), &t) < 0)
		failed(r, field);
	return t;
}

json_t *record_from_words(const struct words *w)
{
	json_t *array = json_array();
	for (size_t i = 0; i < w->n; i++) {
		if (json_array_append_new(array, json_string(w->v[i])) == 0)
			continue;
		json_decref(array);
		return NULL;
	}
	return array;
}

json_t *record_from_digest(const struct digest *d)
{
	char hex[DIGEST_HEX];
	return json_string(digest_text(d, hex));
}

json_t *record_from_time(int64_t seconds)
{
	char buf[32];
	return seconds ? json_string(text_from_time(seconds, buf)) : json_null();
}
