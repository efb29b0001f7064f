/* A notice file, or the fields of the request `notice`. First for an agent with no certificate, then for one whose live
 * certificate has the serial that the input's bytes spell: BIGNUM says which number that is, and each spelling of it
 * must hit. */
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/memory.h"
#include "fuzz.h"
#include "site/certificate.h"
#include "site/notice.h"
#include "site/site.h"

#define OCTETS 20 /* RFC 5280 4.1.2.2 */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

static void fields(const uint8_t *bytes, size_t len)
{
	static struct settings settings;
	struct site site = {.settings = &settings};
	json_t *o = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, NULL);
	for (int file = 0; json_is_object(o) && file < 2; file++) {
		struct notice notice;
		struct notice_hits hits = {0};
		struct fault fault = {0};
		MUST(notice_read(&site, o, file, &notice, &hits, &fault) < 0 && *fault.text);
		free(hits.v);
	}
	json_decref(o);
}

static bool hits(struct site *site, const char *spelling)
{
	struct notice notice;
	struct notice_hits found = {0};
	struct fault fault = {0};
	json_t *o = json_pack("{ss}", "serial", spelling);
	int r = notice_read(site, o, 1, &notice, &found, &fault);
	bool hit = r == 0 && found.n == 1 && found.v[0].meta == &site->certificates[0]->live;
	MUST(hit || r == -ENOENT);
	free(found.v);
	json_decref(o);
	return hit;
}

/* As openssl x509 -text prints it, with or without a leading zero octet. */
static char *with_colons(const char *hex, bool zero)
{
	struct text t = {0};
	text_add(&t, "%s", zero ? "00" : "");
	for (const char *p = hex; *p; p += p[1] ? 2 : 1)
		text_add(&t, "%s%.2s", t.len ? ":" : "", p);
	return t.s;
}

static void spellings(const uint8_t *bytes, size_t len)
{
	static const struct settings settings;
	struct certificate_settings shop = {.name = (char[]){"shop"}};
	struct site site = {.settings = (struct settings *)(uintptr_t)&settings};
	struct certificate c = {.site = &site, .settings = &shop, .live = {.number = 1, .issuer = (char[]){"CN=a"}}};
	struct certificate *all[] = {&c};
	BIGNUM *number = BN_bin2bn(bytes, (int)(len < OCTETS ? len : OCTETS), NULL);
	char *hex = BN_bn2hex(number), *decimal = BN_bn2dec(number), *meta = hex;
	while (*meta == '0' && meta[1])
		meta++;
	c.live.serial = xstrdup(meta);
	for (char *p = c.live.serial; *p; p++)
		*p = (char)(*p >= 'A' ? *p | 0x20 : *p);
	site.certificates = all;
	site.ncertificates = 1;
	AUTO_FREE char *colons = with_colons(hex, false), *zero = with_colons(hex, true);
	AUTO_FREE char *dec = xasprintf("dec:%s", decimal), *prefixed = xasprintf("0x%s", hex);
	MUST(hits(&site, hex) && hits(&site, c.live.serial) && hits(&site, colons) && hits(&site, zero));
	MUST(hits(&site, dec) && hits(&site, prefixed));
	BN_add_word(number, 1);
	OPENSSL_free(decimal);
	decimal = BN_bn2dec(number);
	AUTO_FREE char *next = xasprintf("dec:%s", decimal);
	MUST(!hits(&site, next));
	OPENSSL_free(hex);
	OPENSSL_free(decimal);
	BN_free(number);
	free(c.live.serial);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	fields(bytes, len);
	spellings(bytes, len);
	return 0;
}
