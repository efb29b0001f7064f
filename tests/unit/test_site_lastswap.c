/* How the last swap ended, over a restart: NAME/last-swap.json. */
#include "test_site_help.h"

static struct certificate *read_back(struct site **ret_site, const char *record)
{
	struct site *site = *ret_site = site_make(files_folder, files_path);
	cr_assert_eq(mkdirat(site->folders.certificates, "shop", 0700), 0);
	AUTO_CLOSE int folder = openat(site->folders.certificates, "shop", O_DIRECTORY | O_CLOEXEC);
	files_put(folder, "last-swap.json", record);
	return site_add(site, "shop");
}

SITE_TEST(site_lastswap, written_before_undone_was_kept)
{
	struct site *site;
	struct certificate *c = read_back(
		&site, "{\"at_ms\": 5, \"result\": \"ROLLED_BACK\", \"milliseconds\": 7, \"reason\": \"why\", "
		       "\"from\": 1, \"to\": 2}");
	cr_expect_eq(c->last_swap.result, TXN_ROLLED_BACK);
	cr_expect_str_eq(c->last_swap.reason, "why");
	cr_expect_eq(c->last_swap.to, 2u);
	cr_expect(digest_is_zero(&c->last_swap.undone));
	site_done(site);
}

SITE_TEST(site_lastswap, undone_is_kept)
{
	struct site *site;
	struct certificate *c = read_back(&site, "nonsense");
	cr_expect_eq(c->last_swap.at_ms, 0);
	char why[] = "it died";
	const struct last_swap last = {
		.at_ms = 9, .result = TXN_ROLLED_BACK, .reason = why, .undone = site_digest("pair")};
	certificate_set_last_swap(c, &last);
	struct certificate *again = certificate_new(site, c->settings, NULL);
	cr_assert_not_null(again);
	cr_expect(digest_equal(&again->last_swap.undone, &last.undone));
	certificate_free(again);
	site_done(site);
}
