/* Which file is the distribution's bundle of roots: it decides whether the rules for public CAs apply. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "settings/systemroots.h"

Test(settings_systemroots, the_bundle_is_known_by_whatever_path_and_nothing_else_is_it)
{
	char folder[] = "/tmp/test-settings-XXXXXX";
	cr_assert_not_null(mkdtemp(folder));
	AUTO_FREE char *link = xasprintf("%s/roots.pem", folder);
	const char *bundle = systemroots_path();
	cr_assert_eq(symlink(bundle, link), 0);
	bool there = access(bundle, R_OK) == 0;
	cr_expect_eq(systemroots_is(bundle), there);
	cr_expect_eq(systemroots_is(link), there);
	unlink(link);
	cr_expect_not(systemroots_is(link), "it is gone");
	cr_expect_not(systemroots_is("/etc/passwd"));
	cr_expect_not(systemroots_is("/etc/pki/company/root.pem"),
		      "a company's own, where Enterprise Linux has its roots too");
	rmdir(folder);
}
