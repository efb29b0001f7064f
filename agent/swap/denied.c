#include "swap/denied.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/memory.h"
#include "base/text.h"

#define DENIED_MAX (16 * 1024 * 1024) /* bytes of the file */

static int parse_line(const char *line, struct denial *ret)
{
	char kind[16], hex[DIGEST_HEX], date[32], state[16];
	int used = 0;
	if (sscanf(line, "%15s %64s %31s %15s %u %n", kind, hex, date, state, &ret->incident, &used) != 5 || !used)
		return -EINVAL;
	ret->is_key = strcmp(kind, "key") == 0;
	ret->confirmed = strcmp(state, "confirmed") == 0;
	if ((!ret->is_key && strcmp(kind, "certificate") != 0) ||
	    (!ret->confirmed && strcmp(state, "provisional") != 0))
		return -EINVAL;
	if (digest_parse(hex, &ret->digest) < 0 || text_to_time(date, &ret->since) < 0)
		return -EINVAL;
	ret->reason = xstrdup(line + used);
	return 0;
}

static void append(struct denied *d, const struct denial *denial)
{
	d->v = xrealloc(d->v, (d->n + 1) * sizeof *d->v);
	d->v[d->n++] = *denial;
}

int denied_load(int folder, struct denied *ret, struct fault *fault)
{
	char *bytes, *save = NULL;
	size_t len;
	*ret = (struct denied){0};
	int r = files_read(folder, "denied", DENIED_MAX, &bytes, &len, fault);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (strlen(bytes) != len) /* what stands behind it would not be seen */
		r = fault_set(fault, -EINVAL, "denied: there is a zero byte in it: it is damaged");
	unsigned int number = 0;
	for (char *line = strtok_r(bytes, "\n", &save); line && r == 0; line = strtok_r(NULL, "\n", &save)) {
		struct denial denial = {0};
		number++;
		r = parse_line(line, &denial);
		if (r == 0)
			append(ret, &denial);
		else
			fault_set(fault, r, "denied: line %u can't be read: %.100s", number, line);
	}
	free(bytes);
	if (r < 0)
		denied_done(ret);
	return r;
}

int denied_save(int folder, const struct denied *d, struct fault *fault)
{
	struct text t = {0};
	for (size_t i = 0; i < d->n; i++) {
		char hex[DIGEST_HEX], date[32];
		const struct denial *v = &d->v[i];
		text_add(&t, "%s %s %s %s %u %s\n", v->is_key ? "key" : "certificate", digest_text(&v->digest, hex),
			 text_from_time(v->since, date), v->confirmed ? "confirmed" : "provisional", v->incident,
			 v->reason);
	}
	int r = files_replace(folder, "denied", t.s ? t.s : "", t.len, 0600, fault);
	text_done(&t);
	return r;
}

void denied_done(struct denied *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->v[i].reason);
	free(d->v);
	*d = (struct denied){0};
}

static bool is_of(const struct denial *denial, bool is_key, const struct digest *digest)
{
	return denial->is_key == is_key && digest_equal(&denial->digest, digest);
}

const struct denial *denied_find(const struct denied *d, bool is_key, const struct digest *digest)
{
	for (size_t i = 0; i < d->n; i++)
		if (is_of(&d->v[i], is_key, digest))
			return &d->v[i];
	return NULL;
}

/* True when one was not confirmed before. */
static bool confirm_all(struct denied *d, bool is_key, const struct digest *digest)
{
	bool changed = false;
	for (size_t i = 0; i < d->n; i++) {
		if (!is_of(&d->v[i], is_key, digest) || d->v[i].confirmed)
			continue;
		d->v[i].confirmed = changed = true;
	}
	return changed;
}

bool denied_add(struct denied *d, const struct denial *denial)
{
	if (denied_find(d, denial->is_key, &denial->digest) && denial->confirmed)
		return confirm_all(d, denial->is_key, &denial->digest);
	for (size_t i = 0; i < d->n; i++)
		if (is_of(&d->v[i], denial->is_key, &denial->digest) &&
		    (d->v[i].confirmed || d->v[i].incident == denial->incident))
			return false;
	append(d, denial); /* one for each incident: a withdrawn notice lifts its own */
	struct denial *new = &d->v[d->n - 1];
	new->reason = text_printable(xstrdup(denial->reason));
	return true;
}

bool denied_confirm(struct denied *d, const struct digest *key)
{
	return confirm_all(d, true, key);
}

static void drop(struct denied *d, size_t i)
{
	free(d->v[i].reason);
	memmove(&d->v[i], &d->v[i + 1], (d->n - i - 1) * sizeof *d->v);
	d->n--;
}

size_t denied_remove(struct denied *d, const struct digest *digest)
{
	size_t before = d->n;
	for (size_t i = d->n; i-- > 0;)
		if (digest_equal(&d->v[i].digest, digest))
			drop(d, i);
	return before - d->n;
}

size_t denied_remove_incident(struct denied *d, unsigned int incident)
{
	size_t before = d->n;
	for (size_t i = d->n; i-- > 0;)
		if (d->v[i].incident == incident && !d->v[i].confirmed)
			drop(d, i);
	return before - d->n;
}
