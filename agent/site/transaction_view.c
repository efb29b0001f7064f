#include <string.h>

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

static void read_other(struct certificate *c, unsigned int number, struct meta *ret)
{
	meta_done(ret);
	if (number && number != c->live.number && number != c->standby.number)
		(void)store_read_meta(c->folder, number, ret, NULL);
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

char *transaction_way_out(const struct certificate *c)
{
	char old[32];
	struct text t = {0};
	const struct journal *j = c->transaction ? c->transaction->journal : NULL;
	const char *state = c->site->settings->state_dir;
	for (size_t i = 0; j && i < j->txn.ncertificates; i++)
		if (j->certificates[i].old_number)
			text_add(&t, "ln -sfn %s %s/certificates/%s/live\n",
				 store_generation_path(j->certificates[i].old_number, old), state,
				 j->certificates[i].name);
	for (size_t i = 0; j && i < j->txn.nservers; i++) {
		const struct server_settings *s = settings_server(c->site->settings, j->servers[i]);
		bool known = s && (strcmp(s->kind, "nginx") == 0 || strcmp(s->kind, "apache") == 0);
		if (known)
			text_add(&t, "%s -t && systemctl restart %s   # or start %s as you do otherwise\n", s->binary,
				 s->name, s->name);
		else
			text_add(&t, "# restart %s as you do otherwise\n", j->servers[i]);
	}
	text_add(&t, "certswapctl status %s", c->settings->name);
	return t.s;
}
