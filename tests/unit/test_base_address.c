#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/address.h"

static bool has(const char *range, const char *address)
{
	struct address_range r;
	struct sockaddr_storage s = {0};
	cr_assert_eq(address_range_parse(range, &r), 0, "%s", range);
	bool v6 = strchr(address, ':') != NULL;
	s.ss_family = v6 ? AF_INET6 : AF_INET;
	void *to = v6 ? (void *)&((struct sockaddr_in6 *)&s)->sin6_addr : (void *)&((struct sockaddr_in *)&s)->sin_addr;
	cr_assert_eq(inet_pton(s.ss_family, address, to), 1);
	return address_range_has(&r, (struct sockaddr *)&s);
}

Test(address, ranges)
{
	cr_expect(has("169.254.0.0/16", "169.254.169.254"));
	cr_expect_not(has("169.254.0.0/16", "169.255.0.1"));
	cr_expect(has("10.32.0.0/11", "10.63.255.255"));
	cr_expect_not(has("10.32.0.0/11", "10.64.0.0"));
	cr_expect(has("192.0.2.1", "192.0.2.1"));
	cr_expect_not(has("192.0.2.1", "192.0.2.2"));
	cr_expect(has("fe80::/10", "febf::1"));
	cr_expect_not(has("fe80::/10", "fec0::1"));
	cr_expect_not(has("fe80::/10", "169.254.0.1"));
	cr_expect(has("0.0.0.0/0", "203.0.113.9"));
	cr_expect(has("::/0", "2001:db8::1"));
	/* the same host by another spelling */
	cr_expect(has("169.254.0.0/16", "::ffff:169.254.169.254"));
	cr_expect(has("169.254.0.0/16", "64:ff9b::a9fe:a9fe"));
	cr_expect_not(has("169.254.0.0/16", "::ffff:192.0.2.1"));
}

Test(address, what_is_no_range)
{
	static const char *const bad[] = {"",
					  "169.254",
					  "169.254.0.0/33",
					  "169.254.0.0/",
					  "169.254.0.0/1x",
					  "::/129",
					  "10.0.0.1/8",
					  "fe80::1/10",
					  "host",
					  "1.2.3.4/-1",
					  "1111111111111111111111111111111111111111111111111111/8"};
	struct address_range r;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_eq(address_range_parse(bad[i], &r), -EINVAL, "%s", bad[i]);
}
