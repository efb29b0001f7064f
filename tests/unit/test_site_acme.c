#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "site/acme.h"

static const struct words no_command;

static char *judged(struct acme_facts facts)
{
	struct words said = {0};
	if (!facts.command)
		facts.command = &no_command;
	acme_judge(&facts, &said);
	char *text = words_join(&said, "; ");
	words_done(&said);
	return text;
}

Test(site_acme, certbot)
{
	char *good = judged((struct acme_facts){.client = ACME_CERTBOT,
						.file = "version = 2.1.0\n[renewalparams]\n",
						.has_ocsp = true,
						.has_timer = true});
	cr_expect_str_empty(good);
	char *blind = judged((struct acme_facts){
		.client = ACME_CERTBOT, .file = "# x\nversion = 2.1.0\n", .has_ocsp = false, .has_timer = true});
	cr_expect(strstr(blind, "can't notice a revocation"));
	char *newer = judged((struct acme_facts){
		.client = ACME_CERTBOT, .file = "version = 4.1.0\n", .has_ocsp = false, .has_timer = true});
	cr_expect_str_empty(newer);
	char *reuse = judged((struct acme_facts){
		.client = ACME_CERTBOT, .file = "a = b\nreuse_key = True\n", .has_ocsp = true, .has_timer = true});
	cr_expect(strstr(reuse, "keeps the old key"));
	struct words command = {0};
	words_add(&command, "--new-key");
	char *told = judged((struct acme_facts){.client = ACME_CERTBOT,
						.file = "reuse_key = True\n",
						.command = &command,
						.has_ocsp = true,
						.has_timer = true});
	cr_expect_str_empty(told);
	char *never = judged((struct acme_facts){.client = ACME_CERTBOT, .file = "", .has_ocsp = true});
	cr_expect(strstr(never, "start certbot by itself"));
	words_done(&command);
	free(good), free(blind), free(newer), free(reuse), free(told), free(never);
}

Test(site_acme, the_others)
{
	char *dehydrated = judged((struct acme_facts){
		.client = ACME_DEHYDRATED, .file = "PRIVATE_KEY_RENEW=\"no\"\n", .has_timer = true});
	cr_expect(strstr(dehydrated, "keeps the old key"));
	char *sh = judged((struct acme_facts){.client = ACME_SH, .file = "Le_Domain='a.b'\n", .has_timer = true});
	cr_expect(strstr(sh, "keeps the old key"));
	char *force = judged((struct acme_facts){
		.client = ACME_SH, .file = "Le_Domain='a.b'\nLe_ForceNewDomainKey='1'\n", .has_timer = true});
	cr_expect_str_empty(force);
	char *nobody = judged((struct acme_facts){.client = ACME_NONE, .file = ""});
	cr_expect_str_empty(nobody);
	free(dehydrated), free(sh), free(force), free(nobody);
}

static void put(const char *folder, const char *name)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	cr_assert(f);
	fclose(f);
	free(path);
}

Test(site_acme, who_fills_a_folder)
{
	char top[] = "/tmp/certswap-acme-XXXXXX";
	cr_assert(mkdtemp(top));
	char *live = xasprintf("%s/live", top), *shop = xasprintf("%s/live/shop", top),
	     *renewal = xasprintf("%s/renewal", top);
	char *file;
	mkdir(live, 0700), mkdir(shop, 0700), mkdir(renewal, 0700);
	cr_expect_eq(acme_recognise(shop, &file), ACME_NONE);
	free(file);
	put(renewal, "shop.conf");
	cr_expect_eq(acme_recognise(shop, &file), ACME_CERTBOT);
	cr_expect(strstr(file, "/renewal/shop.conf"));
	free(file);
	put(renewal, "cert.csr");
	cr_expect_eq(acme_recognise(renewal, &file), ACME_DEHYDRATED);
	free(file);
	put(live, "shop.issuer.crt");
	cr_expect_eq(acme_recognise(live, &file), ACME_LEGO);
	free(file);
	put(top, "shop.csr.conf");
	cr_expect_eq(acme_recognise(top, &file), ACME_SH);
	cr_expect(strstr(file, "/shop.conf"));
	free(file);
	char *remove = xasprintf("rm -r %s", top);
	cr_expect_eq(system(remove), 0);
	free(live), free(shop), free(renewal), free(remove);
}
