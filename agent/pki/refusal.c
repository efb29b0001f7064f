#include "pki/refusal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "pki/cert.h"

/* Is this one of the names that the wildcard stands for? `bytes` is without a NUL. */
static bool stands_for(const char *wildcard, const ASN1_IA5STRING *name)
{
	const char *bytes = (const char *)ASN1_STRING_get0_data(name), *suffix = wildcard + 1;
	size_t len = (size_t)ASN1_STRING_length(name), n = strlen(suffix);
	const char *dot = len ? memchr(bytes, '.', len) : NULL;
	size_t rest = dot ? len - (size_t)(dot - bytes) : 0;
	return dot && dot != bytes && rest == n && strncasecmp(dot, suffix, n) == 0;
}

/* The first name that the CA excludes and the wildcard stands for; NULL: none. The caller frees. */
static char *excluded(const NAME_CONSTRAINTS *limits, const char *wildcard)
{
	for (int i = 0; i < sk_GENERAL_SUBTREE_num(limits->excludedSubtrees); i++) {
		const GENERAL_NAME *base = sk_GENERAL_SUBTREE_value(limits->excludedSubtrees, i)->base;
		if (base->type == GEN_DNS && stands_for(wildcard, base->d.dNSName))
			return xasprintf("%.*s", ASN1_STRING_length(base->d.dNSName),
					 (const char *)ASN1_STRING_get0_data(base->d.dNSName));
	}
	return NULL;
}

static char *refused_wildcard(const struct words *names, X509 *ca)
{
	NAME_CONSTRAINTS *limits = X509_get_ext_d2i(ca, NID_name_constraints, NULL, NULL);
	char *why = NULL;
	for (size_t i = 0; limits && i < names->n && !why; i++) {
		AUTO_FREE char *name = strncmp(names->v[i], "*.", 2) == 0 ? excluded(limits, names->v[i]) : NULL;
		if (!name)
			continue;
		AUTO_FREE char *subject = cert_subject(ca);
		why = xasprintf("%s stands for %s too, which is excluded by %s: Go and others refuse it", names->v[i],
				name, subject);
	}
	NAME_CONSTRAINTS_free(limits);
	return why;
}

/* Server Gated Crypto, of which OpenSSL says that it is as good. */
static char *refused_purpose(X509 *ca)
{
	if (!(X509_get_extension_flags(ca) & EXFLAG_XKUSAGE) ||
	    (X509_get_extended_key_usage(ca) & (XKU_SSL_SERVER | XKU_ANYEKU)))
		return NULL;
	AUTO_FREE char *subject = cert_subject(ca);
	return xasprintf("the extended key usage of %s does not hold serverAuth: browsers refuse it", subject);
}

char *refusal_by_others(X509 *const *path, size_t n, X509 *anchor)
{
	struct words names = {0};
	char *why = NULL;
	cert_names(path[0], &names);
	for (size_t i = 1; i < n && !why; i++) {
		why = refused_wildcard(&names, path[i]);
		if (!why)
			why = refused_purpose(path[i]);
	}
	if (!why && anchor != path[0])
		why = refused_wildcard(&names, anchor);
	words_done(&names);
	ERR_clear_error();
	return why;
}
