#include "pki/request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "pki/pem.h"

#define COMMON_NAME_MAX 64

static const struct {
	const char *name, *curve; /* curve NULL: RSA */
	unsigned int bits;
} types[] = {
	{"ecdsa-p256", "P-256", 0}, {"ecdsa-p384", "P-384", 0}, {"rsa-2048", NULL, 2048},
	{"rsa-3072", NULL, 3072},   {"rsa-4096", NULL, 4096},
};

EVP_PKEY *request_new_key(const char *key_type, struct fault *fault)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (strcmp(types[i].name, key_type) != 0)
			continue;
		EVP_PKEY *key = types[i].curve ? EVP_EC_gen(types[i].curve) : EVP_RSA_gen(types[i].bits);
		if (!key)
			fault_set(fault, -EIO, "OpenSSL makes no key of type %s", key_type);
		ERR_clear_error();
		return key;
	}
	fault_set(fault, -EINVAL, "there is no key type %.40s", key_type);
	return NULL;
}

static GENERAL_NAME *general_name(const char *name)
{
	unsigned char address[16];
	int family = inet_pton(AF_INET, name, address) == 1    ? AF_INET
		     : inet_pton(AF_INET6, name, address) == 1 ? AF_INET6
							       : 0;
	GENERAL_NAME *general = GENERAL_NAME_new();
	ASN1_STRING *value = family ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
	const void *bytes = family ? (const void *)address : name;
	int len = family == AF_INET ? 4 : family == AF_INET6 ? 16 : (int)strlen(name);
	if (!general || !value || ASN1_STRING_set(value, bytes, len) != 1) {
		GENERAL_NAME_free(general);
		ASN1_STRING_free(value);
		return NULL;
	}
	GENERAL_NAME_set0_value(general, family ? GEN_IPADD : GEN_DNS, value);
	return general;
}

static bool add_names(X509_REQ *request, const struct words *names)
{
	GENERAL_NAMES *list = GENERAL_NAMES_new();
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	bool good = list != NULL;
	for (size_t i = 0; i < names->n && good; i++) {
		GENERAL_NAME *name = general_name(names->v[i]);
		good = name && sk_GENERAL_NAME_push(list, name) > 0;
		if (!good)
			GENERAL_NAME_free(name);
	}
	good = good && X509V3_add1_i2d(&extensions, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT) == 1 &&
	       X509_REQ_add_extensions(request, extensions) == 1;
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	GENERAL_NAMES_free(list);
	return good;
}

static bool is_among(const ASN1_STRING *value, const struct words *names)
{
	size_t len = (size_t)ASN1_STRING_length(value);
	for (size_t i = 0; i < names->n; i++)
		if (strlen(names->v[i]) == len &&
		    strncasecmp(names->v[i], (const char *)ASN1_STRING_get0_data(value), len) == 0)
			return true;
	return false;
}

/* The common name has to be one of the names (BR 7.1.4.3): another one is taken out. */
static bool has_good_common_name(X509_NAME *subject, const struct words *names)
{
	bool good = false;
	for (int at; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1)) >= 0;) {
		if (is_among(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), names)) {
			good = true;
			break;
		}
		X509_NAME_ENTRY_free(X509_NAME_delete_entry(subject, at));
	}
	return good;
}

static bool set_subject(X509_REQ *request, const struct words *names, const X509 *like)
{
	X509_NAME *subject = like ? X509_NAME_dup(X509_get_subject_name(like)) : X509_NAME_new();
	bool good = subject != NULL;
	for (size_t i = 0; good && i < names->n && !has_good_common_name(subject, names); i++)
		if (strlen(names->v[i]) <= COMMON_NAME_MAX)
			good = X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
							  (const unsigned char *)names->v[i], -1, -1, 0) == 1;
	good = good && X509_REQ_set_subject_name(request, subject) == 1;
	X509_NAME_free(subject);
	return good;
}

int request_write(struct text *t, EVP_PKEY *key, const struct words *names, const X509 *like, struct fault *fault)
{
	unsigned char *der = NULL;
	X509_REQ *request = X509_REQ_new();
	bool good = request && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
		    set_subject(request, names, like) && add_names(request, names) &&
		    X509_REQ_set_pubkey(request, key) == 1 && X509_REQ_sign(request, key, EVP_sha256()) > 0;
	int n = good ? i2d_X509_REQ(request, &der) : 0;
	if (n > 0)
		pem_write(t, "CERTIFICATE REQUEST", der, (size_t)n);
	OPENSSL_free(der);
	X509_REQ_free(request);
	ERR_clear_error();
	return n > 0 ? 0 : fault_set(fault, -EIO, "OpenSSL makes no request of these names");
}
