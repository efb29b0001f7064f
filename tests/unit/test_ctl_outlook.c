/* Which addresses only a closed network reaches. */
#include <criterion/criterion.h>

#include "ctl/outlook.h"

Test(ctl_outlook, addresses_of_closed_networks)
{
	static const char *const inside[] = {
		"127.0.0.1:443", "10.1.2.3:443",       "172.16.0.1:443",  "172.31.255.255:443", "192.168.9.9:8443",
		"169.254.1.1:1", "100.64.0.1:443",     "100.127.0.1:443", "[::1]:443",          "[fd00::1]:443",
		"[fe80::1]:443", "unix:/run/web.sock", "localhost:443"};
	static const char *const outside[] = {"*:443",
					      "[::]:443",
					      "0.0.0.0:443",
					      "192.0.2.1:443",
					      "172.32.0.1:443",
					      "172.15.0.1:443",
					      "11.0.0.1:1",
					      "100.128.0.1:443",
					      "[2001:db8::1]:443",
					      "www.example.jp:443",
					      "*:*",
					      "nonsense",
					      "[:443",
					      ":"};
	for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
		cr_assert(outlook_is_inside(inside[i]), "%s", inside[i]);
	for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
		cr_assert_not(outlook_is_inside(outside[i]), "%s", outside[i]);
}
