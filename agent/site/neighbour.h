/* Neighbours: Ansible, Puppet, an ACME client or a person with `cp` write the same paths. Between swaps each
 * certificate's link and the content of its live generation are watched (inotify, and hashes at each rescan). Content
 * written through the link becomes a candidate in the drop box of the certificate, and the generation is restored; a
 * link that was turned to an older or refused generation is put back, to a better one is accepted. What comes back
 * again and again is drift: one alert, no reload war. Runs in certswapd. */
#ifndef SITE_NEIGHBOUR_H
#define SITE_NEIGHBOUR_H
#include "site/certificate.h"

struct neighbours;
struct neighbours *neighbours_watch(struct site *site,
				    struct fault *fault); /* NULL and fault: a folder can't be watched */
void neighbours_close(struct neighbours *neighbours);
/* The certificate's live pair has changed by a swap of ours: that is what is right from now on. */
void neighbours_review(struct neighbours *neighbours, const struct certificate *c);
#endif
