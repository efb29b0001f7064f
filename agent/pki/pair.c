#include "pki/pair.h"

#include <stdlib.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/key.h"
#include "pki/policy.h"

static const struct pool_key *find_key(const struct pool *pool, const struct pool_cert *cert)
{
	for (size_t i = 0; i < pool->nkeys; i++)
		if (key_fits(pool->keys[i].key, cert->x509))
			return &pool->keys[i];
	return NULL;
}

struct candidate {
	const struct pool_cert *cert;
	const struct pool_key *key;
	bool covers;
	int64_t from;
};

static bool better(const struct candidate *a, const struct candidate *b)
{
	if (!b->cert || (a->key != NULL) != (b->key != NULL))
		return !b->cert || a->key;
	if (a->cert->ca != b->cert->ca)
		return !a->cert->ca;
	if (a->covers != b->covers)
		return a->covers;
	return a->from > b->from;
}

void pair_choose(const struct pool *pool, const struct check_request *r, const struct words *names, struct pair *ret)
{
	struct candidate best = {0};
	for (size_t i = 0; i < pool->ncerts; i++) {
		const struct pool_cert *cert = &pool->certs[i];
		if (r->roles[cert->file] != CHECK_SUBMITTED)
			continue;
		if (!digest_is_zero(&r->leaf) && !digest_equal(&r->leaf, &cert->sha256))
			continue;
		struct candidate c = {.cert = cert, .key = find_key(pool, cert), .from = cert_not_before(cert->x509)};
		if (cert->ca && !c.key && digest_is_zero(&r->leaf)) /* a CA of the chain, not what is to be served */
			continue;
		struct words missing = {0};
		policy_missing_names(cert->x509, names, &missing);
		c.covers = missing.n == 0;
		words_done(&missing);
		if (better(&c, &best))
			best = c;
	}
	*ret = (struct pair){.leaf = best.cert, .key = best.key};
}

static const struct pool_other *first_locked(const struct pool *pool)
{
	for (size_t i = 0; i < pool->nothers; i++)
		if (pool->others[i].kind == POOL_LOCKED)
			return &pool->others[i];
	return NULL;
}

static const struct pool_key *first_submitted(const struct pool *pool, const struct check_request *r)
{
	for (size_t i = 0; i < pool->nkeys; i++)
		if (r->roles[pool->keys[i].file] == CHECK_SUBMITTED)
			return &pool->keys[i];
	return NULL;
}

static void judge_key(const struct pool *pool, const struct check_request *r, const struct pool_cert *leaf,
		      struct findings *f)
{
	char a[DIGEST_HEX], b[DIGEST_HEX];
	const struct pool_other *locked = first_locked(pool);
	const struct pool_key *other = first_submitted(pool, r);
	if (locked) {
		findings_add(f, FINDING_KEY_ENCRYPTED, FINDING_BLOCK, "The private key can't be read: file %u: %s.",
			     locked->file + 1U, locked->text);
	} else if (other) {
		struct digest spki = key_spki(other->key);
		findings_add(f, FINDING_PAIR_MISMATCH, FINDING_BLOCK,
			     "The certificate was issued for another key: it holds the public key %.16s..., the key in "
			     "file %u is %.16s... (%s).",
			     digest_text(&leaf->spki, a), other->file + 1U, digest_text(&spki, b), other->text);
	} else {
		findings_add(
			f, FINDING_KEY_MISSING, FINDING_BLOCK,
			"There is no private key for the certificate (public key %.16s...), neither among the files "
			"nor among the keys kept here.",
			digest_text(&leaf->spki, a));
	}
}

static void judge_leaf(const struct pool *pool, const struct check_request *r, struct findings *f)
{
	char hex[DIGEST_HEX];
	const struct pool_other *locked = first_locked(pool);
	size_t certs = 0;
	for (size_t i = 0; i < pool->ncerts; i++)
		certs += r->roles[pool->certs[i].file] == CHECK_SUBMITTED;
	if (locked)
		findings_add(f, FINDING_KEY_ENCRYPTED, FINDING_BLOCK, "No server certificate can be read: file %u: %s.",
			     locked->file + 1U, locked->text);
	else if (!digest_is_zero(&r->leaf))
		findings_add(f, FINDING_UNREADABLE, FINDING_BLOCK, "The certificate %.16s... is not in the files.",
			     digest_text(&r->leaf, hex));
	else if (certs)
		findings_add(f, FINDING_UNREADABLE, FINDING_BLOCK,
			     "The files hold certificates of CAs (%zu), but none of a server.", certs);
	else
		findings_add(f, FINDING_UNREADABLE, FINDING_BLOCK, "The files hold no certificate.");
}

/* Rubbish beside a whole pair harms nobody; where something is missing, it may be just that. */
static void judge_files(const struct pool *pool, const struct check_request *r, bool whole, struct findings *f)
{
	for (size_t i = 0; i < pool->nothers; i++) {
		const struct pool_other *o = &pool->others[i];
		bool damaged = o->kind == POOL_DAMAGED;
		if ((!damaged && o->kind != POOL_NOTHING && o->kind != POOL_REQUEST) ||
		    r->roles[o->file] != CHECK_SUBMITTED)
			continue;
		findings_add(f, FINDING_UNREADABLE,
			     !whole    ? FINDING_BLOCK
			     : damaged ? FINDING_WARN
				       : FINDING_INFO,
			     "File %u: %s.", o->file + 1U, o->text);
	}
}

void pair_judge(const struct pool *pool, const struct check_request *r, const struct pair *pair, struct findings *f)
{
	if (!pair->leaf)
		judge_leaf(pool, r, f);
	else if (!pair->key)
		judge_key(pool, r, pair->leaf, f);
	judge_files(pool, r, pair->leaf && pair->key, f);
}
