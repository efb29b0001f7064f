/* Which of the servers on an address of nginx has a name. Each name is kept once, by the first server that has it;
 * another one's is ignored ("conflicting server name"). What counts as the same: ngx_hash_add_key. */
#include <ctype.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "webconf/inside.h"

struct name {
	char *text;
	const struct webconf_host *host;
};

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static void name_free(void *v)
{
	struct name *name = v;
	free(name->text);
	free(name);
}

/* The host that has it: this one, where nobody had it before. */
static const struct webconf_host *keep(void **names, char *text, const struct webconf_host *host)
{
	struct name *one = xcalloc(1, sizeof *one);
	*one = (struct name){text, host};
	struct name **found = tsearch(one, names, compare);
	if (!found)
		abort(); /* out of memory */
	const struct webconf_host *owner = (*found)->host;
	if (*found != one)
		name_free(one);
	return owner;
}

/* ".x" is two names, "x" and "*.x"; where one of them is taken, both are. */
static const struct webconf_host *keep_name(void **names, const char *name, const struct webconf_host *host)
{
	char *text = xstrdup(name);
	for (char *c = text; *name != '~' && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (*text != '.')
		return keep(names, text, host);
	char *wild = xasprintf("*%s", text);
	memmove(text, text + 1, strlen(text));
	const struct webconf_host *owner = keep(names, text, host);
	if (owner == host)
		return keep(names, wild, host);
	free(wild);
	return owner;
}

void nginx_answers(struct reading *r, const struct end *v, size_t n)
{
	void *names = NULL;
	for (size_t i = 0; n > 1 && i < n; i++) {
		const struct webconf_host *h = v[i].host;
		for (size_t j = 0; j < h->names.n; j++) {
			const struct webconf_host *owner = keep_name(&names, h->names.v[j], h);
			if (owner == h || words_has(&v[i].listen->taken, h->names.v[j]))
				continue;
			AUTO_FREE char *where = webconf_where(r->w, &owner->at);
			words_add(&v[i].listen->taken, h->names.v[j]);
			reading_note(r, h->at.file, h->at.line, "on %s, the server at %s has the name %s: not this one",
				     v[i].listen->address, where, *h->names.v[j] ? h->names.v[j] : "\"\"");
		}
	}
	tdestroy(names, name_free);
}
