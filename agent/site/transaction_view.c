#include <string.h>

#include "base/memory.h"
#include "site/transaction.h"
#include "site/transaction_parts.h"

bool transactions_at_work(const struct site *site)
{
	for (size_t i = 0; i < site->ncertificates; i++)
		if (site->certificates[i]->swapping || site->certificates[i]->ready.number)
			return true;
	return false;
}

enum txn_state transaction_state(const struct certificate *c)
{
	return c->transaction ? c->transaction->journal->txn.state : TXN_STATES;
}

const char *transaction_reason(const struct certificate *c)
{
	return c->transaction ? c->transaction->journal->reason : "";
}

/* Once made it stays where it is: a hit of a notice points there. */
static void read_other(struct certificate *c, unsigned int number, struct meta **ret)
{
	bool other = number && number != c->live.number && number != c->standby.number;
	if (other && !*ret)
		*ret = xcalloc(1, sizeof **ret);
	if (*ret)
		meta_done(*ret);
	if (other)
		(void)store_read_meta(c->folder, number, *ret, NULL);
}

void transaction_look(struct certificate *c)
{
	const struct journal *j = c->transaction ? c->transaction->journal : NULL;
	unsigned int coming = c->ready.number, going = 0;
	for (size_t i = 0; j && i < j->txn.ncertificates; i++) {
		if (strcmp(j->certificates[i].name, c->settings->name) != 0)
			continue;
		coming = coming ? coming : j->certificates[i].new_number;
		going = j->certificates[i].old_number;
	}
	read_other(c, coming, &c->coming);
	read_other(c, going, &c->going);
}

void transaction_unverified(const struct certificate *c, struct words *ret)
{
	const struct journal *j = c->transaction ? c->transaction->journal : NULL;
	for (size_t i = 0; j && i < j->txn.nservers; i++)
		if (j->txn.servers[i].wire != TXN_WIRE_WANTED)
			words_add(ret, j->servers[i]);
}

static certificate_step_cb on_step;

void transactions_on_step(certificate_step_cb cb)
{
	on_step = cb;
}

void transaction_tell_step(struct certificate *const *v, size_t n, const char *doing)
{
	if (on_step && n)
		on_step(v, n, doing);
}

void transaction_tell_state(const struct transaction *t)
{
	static const struct {
		const char *doing;
		bool with_servers;
	} states[TXN_STATES] = {
		[TXN_PREFLIGHT] = {"looking at what is served now, and trying the new pair with", true},
		[TXN_RELOADING] = {"reloading", true},
		[TXN_VERIFYING] = {"looking at fresh handshakes with", true},
		[TXN_STARTING] = {"starting", true},
		[TXN_ROLLING_BACK] = {"it did not work: putting the old pair back", false},
		[TXN_RB_VERIFYING] = {"looking for the old pair at", true},
		[TXN_RB_RELOADING] = {"reloading, for the old pair,", true},
		[TXN_RB_STARTING] = {"starting, with the old pair,", true},
	};
	const struct journal *j = t->journal;
	const char *doing = states[j->txn.state].doing;
	struct text text = {0};
	if (!doing)
		return;
	text_add(&text, "%s", doing);
	for (size_t i = 0; states[j->txn.state].with_servers && i < j->txn.nservers; i++)
		text_add(&text, "%s %s", i ? "," : "", j->servers[i]);
	transaction_tell_step(t->certificates, transaction_count(t), text.s);
	text_done(&text);
}

/* Where the distribution keeps its own configuration, its unit and its test are known. Elsewhere only the program is:
 * Debian's Apache can't be tested without the environment that apache2ctl gives it. */
static const struct {
	const char *config, *test, *unit;
} known_servers[] = {
	{"/etc/nginx/nginx.conf", "nginx -t", "nginx"},
	{"/etc/apache2/apache2.conf", "apache2ctl -t", "apache2"},
	{"/etc/httpd/conf/httpd.conf", "httpd -t", "httpd"},
};

static void add_restart(struct text *t, const struct server_settings *s, const char *name)
{
	for (size_t i = 0; s && i < ARRAY_SIZE(known_servers); i++)
		if (strcmp(s->config, known_servers[i].config) == 0)
			return text_add(t, "%s && systemctl restart %s\n", known_servers[i].test,
					known_servers[i].unit);
	const char *option = !s                               ? NULL
			     : strcmp(s->kind, "nginx") == 0  ? "-c"
			     : strcmp(s->kind, "apache") == 0 ? "-f"
							      : NULL;
	if (option)
		text_add(t, "%s -t %s %s   # then restart %s as you do otherwise\n", s->binary, option, s->config,
			 name);
	else
		text_add(t, "# restart %s as you do otherwise\n", name);
}

/* The pair that should serve now: the old one, or where that is refused, the new one. */
static unsigned int way_out_generation(const struct journal *j, size_t i)
{
	const struct journal_certificate *c = &j->certificates[i];
	return c->old_number && !j->txn.certificates[i].old_refused ? c->old_number : c->new_number;
}

char *transaction_way_out(const struct certificate *c)
{
	char path[32];
	struct text t = {0};
	const struct journal *j = c->transaction ? c->transaction->journal : NULL;
	const char *state = c->site->settings->state_dir;
	for (size_t i = 0; j && i < j->txn.ncertificates; i++)
		text_add(&t, "ln -sfn %s %s/certificates/%s/live\n",
			 store_generation_path(way_out_generation(j, i), path), state, j->certificates[i].name);
	for (size_t i = 0; j && i < j->txn.nservers; i++)
		add_restart(&t, settings_server(c->site->settings, j->servers[i]), j->servers[i]);
	text_add(&t, "certswapctl status %s", c->settings->name);
	return t.s;
}
