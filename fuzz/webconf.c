/* The configuration of a web server, as a bundle of files: read as either language, whatever it was written for. */
#include "fuzz.h"
#include "webconf/bundle.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

/* An edit would trust these. */
static void check_value(const struct webconf *w, const struct webconf_value *v)
{
	if (!v->text)
		return;
	MUST(v->raw && v->at.file < w->nfiles && v->at.line > 0);
	MUST(v->at.from < v->at.value_from && v->at.value_from <= v->at.value_to && v->at.value_to <= v->at.to);
}

static void read_as(enum webconf_kind kind, const char *config, const struct webconf_source *source)
{
	struct webconf *w = webconf_read(kind, config, NULL, source);
	for (size_t i = 0; i < w->nhosts; i++) {
		for (size_t j = 0; j < w->hosts[i].npairs; j++) {
			check_value(w, &w->hosts[i].pairs[j].certificate);
			check_value(w, &w->hosts[i].pairs[j].key);
			check_value(w, &w->hosts[i].pairs[j].chain);
		}
	}
	webconf_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct bundle b;
	bundle_open((const char *)bytes, len, &b);
	struct webconf_source source = bundle_source(&b);
	read_as(WEBCONF_NGINX, b.n ? b.v[0].path : "/etc/nginx/nginx.conf", &source);
	read_as(WEBCONF_APACHE, b.n ? b.v[0].path : "/etc/apache2/apache2.conf", &source);
	bundle_done(&b);
	return 0;
}
