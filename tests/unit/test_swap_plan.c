#include <criterion/criterion.h>
#include <errno.h>

#include "swap/plan.h"

/* The search in tests/sim looks at every interleaving; here the table of docs/architecture.md stands row by row. */

static struct txn_certificate certificates[2];
static struct txn_server servers[2];
static struct txn txn;

/* Two certificates in this disk state, two servers that ran, served and run. */
static void set(enum txn_state state, enum txn_disk disk, enum txn_wire wire)
{
	for (int i = 0; i < 2; i++) {
		certificates[i] = (struct txn_certificate){.disk = disk};
		servers[i] =
			(struct txn_server){.ran = true, .served = true, .runs = wire != TXN_WIRE_DEAD, .wire = wire};
	}
	txn = (struct txn){.state = state,
			   .servers = servers,
			   .nservers = 2,
			   .certificates = certificates,
			   .ncertificates = 2,
			   .tries_left = TXN_RELOAD_TRIES};
}

static void expect(enum txn_event event, enum txn_state state, enum txn_act act, unsigned tries, int line)
{
	struct plan_step step = plan_next(&txn, event);
	cr_expect(step.state == state && step.act == act && step.tries_left == tries,
		  "line %d: %s, act %d, %d tries instead of %s, act %d, %u tries", line, txn_state_name(step.state),
		  step.act, step.tries_left, txn_state_name(state), act, tries);
}
#define EXPECT(event, state, act)              expect(TXN_EVENT_##event, state, act, TXN_RELOAD_TRIES, __LINE__)
#define EXPECT_TRIES(event, state, act, tries) expect(TXN_EVENT_##event, state, act, tries, __LINE__)

Test(plan, names_go_both_ways)
{
	for (int i = 0; i < TXN_STATES; i++) {
		enum txn_state back = TXN_STATES;
		cr_expect_eq(txn_state_parse(txn_state_name((enum txn_state)i), &back), 0);
		cr_expect_eq((int)back, i);
		cr_expect_eq(txn_state_is_final((enum txn_state)i), i >= TXN_COMMITTED);
	}
	enum txn_state untouched = TXN_STUCK;
	cr_expect_eq(txn_state_parse("COMMITED", &untouched), -ENOENT);
	cr_expect_eq(txn_state_parse("", &untouched), -ENOENT);
	cr_expect_eq(untouched, TXN_STUCK);
	cr_expect_str_eq(txn_state_name(TXN_STATES), "?");
}

Test(plan, straight_way)
{
	set(TXN_STAGED, TXN_DISK_OLD, TXN_WIRE_UNKNOWN);
	EXPECT(DONE, TXN_PREFLIGHT, TXN_ACT_PREFLIGHT);
	txn.state = TXN_PREFLIGHT;
	EXPECT(DONE, TXN_INSTALLING, TXN_ACT_EXCHANGE);
	set(TXN_INSTALLING, TXN_DISK_NEW, TXN_WIRE_UNKNOWN);
	EXPECT(DONE, TXN_INSTALLED, TXN_ACT_LOOK_SERVERS);
	txn.state = TXN_INSTALLED;
	EXPECT(DONE, TXN_RELOADING, TXN_ACT_RELOAD);
	txn.state = TXN_RELOADING;
	EXPECT(DONE, TXN_VERIFYING, TXN_ACT_PROBE_NEW);
	set(TXN_VERIFYING, TXN_DISK_NEW, TXN_WIRE_WANTED);
	EXPECT(DONE, TXN_COMMITTED, TXN_ACT_NONE);
}

Test(plan, nothing_touched)
{
	set(TXN_PREFLIGHT, TXN_DISK_OLD, TXN_WIRE_UNKNOWN);
	EXPECT(FAILED, TXN_DISCARDED, TXN_ACT_NONE);
	EXPECT(BLOCKED, TXN_HELD, TXN_ACT_NONE);
	EXPECT(RECOVER, TXN_STAGED, TXN_ACT_NONE);
	certificates[1].old_refused = true;
	EXPECT(NOTICE, TXN_PREFLIGHT, TXN_ACT_NONE);
	certificates[1].new_refused = true;
	EXPECT(NOTICE, TXN_DISCARDED, TXN_ACT_NONE);
	EXPECT(DONE, TXN_DISCARDED, TXN_ACT_NONE);
	set(TXN_INSTALLING, TXN_DISK_OLD, TXN_WIRE_UNKNOWN);
	EXPECT(FAILED, TXN_DISCARDED, TXN_ACT_NONE);
	certificates[1].new_refused = false;
	EXPECT(BLOCKED, TXN_HELD, TXN_ACT_NONE);
	set(TXN_STAGED, TXN_DISK_OLD, TXN_WIRE_UNKNOWN);
	EXPECT(BLOCKED, TXN_HELD, TXN_ACT_NONE);
}

Test(plan, installing_decides_by_the_disk)
{
	set(TXN_INSTALLING, TXN_DISK_OLD, TXN_WIRE_UNKNOWN);
	EXPECT(RECOVER, TXN_STAGED, TXN_ACT_NONE);
	certificates[0].disk = TXN_DISK_NEW;
	EXPECT(RECOVER, TXN_INSTALLING, TXN_ACT_EXCHANGE);
	EXPECT(FAILED, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
	EXPECT(NOTICE, TXN_INSTALLING, TXN_ACT_NONE);
	certificates[1].disk = TXN_DISK_FOREIGN;
	EXPECT(DONE, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
	EXPECT(RECOVER, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
	certificates[0].old_refused = true;
	EXPECT(DONE, TXN_INSTALLED, TXN_ACT_LOOK_SERVERS);
	certificates[0].disk = TXN_DISK_OLD;
	EXPECT(DONE, TXN_FOREIGN, TXN_ACT_NONE);
	EXPECT(FAILED, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
}

Test(plan, servers_that_are_down)
{
	set(TXN_INSTALLED, TXN_DISK_NEW, TXN_WIRE_UNKNOWN);
	servers[0] = servers[1] = (struct txn_server){0};
	EXPECT(DONE, TXN_AWAITING, TXN_ACT_WAIT);
	servers[0].ran = true;
	EXPECT(DONE, TXN_VERIFYING, TXN_ACT_PROBE_NEW);
	txn.nservers = 0;
	EXPECT(DONE, TXN_UNSERVED, TXN_ACT_NONE);
	set(TXN_VERIFYING, TXN_DISK_NEW, TXN_WIRE_WANTED);
	servers[1] = (struct txn_server){.wire = TXN_WIRE_DEAD};
	EXPECT(DONE, TXN_AWAITING, TXN_ACT_WAIT);
	txn.state = TXN_AWAITING;
	EXPECT(SERVER_UP, TXN_VERIFYING, TXN_ACT_PROBE_NEW);
	EXPECT(RECOVER, TXN_AWAITING, TXN_ACT_WAIT);
}

Test(plan, first_pairs_touch_no_server)
{
	set(TXN_INSTALLED, TXN_DISK_NEW, TXN_WIRE_UNKNOWN);
	certificates[0].first = certificates[1].first = true;
	servers[0].served = servers[1].served = false;
	EXPECT(DONE, TXN_UNSERVED, TXN_ACT_NONE);
	certificates[0].new_refused = true; /* and there is nothing to go back to */
	EXPECT(NOTICE, TXN_INSTALLED, TXN_ACT_NONE);
}

Test(plan, disk_that_can_not_be_looked_at)
{
	set(TXN_INSTALLED, TXN_DISK_NEW, TXN_WIRE_UNKNOWN);
	EXPECT_TRIES(FAILED, TXN_INSTALLED, TXN_ACT_LOOK_SERVERS, TXN_RELOAD_TRIES - 1);
	txn.tries_left = 0;
	EXPECT(FAILED, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
	certificates[0].old_refused = true;
	EXPECT(FAILED, TXN_VERIFYING, TXN_ACT_PROBE_NEW);
}

Test(plan, verifying_tries_again_then_goes_back)
{
	set(TXN_VERIFYING, TXN_DISK_NEW, TXN_WIRE_WANTED);
	servers[1].wire = TXN_WIRE_OTHER;
	EXPECT_TRIES(DONE, TXN_RELOADING, TXN_ACT_RELOAD, TXN_RELOAD_TRIES - 1);
	servers[1].wire = TXN_WIRE_UNKNOWN;
	EXPECT_TRIES(DONE, TXN_RELOADING, TXN_ACT_RELOAD, TXN_RELOAD_TRIES - 1);
	EXPECT_TRIES(FAILED, TXN_VERIFYING, TXN_ACT_PROBE_NEW, TXN_RELOAD_TRIES - 1);
	txn.tries_left = 0;
	EXPECT(RECOVER, TXN_VERIFYING, TXN_ACT_PROBE_NEW); /* a crash costs no try */
	EXPECT(DONE, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
	EXPECT(FAILED, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
	txn.tries_left = TXN_RELOAD_TRIES;
	servers[1].wire = TXN_WIRE_DEAD;
	servers[1].runs = false;
	EXPECT(DONE, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
}

Test(plan, a_refused_old_pair_comes_back_only_where_nothing_serves)
{
	set(TXN_VERIFYING, TXN_DISK_NEW, TXN_WIRE_WANTED);
	certificates[0].old_refused = true;
	servers[1].wire = TXN_WIRE_DEAD;
	servers[1].runs = false;
	EXPECT_TRIES(DONE, TXN_STARTING, TXN_ACT_START, TXN_RELOAD_TRIES - 1);
	txn.tries_left = 0;
	EXPECT_TRIES(DONE, TXN_STUCK, TXN_ACT_NONE, 0);
	servers[0].wire = TXN_WIRE_OTHER;
	EXPECT(DONE, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
	servers[1] = servers[0];
	EXPECT_TRIES(DONE, TXN_STUCK, TXN_ACT_NONE, 0);
	EXPECT_TRIES(FAILED, TXN_STUCK, TXN_ACT_NONE, 0);
	txn.state = TXN_RELOADING;
	EXPECT_TRIES(FAILED, TXN_VERIFYING, TXN_ACT_PROBE_NEW, 0);
	certificates[0].old_refused = false;
	EXPECT(FAILED, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
}

Test(plan, a_notice_on_the_new_pair_turns_back)
{
	static const enum txn_state at[] = {TXN_INSTALLED, TXN_VERIFYING, TXN_AWAITING};
	for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
		set(at[i], TXN_DISK_NEW, TXN_WIRE_WANTED);
		EXPECT(NOTICE, at[i], TXN_ACT_NONE);
		certificates[0].new_refused = true;
		EXPECT(NOTICE, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
		certificates[1].old_refused = true;
		EXPECT(NOTICE, at[i], TXN_ACT_NONE);
	}
	set(TXN_RELOADING, TXN_DISK_NEW, TXN_WIRE_UNKNOWN);
	certificates[0].new_refused = true;
	EXPECT(NOTICE, TXN_RELOADING, TXN_ACT_NONE); /* the hook is at work */
	EXPECT(DONE, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK);
}

Test(plan, a_stranger_is_left_alone)
{
	set(TXN_VERIFYING, TXN_DISK_NEW, TXN_WIRE_WANTED);
	certificates[1].disk = TXN_DISK_FOREIGN;
	EXPECT(DONE, TXN_FOREIGN, TXN_ACT_NONE);
	servers[0].wire = TXN_WIRE_DEAD;
	servers[0].runs = false;
	EXPECT(DONE, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK); /* leads to the start of the server */
	certificates[1].disk = TXN_DISK_OLD;                   /* put back by somebody: not ours to fight */
	servers[0] = servers[1];
	EXPECT(DONE, TXN_FOREIGN, TXN_ACT_NONE);
}

Test(plan, way_back)
{
	set(TXN_ROLLING_BACK, TXN_DISK_OLD, TXN_WIRE_UNKNOWN);
	EXPECT(DONE, TXN_RB_VERIFYING, TXN_ACT_PROBE_OLD);
	EXPECT_TRIES(FAILED, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK, TXN_RELOAD_TRIES - 1);
	certificates[0] = (struct txn_certificate){.disk = TXN_DISK_NEW, .old_refused = true};
	EXPECT(FAILED, TXN_STUCK, TXN_ACT_NONE);
	txn.tries_left = 0;
	EXPECT_TRIES(FAILED, TXN_STUCK, TXN_ACT_NONE, 0);
	EXPECT_TRIES(RECOVER, TXN_ROLLING_BACK, TXN_ACT_EXCHANGE_BACK, TXN_RELOAD_TRIES); /* a crash costs no try */
	set(TXN_RB_VERIFYING, TXN_DISK_OLD, TXN_WIRE_WANTED);
	EXPECT(DONE, TXN_ROLLED_BACK, TXN_ACT_NONE);
	certificates[0].disk = TXN_DISK_FOREIGN;
	EXPECT(DONE, TXN_FOREIGN, TXN_ACT_NONE);
	certificates[0] = (struct txn_certificate){.disk = TXN_DISK_NEW, .first = true};
	EXPECT(DONE, TXN_ROLLED_BACK, TXN_ACT_NONE);
	servers[0].wire = TXN_WIRE_BROKEN;
	EXPECT_TRIES(DONE, TXN_RB_RELOADING, TXN_ACT_RELOAD, TXN_RELOAD_TRIES - 1);
	servers[1] = (struct txn_server){.ran = true, .wire = TXN_WIRE_DEAD};
	EXPECT_TRIES(DONE, TXN_RB_STARTING, TXN_ACT_START, TXN_RELOAD_TRIES - 1);
	txn.tries_left = 0;
	EXPECT_TRIES(DONE, TXN_STUCK, TXN_ACT_NONE, 0);
	txn.state = TXN_RB_RELOADING;
	EXPECT_TRIES(FAILED, TXN_RB_VERIFYING, TXN_ACT_PROBE_OLD, 0); /* the look tells whether it is dead */
	txn.state = TXN_RB_STARTING;
	EXPECT_TRIES(FAILED, TXN_RB_VERIFYING, TXN_ACT_PROBE_OLD, 0);
	EXPECT(RECOVER, TXN_RB_VERIFYING, TXN_ACT_PROBE_OLD);
}

Test(plan, a_final_state_stays)
{
	for (int state = TXN_COMMITTED; state < TXN_STATES; state++)
		for (int event = 0; event < TXN_EVENTS; event++) {
			set((enum txn_state)state, TXN_DISK_NEW, TXN_WIRE_DEAD);
			certificates[0].new_refused = true;
			expect((enum txn_event)event, (enum txn_state)state, TXN_ACT_NONE, TXN_RELOAD_TRIES, __LINE__);
		}
}

Test(plan, stuck_is_over_once_the_servers_show_what_is_on_disk)
{
	set(TXN_STUCK, TXN_DISK_NEW, TXN_WIRE_WANTED);
	EXPECT(DONE, TXN_COMMITTED, TXN_ACT_NONE);
	EXPECT(FAILED, TXN_STUCK, TXN_ACT_NONE);
	set(TXN_STUCK, TXN_DISK_OLD, TXN_WIRE_WANTED);
	EXPECT(DONE, TXN_ROLLED_BACK, TXN_ACT_NONE);
	set(TXN_STUCK, TXN_DISK_FOREIGN, TXN_WIRE_WANTED);
	EXPECT(DONE, TXN_STUCK, TXN_ACT_NONE);
	set(TXN_STUCK, TXN_DISK_NEW, TXN_WIRE_OTHER);
	EXPECT(DONE, TXN_STUCK, TXN_ACT_NONE);
	set(TXN_STUCK, TXN_DISK_NEW, TXN_WIRE_WANTED);
	servers[0].runs = false;
	EXPECT(DONE, TXN_STUCK, TXN_ACT_NONE);
}

Test(plan, an_event_out_of_place_changes_nothing)
{
	set(TXN_VERIFYING, TXN_DISK_NEW, TXN_WIRE_OTHER);
	EXPECT(SERVER_UP, TXN_VERIFYING, TXN_ACT_NONE);
	EXPECT(BLOCKED, TXN_VERIFYING, TXN_ACT_NONE);
	set(TXN_AWAITING, TXN_DISK_NEW, TXN_WIRE_OTHER);
	EXPECT(DONE, TXN_AWAITING, TXN_ACT_NONE);
	EXPECT(FAILED, TXN_AWAITING, TXN_ACT_NONE);
}
