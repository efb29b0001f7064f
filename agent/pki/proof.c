#include "pki/proof.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"
#include "pki/chain.h"
#include "pki/handshake.h"
#include "pki/key.h"
#include "pki/pair.h"
#include "pki/pem.h"
#include "pki/policy.h"
#include "pki/pool.h"

/* nginx's and Apache's OpenSSL take what this level takes, whatever the distribution's default is. */
#define SECURITY_LEVEL 1

struct proof {
	const struct proof_input *in;
	const struct check_request *request;
	struct words passwords, names; /* names to be covered */
	struct pool given, live;
	struct bundle *intermediates, *local_roots;
	struct pair pair;
	struct chain chain, live_chain;
	X509 *live_leaf; /* in `live`; NULL: nothing is live */
	struct findings *findings;
	bool public_rules;
};

/* Intermediates may come as PKCS#7 too; that is rare, so it is looked at only where there is no PEM. */
static void add_intermediates(struct proof *p, const struct proof_file *file)
{
	struct words none = {0};
	if (bundle_add(p->intermediates, file->bytes, file->len))
		return;
	struct pool pool = {.passwords = &none};
	pool_read(&pool, 0, file->bytes, file->len);
	for (size_t i = 0; i < pool.ncerts; i++)
		bundle_add_cert(p->intermediates, pool.certs[i].x509);
	pool_done(&pool);
}

static void unread(struct proof *p, size_t i, enum check_role role)
{
	const struct proof_file *file = &p->in->files[i];
	bool needed = role == CHECK_SUBMITTED || role == CHECK_PASSWORD;
	enum finding_severity severity = needed ? FINDING_BLOCK : FINDING_WARN;
	if (file->too_large)
		findings_add(p->findings, FINDING_TOO_LARGE, severity, "File %zu is larger than 1 MiB.", i + 1);
	else
		findings_add(p->findings, FINDING_UNREADABLE, severity, "File %zu can't be read: %s.", i + 1,
			     strerror(-file->error));
}

static void read_files(struct proof *p)
{
	const struct check_request *r = p->request;
	for (size_t i = 0; i < r->files; i++)
		if (r->roles[i] == CHECK_PASSWORD)
			pool_passwords(&p->passwords, p->in->files[i].bytes, p->in->files[i].len);
	for (size_t i = 0; i < r->files; i++) {
		const struct proof_file *file = &p->in->files[i];
		enum check_role role = (enum check_role)r->roles[i];
		if ((file->too_large || file->error) && role == CHECK_LOCAL_ROOT)
			continue; /* at worst it passes for a public one */
		if (file->too_large || file->error) {
			unread(p, i, role);
			continue;
		}
		switch (role) {
		case CHECK_SUBMITTED:
		case CHECK_KEY:
			pool_read(&p->given, (uint16_t)i, file->bytes, file->len);
			break;
		case CHECK_INTERMEDIATE:
			add_intermediates(p, file);
			break;
		case CHECK_LOCAL_ROOT:
			bundle_add(p->local_roots, file->bytes, file->len);
			break;
		case CHECK_LIVE:
			pool_read(&p->live, (uint16_t)i, file->bytes, file->len);
			break;
		case CHECK_PASSWORD:
		case CHECK_WEAK_KEYS: /* in->weak */
		case CHECK_ROLES:
			break;
		}
	}
	p->live_leaf = p->live.ncerts ? p->live.certs[0].x509 : NULL;
	if (r->names.n)
		words_copy(&p->names, &r->names);
	else if (p->live_leaf)
		cert_names(p->live_leaf, &p->names);
}

static void build_chain(struct proof *p, X509 *leaf, const struct pool *pool, struct bundle *intermediates,
			struct chain *ret)
{
	X509 **given = xcalloc(pool->ncerts, sizeof *given);
	for (size_t i = 0; i < pool->ncerts; i++)
		given[i] = pool->certs[i].x509;
	struct chain_input in = {.leaf = leaf,
				 .given = given,
				 .ngiven = pool->ncerts,
				 .intermediates = intermediates,
				 .trust = p->in->trust,
				 .now = p->request->now};
	chain_build(&in, ret);
	free(given);
}

/* A root of this host alone, which stands among the public ones? */
static bool is_local(const struct proof *p, const X509 *anchor)
{
	size_t at = 0;
	for (X509 *x; (x = bundle_next(p->local_roots, X509_get_subject_name(anchor), false, &at));)
		if (X509_cmp(x, anchor) == 0)
			return true;
	return false;
}

static bool public_rules(const struct proof *p)
{
	switch (p->request->profile) {
	case CHECK_PROFILE_PUBLIC:
		return true;
	case CHECK_PROFILE_PRIVATE:
		return false;
	case CHECK_PROFILE_AUTO:
	case CHECK_PROFILES:
		break;
	}
	return p->request->system_trust && p->chain.anchor && !is_local(p, p->chain.anchor);
}

static bool denied(const struct proof *p, const struct digest *d)
{
	for (size_t i = 0; i < p->request->ndenied; i++)
		if (digest_equal(&p->request->denied[i], d))
			return true;
	return false;
}

static void judge_denied(struct proof *p)
{
	const struct pool_cert *leaf = p->pair.leaf;
	char hex[DIGEST_HEX];
	if (denied(p, &leaf->spki))
		findings_add(
			p->findings, FINDING_KEY_DENIED, FINDING_BLOCK,
			"Its key (%.16s...) is among the refused ones: it is known or feared to be in other hands.",
			digest_text(&leaf->spki, hex));
	for (size_t i = 0; i < p->chain.n; i++) {
		struct digest d = cert_digest(p->chain.v[i]);
		if (!denied(p, &d))
			continue;
		char *subject = cert_subject(p->chain.v[i]);
		findings_add(p->findings, FINDING_REVOKED, FINDING_BLOCK,
			     "%s (SHA-256 %.16s...) was noticed as revoked or to be revoked.",
			     i == 0 ? "The certificate" : subject, digest_text(&d, hex));
		free(subject);
	}
}

/* What the live one has too is judged only where that may change something. */
static void judge_live(struct proof *p, const struct words *required, struct findings *ret)
{
	if (!p->live_chain.n)
		build_chain(p, p->live_leaf, &p->live, NULL, &p->live_chain);
	struct policy_subject subject = {.chain = &p->live_chain,
					 .public_rules = p->public_rules,
					 .now = p->request->now,
					 .required = required,
					 .pins = &p->request->pins,
					 .weak = p->in->weak};
	policy_judge(&subject, ret);
}

static bool has(const struct findings *f, enum finding_code code)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].code == code)
			return true;
	return false;
}

/* The live one has the finding; but is it as bad? */
static bool no_worse(const struct proof *p, enum finding_code code, const struct words *missing)
{
	const EVP_PKEY *new_key = X509_get0_pubkey(p->pair.leaf->x509), *old_key = X509_get0_pubkey(p->live_leaf);
	struct words old = {0};
	bool same = true;
	if (code == FINDING_NAME_MISSING) {
		policy_missing_names(p->live_leaf, missing, &old);
		same = old.n == missing->n;
		words_done(&old);
	} else if (code == FINDING_KEY_SIZE && new_key && old_key) {
		same = EVP_PKEY_get_bits(new_key) >= EVP_PKEY_get_bits(old_key);
	}
	return same;
}

static void soften(struct finding *f, const char *why)
{
	char *text = xasprintf("%s (%s)", f->text, why);
	free(f->text);
	f->text = text;
	f->severity = FINDING_WARN;
}

/* What is no worse than today never blocks. */
static void compare_with_live(struct proof *p, struct findings *f)
{
	bool blocks = false;
	for (size_t i = 0; i < f->n; i++)
		blocks |= f->v[i].severity == FINDING_BLOCK && policy_is_rule(f->v[i].code);
	if (!blocks || !p->live_leaf)
		return;
	struct words missing = {0};
	struct findings live = {0};
	policy_missing_names(p->pair.leaf->x509, &p->names, &missing);
	judge_live(p, &missing, &live);
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].severity == FINDING_BLOCK && policy_is_rule(f->v[i].code) && has(&live, f->v[i].code) &&
		    no_worse(p, f->v[i].code, &missing))
			soften(&f->v[i], "the live certificate is no better");
	findings_done(&live);
	words_done(&missing);
}

static bool is_client(X509 *x)
{
	return (X509_get_extension_flags(x) & EXFLAG_XKUSAGE) && (X509_get_extended_key_usage(x) & XKU_SSL_CLIENT);
}

static void judge_change(struct proof *p)
{
	X509 *leaf = p->pair.leaf->x509;
	char a[32], b[32];
	if (!p->live_leaf)
		return;
	int64_t new_from = cert_not_before(leaf), old_from = cert_not_before(p->live_leaf);
	if (digest_equal(&p->pair.leaf->sha256, &p->live.certs[0].sha256))
		findings_add(p->findings, FINDING_SAME_AS_LIVE, FINDING_INFO,
			     "It is the certificate that is live now.");
	else if (new_from < old_from)
		findings_add(p->findings, FINDING_OLDER_THAN_LIVE,
			     p->request->older_blocks ? FINDING_BLOCK : FINDING_INFO,
			     "It begins on %s, the live one on %s.", text_from_time(new_from, a),
			     text_from_time(old_from, b));
	if (is_client(p->live_leaf) && !is_client(leaf) && (X509_get_extension_flags(leaf) & EXFLAG_XKUSAGE))
		findings_add(p->findings, FINDING_USAGE_CLIENT_AUTH_LOST, FINDING_WARN,
			     "The live certificate may be used by a TLS client too (clientAuth), this one may not.");
}

/* A server that serves a weakly signed chain today was told to (@SECLEVEL=0). */
static int security_level(struct proof *p)
{
	bool weak = false, live_weak = false;
	for (size_t i = 0; i < p->chain.n; i++)
		weak |= cert_weak_digest(p->chain.v[i]) != NULL;
	if (!weak || !p->live_leaf)
		return SECURITY_LEVEL;
	for (size_t i = 0; i < p->live.ncerts; i++)
		live_weak |= cert_weak_digest(p->live.certs[i].x509) != NULL;
	return live_weak ? 0 : SECURITY_LEVEL;
}

static void judge_handshake(struct proof *p)
{
	EVP_PKEY *key = p->pair.key->key;
	struct handshake h;
	handshake_try(&p->chain, key, security_level(p), &h);
	if (!h.tls12 || !h.tls13) {
		/* OpenSSL serves other curves than the three by TLS 1.2 alone (RFC 8446 4.2.3) */
		char *type = cert_key_type(key);
		bool curve = h.tls12 && strncmp(type, "ecdsa-", 6) == 0 && strncmp(type, "ecdsa-p", 7) != 0;
		findings_add(p->findings, FINDING_HANDSHAKE_FAILED, curve ? FINDING_WARN : FINDING_BLOCK,
			     "A handshake with the pair failed: %s.", h.why ? h.why : "no reason given");
		free(type);
	} else {
		const char *damage = handshake_key_damage(key);
		if (damage)
			findings_add(p->findings, FINDING_HANDSHAKE_FAILED, FINDING_BLOCK,
				     "The private key is damaged: %s. Some servers would work around it, others would "
				     "give the key away.",
				     damage);
	}
	handshake_done(&h);
}

static void accept(const struct proof *p)
{
	for (size_t i = 0; i < p->findings->n; i++) {
		struct finding *f = &p->findings->v[i];
		if (f->severity == FINDING_BLOCK && finding_can_be_accepted(f->code) &&
		    words_has(&p->request->accepted, finding_name(f->code)))
			soften(f, "accepted");
	}
}

static void describe(const struct proof *p, struct check_reply *ret)
{
	X509 *leaf = p->pair.leaf->x509;
	X509 *issuer = p->chain.n > 1 ? p->chain.v[1] : p->chain.anchor;
	ret->sha256 = p->pair.leaf->sha256;
	ret->spki = p->pair.leaf->spki;
	ret->serial = cert_serial(leaf);
	ret->issuer = cert_issuer(leaf);
	ret->issuer_ski = cert_issuer_ski(leaf);
	ret->subject = cert_subject(leaf);
	ret->key_type = cert_key_type(X509_get0_pubkey(leaf));
	cert_names(leaf, &ret->names);
	ret->not_before = cert_not_before(leaf);
	ret->not_after = cert_not_after(leaf);
	ret->publicly_trusted = p->public_rules;
	if (issuer)
		ret->issuer_spki = cert_spki(issuer);
}

static void write_cert(struct text *t, const X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	if (n > 0)
		pem_write(t, "CERTIFICATE", der, (size_t)n);
	OPENSSL_free(der);
}

/* DH and ECDH parameters go on from the file that is replaced; new DH parameters may come with the pair. */
static void write_blocks(struct text *t, const struct pool *pool, bool live)
{
	for (size_t i = 0; i < pool->nothers; i++) {
		const struct pool_other *o = &pool->others[i];
		if (o->kind == POOL_BLOCK && (live || strstr(o->text, "DH PARAMETERS")) && !strstr(t->s, o->text))
			text_add_bytes(t, o->text, strlen(o->text));
	}
}

static bool write_out(const struct proof *p, struct proof_output *out)
{
	struct text *v = out->v, *combined = &v[CHECK_OUT_COMBINED];
	if (!key_write(&v[CHECK_OUT_KEY], p->pair.key->key))
		return false;
	for (size_t i = 0; i < p->chain.n; i++)
		write_cert(&v[i == 0 ? CHECK_OUT_CERT : CHECK_OUT_CHAIN], p->chain.v[i]);
	text_add_bytes(&v[CHECK_OUT_CHAIN], "", 0); /* an empty file where nothing stands between leaf and root */
	text_add(&v[CHECK_OUT_FULLCHAIN], "%s%s", v[CHECK_OUT_CERT].s, v[CHECK_OUT_CHAIN].s);
	size_t blocks = 1;
	for (size_t i = 0; i < p->live.nothers; i++)
		blocks += strlen(p->live.others[i].text);
	for (size_t i = 0; i < p->given.nothers; i++)
		blocks += strlen(p->given.others[i].text);
	combined->cap =
		v[CHECK_OUT_KEY].len + v[CHECK_OUT_FULLCHAIN].len + blocks + 1; /* never moved: it holds the key */
	combined->s = xcalloc(1, combined->cap);
	text_add_bytes(combined, v[CHECK_OUT_KEY].s, v[CHECK_OUT_KEY].len);
	text_add_bytes(combined, v[CHECK_OUT_FULLCHAIN].s, v[CHECK_OUT_FULLCHAIN].len);
	write_blocks(combined, &p->live, true);
	write_blocks(combined, &p->given, false);
	return true;
}

void proof_output_done(struct proof_output *out)
{
	for (size_t i = 0; i < CHECK_OUTPUTS; i++)
		pem_text_done(&out->v[i]);
	text_done(&out->chain);
}

static bool prove(struct proof *p, struct check_reply *ret, struct proof_output *out)
{
	pair_choose(&p->given, p->request, &p->names, &p->pair);
	pair_judge(&p->given, p->request, &p->pair, p->findings);
	if (!p->pair.leaf)
		return false;
	build_chain(p, p->pair.leaf->x509, &p->given, p->intermediates, &p->chain);
	p->public_rules = public_rules(p);
	struct policy_subject subject = {.chain = &p->chain,
					 .public_rules = p->public_rules,
					 .now = p->request->now,
					 .required = &p->names,
					 .pins = &p->request->pins,
					 .weak = p->in->weak};
	judge_denied(p);
	policy_judge(&subject, p->findings);
	compare_with_live(p, p->findings);
	judge_change(p);
	if (p->pair.key)
		judge_handshake(p);
	accept(p);
	describe(p, ret);
	for (size_t i = 0; i < p->chain.n; i++)
		write_cert(&out->chain, p->chain.v[i]);
	out->incomplete = p->chain.incomplete;
	return p->pair.key && write_out(p, out);
}

bool proof_make(const struct proof_input *in, struct check_reply *ret, struct proof_output *out)
{
	*ret = (struct check_reply){0};
	*out = (struct proof_output){0};
	struct proof p = {.in = in,
			  .request = in->request,
			  .findings = &ret->findings,
			  .intermediates = bundle_new(),
			  .local_roots = bundle_new()};
	p.given.passwords = p.live.passwords = &p.passwords;
	read_files(&p);
	bool whole = prove(&p, ret, out);
	chain_done(&p.chain);
	chain_done(&p.live_chain);
	pool_done(&p.given);
	pool_done(&p.live);
	bundle_free(p.intermediates);
	bundle_free(p.local_roots);
	pool_passwords_done(&p.passwords);
	words_done(&p.names);
	return whole;
}
