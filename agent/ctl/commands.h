/* What each command does; see the table in commands.c. All return an exit status. */
#ifndef CTL_COMMANDS_H
#define CTL_COMMANDS_H
#include "ctl/options.h"

int command_status(struct ctl *ctl, const struct args *a);
int command_check(struct ctl *ctl, const struct args *a);
int command_submit(struct ctl *ctl, const struct args *a);
int command_standby(struct ctl *ctl, const struct args *a);
int command_notice(struct ctl *ctl, const struct args *a);
int command_adopt(struct ctl *ctl, const struct args *a);
int command_release(struct ctl *ctl, const struct args *a);
int command_waive(struct ctl *ctl, const struct args *a);
int command_withdraw(struct ctl *ctl, const struct args *a);
int command_close(struct ctl *ctl, const struct args *a);
int command_swap(struct ctl *ctl, const struct args *a);
int command_rollback(struct ctl *ctl, const struct args *a);
int command_confirm(struct ctl *ctl, const struct args *a);
int command_incidents(struct ctl *ctl, const struct args *a);
int command_incident(struct ctl *ctl, const struct args *a);
int command_csr(struct ctl *ctl, const struct args *a);
int command_drill(struct ctl *ctl, const struct args *a);
int command_request(struct ctl *ctl, const struct args *a);
int command_deny_list(struct ctl *ctl, const struct args *a);
int command_deny_add(struct ctl *ctl, const struct args *a);
int command_deny_confirm(struct ctl *ctl, const struct args *a);
int command_deny_remove(struct ctl *ctl, const struct args *a);
int command_discover(struct ctl *ctl, const struct args *a);
int command_discover_loads(struct ctl *ctl, const struct args *a); /* discover --loads */
int command_triage(struct ctl *ctl, const struct args *a);
int command_log(struct ctl *ctl, const struct args *a);
int command_metrics(struct ctl *ctl, const struct args *a);
int command_config_test(struct ctl *ctl, const struct args *a);
int command_config_dump(struct ctl *ctl, const struct args *a);
int command_config_reload(struct ctl *ctl, const struct args *a);
int command_help(struct ctl *ctl, const struct args *a);
#endif
