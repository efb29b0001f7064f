/* Which places owe a certificate: certificate_set_served. */
#include <criterion/criterion.h>

#include "base/memory.h"
#include "site/certificate.h"

static struct certificate_settings settings;
static struct certificate certificate = {.settings = &settings};

static void look(const char *endpoint, const char *name, bool shows)
{
	struct served *s = xcalloc(3, sizeof *s);
	s[0] = (struct served){.endpoint = xstrdup(endpoint), .server_name = xstrdup(name), .sha256.b = {shows}};
	s[1] = (struct served){.endpoint = xstrdup("192.0.2.1:80"), .server_name = xstrdup(name)};
	s[2] = (struct served){.endpoint = xstrdup(endpoint), .server_name = xstrdup(""), .sha256.b = {1}};
	certificate_set_served(&certificate, s, 3);
}

static void owed(bool first, bool second, bool third)
{
	cr_expect_eq(certificate.served[0].owed, first);
	cr_expect_eq(certificate.served[1].owed, second);
	cr_expect_eq(certificate.served[2].owed, third);
}

Test(site_served, a_plain_port_owes_nothing)
{
	look("192.0.2.1:443", "shop.test", true);
	owed(true, false, false);
}

Test(site_served, what_spoke_tls_once_owes_it_afterwards)
{
	look("192.0.2.1:443", "shop.test", true);
	look("192.0.2.1:443", "shop.test", false);
	owed(true, false, false);
}

Test(site_served, where_nothing_speaks_tls_all_is_missing)
{
	look("192.0.2.1:443", "shop.test", false);
	owed(true, true, false);
}

Test(site_served, what_probe_names_owes_it)
{
	settings.probe.n = 1;
	look("192.0.2.1:443", "shop.test", true);
	owed(true, true, false);
}

Test(site_served, without_a_name_the_others_count)
{
	look("192.0.2.1:443", "", false);
	owed(true, true, true);
}
