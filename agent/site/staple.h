/* The OCSP response that nginx staples from a file (option staple): gen/NNNNNN/ocsp.der, and ocsp.json beside it, which
 * says until when it is fresh. nginx reads it at a reload, and serves it unchecked: it must be of the same certificate
 * as the pair, and go live with it. Runs in certswapd. */
#ifndef SITE_STAPLE_H
#define SITE_STAPLE_H
#include "site/certificate.h"
#include "wire/sources.h"

/* A response for the leaf of `chain`, which stands in fullchain.pem of that generation: the one that is there while it
 * is fresh; else a new one; else the one that is there while it holds. fault->code: 0 it is there; -ENODATA nobody can
 * be asked; -EAGAIN not yet. Calls back exactly once, never from inside. */
typedef void (*staple_cb)(const struct fault *fault, void *data);
void staple_get(struct certificate *c, unsigned int generation, const struct source_file *chain, staple_cb cb,
		void *data);

/* Gives each live pair a new response, by an ordinary swap of the pair for itself, when half of its time is over. */
struct staples *staples_open(struct site *site);
void staples_close(struct site *site); /* no callbacks */
#endif
