#include "control/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/memory.h"
#include "control/adopt_parts.h"
#include "site/audit.h"
#include "control/commands.h"
#include "site/intake.h"

#define OTHER_MS 100

/* ---- certificates.d/NAME.conf ---- */

static void add_string(struct text *t, const char *s)
{
	text_add(t, "\"");
	for (; *s; s++)
		text_add(t, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	text_add(t, "\"");
}

static void add_list(struct text *t, const char *option, const json_t *list)
{
	size_t i;
	json_t *v;
	if (!json_array_size(list))
		return;
	text_add(t, "%s = [ ", option);
	json_array_foreach(list, i, v)
	{
		text_add(t, "%s", i ? ", " : "");
		add_string(t, json_string_value(v) ? json_string_value(v) : "");
	}
	text_add(t, " ];\n");
}

static void add_word(struct text *t, const struct request *r, const char *option)
{
	const char *value = request_argument(r, option);
	if (!value)
		return;
	text_add(t, "%s = ", option);
	add_string(t, value);
	text_add(t, ";\n");
}

static int put_conf(const struct adoption *a, const char *bytes, size_t len, struct fault *fault)
{
	const char *path = json_string_value(json_object_get(a->record, "conf"));
	AUTO_FREE char *folder = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	AUTO_CLOSE int fd = files_open_path(folder, 0755, fault);
	return fd < 0 ? fd : files_replace(fd, strrchr(path, '/') + 1, bytes, len, 0644, fault);
}

static int write_conf(const struct adoption *a, struct fault *fault)
{
	struct text t = {0};
	const struct request *r = a->request;
	text_add(&t, "# written by: certswapctl adopt; taken back by: certswapctl release %s\nname = ", a->name);
	add_string(&t, a->name);
	text_add(&t, ";\n");
	add_list(&t, "servers", json_object_get(a->record, "servers"));
	if (a->observe)
		text_add(&t, "manage = \"observe\";\n");
	add_list(&t, "dns", json_object_get(r->arguments, "dns"));
	add_list(&t, "watch", json_object_get(r->arguments, "watch"));
	add_list(&t, "reissue", json_object_get(r->arguments, "reissue"));
	add_word(&t, r, "key_owner");
	add_word(&t, r, "key_group");
	add_word(&t, r, "key_mode");
	int code = put_conf(a, t.s, t.len, fault);
	text_done(&t);
	return code;
}

/* ---- undone ---- */

static void abandoned(struct adoption *a)
{
	struct fault fault = {0};
	(void)(a->before ? adopt_save(a->site, a->before, &fault) : adopt_forget(a->site, a->name, &fault));
	AUTO_FREE char *text =
		xasprintf("%s was not taken over, everything is as it was: %s", a->name, a->why.s ? a->why.s : "?");
	audit_write(a->site->audit, "adopt-undone", a->name, NULL, "%s", text);
	adoption_finish(a, 1, text, "certswapctl check FILE... tells more about the pair; then run adopt again");
}

static void abandon(struct adoption *a)
{
	struct fault fault = {0};
	int r = a->conf_before ? put_conf(a, a->conf_before, a->conf_len, &fault) : adoption_remove_conf(a, &fault);
	if (r < 0 || adoption_reconfigure(a, abandoned, &fault) < 0)
		adoption_finish(a, 1, fault.text, "certswapctl release takes the rest back");
}

static void went_back(struct adoption *a)
{
	abandon(a);
}

static void tested_way_back(struct adoption *a)
{
	if (a->reloaded)
		return adoption_reload(a, went_back);
	abandon(a);
}

static bool asks_for(const struct adoption *a, const json_t *link)
{
	size_t i;
	json_t *o;
	json_array_foreach(json_object_get(a->request->arguments, "links"), i, o)
	{
		if (json_equal(json_object_get(o, "path"), json_object_get(link, "path")))
			return true;
	}
	return false;
}

/* What is to be undone: all of the record, but nothing that was taken over to its end before. The caller's. */
static json_t *to_undo(const struct adoption *a)
{
	size_t i;
	json_t *link, *links = json_array();
	if (!a->before) {
		json_decref(links);
		return json_incref(a->record);
	}
	json_array_foreach(json_object_get(a->record, "links"), i, link)
	{
		if (asks_for(a, link))
			json_array_append(links, link);
	}
	return json_pack("{ss, so, sO}", "name", a->name, "links", links, "edits", a->edits);
}

/* What was there before comes back, byte for byte. */
static void go_back(struct adoption *a)
{
	struct fault fault = {0};
	struct words files = {0};
	json_t *undo = to_undo(a);
	int code = adopt_unedit(a->site, undo, &files, &fault);
	if (code == 0)
		code = adopt_give_back(a->site, undo, true, &fault);
	json_decref(undo);
	words_done(&files);
	if (code < 0) {
		AUTO_FREE char *text = xasprintf("%s; and the way back failed: %s", a->why.s, fault.text);
		return adoption_finish(a, 1, text, "certswapctl release takes the rest back");
	}
	adoption_test(a, tested_way_back);
}

static void fail(struct adoption *a, const struct fault *fault)
{
	text_add(&a->why, "%s%s", a->why.len ? "\n" : "", fault->text);
	go_back(a);
}

/* ---- forward ---- */

static void done(struct adoption *a)
{
	struct fault fault = {0};
	if (a->refused)
		return go_back(a);
	json_object_set_new(a->record, "taken", json_true());
	if (adopt_save(a->site, a->record, &fault) < 0)
		return fail(a, &fault);
	size_t links = json_array_size(json_object_get(a->record, "links")),
	       edits = json_array_size(json_object_get(a->record, "edits"));
	struct text t = {0};
	text_add(&t, "%s is taken over: ", a->name);
	if (links)
		text_add(&t, "%zu file%s became links", links, links == 1 ? "" : "s");
	if (edits)
		text_add(&t, "%s%zu directive%s changed", links ? ", " : "", edits, edits == 1 ? " was" : "s were");
	if (a->showed)
		text_add(&t, "; reloaded, and %zu place%s it as before", a->showed,
			 a->showed == 1 ? " shows" : "s show");
	else
		text_add(&t, "; no place showed it, so nothing could be proved on the wire");
	audit_write(a->site->audit, "adopted", a->name, json_deep_copy(a->record), "%s", t.s);
	AUTO_FREE char *text = t.s;
	adoption_finish(a, 0, text, NULL);
}

static void edit_next(struct adoption *a)
{
	struct fault fault = {0};
	if (a->refused)
		return go_back(a);
	if (a->file >= a->files.n)
		return adoption_reload(a, done);
	if (adopt_edit(a->site, a->record, a->edits, a->files.v[a->file++], &fault) < 0)
		return fail(a, &fault);
	adoption_test(a, edit_next); /* the state between two files is one that a server may start with */
}

static void take(struct adoption *a)
{
	struct fault fault = {0};
	if (adopt_keep(a->site, a->record, &fault) < 0 || adopt_take(a->site, a->record, &fault) < 0)
		return fail(a, &fault);
	adoption_test(a, edit_next);
}

/* Nothing was touched yet, but by one that was cut off. */
static void give_up(struct adoption *a)
{
	if (a->resumed && !a->hold)
		return adoption_hold(a, go_back);
	if (a->resumed)
		return go_back(a);
	abandon(a);
}

/* Only what passes its test without us may be touched: else a test afterwards tells nothing. */
static void tested_before(struct adoption *a)
{
	if (a->refused)
		return give_up(a);
	take(a);
}

static void hold_queues(struct adoption *a);

static void looked(struct adoption *a)
{
	adoption_hold(a, hold_queues);
}

static void hold_queues(struct adoption *a)
{
	adoption_test(a, tested_before);
}

/* The folder of the ACME client may have brought the same pair in the same moment: then that one is waited for. */
static void wait_for_other(void *data)
{
	struct adoption *a = data;
	const struct certificate *c = adoption_certificate(a);
	timer_close(a->timer);
	a->timer = NULL;
	if (c->ready.number || c->swapping)
		a->timer = timer_start(a->site->loop, OTHER_MS, wait_for_other, a);
	else if (c->live.number)
		adoption_look(a, looked);
	else
		give_up(a);
}

static void on_imported(int exit, const char *text, const char *next, void *data)
{
	struct adoption *a = data;
	struct certificate *c = adoption_certificate(a);
	if (exit == 0 && c->live.number)
		return adoption_look(a, looked);
	if (c->live.number || c->ready.number || c->swapping)
		return wait_for_other(a);
	text_add(&a->why, "its pair is not good as it is: %s%s%s", text, next ? "; what to do: " : "",
		 next ? next : "");
	give_up(a);
}

static void import(struct adoption *a)
{
	struct fault fault = {0};
	struct request *r = a->request;
	struct certificate *c = adoption_certificate(a);
	if (!c)
		return adoption_finish(a, 1, "the configuration was not taken over", "certswapctl config test");
	if (a->observe) {
		audit_write(a->site->audit, "observed", a->name, NULL, "adopt --observe");
		AUTO_FREE char *text = xasprintf("%s is observed: nothing was touched", a->name);
		return adoption_finish(a, 0, text, "certswapctl adopt takes it over");
	}
	const char *key = request_argument(r, "key");
	if (key && adopt_keep_readers(c, key, &fault) < 0) {
		text_add(&a->why, "%s", fault.text);
		return abandon(a);
	}
	struct intake_spec spec = {
		.certificate = c, .served = true, .origin = "adopt", .fds = r->fds, .n = r->nfds, .passwords = -1};
	spec.labels = xcalloc(spec.n, sizeof(*spec.labels));
	for (size_t i = 0; i < spec.n; i++) {
		const char *label = json_string_value(json_array_get(json_object_get(r->arguments, "files"), i));
		spec.labels[i] = text_printable(xstrdup(label ? label : "?"));
	}
	intake_submit(a->site, &spec, on_imported, a);
	for (size_t i = 0; i < spec.n; i++)
		free(spec.labels[i]);
	free(spec.labels);
	free(r->fds); /* the descriptors are the set's now */
	r->fds = NULL;
	r->nfds = 0;
}

/* ---- the request ---- */

static bool is_path(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s && *s == '/';
}

static bool is_live_file(const char *file)
{
	for (size_t i = 0; file && i < STORE_FILES; i++)
		if (strcmp(file, store_file_name[i]) == 0)
			return true;
	return false;
}

/* Everything is ours already. */
static bool is_empty(const struct request *r)
{
	return !json_array_size(json_object_get(r->arguments, "links")) &&
	       !json_array_size(json_object_get(r->arguments, "edits"));
}

/* Was adopt cut off? 1, 0 or negative errno. */
static int is_unfinished(const struct site *site, const char *name, struct fault *fault)
{
	json_t *record = NULL;
	int r = adopt_load(site, name, &record, fault);
	bool unfinished = r == 0 && !json_is_true(json_object_get(record, "taken"));
	json_decref(record);
	return r < 0 && r != -ENOENT ? r : unfinished;
}

/* Is the plan complete, so that nothing of it has to be guessed? */
static int check_plan(const struct request *r, struct fault *fault)
{
	size_t i;
	json_t *o;
	bool good = json_array_size(json_object_get(r->arguments, "files")) == r->nfds && r->nfds;
	json_array_foreach(json_object_get(r->arguments, "links"), i, o)
	{
		good &= is_path(o, "path") && is_live_file(json_string_value(json_object_get(o, "file")));
	}
	json_array_foreach(json_object_get(r->arguments, "edits"), i, o)
	{
		good &= is_path(o, "path") && json_is_string(json_object_get(o, "old")) &&
			json_is_string(json_object_get(o, "new")) && json_is_integer(json_object_get(o, "from"));
	}
	json_array_foreach(json_object_get(r->arguments, "servers"), i, o)
	{
		good &= json_is_string(o) && site_server(r->site, json_string_value(o));
	}
	return good ? 0
		    : fault_set(fault, -EINVAL,
				"certswapctl sent a plan that makes no sense: are both of one version?");
}

static void merge(json_t *record, const json_t *arguments, const char *key, const char *id)
{
	size_t i, k;
	json_t *o, *have, *list = json_object_get(record, key);
	json_array_foreach(json_object_get(arguments, key), i, o)
	{
		bool known = false;
		json_array_foreach(list, k, have) known |=
			id ? json_equal(json_object_get(have, id), json_object_get(o, id)) : json_equal(have, o);
		if (!known)
			json_array_append(list, o);
	}
}

/* certificates.d/NAME.conf as it is. */
static int keep_conf(struct adoption *a, struct fault *fault)
{
	const char *path = json_string_value(json_object_get(a->record, "conf"));
	int r = files_read(AT_FDCWD, path ? path : "", ADOPT_FILE_MAX, &a->conf_before, &a->conf_len, fault);
	return r == -ENOENT ? 0 : r;
}

/* The record of this adoption: begun anew, or that of one that was cut off. */
static int open_record(struct adoption *a, struct fault *fault)
{
	const json_t *arguments = a->request->arguments;
	const char *slash = strrchr(a->site->settings->file, '/');
	int r = adopt_load(a->site, a->name, &a->record, fault);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r < 0) {
		AUTO_FREE char *conf =
			xasprintf("%.*s/certificates.d/%s.conf", slash ? (int)(slash - a->site->settings->file) : 1,
				  slash ? a->site->settings->file : ".", a->name);
		a->record =
			json_pack("{ss, ss, sb, s[], s[], so, so}", "name", a->name, "conf", conf, "taken", 0, "links",
				  "edits", "servers", json_deep_copy(json_object_get(arguments, "servers")), "sources",
				  json_deep_copy(json_object_get(arguments, "files")));
	}
	if (!a->record)
		return fault_set(fault, -EINVAL, "the plan can't be recorded");
	if (r == 0 && json_is_true(json_object_get(a->record, "taken")))
		a->before = json_deep_copy(a->record);
	a->resumed = r == 0 && !a->before;
	if (a->before && (r = keep_conf(a, fault)) < 0)
		return r;
	merge(a->record, arguments, "links", "path");
	merge(a->record, arguments, "edits", NULL);
	merge(a->record, arguments, "servers", NULL);
	return adopt_save(a->site, a->record, fault);
}

static void list_files(struct adoption *a)
{
	size_t i;
	json_t *edit;
	json_array_foreach(a->edits, i, edit)
	{
		const char *path = json_string_value(json_object_get(edit, "path"));
		if (!words_has(&a->files, path))
			words_add(&a->files, path);
	}
}

static void begin(struct request *r, const char *name)
{
	struct fault fault = {0};
	struct adoption *a = adoption_new(r, name);
	a->observe = json_is_true(json_object_get(r->arguments, "observe"));
	a->edits = json_incref(json_object_get(r->arguments, "edits"));
	list_files(a);
	request_wait(r);
	if (open_record(a, &fault) < 0 || (!is_empty(r) && write_conf(a, &fault) < 0))
		return adoption_finish(a, 1, fault.text, NULL);
	if (adoption_reconfigure(a, import, &fault) == 0)
		return;
	(void)adoption_remove_conf(a, NULL);
	adoption_finish(a, 1, fault.text, "certswapctl config test");
}

void command_adopt(struct request *r)
{
	struct fault fault = {0};
	const char *name = request_argument(r, "name");
	const struct certificate *c = name ? site_certificate(r->site, name) : NULL;
	if (!name || !text_is_name(name))
		return request_finish(r, 2, "a name for the certificate is needed", NULL);
	if (r->site->adoption)
		return request_finish(r, 1, "another adopt or release is under way", "try again when it has ended");
	if (check_plan(r, &fault) < 0)
		return request_finish(r, 2, fault.text, NULL);
	int rest = is_empty(r) ? is_unfinished(r->site, name, &fault) : 1;
	if (rest <= 0) {
		AUTO_FREE char *text = xasprintf("%s is taken over already", name);
		return request_finish(r, rest < 0, rest < 0 ? fault.text : text, NULL);
	}
	AUTO_FREE char *own = xasprintf("/certificates.d/%s.conf", name);
	size_t at = c && c->settings->file ? strlen(c->settings->file) : 0, len = strlen(own);
	if (c && (at < len || strcmp(c->settings->file + at - len, own) != 0)) {
		AUTO_FREE char *text =
			xasprintf("%s stands in %s:%u already", name, c->settings->file, c->settings->line);
		return request_finish(r, 1, text,
				      "point the web server at its live folder, or take it out there first");
	}
	begin(r, name);
}
