#include "pki/handshake.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pki/cert.h"

#define TURNS_MAX 20 /* a handshake takes 3 */

static char *last_error(const char *where)
{
	unsigned long e, code = 0;
	while ((e = ERR_get_error())) /* the first is the cause, the last only what it led to */
		if (!code || ERR_GET_LIB(e) == ERR_LIB_SSL)
			code = code ? code : e;
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	return xasprintf("%s: %s", where, reason ? reason : "no reason given");
}

static SSL_CTX *new_context(const SSL_METHOD *method, int security_level)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	if (!ctx)
		return NULL;
	SSL_CTX_set_security_level(ctx, security_level);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
	return ctx;
}

static SSL_CTX *new_server(const struct chain *chain, EVP_PKEY *key, int security_level)
{
	SSL_CTX *ctx = new_context(TLS_server_method(), security_level);
	if (!ctx)
		return NULL;
	SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
	bool good = SSL_CTX_use_certificate(ctx, chain->v[0]) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;
	for (size_t i = 1; i < chain->n && good; i++)
		good = SSL_CTX_add1_chain_cert(ctx, chain->v[i]) == 1;
	if (good)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static bool turn(SSL *ssl, const char *who, bool *done, char **ret_why)
{
	ERR_clear_error();
	int n = SSL_do_handshake(ssl);
	int error = n == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, n);
	*done = n == 1;
	if (n == 1 || error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return true;
	if (!*ret_why)
		*ret_why = last_error(who);
	return false;
}

static bool run(SSL *server, SSL *client, X509 *leaf, char **ret_why)
{
	bool server_done = false, client_done = false;
	for (int i = 0; i < TURNS_MAX && !(server_done && client_done); i++)
		if (!turn(client, "the client", &client_done, ret_why) ||
		    !turn(server, "the server", &server_done, ret_why))
			return false;
	X509 *seen = client_done && server_done ? SSL_get0_peer_certificate(client) : NULL;
	if (seen && X509_cmp(seen, leaf) == 0)
		return true;
	if (!*ret_why)
		*ret_why = xstrdup("it did not end");
	return false;
}

static bool shake(SSL_CTX *server_ctx, SSL_CTX *client_ctx, X509 *leaf, int version, char **ret_why)
{
	SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
	BIO *a = NULL, *b = NULL;
	bool good = false;
	if (!server || !client || BIO_new_bio_pair(&a, 65536, &b, 65536) != 1)
		abort();
	SSL_set_bio(server, a, a);
	SSL_set_bio(client, b, b);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	if (SSL_set_min_proto_version(client, version) == 1 && SSL_set_max_proto_version(client, version) == 1)
		good = run(server, client, leaf, ret_why);
	SSL_free(server);
	SSL_free(client);
	ERR_clear_error();
	return good;
}

static void prefix(char **text, const char *what)
{
	char *old = *text;
	*text = xasprintf("%s: %s", what, old ? old : "no reason given");
	free(old);
}

void handshake_try(const struct chain *chain, EVP_PKEY *key, int security_level, struct handshake *ret)
{
	*ret = (struct handshake){0};
	ERR_clear_error();
	SSL_CTX *server = new_server(chain, key, security_level), *client = NULL;
	if (!server)
		ret->why = last_error("a TLS server can't load the pair");
	else
		client = new_context(TLS_client_method(), security_level);
	if (client) {
		SSL_CTX_set_verify(client, SSL_VERIFY_NONE, NULL); /* the chain is verified by pki/chain.c */
		ret->tls12 = shake(server, client, chain->v[0], TLS1_2_VERSION, &ret->why);
		if (!ret->tls12)
			prefix(&ret->why, "TLS 1.2");
		char *why = NULL;
		ret->tls13 = shake(server, client, chain->v[0], TLS1_3_VERSION, &why);
		if (!ret->tls13)
			prefix(&why, "TLS 1.3");
		if (!ret->why) {
			ret->why = why;
			why = NULL;
		}
		free(why);
	}
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	ERR_clear_error();
}

void handshake_done(struct handshake *h)
{
	free(h->why);
	*h = (struct handshake){0};
}

enum part { PART_N, PART_E, PART_D, PART_P, PART_Q, PART_DP, PART_DQ, PART_QINV, PARTS };
static const char *const part_name[] = {
	[PART_N] = OSSL_PKEY_PARAM_RSA_N,          [PART_E] = OSSL_PKEY_PARAM_RSA_E,
	[PART_D] = OSSL_PKEY_PARAM_RSA_D,          [PART_P] = OSSL_PKEY_PARAM_RSA_FACTOR1,
	[PART_Q] = OSSL_PKEY_PARAM_RSA_FACTOR2,    [PART_DP] = OSSL_PKEY_PARAM_RSA_EXPONENT1,
	[PART_DQ] = OSSL_PKEY_PARAM_RSA_EXPONENT2, [PART_QINV] = OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
};
_Static_assert(ARRAY_SIZE(part_name) == PARTS, "each part has its name");

/* Is a * b = 1 modulo m (or modulo m - 1)? */
static bool inverse(const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, bool less_one, BN_CTX *ctx)
{
	BN_CTX_start(ctx);
	BIGNUM *modulus = BN_CTX_get(ctx), *product = BN_CTX_get(ctx);
	bool good = product && BN_copy(modulus, m) && (!less_one || BN_sub_word(modulus, 1)) &&
		    BN_mod_mul(product, a, b, modulus, ctx) && BN_is_one(product);
	BN_CTX_end(ctx);
	return good;
}

static const char *damage(BIGNUM *const *v, BN_CTX *ctx)
{
	BN_CTX_start(ctx);
	BIGNUM *product = BN_CTX_get(ctx);
	bool factors = product && BN_mul(product, v[PART_P], v[PART_Q], ctx) && BN_cmp(product, v[PART_N]) == 0;
	BN_CTX_end(ctx);
	if (!factors)
		return "its primes do not multiply to its modulus";
	if (!inverse(v[PART_D], v[PART_E], v[PART_P], true, ctx) ||
	    !inverse(v[PART_D], v[PART_E], v[PART_Q], true, ctx))
		return "its d does not belong to its primes";
	if (!inverse(v[PART_DP], v[PART_E], v[PART_P], true, ctx))
		return "its dP does not belong to p";
	if (!inverse(v[PART_DQ], v[PART_E], v[PART_Q], true, ctx))
		return "its dQ does not belong to q";
	if (!inverse(v[PART_QINV], v[PART_Q], v[PART_P], false, ctx))
		return "its qInv does not belong to p and q";
	return NULL;
}

const char *handshake_key_damage(const EVP_PKEY *key)
{
	BIGNUM *v[PARTS] = {0}, *third = NULL;
	if (!EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "RSA-PSS"))
		return NULL;
	bool whole = true;
	for (int i = 0; i < PARTS && whole; i++)
		whole = EVP_PKEY_get_bn_param(key, part_name[i], &v[i]) == 1;
	/* with more than two primes, or without the primes, the handshake alone decides */
	if (whole && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_FACTOR3, &third) == 1)
		whole = false;
	BN_CTX *ctx = BN_CTX_secure_new();
	const char *text = whole && ctx ? damage(v, ctx) : NULL;
	BN_CTX_free(ctx);
	BN_clear_free(third);
	for (int i = 0; i < PARTS; i++)
		BN_clear_free(v[i]);
	ERR_clear_error();
	return text;
}
