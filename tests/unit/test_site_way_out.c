/* The commands for a person where a swap is stuck: they are pasted into a shell, so they must be right as they stand.
 */
#include "test_site_help.h"

#include "site/transaction.h"
#include "site/transaction_parts.h"

static struct site *site;

/* A swap of shop from generation 3 to 4 on one server. */
static char *way_out(struct server_settings *server, unsigned int from, bool old_refused)
{
	struct certificate *c = site->certificates[0];
	site->settings->servers = server;
	site->settings->nservers = 1;
	struct journal *j = journal_new(7, 1, 1);
	j->certificates[0].name = xstrdup("shop");
	j->certificates[0].old_number = from;
	j->certificates[0].new_number = 4;
	j->txn.certificates[0].old_refused = old_refused;
	j->servers[0] = xstrdup(server->name);
	struct transaction *t = transaction_new(site, j);
	t->certificates[0] = c;
	c->transaction = t;
	char *text = transaction_way_out(c);
	c->transaction = NULL;
	transaction_free(t);
	site->settings->servers = NULL;
	site->settings->nservers = 0;
	return text;
}

static void expect(struct server_settings *server, unsigned int from, bool old_refused, const char *generation,
		   const char *restart)
{
	AUTO_FREE char *text = way_out(server, from, old_refused);
	AUTO_FREE char *wanted = xasprintf("ln -sfn gen/%s %s/certificates/shop/live\n%s\ncertswapctl status shop",
					   generation, files_path, restart);
	cr_expect_str_eq(text, wanted);
}

SITE_TEST(way_out, is_what_a_shell_takes)
{
	struct server_settings nginx = {.name = (char[]){"web"},
					.kind = (char[]){"nginx"},
					.binary = (char[]){"/usr/sbin/nginx"},
					.config = (char[]){"/etc/nginx/nginx.conf"}};
	struct server_settings apache = {.name = (char[]){"apache"},
					 .kind = (char[]){"apache"},
					 .binary = (char[]){"/usr/sbin/apache2"},
					 .config = (char[]){"/etc/apache2/apache2.conf"}};
	struct server_settings own = {.name = (char[]){"own"},
				      .kind = (char[]){"apache"},
				      .binary = (char[]){"/opt/bin/httpd"},
				      .config = (char[]){"/opt/httpd.conf"}};
	struct server_settings other = {.name = (char[]){"proxy"},
					.kind = (char[]){"haproxy"},
					.binary = (char[]){"/usr/sbin/haproxy"},
					.config = (char[]){""}};
	site = site_make(files_folder, files_path);
	(void)site_add(site, "shop");
	expect(&nginx, 3, false, "000003", "nginx -t && systemctl restart nginx");
	expect(&apache, 3, false, "000003", "apache2ctl -t && systemctl restart apache2");
	expect(&own, 3, false, "000003",
	       "/opt/bin/httpd -t -f /opt/httpd.conf   # then restart own as you do otherwise");
	expect(&other, 3, false, "000003", "# restart proxy as you do otherwise");
	site_done(site);
}

/* A key that is refused is never put back, by a person who pastes our commands least of all. */
SITE_TEST(way_out, never_leads_back_to_a_refused_pair)
{
	struct server_settings nginx = {.name = (char[]){"web"},
					.kind = (char[]){"nginx"},
					.binary = (char[]){"/usr/sbin/nginx"},
					.config = (char[]){"/etc/nginx/nginx.conf"}};
	site = site_make(files_folder, files_path);
	(void)site_add(site, "shop");
	expect(&nginx, 3, true, "000004", "nginx -t && systemctl restart nginx");
	expect(&nginx, 0, false, "000004", "nginx -t && systemctl restart nginx");
	site_done(site);
}
