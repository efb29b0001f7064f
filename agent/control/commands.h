/* The commands of the control socket; command.c has the table of them and says who may. Each takes the request over and
 * answers it, now or once its work has ended. All run in certswapd. */
#ifndef SITE_COMMANDS_H
#define SITE_COMMANDS_H
#include "control/request.h"

void command_status(struct request *r);
void command_incidents(struct request *r);
void command_incident(struct request *r);
void command_metrics(struct request *r);
void command_ping(struct request *r);
void command_submit(struct request *r);
void command_standby(struct request *r);
void command_swap(struct request *r);
void command_rollback(struct request *r);
void command_notice(struct request *r);
void command_confirm(struct request *r);
void command_adopt(struct request *r);
void command_release(struct request *r);
void command_waive(struct request *r);
void command_withdraw(struct request *r);
void command_close(struct request *r);
void command_csr(struct request *r);
void command_drill(struct request *r);
void command_request(struct request *r);
void command_deny_add(struct request *r);
void command_deny_confirm(struct request *r);
void command_deny_remove(struct request *r);
#endif
