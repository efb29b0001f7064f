/* PKCS#12 (RFC 7292), bag by bag: PKCS12_parse would give the first key alone. */
#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/key.h"
#include "pki/pool.h"

#define DEPTH_MAX 4 /* of bags in bags */

struct opening {
	struct pool *pool;
	uint16_t file;
	const char *password; /* NULL: none, which is not the same as an empty one (RFC 7292 B.1) */
	int password_len;
	size_t found;
	bool failed, missing, rounds;
};

static void read_bags(struct opening *o, const STACK_OF(PKCS12_SAFEBAG) * bags, int depth);

static void add_key(struct opening *o, const PKCS8_PRIV_KEY_INFO *p8)
{
	EVP_PKEY *key = key_from_p8(p8);
	if (!key) {
		o->failed = true;
		return;
	}
	pool_add_key(o->pool, o->file, key, "PKCS#12");
	o->found++;
}

static void read_shrouded(struct opening *o, const PKCS12_SAFEBAG *bag)
{
	const X509_ALGOR *algorithm;
	X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &algorithm, NULL);
	if (!key_rounds_sane(algorithm)) {
		o->failed = o->rounds = true;
		return;
	}
	PKCS8_PRIV_KEY_INFO *p8 = PKCS12_decrypt_skey(bag, o->password, o->password_len);
	if (p8) {
		add_key(o, p8);
	} else {
		o->failed = true;
		o->missing |= key_algorithm_missing();
	}
	PKCS8_PRIV_KEY_INFO_free(p8);
}

static void read_bag(struct opening *o, const PKCS12_SAFEBAG *bag, int depth)
{
	X509 *x = NULL;
	switch (PKCS12_SAFEBAG_get_nid(bag)) {
	case NID_keyBag:
		add_key(o, PKCS12_SAFEBAG_get0_p8inf(bag));
		break;
	case NID_pkcs8ShroudedKeyBag:
		read_shrouded(o, bag);
		break;
	case NID_certBag:
		if (PKCS12_SAFEBAG_get_bag_nid(bag) == NID_x509Certificate)
			x = PKCS12_SAFEBAG_get1_cert(bag);
		if (x) {
			pool_add_cert(o->pool, o->file, x);
			o->found++;
		}
		break;
	case NID_safeContentsBag:
		if (depth < DEPTH_MAX)
			read_bags(o, PKCS12_SAFEBAG_get0_safes(bag), depth + 1);
		break;
	default:
		break;
	}
}

static void read_bags(struct opening *o, const STACK_OF(PKCS12_SAFEBAG) * bags, int depth)
{
	for (int i = 0; i < sk_PKCS12_SAFEBAG_num(bags) && !o->failed; i++)
		read_bag(o, sk_PKCS12_SAFEBAG_value(bags, i), depth);
}

static void read_safe(struct opening *o, PKCS7 *safe)
{
	STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
	int kind = OBJ_obj2nid(safe->type);
	if (kind == NID_pkcs7_data) {
		bags = PKCS12_unpack_p7data(safe);
	} else if (kind == NID_pkcs7_encrypted && safe->d.encrypted) {
		if (!key_rounds_sane(safe->d.encrypted->enc_data->algorithm)) {
			o->failed = o->rounds = true;
			return;
		}
		bags = PKCS12_unpack_p7encdata(safe, o->password, o->password_len);
	} else {
		return; /* encrypted to a public key: nothing that a password opens */
	}
	if (!bags) {
		o->failed = true;
		o->missing |= key_algorithm_missing();
		return;
	}
	read_bags(o, bags, 0);
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}

/* Everything or nothing: what an attempt added before it failed is taken out again. */
static bool attempt(struct opening *o, PKCS12 *p12, const char *password)
{
	struct pool *p = o->pool;
	size_t certs = p->ncerts, keys = p->nkeys;
	o->password = password;
	o->password_len = password ? (int)strlen(password) : 0;
	o->failed = false;
	o->found = 0;
	ERR_clear_error();
	if (PKCS12_mac_present(p12) && PKCS12_verify_mac(p12, password, o->password_len) != 1) {
		o->missing |= key_algorithm_missing();
		return false;
	}
	STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(p12);
	for (int i = 0; i < sk_PKCS7_num(safes) && !o->failed; i++)
		read_safe(o, sk_PKCS7_value(safes, i));
	sk_PKCS7_pop_free(safes, PKCS7_free);
	if (!o->failed && o->found)
		return true;
	for (; p->ncerts > certs; p->ncerts--)
		X509_free(p->certs[p->ncerts - 1].x509);
	for (; p->nkeys > keys; p->nkeys--) {
		EVP_PKEY_free(p->keys[p->nkeys - 1].key);
		free(p->keys[p->nkeys - 1].text);
	}
	return false;
}

static bool mac_rounds_sane(const PKCS12 *p12)
{
	const ASN1_INTEGER *iter = NULL;
	int64_t rounds = 0;
	if (!PKCS12_mac_present(p12))
		return true;
	PKCS12_get0_mac(NULL, NULL, NULL, &iter, p12);
	if (iter && ASN1_INTEGER_get_int64(&rounds, iter) != 1)
		return false;
	return rounds >= 0 && rounds <= KEY_ROUNDS_MAX;
}

bool pool_read_p12(struct pool *p, uint16_t file, const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	PKCS12 *p12 = d2i_PKCS12(NULL, &at, (long)len);
	ERR_clear_error();
	if (!p12)
		return false;
	struct opening o = {.pool = p, .file = file, .rounds = !mac_rounds_sane(p12)};
	bool open = !o.rounds && (attempt(&o, p12, NULL) || (!o.rounds && attempt(&o, p12, "")));
	for (size_t i = 0; i < p->passwords->n && !open && !o.rounds; i++)
		open = attempt(&o, p12, p->passwords->v[i]);
	if (!open && o.rounds)
		pool_add_other(p, file, POOL_LOCKED, "PKCS#12: its encryption asks for more rounds than anybody needs");
	else if (!open && o.missing)
		pool_add_other(p, file, POOL_LOCKED,
			       "PKCS#12 encrypted with an old cipher (RC2, 3DES) that OpenSSL here lacks; export it "
			       "again with AES-256");
	else if (!open)
		pool_add_other(p, file, POOL_LOCKED, "PKCS#12 that no password opened");
	PKCS12_free(p12);
	ERR_clear_error();
	return true;
}
