/* Revocation notices: from `certswapctl notice` and from files in STATE/notices (CONTRACT "A notice file"). Which
 * certificates here they hit. Runs in certswapd; what it reads is small JSON of the host's own operators. */
#ifndef SITE_NOTICE_H
#define SITE_NOTICE_H
#include "site/response.h"

struct notice_hit {
	struct certificate *certificate;
	const struct meta *meta; /* its live, standby, coming or going generation */
};
struct notice_hits {
	struct notice_hit *v;
	size_t n;
};
/* Reads the fields of a notice and finds what it hits. `file`: from a drop box: then an unknown field is an error. 0;
 * -ENOENT: it names nothing here; -EEXIST: the serial fits certificates of several issuers; -EINVAL: a field is wrong;
 * fault says it all. The strings in *ret_notice live as long as `object`. The caller frees hits->v. */
int notice_read(struct site *site, const json_t *object, bool file, struct notice *ret_notice,
		struct notice_hits *ret_hits, struct fault *fault);

/* The drop box for notice files. */
int notices_watch(struct site *site, struct fault *fault); /* looks once, then at each change */
void notices_close(struct site *site);
#endif
