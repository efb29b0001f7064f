/* triage: which certificates of this host stand in a CA's list */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/files.h"
#include "base/memory.h"
#include "ctl/affected.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/print.h"
#include "swap/store.h"

#define READ_SIZE  (256 * 1024)
#define NAMES_MAX  (size_t)200000 /* generations that are looked for */
#define WANTS_EACH 3              /* its serial, its fingerprint, its key's */

enum by { BY_SERIAL, BY_FINGERPRINT, BY_KEY };
static const char *const by_name[] = {[BY_SERIAL] = "serial", [BY_FINGERPRINT] = "fingerprint", [BY_KEY] = "key"};
_Static_assert(ARRAY_SIZE(by_name) == WANTS_EACH, "a name for each");

/* One generation of one certificate here. */
struct own {
	char *name;
	const char *use; /* "live" "standby" "kept" */
	struct meta meta;
	uint64_t line; /* of the list, the first; 0: it does not stand there */
	enum by by;
	bool several; /* another CA's certificate here has this serial */
};
struct triage {
	struct own *v;
	size_t n, cap;
	size_t unreadable; /* records that could not be read */
	uint64_t lines, numbers;
	bool damaged; /* the list ends before its end */
};

/* ---- what is here ---- */

static void add_generation(struct triage *t, int folder, const char *name, unsigned int number, int live, int standby)
{
	struct own own = {.use = (int)number == live ? "live" : (int)number == standby ? "standby" : "kept"};
	if (store_read_meta(folder, number, &own.meta, NULL) < 0) {
		t->unreadable += (int)number == live || (int)number == standby;
		return;
	}
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->v = xrealloc(t->v, t->cap * sizeof *t->v);
	}
	own.name = xstrdup(name);
	t->v[t->n++] = own;
}

static void add_certificate(struct triage *t, int certificates, const char *name)
{
	AUTO_CLOSE int folder = files_open_folder(certificates, name, 0, NULL);
	if (folder < 0)
		return;
	AUTO_CLOSE int gen = files_open_folder(folder, "gen", 0, NULL);
	struct words numbers = {0};
	int live = store_link_number(folder, "live", NULL), standby = store_link_number(folder, "standby", NULL);
	if (gen >= 0 && files_list(gen, false, &numbers, NULL) == 0)
		for (size_t i = 0; i < numbers.n && t->n < NAMES_MAX; i++) {
			char *end;
			unsigned long number = strtoul(numbers.v[i], &end, 10);
			if (!*end && number && number < INT32_MAX)
				add_generation(t, folder, name, (unsigned int)number, live, standby);
		}
	words_done(&numbers);
}

static int load(struct ctl *ctl, struct triage *t)
{
	int status;
	struct fault fault = {0};
	struct words names = {0};
	AUTO_FREE char *path = ctl_state_path(ctl, "certificates", &status);
	if (!path)
		return status;
	AUTO_CLOSE int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = folder < 0 ? fault_errno(&fault, errno, "can't open %s", path)
			   : files_list(folder, false, &names, &fault);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		if (text_is_name(names.v[i]))
			add_certificate(t, folder, names.v[i]);
	words_done(&names);
	if (r < 0)
		ctl_say(ctl, "%s", fault.text);
	if (t->unreadable)
		ctl_say(ctl, "%zu of the pairs here have no record that can be read: what is said of the others stands",
			t->unreadable);
	return r == 0 ? CTL_DONE : r == -EACCES || r == -EPERM ? CTL_NOT_PERMITTED : CTL_FAILED;
}

static void done(struct triage *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->v[i].name);
		meta_done(&t->v[i].meta);
	}
	free(t->v);
}

/* ---- the list ---- */

static void found(void *context, size_t index, uint64_t line)
{
	struct triage *t = context;
	struct own *own = &t->v[index / WANTS_EACH];
	if (own->line)
		return;
	own->line = line;
	own->by = (enum by)(index % WANTS_EACH);
}

static const char *without_zeros(const char *hex)
{
	return hex + strspn(hex, "0");
}

static void want(struct affected *a, const struct triage *t)
{
	char hex[DIGEST_HEX];
	for (size_t i = 0; i < t->n; i++) {
		affected_want(a, t->v[i].meta.serial);
		affected_want(a, without_zeros(digest_text(&t->v[i].meta.sha256, hex)));
		affected_want(a, without_zeros(digest_text(&t->v[i].meta.spki, hex)));
	}
}

/* What looks like a list but is packed in a way that is not read here; NULL: it may be one. */
static const char *packed(const uint8_t *p, size_t n)
{
	static const struct {
		const char *begins, *name;
	} forms[] = {{"PK\x03\x04", "a ZIP archive or a spreadsheet"},
		     {"\xfd"
		      "7zXZ",
		      "packed with xz"},
		     {"BZh", "packed with bzip2"},
		     {"%PDF", "a PDF"},
		     {"\x28\xb5\x2f\xfd", "packed with zstd"},
		     {"\xd0\xcf\x11\xe0", "a spreadsheet"}};
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (n >= strlen(forms[i].begins) && memcmp(p, forms[i].begins, strlen(forms[i].begins)) == 0)
			return forms[i].name;
	return NULL;
}

static int feed_all(struct ctl *ctl, const char *path, gzFile in, struct affected *a, bool *ret_damaged)
{
	AUTO_FREE uint8_t *bytes = xmalloc(READ_SIZE);
	bool first = true;
	int n, code = 0;
	while ((n = gzread(in, bytes, READ_SIZE)) > 0) {
		const char *form = first ? packed(bytes, (size_t)n) : NULL;
		if (form) {
			ctl_say(ctl, "%s is %s; save the list as text or CSV", path, form);
			return CTL_FAILED;
		}
		affected_feed(a, bytes, (size_t)n);
		first = false;
	}
	gzerror(in, &code);
	*ret_damaged = n < 0 || (code != Z_OK && code != Z_STREAM_END);
	if (*ret_damaged)
		ctl_say(ctl, "%s can't be read to its end (%s): what stands behind is not known", path,
			code == Z_ERRNO ? strerror(errno) : "it is damaged or cut off");
	affected_end(a);
	return CTL_DONE;
}

static int read_list(struct ctl *ctl, const char *path, struct triage *t)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	gzFile in = fd < 0 ? NULL : gzdopen(fd, "rb");
	if (!in) {
		ctl_say(ctl, "can't open %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return CTL_FAILED;
	}
	gzbuffer(in, READ_SIZE);
	struct affected *a = affected_new(found, t);
	want(a, t);
	int status = feed_all(ctl, path, in, a, &t->damaged);
	t->lines = affected_lines(a);
	t->numbers = affected_numbers(a);
	affected_free(a);
	gzclose(in);
	return status;
}

/* ---- what of it counts ---- */

/* Same distinguished name, whatever the spaces and capitals; a part of it is enough, as with `notice --issuer`. */
static bool issuer_fits(const char *asked, const char *issuer)
{
	AUTO_FREE char *a = xstrdup(asked), *b = xstrdup(issuer);
	char *both[] = {a, b};
	for (size_t i = 0; i < 2; i++) {
		char *to = both[i];
		for (const char *p = both[i]; *p; p++)
			if (*p != ' ' && *p != '"')
				*to++ = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
		*to = '\0';
	}
	return strstr(b, a) != NULL;
}

/* A serial counts only with its issuer: those of others are dropped, and where several CAs' certificates here have the
 * same one, that is said. */
static void weigh(struct triage *t, const char *issuer)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].line && t->v[i].by == BY_SERIAL && issuer && !issuer_fits(issuer, t->v[i].meta.issuer))
			t->v[i].line = 0;
	for (size_t i = 0; i < t->n; i++)
		for (size_t k = 0; t->v[i].line && t->v[i].by == BY_SERIAL && k < t->n; k++)
			t->v[i].several |= t->v[k].line && t->v[k].by == BY_SERIAL &&
					   strcmp(t->v[i].meta.serial, t->v[k].meta.serial) == 0 &&
					   strcmp(t->v[i].meta.issuer, t->v[k].meta.issuer) != 0;
}

static size_t count(const struct triage *t)
{
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++)
		n += t->v[i].line > 0;
	return n;
}

static json_t *json_of(const struct triage *t)
{
	json_t *list = json_array();
	char sha256[DIGEST_HEX], spki[DIGEST_HEX], until[32];
	for (size_t i = 0; i < t->n; i++) {
		const struct own *o = &t->v[i];
		if (o->line)
			json_array_append_new(
				list, json_pack("{ss, sI, ss, ss, so, ss, ss, ss, ss, sI, sb}", "certificate", o->name,
						"generation", (json_int_t)o->meta.number, "use", o->use, "serial",
						o->meta.serial, "issuer", client_string(o->meta.issuer), "sha256",
						digest_text(&o->meta.sha256, sha256), "spki_sha256",
						digest_text(&o->meta.spki, spki), "not_after",
						text_from_time(o->meta.not_after, until), "by", by_name[o->by], "line",
						(json_int_t)o->line, "several_issuers", o->several));
	}
	return json_pack("{sI, sI, sI, sb, so}", "lines", (json_int_t)t->lines, "numbers", (json_int_t)t->numbers,
			 "pairs", (json_int_t)t->n, "whole", !t->damaged, "affected", list);
}

static void print_hits(struct ctl *ctl, const struct triage *t)
{
	static const struct column columns[] = {
		{"CERTIFICATE", 24}, {"PAIR", 14}, {"SERIAL", 40}, {"BY", 11}, {"LINE", 0}};
	struct table table = {.columns = columns, .ncolumns = ARRAY_SIZE(columns)};
	for (size_t i = 0; i < t->n; i++) {
		const struct own *o = &t->v[i];
		if (!o->line)
			continue;
		table_add(&table, COLOUR_PLAIN, "%s", o->name);
		table_add(&table, strcmp(o->use, "live") == 0 ? COLOUR_BAD : COLOUR_WARN, "%s (%u)", o->use,
			  o->meta.number);
		table_add(&table, COLOUR_PLAIN, "%s", o->meta.serial);
		table_add(&table, COLOUR_PLAIN, "%s", by_name[o->by]);
		table_add(&table, COLOUR_PLAIN, "%llu%s", (unsigned long long)o->line,
			  o->several ? ": several issuers, --issuer says which" : "");
	}
	table_print(&table, ctl->out, ctl->colour);
	table_done(&table);
}

static void report(struct ctl *ctl, const struct triage *t)
{
	size_t hits = count(t);
	if (hits)
		print_hits(ctl, t);
	fprintf(ctl->out, "%zu of %zu pairs here stand in the list (%llu lines, %llu numbers).\n", hits, t->n,
		(unsigned long long)t->lines, (unsigned long long)t->numbers);
}

/* ---- telling the agent ---- */

/* By the fingerprint of the certificate: that names one and no other. */
static int open_incident(struct ctl *ctl, const struct args *a, const struct own *o, json_t *answers)
{
	char hex[DIGEST_HEX];
	json_t *answer = NULL, *request = json_pack("{ss, ss, sb}", "command", "notice", "fingerprint",
						    digest_text(&o->meta.sha256, hex), "wait", 0);
	int status = notice_add_terms(ctl, a, request);
	if (status == CTL_DONE)
		status = client_ask(ctl, a, request, NULL, 0, &answer);
	json_decref(request);
	if (answer && !args_has(a, OPTION_JSON))
		status = client_print_answer(ctl, a, answer);
	else if (answer)
		status = (int)json_integer_value(json_object_get(answer, "exit"));
	if (answer)
		json_array_append(answers, answer);
	json_decref(answer);
	return status;
}

static int notify(struct ctl *ctl, const struct args *a, const struct triage *t, json_t *answers)
{
	int worst = CTL_DONE;
	for (size_t i = 0; i < t->n && worst != CTL_UNREACHABLE && worst != CTL_USAGE; i++) {
		const struct own *o = &t->v[i];
		if (!o->line || strcmp(o->use, "kept") == 0)
			continue;
		if (o->several) {
			ctl_say(ctl, "%s: serial %s fits certificates of several issuers; say which with --issuer",
				o->name, o->meta.serial);
			worst = CTL_FAILED;
			continue;
		}
		int status = open_incident(ctl, a, o, answers);
		worst = status == CTL_DONE ? worst : status;
	}
	return worst;
}

int command_triage(struct ctl *ctl, const struct args *a)
{
	struct triage t = {0};
	bool notice = args_has(a, OPTION_NOTICE), json = args_has(a, OPTION_JSON);
	int status = load(ctl, &t);
	if (status == CTL_DONE)
		status = read_list(ctl, a->operands.v[0], &t);
	if (status != CTL_DONE) {
		done(&t);
		return status;
	}
	weigh(&t, args_value(a, OPTION_ISSUER));
	bool hit = count(&t) > 0;
	json_t *answers = json_array();
	if (!json)
		report(ctl, &t);
	if (!t.numbers && !hit)
		ctl_say(ctl, "no serial number and no fingerprint was found in %s: is it the right file?",
			a->operands.v[0]);
	status = notice ? notify(ctl, a, &t, answers) : hit ? CTL_FAILED : CTL_DONE;
	if (status == CTL_DONE && (t.damaged || t.unreadable || (!t.numbers && !hit)))
		status = CTL_FAILED;
	if (json) {
		json_t *result = json_of(&t);
		if (notice)
			json_object_set(result, "answers", answers);
		print_json(ctl->out, result);
		json_decref(result);
	}
	json_decref(answers);
	done(&t);
	return status;
}
