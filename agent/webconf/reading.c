/* A reading: files within bounds, and what comes out of them. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "webconf/inside.h"

void reading_note(struct reading *r, uint32_t file, uint32_t line, const char *format, ...)
{
	struct webconf *w = r->w;
	va_list args;
	if (w->nnotes >= WEBCONF_NOTES_MAX) {
		w->incomplete = true;
		return;
	}
	va_start(args, format);
	char *text = text_printable(xvasprintf(format, args));
	va_end(args);
	w->notes = xrealloc(w->notes, (w->nnotes + 1) * sizeof *w->notes);
	w->notes[w->nnotes++] = (struct webconf_note){.file = file, .line = line, .text = text};
}

bool reading_takes(struct reading *r, size_t n, size_t max)
{
	r->w->incomplete |= n >= max;
	return n < max;
}

static uint32_t add_file(struct reading *r, const char *path)
{
	struct webconf *w = r->w;
	for (size_t i = w->nfiles; i-- > 0;) /* a snippet is included again and again */
		if (strcmp(w->files[i].path, path) == 0)
			return (uint32_t)i;
	if ((w->nfiles & (w->nfiles - 1)) == 0)
		w->files = xrealloc(w->files, (w->nfiles ? 2 * w->nfiles : 1) * sizeof *w->files);
	w->files[w->nfiles] = (struct webconf_file){.path = xstrdup(path)};
	return (uint32_t)w->nfiles++;
}

static bool is_open_already(const struct reading *r, const char *path)
{
	for (size_t i = 0; i < r->depth; i++)
		if (strcmp(r->w->files[r->stack[i]].path, path) == 0)
			return true;
	return false;
}

/* What keeps this file from being read, or NULL. */
static const char *refusal(const struct reading *r, const char *path)
{
	if (is_open_already(r, path))
		return "it includes itself";
	if (r->depth >= WEBCONF_DEPTH_MAX)
		return "files include each other too deep";
	if (r->reads >= WEBCONF_FILES_MAX)
		return "there are too many files";
	if (r->bytes >= WEBCONF_BYTES_MAX)
		return "the files are too large together";
	return NULL;
}

static void cut(struct reading *r, uint32_t index, const char *bytes, size_t len, struct nodes *ret)
{
	bool nginx = r->w->kind == WEBCONF_NGINX;
	struct lexer_note said = nginx ? nginx_cut(bytes, len, ret) : apache_cut(bytes, len, ret);
	if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		reading_note(r, index, 1, "a byte order mark: %s refuses it", webconf_kind_name[r->w->kind]);
	if (!said.text)
		return;
	reading_note(r, index, said.line, "%s", said.text);
	r->w->incomplete = true;
}

int64_t reading_enter(struct reading *r, const char *path, uint32_t file, uint32_t line, struct nodes *ret)
{
	const char *why = refusal(r, path);
	char *bytes = NULL;
	size_t len = 0;
	*ret = (struct nodes){0};
	if (why) {
		reading_note(r, file, line, "%s is not read: %s", path, why);
		r->w->incomplete = true;
		return -1;
	}
	uint32_t index = add_file(r, path);
	r->reads++;
	int error = r->source->read(r->source->context, path, &bytes, &len);
	if (error == 0 && len > WEBCONF_BYTES_MAX - r->bytes)
		error = -EFBIG;
	if (error < 0) {
		free(r->w->files[index].why);
		r->w->files[index].why = xstrdup(strerror(-error));
		reading_note(r, line ? file : index, line, "can't read %s: %s", path, strerror(-error));
		r->w->incomplete = true;
	} else {
		r->bytes += len;
		cut(r, index, bytes, len, ret);
	}
	free(bytes);
	r->stack[r->depth++] = index;
	return index;
}

void reading_leave(struct reading *r, struct nodes *nodes)
{
	nodes_done(nodes);
	r->depth--;
}

char *path_below(const char *folder, const char *path)
{
	return *path == '/' ? xstrdup(path) : xasprintf("%s/%s", strcmp(folder, "/") == 0 ? "" : folder, path);
}

char *path_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

void hide_pin(char *uri)
{
	char *pin = strstr(uri, "pin-value=");
	for (char *s = pin ? pin + strlen("pin-value=") : uri + strlen(uri); *s && !strchr("&;", *s); s++)
		*s = '*';
}

struct webconf_place place_of(uint32_t file, const struct node *node)
{
	struct webconf_place at = {.file = file, .line = node->line, .from = node->from, .to = node->to};
	if (node->nwords > 1) {
		at.value_from = node->words[1].from;
		at.value_to = node->words[1].to;
	}
	return at;
}

void value_copy(struct webconf_value *to, const struct webconf_value *from)
{
	*to = *from;
	to->text = xstrdup(from->text);
	to->raw = xstrdup(from->raw);
	to->out_of_reach = xstrdup(from->out_of_reach);
}

void value_done(struct webconf_value *v)
{
	free(v->text);
	free(v->raw);
	free(v->out_of_reach);
	*v = (struct webconf_value){0};
}

struct webconf_host *host_add(struct reading *r, enum webconf_context context, uint32_t file, const struct node *node)
{
	struct webconf *w = r->w;
	if ((w->nhosts & (w->nhosts - 1)) == 0)
		w->hosts = xrealloc(w->hosts, (w->nhosts ? 2 * w->nhosts : 1) * sizeof *w->hosts);
	struct webconf_host *h = &w->hosts[w->nhosts++];
	*h = (struct webconf_host){.context = context, .at = {.file = file}};
	if (node)
		h->at = place_of(file, node);
	return h;
}

struct webconf_listen *host_add_listen(struct webconf_host *h)
{
	h->listens = xrealloc(h->listens, (h->nlistens + 1) * sizeof *h->listens);
	h->listens[h->nlistens] = (struct webconf_listen){0};
	return &h->listens[h->nlistens++];
}

void listen_done(struct webconf_listen *l)
{
	free(l->address);
	words_done(&l->taken);
}

struct webconf_pair *host_add_pair(struct webconf_host *h)
{
	h->pairs = xrealloc(h->pairs, (h->npairs + 1) * sizeof *h->pairs);
	h->pairs[h->npairs] = (struct webconf_pair){0};
	return &h->pairs[h->npairs++];
}

void use_add(struct reading *r, struct webconf_host *h, enum webconf_use_kind kind, const char *directive,
	     struct webconf_value *file)
{
	struct webconf_use **list = h ? &h->uses : &r->w->uses;
	size_t *n = h ? &h->nuses : &r->w->nuses;
	*list = xrealloc(*list, (*n + 1) * sizeof **list);
	(*list)[(*n)++] = (struct webconf_use){.kind = kind, .directive = xstrdup(directive), .file = *file};
	*file = (struct webconf_value){0};
}
