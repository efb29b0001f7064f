#include "test_site_help.h"

#include "base/clock.h"
#include "site/response.h"

static struct site *site;
static struct certificate *shop, *mail;
static struct fault fault;

/* shop and mail have the same key. */
static void begin(void)
{
	site = site_make(files_folder, files_path);
	shop = site_add(site, "shop");
	mail = site_add(site, "mail");
	site_hold(&shop->live, "1a2b3c", "CN=CA", "shop live", "key 1");
	site_hold(&shop->standby, "77", "CN=Other", "shop standby", "key 2");
	site_hold(&mail->live, "ff", "CN=CA", "mail live", "key 1");
}

static void end(void)
{
	incidents_close(site);
	free(site->incidents);
	denied_done(&site->denied);
	site_done(site);
}

static struct incident *say(enum incident_kind kind, const char *source, char letter, int reason, int64_t until)
{
	const struct notice n = {
		.kind = kind, .source = source, .case_letter = letter, .reason = reason, .revoke_at = until};
	struct incident *i = incident_open(shop, &shop->live, &n, &fault);
	cr_assert_not_null(i, "%s", fault.text);
	return i;
}

static bool denies(bool key, const char *word, bool confirmed)
{
	struct digest d = site_digest(word);
	const struct denial *denial = denied_find(&site->denied, key, &d);
	return denial && denial->confirmed == confirmed;
}

static size_t story(const struct incident *i)
{
	return json_array_size(i->story);
}

SITE_TEST(response, an_early_renewal_denies_nothing_and_is_promoted)
{
	begin();
	int64_t window = clock_wall() + 7 * 86400;
	struct incident *i = say(INCIDENT_EARLY, "ari", 0, -1, window);
	cr_expect_eq(i->deadline, window);
	cr_expect_eq(site->denied.n, 0);
	cr_expect_eq(story(i), 1);
	cr_expect_eq(say(INCIDENT_EARLY, "ari", 0, -1, window), i);
	cr_expect_eq(story(i), 1, "said again at the next look");
	cr_expect_eq(say(INCIDENT_NOTICE, NULL, 'c', -1, 0), i);
	cr_expect_eq(i->kind, INCIDENT_NOTICE);
	cr_expect_lt(i->deadline, clock_wall() + 86401);
	cr_expect(denies(true, "key 1", false) && denies(false, "shop live", false));
	cr_expect_eq(say(INCIDENT_EARLY, "ari", 0, -1, 1), i);
	cr_expect(i->kind == INCIDENT_NOTICE && i->deadline > 1);
	incident_not_early(shop, &shop->live, "ari");
	cr_expect_eq(site->nincidents, 1, "a notice is not ended by Renewal Information");
	end();
}

SITE_TEST(response, renewal_information_that_asks_no_longer_ends_it)
{
	begin();
	say(INCIDENT_EARLY, "ari", 0, -1, clock_wall() + 3600);
	incident_not_early(shop, &shop->live, "ari");
	cr_expect_eq(site->nincidents, 0);
	end();
}

SITE_TEST(response, a_published_revocation_takes_the_time_away)
{
	begin();
	struct incident *i = say(INCIDENT_NOTICE, NULL, 'l', -1, 0);
	cr_expect_gt(i->deadline, clock_wall() + 86400);
	for (int look = 0; look < 3; look++)
		cr_assert_eq(incident_seen_revoked(shop, &shop->live, 4, 0, "crl", &fault), 0, "%s", fault.text);
	cr_expect(i->kind == INCIDENT_REVOKED && i->case_letter == 'l' && i->reason == 4 && i->revoked_at);
	cr_expect_leq(i->deadline, clock_wall());
	cr_expect_eq(story(i), 2);
	cr_expect(denies(false, "shop live", false) && !denies(true, "key 1", false));
	end();
}

SITE_TEST(response, a_reason_that_changes_to_compromise_refuses_the_key_for_good)
{
	begin();
	cr_assert_eq(incident_seen_revoked(shop, &shop->live, 0, 0, "crl", &fault), 0);
	cr_expect_eq(site->nincidents, 1);
	cr_assert_eq(incident_seen_revoked(shop, &shop->live, POLICY_KEY_COMPROMISE, 0, "crl", &fault), 0);
	cr_expect(denies(true, "key 1", true));
	cr_expect_eq(site->nincidents, 2, "mail has the same key");
	cr_assert_eq(incident_seen_revoked(shop, &shop->live, POLICY_KEY_COMPROMISE, 0, "crl", &fault), 0);
	cr_expect_eq(site->nincidents, 2);
	end();
}

SITE_TEST(response, a_generation_that_is_no_longer_used_only_refuses_its_key)
{
	begin();
	struct meta old = {0};
	site_hold(&old, "99", "CN=CA", "shop before", "key 9");
	cr_assert_eq(incident_seen_revoked(shop, &old, 4, 0, "crl", &fault), 0);
	cr_expect_eq(site->nincidents + site->denied.n, 0);
	cr_assert_eq(incident_seen_revoked(shop, &old, POLICY_KEY_COMPROMISE, 0, "crl", &fault), 0);
	cr_expect_eq(site->nincidents, 0);
	cr_expect(denies(true, "key 9", true));
	meta_done(&old);
	end();
}

SITE_TEST(response, kind_and_source_outlive_a_restart)
{
	begin();
	say(INCIDENT_EARLY, "https://ca.example/why", 0, -1, clock_wall() + 3600);
	incidents_close(site);
	cr_assert_eq(incidents_load(site, &fault), 0);
	cr_assert_eq(site->nincidents, 1);
	cr_expect_eq(site->incidents[0]->kind, INCIDENT_EARLY);
	cr_expect_str_eq(site->incidents[0]->source, "https://ca.example/why");
	cr_expect_eq(site->incidents[0]->generation, 1);
	end();
}

SITE_TEST(response, the_time_to_renew_early_says_nothing_of_the_time_to_be_revoked)
{
	begin();
	struct incident *i = say(INCIDENT_EARLY, "ari", 0, -1, clock_wall() - 60);
	i->percent = 100; /* the window is over, and that was told */
	i->urgent = true;
	say(INCIDENT_NOTICE, NULL, 'c', -1, 0);
	cr_expect(i->percent == 0 && !i->urgent, "its marks are told anew");
	i->percent = 50;
	cr_assert_eq(incident_seen_revoked(shop, &shop->live, 1, 0, "crl", &fault), 0);
	cr_expect_eq(i->percent, 50);
	end();
}

SITE_TEST(response, the_stricter_case_wins_whatever_the_order)
{
	static const struct {
		char first, second, wanted;
	} rows[] = {{'l', 'c', 'c'}, {'c', 'l', 'c'}, {'c', 'g', 'g'}, {'g', 'c', 'g'}, {'b', 'l', 'b'},
		    {'l', 'b', 'b'}, {0, 'l', 'l'},   {'l', 0, 'l'},   {'l', 'e', 'e'}, {'e', 'l', 'e'}};
	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		begin();
		struct incident *i = say(INCIDENT_NOTICE, NULL, rows[k].first, -1, 0);
		say(INCIDENT_NOTICE, NULL, rows[k].second, -1, 0);
		cr_expect_eq(i->case_letter, rows[k].wanted, "%c then %c: %c", rows[k].first, rows[k].second,
			     i->case_letter);
		int64_t left = i->deadline - clock_wall();
		bool day = strchr("abcde", rows[k].first) || strchr("abcde", rows[k].second);
		cr_expect(left <= (day ? 86400 : 432000) && left > (day ? 86390 : 431990));
		end();
	}
}

SITE_TEST(response, no_clock_starts_in_the_future)
{
	begin();
	const struct notice n = {.kind = INCIDENT_NOTICE,
				 .source = "x",
				 .case_letter = 'c',
				 .reason = -1,
				 .received_at = clock_wall() + 864000};
	struct incident *i = incident_open(shop, &shop->live, &n, &fault);
	cr_assert_not_null(i);
	cr_expect(i->received_at <= clock_wall() && i->deadline <= clock_wall() + 86400);
	end();
}
