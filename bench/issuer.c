/* Pairs by the thousand, for the scenes with 1,000 and 10,000 certificates: the openssl command takes 40 ms for one.
 * For each line "SERIAL NAME DNS-NAME" on standard input a file NAME in the folder: the key and the leaf, PEM; on
 * standard output a line NAME SHA256-OF-LEAF SHA256-OF-SPKI. Keys are P-256, each its own. Valid from SECONDS from now
 * on (negative: before now). */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAYS 90

struct authority {
	X509 *certificate;
	EVP_PKEY *key;
	const char *folder;
	long begin; /* seconds from now */
};

static bool load(struct authority *a, char **argv)
{
	BIO *certificate = BIO_new_file(argv[1], "r"), *key = BIO_new_file(argv[2], "r");
	if (certificate && key) {
		a->certificate = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
		a->key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	}
	a->folder = argv[3];
	a->begin = strtol(argv[4], NULL, 10);
	BIO_free(certificate);
	BIO_free(key);
	return a->certificate && a->key;
}

static bool extend(const struct authority *a, X509 *leaf, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx(&context, a->certificate, leaf, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	bool good = e && X509_add_ext(leaf, e, -1);
	X509_EXTENSION_free(e);
	return good;
}

static X509 *sign(const struct authority *a, EVP_PKEY *key, const char *serial, const char *dns)
{
	char names[300];
	BIGNUM *number = NULL;
	X509 *x = X509_new();
	X509_NAME *subject = x ? X509_get_subject_name(x) : NULL;
	snprintf(names, sizeof names, "DNS:%s", dns);
	bool good = x && BN_hex2bn(&number, serial) && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) &&
		    X509_set_version(x, 2) && X509_gmtime_adj(X509_getm_notBefore(x), a->begin) &&
		    X509_gmtime_adj(X509_getm_notAfter(x), DAYS * 86400L) &&
		    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)dns, -1, -1, 0) &&
		    X509_set_issuer_name(x, X509_get_subject_name(a->certificate)) && X509_set_pubkey(x, key) &&
		    extend(a, x, NID_basic_constraints, "CA:FALSE") &&
		    extend(a, x, NID_key_usage, "critical,digitalSignature") &&
		    extend(a, x, NID_ext_key_usage, "serverAuth") && extend(a, x, NID_subject_alt_name, names) &&
		    extend(a, x, NID_subject_key_identifier, "hash") &&
		    extend(a, x, NID_authority_key_identifier, "keyid") && X509_sign(x, a->key, EVP_sha256());
	BN_free(number);
	if (good)
		return x;
	X509_free(x);
	return NULL;
}

static void print_digest(const unsigned char *der, int len)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	putchar(' ');
	if (len > 0 && EVP_Digest(der, (size_t)len, digest, &n, EVP_sha256(), NULL))
		for (unsigned int i = 0; i < n; i++)
			printf("%02x", digest[i]);
}

static bool write_out(const struct authority *a, const char *name, X509 *leaf, EVP_PKEY *key)
{
	char path[4096];
	unsigned char *der = NULL;
	snprintf(path, sizeof path, "%s/%s", a->folder, name);
	BIO *out = BIO_new_file(path, "w");
	bool good = out && PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) &&
		    PEM_write_bio_X509(out, leaf);
	BIO_free(out);
	int len = i2d_X509(leaf, &der);
	printf("%s", name);
	print_digest(der, len);
	OPENSSL_free(der);
	return good;
}

static bool issue(const struct authority *a, const char *serial, const char *name, const char *dns)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *leaf = key ? sign(a, key, serial, dns) : NULL;
	unsigned char *spki = NULL;
	bool good = leaf && write_out(a, name, leaf, key);
	int len = good ? i2d_PUBKEY(key, &spki) : 0;
	print_digest(spki, len);
	putchar('\n');
	OPENSSL_free(spki);
	X509_free(leaf);
	EVP_PKEY_free(key);
	return good;
}

int main(int argc, char **argv)
{
	struct authority a = {0};
	char serial[64], name[128], dns[256];
	if (argc != 5 || !load(&a, argv)) {
		fprintf(stderr, "usage: certswap-bench-issuer CA-CERTIFICATE CA-KEY FOLDER SECONDS\n");
		return 2;
	}
	while (scanf("%63s %127s %255s", serial, name, dns) == 3) {
		if (!issue(&a, serial, name, dns)) {
			ERR_print_errors_fp(stderr);
			return 1;
		}
	}
	X509_free(a.certificate);
	EVP_PKEY_free(a.key);
	return 0;
}
