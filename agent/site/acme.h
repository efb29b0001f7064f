/* What an ACME client that fills a `watch` folder can't do: told from its own files, so that nobody relies on it.
 * certbot, lego, dehydrated and acme.sh are known by what lies beside the certificate. Runs in certswapd. */
#ifndef SITE_ACME_H
#define SITE_ACME_H
#include <stdbool.h>

#include "base/text.h"

enum acme_client { ACME_NONE, ACME_CERTBOT, ACME_LEGO, ACME_DEHYDRATED, ACME_SH, ACME_CLIENTS };
const char *acme_client_name(enum acme_client client); /* "certbot"; "" for none */

/* Who fills this folder. *ret_file: its own file about the certificate ("" : none is read); the caller frees. */
enum acme_client acme_recognise(const char *folder, char **ret_file);

struct acme_facts {
	enum acme_client client;
	const char *file;            /* content of its own file; "" */
	const struct words *command; /* the option reissue */
	bool has_ocsp;               /* the certificate names a responder */
	bool has_timer;              /* something starts the client by itself */
};
/* Adds a sentence for each thing that can't work. Pure. */
void acme_judge(const struct acme_facts *facts, struct words *ret);

/* Both for all folders of a certificate, with a look at the usual timers of this host. */
enum acme_client acme_look(const struct words *folders, const struct words *command, bool has_ocsp, struct words *ret);
#endif
