/* A reload that changes nothing. nginx keeps its old configuration when it refuses the new one, and says so in its
 * error log alone: the wire would be waited for in vain, and nobody would hear why. So a server that does not show the
 * new pair, and whose parent does nothing any more, is asked for its own word. */
#include "base/log.h"
#include "base/memory.h"
#include "site/acts_parts.h"
#include "site/parent.h"

#define IDLE_MS     1000 /* a parent that reads its configuration uses the processor all the time */
#define AFTER_NO_MS 500

static uint64_t used(const struct act *act, size_t server)
{
	const struct server_settings *s = settings_server(act->spec.site->settings, act_server_name(act, server));
	return s && act_txn(act)->servers[server].runs ? parent_ticks(s) : 0;
}

static void on_word(struct act *act, size_t server, enum server_answer answer, const char *output)
{
	AUTO_FREE char *said = act_brief(output);
	if (answer != SERVER_REFUSED)
		return;
	journal_reason(act->spec.journal, "%s refuses its configuration and goes on with the old one: %s",
		       act_server_name(act, server), said);
	log_warning("reload-refused", "%s: %s", act_server_name(act, server), said);
	act->refused++;
}

/* Another reload would be refused as well. */
static void heard(struct act *act)
{
	act->doubting = false;
	if (act->refused)
		act_txn(act)->tries_left = 0;
	if (!act->round)
		act_look_who_runs(act);
	else if (act->refused)
		act_start_round(act, AFTER_NO_MS);
}

static void look(void *data)
{
	struct act *act = data;
	bool busy = false;
	timer_close(act->idle);
	act->idle = NULL;
	if (act->round && places_have_turned(act->round))
		return;
	for (size_t i = 0; i < act_txn(act)->nservers; i++) {
		uint64_t before = act->ticks[i];
		act->ticks[i] = used(act, i);
		busy |= act->ticks[i] != before;
	}
	if (busy) {
		act->idle = timer_start(act->spec.site->loop, IDLE_MS, look, act);
		return;
	}
	act->doubting = true;
	act->refused = 0;
	act_ask(act, SERVER_CONFIGTEST, act_runs, on_word, heard);
}

void act_doubt(struct act *act)
{
	act->ticks = xcalloc(act_txn(act)->nservers, sizeof *act->ticks);
	for (size_t i = 0; i < act_txn(act)->nservers; i++)
		act->ticks[i] = used(act, i);
	act->idle = timer_start(act->spec.site->loop, IDLE_MS, look, act);
}

void act_doubt_no_more(struct act *act)
{
	timer_close(act->idle);
	act->idle = NULL;
	for (size_t i = 0; act->doubting && i < act_txn(act)->nservers; i++)
		server_forget(act->spec.servers[i], &act->calls[i]);
	act->asked = act->doubting ? 0 : act->asked;
	act->doubting = false;
}
