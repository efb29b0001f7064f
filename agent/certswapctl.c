/* certswapctl, the operator's tool: everything is in ctl/. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#include "ctl/ctl.h"

int main(int argc, char **argv)
{
	setlocale(LC_TIME, ""); /* numbers and texts stay as they are for scripts */
	signal(SIGPIPE, SIG_IGN);
	struct ctl ctl;
	ctl_init(&ctl, stdout, stderr);
	int status = ctl_run(&ctl, argc, argv);
	ctl_done(&ctl);
	if (fflush(stdout) != 0 && status == CTL_DONE)
		status = CTL_FAILED; /* a full disk or a closed pipe: the reader has not got all of it */
	return status;
}
