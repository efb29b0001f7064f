#include "pki/chain.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/refusal.h"

#define CANDIDATES_MAX 16 /* issuers of one certificate that are looked at */
#define PATHS_MAX      32 /* whole paths that are verified before we give up */
#define STEPS_MAX      500 /* certificates that are stood on before we give up: a mesh of cross certificates has no end */

struct climb {
	const struct chain_input *in;
	X509 *path[CHAIN_MAX];
	size_t n;
	X509 *longest[CHAIN_MAX];
	size_t nlongest;
	X509 *anchor;
	bool loose;
	int tries, steps;
	char *why;
};

static bool valid_now(const X509 *x, int64_t now)
{
	return cert_not_before(x) <= now && now <= cert_not_after(x);
}

static bool on_path(const struct climb *c, const X509 *x)
{
	for (size_t i = 0; i < c->n; i++)
		if (X509_cmp(c->path[i], x) == 0)
			return true;
	return false;
}

static bool signed_by(X509 *child, X509 *issuer)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	bool good = key && X509_verify(child, key) == 1;
	ERR_clear_error();
	return good;
}

struct candidates {
	X509 *v[CANDIDATES_MAX];
	size_t n;
};

static void add_candidate(struct candidates *list, const struct climb *c, X509 *child, X509 *x)
{
	if (list->n < CANDIDATES_MAX && X509_check_issued(x, child) == X509_V_OK && !on_path(c, x))
		list->v[list->n++] = x;
}

static void collect(struct candidates *list, const struct climb *c, X509 *child, struct bundle *from)
{
	const X509_NAME *issuer = X509_get_issuer_name(child);
	X509 *x;
	for (size_t at = 0; (x = bundle_next(from, issuer, c->loose, &at));)
		add_candidate(list, c, child, x);
}

static void collect_given(struct candidates *list, const struct climb *c, X509 *child)
{
	for (size_t i = 0; i < c->in->ngiven; i++)
		if (!cert_is_self_signed(c->in->given[i]))
			add_candidate(list, c, child, c->in->given[i]);
}

/* Two CA keys may share a name: where there is a choice the signature decides. Those in force go first. */
static void choose(struct candidates *list, X509 *child, int64_t now)
{
	struct candidates good = {0};
	if (list->n < 2)
		return;
	for (int in_force = 1; in_force >= 0; in_force--)
		for (size_t i = 0; i < list->n; i++)
			if (valid_now(list->v[i], now) == (in_force == 1) && signed_by(child, list->v[i]))
				good.v[good.n++] = list->v[i];
	*list = good;
}

/* The leaf's own faults are found and told by pki/policy.c. */
static int judge(int ok, X509_STORE_CTX *ctx)
{
	if (ok || X509_STORE_CTX_get_error_depth(ctx) > 0)
		return ok;
	switch (X509_STORE_CTX_get_error(ctx)) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
	case X509_V_ERR_INVALID_PURPOSE:
		return 1;
	default:
		return 0;
	}
}

static char *refusal(X509_STORE_CTX *ctx, const struct climb *c)
{
	int depth = X509_STORE_CTX_get_error_depth(ctx);
	const X509 *at = X509_STORE_CTX_get_current_cert(ctx);
	const char *what = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
	char *subject = at ? cert_subject(at) : xstrdup("?");
	char *text = depth == 0 ? xasprintf("%s", what) : xasprintf("%s: %s", subject, what);
	free(subject);
	return text;
}

/* A CA may demand a policy, whichever (RFC 5280 4.2.1.11); most clients but OpenSSL's look whether there is one. */
static void look_at_policies(X509_STORE_CTX *ctx)
{
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_POLICY_CHECK);
	X509_VERIFY_PARAM_add0_policy(X509_STORE_CTX_get0_param(ctx), OBJ_nid2obj(NID_any_policy));
}

static bool verify(struct climb *c, X509 *anchor)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *others = sk_X509_new_null();
	bool good = false;
	if (!store || !ctx || !others)
		abort();
	X509_STORE_add_cert(store, anchor);
	for (size_t i = 1; i < c->n; i++)
		sk_X509_push(others, c->path[i]);
	if (X509_STORE_CTX_init(ctx, store, c->path[0], others) == 1) {
		X509_STORE_CTX_set_verify_cb(ctx, judge);
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
		X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
		look_at_policies(ctx);
		X509_STORE_CTX_set_time(ctx, 0, (time_t)c->in->now);
		good = X509_verify_cert(ctx) == 1;
		char *why = good ? refusal_by_others(c->path, c->n, anchor) : refusal(ctx, c);
		good = good && !why;
		if (c->why)
			free(why);
		else
			c->why = why;
	}
	c->tries++;
	sk_X509_free(others);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return good;
}

/* Does the trust hold this very certificate? */
static X509 *itself_trusted(struct climb *c, X509 *x)
{
	X509 *found;
	for (size_t at = 0; (found = bundle_next(c->in->trust, X509_get_subject_name(x), c->loose, &at));)
		if (X509_cmp(found, x) == 0)
			return found;
	return NULL;
}

static bool reach(struct climb *c, X509 *anchor)
{
	if (c->tries >= PATHS_MAX || !verify(c, anchor))
		return false;
	c->anchor = anchor;
	return true;
}

/* Depth first, trust first; true once a path holds, which then stands in c->path. */
static bool climb(struct climb *c)
{
	X509 *top = c->path[c->n - 1], *self = itself_trusted(c, top);
	if (c->n > c->nlongest) {
		memcpy(c->longest, c->path, sizeof c->path);
		c->nlongest = c->n;
	}
	if (self && reach(c, self))
		return true;
	if (cert_is_self_signed(top) || ++c->steps > STEPS_MAX)
		return false;
	struct candidates anchors = {0}, others = {0};
	collect(&anchors, c, top, c->in->trust);
	choose(&anchors, top, c->in->now);
	for (size_t i = 0; i < anchors.n; i++)
		if (reach(c, anchors.v[i]))
			return true;
	if (c->n == CHAIN_MAX || c->tries >= PATHS_MAX)
		return false;
	collect_given(&others, c, top);
	collect(&others, c, top, c->in->intermediates);
	choose(&others, top, c->in->now);
	for (size_t i = 0; i < others.n; i++) {
		c->path[c->n++] = others.v[i];
		if (climb(c))
			return true;
		c->n--;
	}
	return false;
}

/* The other certificate of the same CA key, signed by another CA, that was given with the leaf. */
static X509 *cross_certificate(const struct climb *c, const X509 *anchor)
{
	struct digest spki = cert_spki(anchor);
	for (size_t i = 0; i < c->in->ngiven; i++) {
		X509 *x = c->in->given[i];
		struct digest other = cert_spki(x);
		if (!cert_is_self_signed(x) && digest_equal(&spki, &other) && valid_now(x, c->in->now) &&
		    X509_NAME_cmp(X509_get_subject_name(x), X509_get_subject_name(anchor)) == 0 && !on_path(c, x))
			return x;
	}
	return NULL;
}

static X509 *given_issuer(const struct climb *c)
{
	struct candidates list = {0};
	X509 *top = c->path[c->n - 1];
	collect_given(&list, c, top);
	choose(&list, top, c->in->now);
	return list.n ? list.v[0] : NULL;
}

/* What a server sends beyond the first thing that we trust, so that clients who trust less find their way. */
static void extend(struct climb *c)
{
	X509 *top = c->path[c->n - 1], *next = NULL;
	if (X509_cmp(top, c->anchor) != 0)
		next = cert_is_self_signed(c->anchor) ? cross_certificate(c, c->anchor) : c->anchor;
	else if (!cert_is_self_signed(top))
		next = given_issuer(c);
	for (; next && c->n < CHAIN_MAX && valid_now(next, c->in->now); next = given_issuer(c))
		c->path[c->n++] = next;
}

/* Why a certificate of the issuer's name that is there is not the one; NULL: there is none of that name. */
static const char *why_not_this(const struct climb *c, X509 *child)
{
	for (size_t i = 0; i < c->in->ngiven; i++) {
		X509 *x = c->in->given[i];
		if (X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(child)) != 0 ||
		    X509_cmp(x, child) == 0)
			continue;
		switch (X509_check_issued(x, child)) {
		case X509_V_OK:
			return "its key did not sign it";
		case X509_V_ERR_AKID_SKID_MISMATCH:
		case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
			return "it is for another key of this CA";
		case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
			return "it may not sign certificates (keyCertSign)";
		default:
			return "it does not fit";
		}
	}
	return NULL;
}

static char *missing_issuer(const struct climb *c, X509 *leaf, const char *issuer)
{
	const char *why = why_not_this(c, leaf);
	if (why)
		return xasprintf("the certificate of %s among the files is not its issuer's: %s", issuer, why);
	return xasprintf("the certificate of its issuer %s is not among the files, the intermediates or the trust",
			 issuer);
}

static void explain(struct climb *c, struct chain *ret)
{
	X509 *top = c->longest[c->nlongest - 1];
	ret->incomplete = !c->why && c->nlongest == 1 && !cert_is_self_signed(top);
	if (c->why) {
		ret->why = c->why;
		c->why = NULL;
		return;
	}
	char *subject = cert_subject(top), *issuer = cert_issuer(top);
	if (cert_is_self_signed(top))
		ret->why = xasprintf("%s is self-signed and not trusted", subject);
	else if (ret->incomplete)
		ret->why = missing_issuer(c, top, issuer);
	else
		ret->why = xasprintf(
			"it ends at %s, whose issuer %s is not trusted (its root is not in the trust file, or "
			"one more intermediate is missing)",
			subject, issuer);
	free(subject);
	free(issuer);
}

void chain_build(const struct chain_input *in, struct chain *ret)
{
	struct climb c = {.in = in, .path = {in->leaf}, .n = 1};
	*ret = (struct chain){0};
	bool good = climb(&c);
	if (!good) { /* perhaps the names are only written in another way */
		c.loose = true;
		c.n = 1;
		c.steps = 0;
		good = climb(&c);
	}
	if (good) {
		extend(&c);
		free(c.why);
		ret->anchor = c.anchor;
		X509_up_ref(ret->anchor);
	} else {
		explain(&c, ret);
		memcpy(c.path, c.longest, sizeof c.path);
		c.n = c.nlongest;
	}
	for (size_t i = 0; i < c.n; i++) {
		ret->v[ret->n++] = c.path[i];
		X509_up_ref(c.path[i]);
	}
}

void chain_done(struct chain *c)
{
	for (size_t i = 0; i < c->n; i++)
		X509_free(c->v[i]);
	X509_free(c->anchor);
	free(c->why);
	*c = (struct chain){0};
}
