/* tests/discover/KIND-*.conf: a bundle of files each (`nginx -T`'s form); NAME.want beside it says what is to be read
 * out of it. Facts stand in lines before the first file: "# define NAME=value", "# variable NAME=value", "# module
 * ssl_module", "# prefix /path". */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/memory.h"
#include "webconf/bundle.h"

static void render_value(struct text *out, const struct webconf *w, const char *what, const struct webconf_value *v)
{
	AUTO_FREE char *where = webconf_where(w, &v->at);
	if (!v->text)
		return;
	text_add(out, "  %s %s at %s%s%s\n", what, v->text, where, v->inherited ? " inherited" : "",
		 v->at.in_macro ? " macro" : "");
	if (v->out_of_reach)
		text_add(out, "    out of reach: %s\n", v->out_of_reach);
}

static void render_uses(struct text *out, const struct webconf *w, const char *indent, const struct webconf_use *v,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *where = webconf_where(w, &v[i].file.at);
		text_add(out, "%suse %s %s at %s%s\n", indent, v[i].directive, v[i].file.text, where,
			 v[i].file.inherited ? " inherited" : "");
		if (v[i].file.out_of_reach)
			text_add(out, "    out of reach: %s\n", v[i].file.out_of_reach);
	}
}

static void render_host(struct text *out, const struct webconf *w, const struct webconf_host *h)
{
	AUTO_FREE char *where = webconf_where(w, &h->at), *names = words_join(&h->names, " ");
	text_add(out, "%s %s names [%s]%s%s%s%s%s\n", webconf_context_name[h->context], where, names,
		 h->tls ? " tls" : "", h->starttls ? " starttls" : "", h->rejects ? " rejects" : "",
		 h->must_staple ? " staples" : "", h->demands_client ? " client" : "");
	for (size_t i = 0; i < h->nlistens; i++) {
		const struct webconf_listen *l = &h->listens[i];
		text_add(out, "  listen %s%s%s%s%s%s\n", l->address, l->tls ? " tls" : "",
			 l->default_server ? " default" : "", l->proxy_protocol ? " proxy" : "", l->quic ? " quic" : "",
			 l->unreached ? " unreached" : "");
		for (size_t j = 0; j < l->taken.n; j++)
			text_add(out, "    taken [%s]\n", l->taken.v[j]);
	}
	for (size_t i = 0; i < h->npairs; i++) {
		render_value(out, w, "certificate", &h->pairs[i].certificate);
		render_value(out, w, "key", &h->pairs[i].key);
		render_value(out, w, "chain", &h->pairs[i].chain);
	}
	render_uses(out, w, "  ", h->uses, h->nuses);
	if (h->managed_by)
		text_add(out, "  managed by %s\n", h->managed_by);
}

static char *render(const struct webconf *w)
{
	struct text out = {0};
	for (size_t i = 0; i < w->nhosts; i++)
		render_host(&out, w, &w->hosts[i]);
	render_uses(&out, w, "", w->uses, w->nuses);
	for (size_t i = 0; i < w->nnotes; i++) {
		struct webconf_place at = {.file = w->notes[i].file, .line = w->notes[i].line};
		AUTO_FREE char *where = webconf_where(w, &at);
		text_add(&out, "note %s: %s\n", where, w->notes[i].text);
	}
	if (w->incomplete)
		text_add(&out, "incomplete\n");
	return out.s ? out.s : xstrdup("");
}

static void read_facts(const char *bytes, struct webconf_facts *ret, char **prefix)
{
	for (const char *line = bytes; line && strncmp(line, "# configuration file", 20) != 0;) {
		size_t n = strcspn(line, "\r\n");
		AUTO_FREE char *text = xstrndup(line, n);
		if (strncmp(text, "# define ", 9) == 0)
			words_add(&ret->defines, text + 9);
		else if (strncmp(text, "# variable ", 11) == 0)
			words_add(&ret->environment, text + 11);
		else if (strncmp(text, "# module ", 9) == 0)
			words_add(&ret->modules, text + 9);
		else if (strncmp(text, "# prefix ", 9) == 0)
			*prefix = xstrdup(text + 9);
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	ret->prefix = *prefix;
}

/* An edit relies on the offsets: what they point to must be what was read. */
static void check_place(const struct bundle *b, const struct webconf *w, const struct webconf_value *v)
{
	struct bundle *whole = xmemdup(b, sizeof *b);
	struct webconf_source source = bundle_source(whole);
	char *bytes = NULL;
	size_t len;
	if (v->text) {
		cr_assert_eq(source.read(source.context, w->files[v->at.file].path, &bytes, &len), 0);
		cr_assert(v->at.from < v->at.value_from && v->at.value_from < v->at.value_to &&
			  v->at.value_to <= v->at.to && v->at.to <= len);
		cr_assert(memmem(bytes + v->at.from, v->at.to - v->at.from, "SSL", 3) ||
			  memmem(bytes + v->at.from, v->at.to - v->at.from, "ssl", 3));
		if (!strpbrk(v->raw, "\"'\\*"))
			cr_assert(memmem(bytes + v->at.value_from, v->at.value_to - v->at.value_from, v->raw,
					 strlen(v->raw)) ||
				  memchr(bytes + v->at.value_from, '\\', v->at.value_to - v->at.value_from));
	}
	free(bytes);
	free(whole);
}

static void check_places(const struct bundle *b, const struct webconf *w)
{
	for (size_t i = 0; i < w->nhosts; i++)
		for (size_t j = 0; j < w->hosts[i].npairs; j++) {
			check_place(b, w, &w->hosts[i].pairs[j].certificate);
			check_place(b, w, &w->hosts[i].pairs[j].key);
		}
}

static bool try_case(const char *path)
{
	struct webconf_facts facts = {0};
	struct bundle b;
	char *bytes, *prefix = NULL, *want = NULL;
	size_t len;
	AUTO_FREE char *want_path = xasprintf("%.*s.want", (int)(strlen(path) - 5), path);
	enum webconf_kind kind = strstr(path, "/apache-") ? WEBCONF_APACHE : WEBCONF_NGINX;
	cr_assert_eq(files_read(AT_FDCWD, path, 1 << 20, &bytes, &len, NULL), 0);
	files_read(AT_FDCWD, want_path, 1 << 20, &want, NULL, NULL);
	read_facts(bytes, &facts, &prefix);
	bundle_open(bytes, len, &b);
	const char *first = strstr(bytes, "# configuration file ") + 21;
	AUTO_FREE char *config = xstrndup(first, strcspn(first, ":"));
	struct webconf_source source = bundle_source(&b);
	struct webconf *w = webconf_read(kind, config, &facts, &source);
	AUTO_FREE char *got = render(w);
	bool same = want && strcmp(got, want) == 0;
	check_places(&b, w);
	if (!same)
		fprintf(stderr, "--- %s: read is\n%s--- wanted is\n%s", path, got, want ? want : "(nothing)\n");
	if (!same && getenv("CERTSWAP_WRITE_WANT")) {
		FILE *out = fopen(want_path, "we");
		fputs(got, out);
		fclose(out);
	}
	webconf_free(w);
	bundle_done(&b);
	words_done(&facts.defines);
	words_done(&facts.environment);
	words_done(&facts.modules);
	free(prefix);
	free(want);
	free(bytes);
	return same;
}

Test(webconf_cases, each_is_read_as_wanted)
{
	glob_t found;
	size_t wrong = 0;
	cr_assert_eq(glob(SOURCE_DIR "/tests/discover/*.conf", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++)
		wrong += !try_case(found.gl_pathv[i]);
	globfree(&found);
	cr_assert_eq(wrong, 0, "%zu cases are not read as wanted", wrong);
}
