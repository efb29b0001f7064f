#include "swap/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "swap/record.h"

/* Room on the disk that is given up when it is full, so that what was begun can still be journalled. */
#define JOURNAL_MAX   (256 * 1024 * 1024) /* bytes: a batch has some hundred for each place of each certificate */
#define RESERVE       ".reserve"
#define REASON_MAX    1000 /* bytes after which nothing is added any more */
#define RESERVE_BYTES 65536

struct journal *journal_new(unsigned int id, size_t certificates, size_t servers)
{
	struct journal *j = xcalloc(1, sizeof *j);
	j->id = id;
	j->txn.state = TXN_STAGED;
	j->txn.tries_left = TXN_RELOAD_TRIES;
	j->txn.ncertificates = certificates;
	j->txn.nservers = servers;
	j->txn.certificates = xcalloc(certificates, sizeof *j->txn.certificates);
	j->txn.servers = xcalloc(servers, sizeof *j->txn.servers);
	j->certificates = xcalloc(certificates, sizeof *j->certificates);
	j->servers = xcalloc(servers, sizeof *j->servers);
	j->reason = xstrdup("");
	return j;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->txn.ncertificates; i++)
		free(j->certificates[i].name);
	for (size_t i = 0; i < j->txn.nservers; i++)
		free(j->servers[i]);
	for (size_t i = 0; i < j->nplaces; i++) {
		free(j->places[i].endpoint);
		free(j->places[i].server_name);
	}
	free(j->txn.certificates);
	free(j->txn.servers);
	free(j->certificates);
	free(j->servers);
	free(j->places);
	free(j->reason);
	free(j);
}

void journal_reason(struct journal *j, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	AUTO_FREE char *text = text_printable(xvasprintf(format, args));
	va_end(args);
	if (strstr(j->reason, text) || strlen(j->reason) > REASON_MAX)
		return;
	char *all = *j->reason ? xasprintf("%s; then: %s", j->reason, text) : xstrdup(text);
	free(j->reason);
	j->reason = all;
}

static void file_name(unsigned int id, char buf[32])
{
	snprintf(buf, 32, "%06u.json", id);
}

static json_t *certificate_record(const struct journal_certificate *c, const struct txn_certificate *facts)
{
	return json_pack("{ss, sI, sI, so, so, si, si, si, sb, sb, sb}", "name", c->name, "old",
			 (json_int_t)c->old_number, "new", (json_int_t)c->new_number, "old_sha256",
			 record_from_digest(&c->old_sha256), "new_sha256", record_from_digest(&c->new_sha256),
			 "old_key", c->old_key, "new_key", c->new_key, "disk", (int)facts->disk, "first", facts->first,
			 "old_refused", facts->old_refused, "new_refused", facts->new_refused);
}

static json_t *server_record(const char *name, const struct txn_server *facts)
{
	return json_pack("{ss, sb, sb, sb, si}", "name", name, "ran", facts->ran, "served", facts->served, "runs",
			 facts->runs, "wire", (int)facts->wire);
}

static json_t *place_record(const struct journal_place *p)
{
	return json_pack("{ss, ss, si, sb, si, so, si, si, si}", "endpoint", p->endpoint, "server_name", p->server_name,
			 "starttls", p->starttls, "proxy_protocol", p->proxy_protocol, "version", p->version, "before",
			 record_from_digest(&p->before), "turns", p->turns, "server", p->server, "belongs", p->belongs);
}

/* Adds the JSON of one part and frees the part; false: a text in it is not UTF-8. A batch may have tens of thousands of
 * them: as one tree of objects they would take more memory than everything else. */
static bool add_part(struct text *t, const char *before, json_t *part)
{
	AUTO_FREE char *s = part ? json_dumps(part, JSON_PRESERVE_ORDER) : NULL;
	json_decref(part);
	if (s)
		text_add(t, "%s%s", before, s);
	return s;
}

/* All of it as JSON; the caller's; NULL: a part can't be written, and recovery would be wrong without it. */
static char *journal_text(const struct journal *j)
{
	struct text t = {0};
	json_t *head =
		json_pack("{sI, ss, si, sI, sI, ss}", "id", (json_int_t)j->id, "state", txn_state_name(j->txn.state),
			  "tries_left", j->txn.tries_left, "started_at_ms", (json_int_t)j->started_at_ms, "ended_at_ms",
			  (json_int_t)j->ended_at_ms, "reason", j->reason);
	bool good = add_part(&t, "", head);
	if (good)
		t.s[--t.len] = '\0'; /* its closing brace */
	text_add(&t, ",\n\"certificates\": [");
	for (size_t i = 0; good && i < j->txn.ncertificates; i++)
		good = add_part(&t, i ? ",\n" : "\n", certificate_record(&j->certificates[i], &j->txn.certificates[i]));
	text_add(&t, "],\n\"servers\": [");
	for (size_t i = 0; good && i < j->txn.nservers; i++)
		good = add_part(&t, i ? ",\n" : "\n", server_record(j->servers[i], &j->txn.servers[i]));
	text_add(&t, "],\n\"places\": [");
	for (size_t i = 0; good && i < j->nplaces; i++)
		good = add_part(&t, i ? ",\n" : "\n", place_record(&j->places[i]));
	text_add(&t, "]}");
	if (good)
		return t.s;
	text_done(&t);
	return NULL;
}

int journal_save(int folder, const struct journal *j, struct fault *fault)
{
	char name[32];
	AUTO_FREE char *text = journal_text(j);
	if (!text)
		return fault_set(fault, -EINVAL, "the journal can't be written as JSON");
	file_name(j->id, name);
	int r = files_replace(folder, name, text, strlen(text), 0600, fault);
	if ((r == -ENOSPC || r == -EDQUOT) && unlinkat(folder, RESERVE, 0) == 0)
		r = files_replace(folder, name, text, strlen(text), 0600, fault);
	return r < 0 ? fault_prefix(fault, r, "journal") : 0;
}

int journal_reserve(int folder, struct fault *fault)
{
	struct stat st;
	if (fstatat(folder, RESERVE, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size == RESERVE_BYTES)
		return 0;
	char *zeros = xcalloc(1, RESERVE_BYTES);
	int r = files_replace(folder, RESERVE, zeros, RESERVE_BYTES, 0600, fault); /* whole, or not at all */
	free(zeros);
	return r;
}

static unsigned int bounded(struct reader *r, const char *field, unsigned int limit)
{
	int64_t v = record_number(r, field);
	if (v >= 0 && v < limit)
		return (unsigned int)v;
	r->failed = true;
	r->field = field;
	return 0;
}

static void read_certificate(struct reader *r, struct journal_certificate *c, struct txn_certificate *facts)
{
	c->name = xstrdup(record_string(r, "name"));
	c->old_number = bounded(r, "old", 1000000000);
	c->new_number = bounded(r, "new", 1000000000);
	c->old_sha256 = record_digest(r, "old_sha256");
	c->new_sha256 = record_digest(r, "new_sha256");
	c->old_key = (uint8_t)bounded(r, "old_key", 256);
	c->new_key = (uint8_t)bounded(r, "new_key", 256);
	facts->disk = (enum txn_disk)bounded(r, "disk", TXN_DISKS);
	facts->first = record_bool(r, "first");
	facts->old_refused = record_bool(r, "old_refused");
	facts->new_refused = record_bool(r, "new_refused");
}

static void read_server(struct reader *r, char **name, struct txn_server *facts)
{
	*name = xstrdup(record_string(r, "name"));
	facts->ran = record_bool(r, "ran");
	facts->served = record_bool(r, "served");
	facts->runs = record_bool(r, "runs");
	facts->wire = (enum txn_wire)bounded(r, "wire", TXN_WIRES);
}

static void read_place(struct reader *r, struct journal_place *p, size_t ncertificates, size_t nservers)
{
	p->endpoint = xstrdup(record_string(r, "endpoint"));
	p->server_name = xstrdup(record_string(r, "server_name"));
	p->starttls = (uint8_t)bounded(r, "starttls", 256);
	p->proxy_protocol = record_bool(r, "proxy_protocol");
	p->version = (uint8_t)bounded(r, "version", 256);
	p->before = record_digest(r, "before");
	int64_t turns = record_number(r, "turns"), server = record_number(r, "server");
	p->turns = turns >= 0 && turns < (int64_t)ncertificates ? (int)turns : -1;
	p->server = server >= 0 && server < (int64_t)nservers ? (int)server : -1;
	p->belongs = (int)bounded(r, "belongs", (unsigned int)ncertificates);
}

/* Fills j from the three arrays; the first thing that is wrong is left in *r. */
static void read_parts(struct reader *r, struct journal *j, const json_t *certificates, const json_t *servers,
		       const json_t *places)
{
	struct reader part = {0};
	for (size_t i = 0; i < j->txn.ncertificates; i++) {
		part.object = json_array_get(certificates, i);
		read_certificate(&part, &j->certificates[i], &j->txn.certificates[i]);
	}
	for (size_t i = 0; i < j->txn.nservers; i++) {
		part.object = json_array_get(servers, i);
		read_server(&part, &j->servers[i], &j->txn.servers[i]);
	}
	j->nplaces = json_array_size(places);
	j->places = xcalloc(j->nplaces, sizeof *j->places);
	for (size_t i = 0; i < j->nplaces; i++) {
		part.object = json_array_get(places, i);
		read_place(&part, &j->places[i], j->txn.ncertificates, j->txn.nservers);
	}
	if (part.failed) {
		r->failed = true;
		r->field = part.field;
	}
}

int journal_load(int folder, unsigned int id, struct journal **ret, struct fault *fault)
{
	char name[32];
	json_t *record;
	file_name(id, name);
	int code = record_load_large(folder, name, JOURNAL_MAX, &record, fault);
	if (code < 0)
		return code;
	struct reader r = {.object = record};
	const json_t *certificates = record_array(&r, "certificates"), *servers = record_array(&r, "servers"),
		     *places = record_array(&r, "places");
	struct journal *j = journal_new(id, json_array_size(certificates), json_array_size(servers));
	if (txn_state_parse(record_string(&r, "state"), &j->txn.state) < 0) {
		r.failed = true;
		r.field = "state";
	}
	j->txn.tries_left = (uint8_t)bounded(&r, "tries_left", 256);
	j->started_at_ms = record_number(&r, "started_at_ms");
	j->ended_at_ms = record_number(&r, "ended_at_ms");
	free(j->reason);
	j->reason = xstrdup(record_string(&r, "reason"));
	read_parts(&r, j, certificates, servers, places);
	json_decref(record);
	if (!r.failed && j->txn.ncertificates) {
		*ret = j;
		return 0;
	}
	journal_free(j);
	return fault_set(fault, -EBADMSG, "journal %s is damaged: %s is missing or wrong", name,
			 r.field ? r.field : "certificates");
}

static int compare_ids(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a, y = *(const unsigned int *)b;
	return x < y ? -1 : x > y;
}

int journal_list(int folder, unsigned int **ret_ids, size_t *ret_n, struct fault *fault)
{
	struct words names = {0};
	int r = record_sweep(folder, fault);
	if (r == 0)
		r = files_list(folder, false, &names, fault);
	if (r < 0)
		return r;
	unsigned int *ids = xcalloc(names.n, sizeof *ids);
	size_t n = 0;
	for (size_t i = 0; i < names.n; i++) {
		char again[32];
		unsigned int id = (unsigned int)strtoul(names.v[i], NULL, 10);
		file_name(id, again);
		if (strcmp(again, names.v[i]) == 0)
			ids[n++] = id;
	}
	words_done(&names);
	qsort(ids, n, sizeof *ids, compare_ids); /* 1000000.json stands before 999999.json */
	*ret_ids = ids;
	*ret_n = n;
	return 0;
}

int journal_remove(int folder, unsigned int id, struct fault *fault)
{
	char name[32];
	file_name(id, name);
	return files_remove(folder, name, fault);
}
