/* Keys that wait for their certificate: NAME/pending/SPKI/{privkey.pem,request.csr,key.json}, SPKI in hexadecimal. The
 * key is readable by the daemon's user alone; the worker that made it wrote through a descriptor. A folder
 * pending/.new was being made when the agent died: the next key takes its place. Runs in certswapd. */
#ifndef SWAP_KEYRING_H
#define SWAP_KEYRING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/text.h"

#define KEYRING_FILES 2 /* privkey.pem, request.csr: the order of enum keygen_output */

struct waiting_key {
	struct digest spki;
	int64_t since;
	char *key_type;
	struct words names; /* in its request */
	bool printed;       /* somebody may have sent its request to the CA */
	bool suspect;       /* it lay on this disk when somebody broke in */
};
struct keyring {
	struct waiting_key *v;
	size_t n;
};

/* `folder` is STATE/certificates/NAME. Each returns 0 or negative errno. */
int keyring_load(int folder, struct keyring *ret, struct fault *fault); /* keyring_done, also after a failure */
void keyring_done(struct keyring *k);
void keyring_add(struct keyring *k, const struct waiting_key *key); /* in memory; takes over what it holds */
void keyring_drop(struct keyring *k, size_t at);                    /* in memory */

/* Empty files for a new key; ret_fds are open for writing and the caller's. */
int keyring_begin(int folder, int ret_fds[KEYRING_FILES], struct fault *fault);
/* They are written: from here on the key is kept. Durable. */
int keyring_seal(int folder, const int fds[KEYRING_FILES], const struct waiting_key *key, struct fault *fault);
int keyring_mark(int folder, const struct waiting_key *key,
		 struct fault *fault); /* saves printed and suspect; durable */
int keyring_remove(int folder, const struct digest *spki, struct fault *fault);
int keyring_open_key(int folder, const struct digest *spki, struct fault *fault); /* a descriptor, for a worker */
int keyring_read_request(int folder, const struct digest *spki, char **ret, struct fault *fault);
#endif
