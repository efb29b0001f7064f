#include "test_pki_help.h"

#include <openssl/ct.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

EVP_PKEY *make_key(const char *type)
{
	if (strncmp(type, "RSA:", 4) == 0)
		return EVP_RSA_gen((unsigned)atoi(type + 4));
	if (strcmp(type, "ED25519") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return EVP_EC_gen(type);
}

static void extend(X509 *x, X509 *issuer, const char *name, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
	X509V3_set_nconf(&ctx, NULL);
	X509_EXTENSION *e = X509V3_EXT_nconf(NULL, &ctx, name, value);
	if (!e)
		abort();
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

static void embed_scts(X509 *x, int n)
{
	STACK_OF(SCT) *list = sk_SCT_new_null();
	for (int i = 0; i < n; i++) {
		unsigned char id[32] = {(unsigned char)i}, signature[] = {0x30, 0x06, 2, 1, 1, 2, 1, 1};
		SCT *s = SCT_new();
		SCT_set_version(s, SCT_VERSION_V1);
		SCT_set1_log_id(s, id, sizeof id);
		SCT_set_timestamp(s, 1);
		SCT_set_signature_nid(s, NID_ecdsa_with_SHA256);
		SCT_set1_signature(s, signature, sizeof signature);
		sk_SCT_push(list, s);
	}
	if (X509_add1_ext_i2d(x, NID_ct_precert_scts, list, 0, X509V3_ADD_DEFAULT) != 1)
		abort();
	SCT_LIST_free(list);
}

static void name_it(X509 *x, const struct wish *w, const struct made *issuer)
{
	X509_NAME *name = X509_NAME_new();
	if (w->cn)
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)w->cn, -1, -1, 0);
	X509_set_subject_name(x, name);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer->x509) : name);
	X509_NAME_free(name);
}

struct made make(struct wish w, const struct made *issuer)
{
	static long serial = 0x1000;
	struct made m = {.key = w.key ? w.key : make_key("P-256"), .x509 = X509_new()};
	X509 *x = m.x509, *above = issuer ? issuer->x509 : NULL;
	if (w.key)
		EVP_PKEY_up_ref(w.key);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	name_it(x, &w, issuer);
	ASN1_TIME_set(X509_getm_notBefore(x), w.from ? w.from : NOW - DAY);
	ASN1_TIME_set(X509_getm_notAfter(x), w.until ? w.until : NOW + 89 * DAY);
	X509_set_pubkey(x, m.key);
	extend(x, above, "basicConstraints", w.ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	extend(x, above, "subjectKeyIdentifier", "hash");
	if (issuer)
		extend(x, above, "authorityKeyIdentifier", "keyid");
	if (w.san)
		extend(x, above, "subjectAltName", w.san);
	if (w.usage)
		extend(x, above, "keyUsage", w.usage);
	if (w.purpose)
		extend(x, above, "extendedKeyUsage", w.purpose);
	for (int i = 0; i < 2 && w.more[i][0]; i++)
		extend(x, above, w.more[i][0], w.more[i][1]);
	if (w.scts)
		embed_scts(x, w.scts);
	EVP_PKEY *signer = issuer ? issuer->key : m.key;
	const EVP_MD *digest = EVP_PKEY_is_a(signer, "ED25519") ? NULL : w.digest ? w.digest : EVP_sha256();
	if (X509_sign(x, signer, digest) <= 0)
		abort();
	return m;
}

struct made make_leaf(const char *san, const struct made *issuer)
{
	return make((struct wish){.cn = "leaf",
				  .san = san,
				  .usage = "critical,digitalSignature",
				  .purpose = "serverAuth",
				  .more = {{"crlDistributionPoints", "URI:http://crl.test/1.crl"}}},
		    issuer);
}

void made_done(struct made *m)
{
	EVP_PKEY_free(m->key);
	X509_free(m->x509);
	*m = (struct made){0};
}

struct family make_family(void)
{
	struct family f;
	struct wish ca = {.cn = "Test Root",
			  .ca = true,
			  .usage = "critical,keyCertSign,cRLSign",
			  .from = NOW - 1000 * DAY,
			  .until = NOW + 1000 * DAY};
	f.root = make(ca, NULL);
	ca.cn = "Test Issuing CA";
	f.sub = make(ca, &f.root);
	f.leaf = make_leaf("DNS:a.test,DNS:www.a.test", &f.sub);
	return f;
}

void family_done(struct family *f)
{
	made_done(&f->root);
	made_done(&f->sub);
	made_done(&f->leaf);
}

static char *of_bio(BIO *bio)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);
	char *s = xstrndup(data, (size_t)n);
	BIO_free(bio);
	return s;
}

char *pem_cert(const X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(bio, x);
	return of_bio(bio);
}

char *pem_key(const EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	return of_bio(bio);
}

char *joined(char *first, ...)
{
	struct text t = {0};
	va_list args;
	va_start(args, first);
	for (char *s = first; s; s = va_arg(args, char *)) {
		text_add_bytes(&t, s, strlen(s));
		free(s);
	}
	va_end(args);
	return t.s;
}

void trial_add_bytes(struct trial *t, enum check_role role, char *bytes, size_t len)
{
	size_t i = t->request.files++;
	t->roles[i] = (uint8_t)role;
	t->bytes[i] = bytes;
	t->files[i] = (struct proof_file){.bytes = bytes, .len = len};
}

void trial_add(struct trial *t, enum check_role role, char *bytes)
{
	trial_add_bytes(t, role, bytes, strlen(bytes));
}

void trial_trust(struct trial *t, const X509 *x)
{
	char *pem = pem_cert(x);
	if (!t->trust)
		t->trust = bundle_new();
	bundle_add(t->trust, pem, strlen(pem));
	free(pem);
}

void trial_run(struct trial *t)
{
	check_reply_done(&t->reply);
	proof_output_done(&t->out);
	t->request.roles = t->roles;
	if (!t->request.now)
		t->request.now = NOW;
	struct proof_input in = {.request = &t->request, .files = t->files, .trust = t->trust, .weak = t->weak};
	t->whole = proof_make(&in, &t->reply, &t->out);
}

void trial_done(struct trial *t)
{
	check_reply_done(&t->reply);
	proof_output_done(&t->out);
	t->request.roles = NULL;
	check_request_done(&t->request);
	for (size_t i = 0; i < 16; i++)
		free(t->bytes[i]);
	bundle_free(t->trust);
	weak_list_free(t->weak);
}

struct trial trial_of_leaf(const struct family *f, const struct made *leaf)
{
	struct trial t = {0};
	trial_add(&t, CHECK_SUBMITTED, joined(pem_cert(leaf->x509), pem_cert(f->sub.x509), NULL));
	trial_add(&t, CHECK_SUBMITTED, pem_key(leaf->key));
	trial_trust(&t, f->root.x509);
	return t;
}

struct trial trial_of(const struct family *f)
{
	return trial_of_leaf(f, &f->leaf);
}

const struct finding *found(const struct trial *t, enum finding_code code)
{
	for (size_t i = 0; i < t->reply.findings.n; i++)
		if (t->reply.findings.v[i].code == code)
			return &t->reply.findings.v[i];
	return NULL;
}

bool blocks(const struct trial *t, enum finding_code code)
{
	const struct finding *f = found(t, code);
	return f && f->severity == FINDING_BLOCK;
}

bool warns(const struct trial *t, enum finding_code code)
{
	const struct finding *f = found(t, code);
	return f && f->severity == FINDING_WARN;
}

const char *told(const struct trial *t)
{
	static char buf[4096];
	size_t at = 0;
	buf[0] = '\0';
	for (size_t i = 0; i < t->reply.findings.n && at < sizeof buf; i++)
		at += (size_t)snprintf(buf + at, sizeof buf - at, "[%s %s: %s] ",
				       severity_name(t->reply.findings.v[i].severity),
				       finding_name(t->reply.findings.v[i].code), t->reply.findings.v[i].text);
	return buf;
}
