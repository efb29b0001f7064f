/* Who else reads a pair's files, or has its key. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "ctl/discover.h"
#include "ctl/inputs.h"
#include "ctl/worker.h"

/* A file that something else reads. */
struct read_file {
	const char *program, *directive, *path;
	char *where;
	struct digest spki; /* of a key or certificate in it; zero: not known */
};
struct read_files {
	struct read_file *v;
	size_t n;
};

static void add(struct read_files *f, const char *program, const char *directive, const char *path, char *where)
{
	if ((f->n & (f->n - 1)) == 0)
		f->v = xrealloc(f->v, (f->n ? 2 * f->n : 1) * sizeof *f->v);
	f->v[f->n++] = (struct read_file){program, directive, path, where, {{0}}};
}

static void add_uses(struct read_files *f, const struct server *s, const struct webconf_use *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool key = v[i].kind == WEBCONF_USE_CLIENT_CERTIFICATE || v[i].kind == WEBCONF_USE_CLIENT_KEY ||
			   v[i].kind == WEBCONF_USE_STAPLE || v[i].kind == WEBCONF_USE_TICKET_KEY ||
			   v[i].kind == WEBCONF_USE_MANAGED;
		if (key && *v[i].file.text == '/' && !v[i].file.inherited)
			add(f, s->name, v[i].directive, v[i].file.text, webconf_where(s->conf, &v[i].file.at));
	}
}

static struct read_files collect(const struct discovery *d)
{
	struct read_files f = {0};
	for (size_t i = 0; i < d->servers.n; i++) {
		const struct server *s = &d->servers.v[i];
		if (!s->conf)
			continue;
		add_uses(&f, s, s->conf->uses, s->conf->nuses);
		for (size_t j = 0; j < s->conf->nhosts; j++)
			add_uses(&f, s, s->conf->hosts[j].uses, s->conf->hosts[j].nuses);
	}
	for (size_t i = 0; i < d->others.n; i++) {
		const struct other *o = &d->others.v[i];
		add(&f, o->program, o->directive, o->path, xasprintf("%s:%u", o->file, o->line));
	}
	return f;
}

/* The keys in these files, by a worker each: a file that can't be read or holds nothing tells nothing. */
static void identify(struct ctl *ctl, struct read_file *f)
{
	struct inputs in = {.passwords = -1};
	struct identify_reply reply = {0};
	struct words paths = {0};
	struct stat st;
	if (stat(f->path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > INPUT_BYTES_MAX || access(f->path, R_OK) < 0)
		return;
	words_add(&paths, f->path);
	if (inputs_open(ctl, &paths, &in) == CTL_DONE &&
	    worker_identify_files(ctl, in.fds, in.n, -1, &reply, NULL) == 0) {
		for (size_t i = 0; i < reply.n; i++)
			if (reply.v[i].kind == OBJECT_LEAF || reply.v[i].kind == OBJECT_KEY)
				f->spki = reply.v[i].spki;
		identify_reply_done(&reply);
	}
	inputs_done(&in);
	words_done(&paths);
}

static bool is_same_file(const struct webconf_value *v, const char *path)
{
	struct stat a, b;
	return v && *v->text == '/' &&
	       (strcmp(v->text, path) == 0 ||
		(stat(v->text, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino));
}

static void match(struct discovered *d, const struct read_file *f)
{
	bool file = is_same_file(d->certificate, f->path) || is_same_file(d->key, f->path) ||
		    is_same_file(d->chain, f->path);
	bool key = !file && d->proved && !digest_is_zero(&f->spki) && digest_equal(&f->spki, &d->reply.spki);
	if (!file && !key)
		return;
	d->readers = xrealloc(d->readers, (d->nreaders + 1) * sizeof *d->readers);
	d->readers[d->nreaders++] =
		(struct reader){f->program, f->directive, f->path, xstrdup(f->where), .same_key = key};
}

void discovery_find_readers(struct ctl *ctl, struct discovery *d)
{
	struct read_files f = collect(d);
	for (size_t i = 0; i < f.n; i++) {
		identify(ctl, &f.v[i]);
		for (size_t j = 0; j < d->n; j++)
			match(&d->v[j], &f.v[i]);
		free(f.v[i].where);
	}
	free(f.v);
}
