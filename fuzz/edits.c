/* What adopt does to a web server's configuration and release undoes: each directive that names a pair gets another
 * path. The file read again must say the same but for these, and be the same bytes once the edits are undone. The first
 * byte says which server, and whether the new paths want quotes. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "control/adopt_files.h"
#include "fuzz.h"
#include "webconf/webconf.h"

#define EDITS_MAX 200

static char folder[] = "/dev/shm/certswap-fuzz-XXXXXX", config[sizeof folder + 5];
static struct site site;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static void clean(void)
{
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	MUST(mkdtemp(folder));
	atexit(clean);
	snprintf(config, sizeof config, "%s/conf", folder);
	site.folders.state = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(site.folders.state >= 0);
	return 0;
}

struct content {
	char *bytes;
	size_t len;
};

static int read_it(void *context, const char *path, char **ret_bytes, size_t *ret_len)
{
	const struct content *c = context;
	if (strcmp(path, config) != 0)
		return -ENOENT;
	*ret_bytes = xmalloc(c->len + 1);
	memcpy(*ret_bytes, c->bytes, c->len);
	*ret_len = c->len;
	return 0;
}

static int list_nothing(void *context, const char *pattern, bool below, struct words *ret)
{
	return 0;
}

static struct webconf *parse(enum webconf_kind kind, struct content *c)
{
	struct webconf_source source = {.context = c, .read = read_it, .list = list_nothing};
	return webconf_read(kind, config, NULL, &source);
}

static struct content load(void)
{
	struct content c = {0};
	FILE *f = fopen(config, "re");
	MUST(f);
	c.bytes = xmalloc(1 << 20);
	c.len = fread(c.bytes, 1, 1 << 20, f);
	fclose(f);
	return c;
}

struct place {
	const struct webconf_value *value;
	char new[120];
};
struct places {
	struct place v[EDITS_MAX];
	size_t n;
};

static const struct webconf_value *part(const struct webconf_pair *p, int k)
{
	return k == 0 ? &p->certificate : k == 1 ? &p->key : &p->chain;
}

/* A quoted argument may touch the next one; neither server takes a second one here. */
static bool fits(const struct webconf_value *v, const struct content *c)
{
	const char *bytes = c->bytes;
	size_t n = v->at.value_to - v->at.value_from;
	if (v->at.value_to < c->len && !memchr(" \t\r\n;\\", bytes[v->at.value_to], 6))
		return false;
	AUTO_FREE char *old = xstrndup(bytes + v->at.value_from, n);
	json_t *text = json_string(old);
	bool good = v->text && !v->out_of_reach && !v->at.in_macro && strlen(old) == n && text;
	json_decref(text);
	return good;
}

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	return x->value->at.value_from < y->value->at.value_from ? -1 : 1;
}

static void choose(const struct webconf *w, const struct content *c, bool quotes, struct places *ret)
{
	for (size_t i = 0; i < w->nhosts; i++)
		for (size_t j = 0; j < w->hosts[i].npairs * 3 && ret->n < EDITS_MAX; j++) {
			const struct webconf_value *v = part(&w->hosts[i].pairs[j / 3], (int)(j % 3));
			bool known = !v->text || !fits(v, c);
			for (size_t k = 0; k < ret->n && !known; k++)
				known = ret->v[k].value->at.value_from == v->at.value_from;
			if (!known)
				ret->v[ret->n++].value = v;
		}
	qsort(ret->v, ret->n, sizeof *ret->v, by_place);
	for (size_t i = 0; i < ret->n; i++)
		snprintf(ret->v[i].new, sizeof ret->v[i].new, quotes ? "\"/new place/%zu.pem\"" : "/new/place/%zu.pem",
			 i);
}

static json_t *record_of(const struct places *places)
{
	json_t *edits = json_array();
	for (size_t i = 0; i < places->n; i++) {
		const struct webconf_value *v = places->v[i].value;
		MUST(i == 0 || places->v[i - 1].value->at.value_to <= v->at.value_from);
		json_array_append_new(edits, json_pack("{ss, sI, ss}", "path", config, "from",
						       (json_int_t)v->at.value_from, "new", places->v[i].new));
	}
	return json_pack("{ss, so}", "name", "shop", "edits", edits);
}

static void add_old(json_t *record, const struct places *places, const struct content *c)
{
	for (size_t i = 0; i < places->n; i++) {
		const struct webconf_place *at = &places->v[i].value->at;
		json_object_set_new(json_array_get(json_object_get(record, "edits"), i), "old",
				    json_stringn(c->bytes + at->value_from, at->value_to - at->value_from));
	}
}

static void compare_value(const struct places *places, const struct webconf_value *a, const struct webconf_value *b)
{
	const char *want = a->text;
	MUST(!a->text == !b->text);
	for (size_t i = 0; i < places->n && a->text; i++)
		if (places->v[i].value->at.value_from == a->at.value_from)
			want = places->v[i].new;
	if (!want)
		return;
	size_t quote = *want == '"' && want != a->text;
	MUST(strlen(want) - 2 * quote == strlen(b->text) && memcmp(want + quote, b->text, strlen(b->text)) == 0);
	MUST(a->inherited == b->inherited);
}

static void compare(const struct places *places, const struct webconf *a, const struct webconf *b)
{
	MUST(a->nhosts == b->nhosts && a->incomplete == b->incomplete);
	for (size_t i = 0; i < a->nhosts; i++) {
		const struct webconf_host *x = &a->hosts[i], *y = &b->hosts[i];
		MUST(x->npairs == y->npairs && x->nlistens == y->nlistens && x->names.n == y->names.n);
		MUST(x->tls == y->tls);
		for (size_t j = 0; j < x->npairs; j++)
			for (int k = 0; k < 3; k++)
				compare_value(places, part(&x->pairs[j], k), part(&y->pairs[j], k));
	}
}

static void edit_and_undo(enum webconf_kind kind, struct content *before, bool quotes)
{
	struct fault fault = {0};
	struct places places = {0};
	struct words files = {0};
	struct webconf *w = parse(kind, before);
	choose(w, before, quotes, &places);
	json_t *record = record_of(&places);
	add_old(record, &places, before);
	if (places.n) {
		MUST(adopt_edit(&site, record, json_object_get(record, "edits"), config, &fault) == 0);
		struct content edited = load();
		struct webconf *again = parse(kind, &edited);
		compare(&places, w, again);
		webconf_free(again);
		MUST(adopt_unedit(&site, record, &files, &fault) == 0 && files.n == 1);
		struct content after = load();
		MUST(after.len == before->len && memcmp(after.bytes, before->bytes, after.len) == 0);
		free(after.bytes);
		free(edited.bytes);
	}
	words_done(&files);
	json_decref(record);
	webconf_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	/* "new place" in it already could not be told from ours */
	if (len < 2 || memmem(bytes, len, "/new", 4))
		return 0;
	FILE *f = fopen(config, "we");
	MUST(f && fwrite(bytes + 1, 1, len - 1, f) == len - 1 && fclose(f) == 0);
	struct content before = {.bytes = xmalloc(len), .len = len - 1};
	memcpy(before.bytes, bytes + 1, len - 1);
	edit_and_undo(bytes[0] & 1 ? WEBCONF_APACHE : WEBCONF_NGINX, &before, bytes[0] & 2);
	free(before.bytes);
	return 0;
}
